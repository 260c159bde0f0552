//! Runs what a session's start would run, step by step against the real endpoints, and says of each what became of it.

use std::error::Error;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use serde::Serialize;
use tokio::time::timeout;

use crate::config::{Config, Route};
use crate::credential::{self, Credential, CredentialExchange, ExchangeError, StepReport};
use crate::fault::{Fault, Reason};
use crate::identity::{self, IdentityError, Proof};
use crate::listener::postgres::trial::{Admission, Trial};
use crate::listener::{self, Authentication};
use crate::tls;
use crate::warehouse::Protocol;

/// Time for all steps of one exchange, as for a session.
const EXCHANGE_TIME_MAX: Duration = Duration::from_secs(15);

/// What was found about one part of a target. Holds no secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The target's name.
    pub target: String,
    /// `identity`, a step as `credential[0] token_exchange`, or `login`.
    pub part: String,
    /// What became of it.
    #[serde(flatten)]
    pub verdict: Verdict,
}

/// What became of a part.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "verdict", rename_all = "snake_case")]
pub enum Verdict {
    /// It works.
    Ok {
        /// What it gives.
        gives: String,
        /// Seconds until that ends, where it does.
        #[serde(skip_serializing_if = "Option::is_none")]
        expires_in: Option<u64>,
    },
    /// It does not.
    Failed {
        /// The reason's code.
        reason: &'static str,
        /// Whose failure it is.
        whose: &'static str,
        /// What to do about it.
        fix: String,
        /// The causes, outermost first.
        cause: String,
    },
    /// It was not run.
    NotTried {
        /// Why.
        why: &'static str,
    },
}

/// Examines every target that a listener forwards to, once. `database` is what the logins ask for; the role's name where absent, and then it
/// need not exist.
///
/// Reaches each endpoint as a session would, and leaves behind what a session would but its session: a credential that ends by
/// itself, or is given back.
pub async fn examine(config: &Config, database: Option<&str>) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut seen: Vec<&str> = Vec::new();
    for route in &config.routes {
        if !seen.contains(&route.target.name.as_str()) {
            seen.push(&route.target.name);
            let examined = Examination { config, route, findings: Vec::new() };
            findings.extend(examined.run(database).await);
        }
    }
    findings
}

struct Examination<'a> {
    config: &'a Config,
    route: &'a Route,
    findings: Vec<Finding>,
}

