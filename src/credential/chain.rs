//! The steps from the workload's token to a credential, in order.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Instant, SystemTime};

use crate::aws::SettingsError;
use crate::credential::action::{Action, Context, Signature};
use crate::credential::oauth::jwt_bearer::Grant;
use crate::credential::value::{CREDENTIAL_MAKERS, Shape, Token, TokenKind, Value};
use crate::credential::{Credential, CredentialExchange, ExchangeError, Exchanging, Releasing, Report, Step, StepName, StepReport};
use crate::fault::Reason;
use crate::identity::Proof;
use crate::secret::Secret;
use crate::target::Target;
use crate::tls::{TlsError, Trust};

/// Steps that fit together: each takes what the one before it gives, the first takes the workload's token, the last makes the
/// credential.
#[derive(Debug)]
pub struct Chain {
    links: Vec<Link>,
    /// The kind of the last step.
    kind: &'static str,
    role: String,
    /// Names the credentials that have no name of their own.
    made: AtomicU64,
}

#[derive(Debug)]
struct Link {
    name: StepName,
    action: Action,
}

impl Chain {
    /// The chain that the steps describe, for logins as `role`.
    ///
    /// # Errors
    /// When a step cannot be used, or does not fit the one before it.
    pub fn new(steps: &[Step], role: &str, trust: Trust) -> Result<Self, ChainError> {
        let kind = check(steps)?;
        let mut links = Vec::with_capacity(steps.len());
        for (index, step) in steps.iter().enumerate() {
            let action = Action::new(step, trust).map_err(|problem| ChainError { step: index, problem })?;
            links.push(Link { name: StepName { index, kind: step.signature().kind }, action });
        }
        Ok(Self { links, kind, role: role.to_owned(), made: AtomicU64::new(0) })
    }

    async fn run(&self, proof: &Proof, target: &Target, report: &Report<'_>) -> Result<Credential, ExchangeError> {
        let workload = Token::of(proof);
        let certificate = proof.certificate.as_deref();
        let context = Context { workload: &workload, principal: &proof.principal, certificate, target, role: &self.role };
        let value = match self.pass(context, report).await {
            Ok(value) => value,
            // What was kept from an exchange before may have been revoked since. What is given now cannot.
            Err(Stop { kept: Some(token), .. }) => {
                self.links.iter().for_each(|link| link.action.forget(&token));
                self.pass(context, report).await.map_err(|stop| stop.error)?
            }
            Err(stop) => return Err(stop.error),
        };
        let draft = value.credential()?;
        Ok(Credential {
            id: draft.id.unwrap_or_else(|| format!("{}-{}", self.kind, self.made.fetch_add(1, Ordering::Relaxed) + 1)),
            login: draft.login,
            role: draft.role,
            issued_at: SystemTime::now(),
            expires_at: draft.expires_at,
        })
    }

    /// Runs every step once.
    async fn pass(&self, context: Context<'_>, report: &Report<'_>) -> Result<Value, Stop> {
        let mut value = Value::Token(context.workload.clone());
        for link in &self.links {
            let began = Instant::now();
            let (shown, kept) = (value.audiences(), value.kept());
            let result = link.action.run(value, context).await;
            let result =
                result.map_err(|error| ExchangeError { step: Some(link.name), ..with_audiences(error, &shown, link.action.audience()) });
            let made = result.as_ref().map(|value| (value.shape(), value.expires_at()));
            let made = StepReport { step: link.name, result: made, duration: began.elapsed() };
            let (target_name, role, outcome) = (&context.target.name, context.role, made.outcome());
            tracing::debug!(target_name, role, step = %made.step, outcome, "an exchange's step was run");
            report(&made);
            value = result.map_err(|error| Stop { kept: kept.filter(|_| error.reason == Reason::ExchangeRefused), error })?;
        }
        Ok(value)
    }
}

/// Why the steps stopped.
struct Stop {
    error: ExchangeError,
    /// What was refused, where it had been given to an exchange before.
    kept: Option<Secret<String>>,
}

impl CredentialExchange for Chain {
    fn kind(&self) -> &'static str {
        self.kind
    }

    fn exchange<'a>(&'a self, proof: &'a Proof, target: &'a Target, report: &'a Report<'a>) -> Exchanging<'a> {
        Box::pin(self.run(proof, target, report))
    }

    fn release(&self) -> Releasing<'_> {
        Box::pin(async {
            for link in &self.links {
                link.action.release().await;
            }
        })
    }
}

/// Adds to a refusal whom the refused token was for: the commonest mistake, and the hardest to see from outside.
fn with_audiences(error: ExchangeError, shown: &[String], wanted: Option<&str>) -> ExchangeError {
    if error.reason != Reason::ExchangeRefused || shown.is_empty() || wanted.is_some_and(|wanted| shown.iter().any(|shown| shown == wanted))
    {
        return error;
    }
    let shown: Vec<_> = shown.iter().map(|audience| format!("`{audience}`")).collect();
    let mut fix = format!("the token that was shown is for {}", shown.join(", "));
    if let Some(wanted) = wanted {
        fix.push_str(&format!(", and `{wanted}` is wanted"));
    }
    let fix = error.fix.iter().cloned().chain([fix]).collect::<Vec<_>>().join("; ");
    error.fix(fix)
}

/// Whether the steps fit together; the kind of the last.
fn check(steps: &[Step]) -> Result<&'static str, ChainError> {
    let mut before: Option<Signature> = None;
    for (index, step) in steps.iter().enumerate() {
        let step = step.signature();
        let given = before.map_or(Shape::Token, |before| before.gives);
        let giver = before.map_or("the identity", |before| before.kind);
        let problem = match (step.takes, before) {
            _ if index > 0 && is_assertion_for_others(steps, index) => Some(ChainProblem::Assertion { step: step.kind }),
            (None, Some(_)) => Some(ChainProblem::Wasted { step: step.kind, giver, given }),
            (Some(wanted), _) if wanted != given => Some(ChainProblem::Unfit { step: step.kind, wanted, giver, given }),
            (Some(_) | None, _) => None,
        };
        if let Some(problem) = problem {
            return Err(ChainError { step: index, problem });
        }
        before = Some(step);
    }
    match before {
        Some(Signature { gives: Shape::Credential(_), kind, .. }) => Ok(kind),
        Some(last) => Err(ChainError {
            step: steps.len().saturating_sub(1),
            problem: ChainProblem::NoCredential { step: last.kind, given: last.gives },
        }),
        None => Err(ChainError { step: 0, problem: ChainProblem::Empty }),
    }
}

/// Whether the step is given a SAML assertion of a file that it would show as something else.
fn is_assertion_for_others(steps: &[Step], index: usize) -> bool {
    let before = index.checked_sub(1).and_then(|before| steps.get(before));
    let is_assertion = matches!(before, Some(Step::SubjectTokenFile(settings)) if settings.token_type == TokenKind::Saml2);
    let takes_assertions = match steps.get(index) {
        Some(Step::TokenExchange(_)) => true,
        Some(Step::JwtBearer(settings)) => settings.grant == Grant::Saml2,
        Some(_) | None => false,
    };
    is_assertion && !takes_assertions
}

/// Why steps do not make a chain.
#[derive(Debug, thiserror::Error)]
#[error("step {step} cannot be used")]
pub struct ChainError {
    /// Which step, from 0; the place in the configuration's list.
    pub step: usize,
    /// What is wrong with it.
    #[source]
    pub problem: ChainProblem,
}