impl Examination<'_> {
    async fn run(mut self, database: Option<&str>) -> Vec<Finding> {
        if let Authentication::Token { .. } = self.route.listener.authentication {
            self.find("identity", Verdict::NotTried { why: "clients of this listener bring tokens of their own" });
            return self.findings;
        }
        let Some(proof) = self.identity().await else {
            self.find("credential", Verdict::NotTried { why: "the identity is not proven" });
            return self.findings;
        };
        let exchange = match credential::exchange(&self.route.credential, &self.route.role, self.config.trust) {
            Ok(exchange) => exchange,
            Err(error) => {
                self.find("credential", failed(Reason::ExchangeUnprepared, None, &error));
                return self.findings;
            }
        };
        match self.credential(exchange.as_ref(), &proof).await {
            Some(credential) => self.login(&credential, database).await,
            None => self.find("login", Verdict::NotTried { why: "there is no credential" }),
        }
        exchange.release().await;
        self.findings
    }

    async fn identity(&mut self) -> Option<Proof> {
        let source = match identity::source(&self.route.identity, self.config.trust) {
            Ok(source) => source,
            Err(error) => {
                self.find("identity", failed(Reason::TokenUnreadable, None, &error));
                return None;
            }
        };
        match source.prove().await {
            Ok(proof) => {
                let gives = format!("{} of {}", proof.principal.subject, proof.principal.issuer);
                self.find("identity", Verdict::Ok { gives, expires_in: seconds_until(proof.principal.expires_at) });
                Some(proof)
            }
            Err(error) => {
                let IdentityError { reason, .. } = error;
                self.find("identity", failed(reason, None, &error));
                None
            }
        }
    }

    async fn credential(&mut self, exchange: &dyn CredentialExchange, proof: &Proof) -> Option<Credential> {
        let reports = Mutex::new(Vec::new());
        let report = |report: &StepReport<'_>| {
            let verdict = match report.result {
                Ok((shape, expires_at)) => Verdict::Ok { gives: shape.to_string(), expires_in: seconds_until(expires_at) },
                Err(error) => failed(error.reason, error.fix.clone(), error),
            };
            reports.lock().unwrap_or_else(PoisonError::into_inner).push((report.step.to_string(), verdict));
        };
        let made = timeout(EXCHANGE_TIME_MAX, exchange.exchange(proof, &self.route.target, &report)).await;
        for (step, verdict) in reports.into_inner().unwrap_or_else(PoisonError::into_inner) {
            self.find(&step, verdict);
        }
        match made {
            Ok(made) => made.ok(),
            Err(_) => {
                let error = ExchangeError::new(Reason::ExchangeUnreachable, "it took over 15 s");
                self.find("credential", failed(error.reason, None, &error));
                None
            }
        }
    }

    async fn login(&mut self, credential: &Credential, database: Option<&str>) {
        let route = self.route;
        if !matches!(route.kind.protocol, Protocol::Postgres(_)) {
            return self.find("login", Verdict::NotTried { why: "this kind of warehouse is logged in to by each request" });
        }
        let tls = match tls::Client::speaking(&route.tls, listener::alpn(route.kind, route.negotiation), self.config.trust) {
            Ok(tls) => tls,
            Err(error) => return self.find("login", failed(Reason::TargetTls, None, &error)),
        };
        let trial = Trial {
            target: route.target.clone(),
            role: route.role.clone(),
            database: database.map(str::to_owned),
            tls,
            negotiation: route.negotiation,
            methods: route.methods.clone(),
            login_parameters: route.login_parameters.clone(),
            connect_timeout: self.config.file.limits.connect_timeout.0,
        };
        let role = credential.role.as_deref().unwrap_or(&route.role).to_owned();
        match trial.run(credential).await {
            Ok(Admission::Session) => self.find("login", Verdict::Ok { gives: format!("a session as {role}"), expires_in: None }),
            // Nobody has asked for the database of the role's name: that it is not there is no fault.
            Ok(Admission::NoDatabase) if database.is_none() => {
                let gives = format!("a login as {role}; the database `{role}` does not exist, so name one with --database");
                self.find("login", Verdict::Ok { gives, expires_in: None });
            }
            Ok(Admission::NoDatabase) => {
                let fault = Fault::new(Reason::TargetLogin).about("the login is accepted, and SQLSTATE 3D000: the database does not exist");
                self.find("login", failed(fault.reason, Some("name a database that exists with --database".to_owned()), &fault));
            }
            Err(fault) => {
                let Fault { reason, .. } = fault;
                self.find("login", failed(reason, None, &fault));
            }
        }
    }

    fn find(&mut self, part: &str, verdict: Verdict) {
        self.findings.push(Finding { target: self.route.target.name.clone(), part: part.to_owned(), verdict });
    }
}

/// A failure, with the causes that the log would have.
fn failed(reason: Reason, fix: Option<String>, error: &dyn Error) -> Verdict {
    let row = reason.row();
    let mut causes = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        causes.push_str(": ");
        causes.push_str(&cause.to_string());
        next = cause.source();
    }
    Verdict::Failed { reason: row.code, whose: row.blame.as_str(), fix: fix.unwrap_or_else(|| row.remedy.to_owned()), cause: causes }
}

fn seconds_until(end: SystemTime) -> Option<u64> {
    Some(end.duration_since(SystemTime::now()).unwrap_or_default().as_secs())
}