/// What is wrong with a step.
#[derive(Debug, thiserror::Error)]
pub enum ChainProblem {
    /// There is no step.
    #[error("at least one step is needed, and the last must make a credential: {}", CREDENTIAL_MAKERS)]
    Empty,
    /// A step is given what it does not take.
    #[error("`{step}` takes {wanted}, and {giver} before it gives {given}; {wanted} comes from {}", wanted.makers())]
    Unfit {
        /// The step.
        step: &'static str,
        /// What it takes.
        wanted: Shape,
        /// The step before it, or the identity.
        giver: &'static str,
        /// What that gives.
        given: Shape,
    },
    /// A step that needs nothing stands behind another.
    #[error("`{step}` takes nothing, so that {given} of `{giver}` before it would be made for nobody; it must be the first step")]
    Wasted {
        /// The step.
        step: &'static str,
        /// The step before it.
        giver: &'static str,
        /// What that gives.
        given: Shape,
    },
    /// A SAML assertion would be shown as something else.
    #[error("`{step}` takes no SAML assertion; `token_exchange` does, and `jwt_bearer` with `grant: saml2`")]
    Assertion {
        /// The step.
        step: &'static str,
    },
    /// The last step makes no credential.
    #[error("the last step must make a credential, and `{step}` gives {given}; a credential comes from {}", CREDENTIAL_MAKERS)]
    NoCredential {
        /// The step.
        step: &'static str,
        /// What it gives.
        given: Shape,
    },
    /// No way to the endpoint, or several.
    #[error("exactly one of `token_endpoint`, `issuer` and `metadata` is needed")]
    Endpoint,
    /// A setting that its type allows and its meaning does not.
    #[error("`{field}`: {problem}")]
    Setting {
        /// The setting.
        field: &'static str,
        /// What is wrong with it.
        problem: String,
    },
    /// Its TLS settings cannot be used.
    #[error("its TLS settings cannot be used")]
    Tls(#[source] TlsError),
}

impl From<SettingsError> for ChainProblem {
    fn from(error: SettingsError) -> Self {
        match error {
            SettingsError::Setting { field, problem } => Self::Setting { field, problem },
            SettingsError::Tls(error) => Self::Tls(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{Chain, ChainProblem};
    use crate::credential::value::Shape;
    use crate::credential::{CredentialExchange, Step};
    use crate::tls::Trust;

    fn chain(steps: serde_json::Value) -> Result<Chain, (usize, ChainProblem)> {
        let steps: Vec<Step> = serde_json::from_value(steps).unwrap();
        Chain::new(&steps, "dbt", Trust::Production).map_err(|error| (error.step, error.problem))
    }

    #[test]
    fn steps_in_the_wrong_order_are_named_by_their_place() {
        let exchange = json!({"kind": "token_exchange", "token_endpoint": "http://127.0.0.1/token", "tls": {"mode": "disable"}});
        let both = json!({"kind": "token_exchange", "token_endpoint": "http://127.0.0.1/token", "issuer": "http://127.0.0.1", "tls": {"mode": "disable"}});
        let password = json!({"kind": "password_file", "file": "/run/password"});
        let bearer = json!({"kind": "token_as_password"});
        assert!(matches!(chain(json!([])), Err((0, ChainProblem::Empty))));
        assert!(matches!(chain(json!([exchange])), Err((0, ChainProblem::NoCredential { step: "token_exchange", given: Shape::Token }))));
        let Err((1, problem)) = chain(json!([password, exchange, bearer])) else { panic!("accepted") };
        let said = problem.to_string();
        assert!(
            said.starts_with("`token_exchange` takes a token, and password_file before it gives a credential; a token comes from"),
            "{said}"
        );
        assert!(matches!(chain(json!([exchange, password])), Err((1, ChainProblem::Wasted { giver: "token_exchange", .. }))));
        assert!(matches!(chain(json!([both, bearer])), Err((0, ChainProblem::Endpoint))));
        assert_eq!(chain(json!([exchange, exchange, bearer])).unwrap().kind(), "token_as_password");
        assert_eq!(chain(json!([password])).unwrap().kind(), "password_file");
    }

    #[test]
    fn an_unknown_field_of_a_step_is_refused() {
        for step in
            [json!({"kind": "password_file", "file": "/run/password", "fille": 1}), json!({"kind": "token_as_password", "insecure": true})]
        {
            assert!(serde_json::from_value::<Step>(step.clone()).is_err(), "{step}");
        }
    }
}
