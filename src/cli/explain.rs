//! `tollhouse explain`: what would be decided about a statement, and why.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::SystemTime;

use anyhow::{Context, anyhow, bail};
use clap::Args;

use super::check::load;
use crate::config::{Config, Route};
use crate::dbt::manifest::verify::{Asked, Standing};
use crate::dbt::{self, Claim};
use crate::identity::{self, Principal};
use crate::policy::{AccessRequest, Verdict};
use crate::serve::manifest;
use crate::serve::policies::Texts;
use crate::sql::{self, Effect};

/// Print what a statement would do and how policy decides about it, rule by rule.
///
/// Uses the same code as the running proxy, offline. Exit code 0: allowed (or observed); 1: denied.
#[derive(Args)]
pub(super) struct Command {
    /// The configuration file.
    #[arg(long, value_name = "FILE", env = "TOLLHOUSE_CONFIG")]
    config: PathBuf,
    /// The target; may be left out where there is just one.
    #[arg(long)]
    target: Option<String>,
    /// The database of the session.
    #[arg(long, default_value = "postgres")]
    database: String,
    /// The namespace that the workload would be proven to be in.
    #[arg(long, default_value = "default")]
    namespace: String,
    /// The service account that the workload would be proven to be.
    #[arg(long, default_value = "default")]
    service_account: String,
    /// A label of the workload, beside those in the configuration.
    #[arg(long = "label", value_name = "KEY=VALUE")]
    labels: Vec<String>,
    /// The one schema of the session's search path.
    #[arg(long, value_name = "SCHEMA")]
    search_path: Option<String>,
    /// The statement; read from standard input where it is `-` or left out.
    statement: Option<String>,
}

impl Command {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let config = load(&self.config)?;
        let set = match Texts::read(&config.file.policy.paths).and_then(|texts| texts.compile()) {
            Ok(set) => set,
            Err(problems) => bail!("{}", problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")),
        };
        let route = self.route(&config)?;
        let principal = self.principal(route)?;
        let statement = self.statement()?;
        let limits = sql::Limits { statement_bytes_max: statement.len(), nesting_max: config.file.limits.nesting_max };
        let analysis = sql::analyze(route.kind.dialect, &statement, &limits);
        let effects: Vec<Effect> = analysis.statements.iter().flat_map(|statement| statement.effects.clone()).collect();
        let dbt = dbt::attribute(&statement);
        let standing = match (&config.file.dbt, &dbt) {
            (Some(settings), Some(said)) => {
                let manifest = manifest::read(&settings.manifest).map_err(|problem| anyhow!("{problem}"))?;
                let (text, statements) = (statement.as_str(), analysis.statements.as_slice());
                manifest
                    .verify(said, &Asked { text, statements, database: &self.database, unqualified_schema: self.search_path.as_deref() })
            }
            (None, _) | (_, None) => Standing::Claimed,
        };
        let explanation = set.explain(&AccessRequest {
            principal: &principal,
            target: &route.target,
            database: &self.database,
            role: &route.role,
            unqualified_schema: self.search_path.as_deref(),
            effects: &effects,
            dbt: dbt.as_ref().map(|attribution| Claim { attribution, standing: &standing }),
        });
        let mut out = io::stdout().lock();
        for statement in &analysis.statements {
            writeln!(out, "statement  {}", statement.verb)?;
            for effect in &statement.effects {
                writeln!(out, "           {effect}")?;
            }
        }
        write!(out, "{explanation}")?;
        Ok(match explanation.decision().verdict {
            Verdict::Allowed | Verdict::Observed => ExitCode::SUCCESS,
            Verdict::Denied => ExitCode::FAILURE,
        })
    }

    fn route<'c>(&self, config: &'c Config) -> anyhow::Result<&'c Route> {
        match &self.target {
            Some(name) => config.routes.iter().find(|route| route.target.name == *name).context("no listener has that target"),
            None => config.routes.first().context("the configuration has no listener"),
        }
    }

    fn principal(&self, route: &Route) -> anyhow::Result<Principal> {
        let (issuer, mut labels): (_, BTreeMap<String, String>) = match &route.identity {
            identity::Settings::Kubernetes(settings) => (settings.issuer.to_string(), settings.labels.clone()),
            identity::Settings::Oidc(settings) => (settings.issuer.to_string(), settings.labels.clone()),
        };
        for label in &self.labels {
            let (key, value) = label.split_once('=').context("a label is KEY=VALUE")?;
            labels.insert(key.to_owned(), value.to_owned());
        }
        Ok(Principal {
            issuer,
            subject: format!("system:serviceaccount:{}:{}", self.namespace, self.service_account),
            token_id: None,
            namespace: Some(self.namespace.clone()),
            service_account: Some(self.service_account.clone()),
            pod: None,
            pod_uid: None,
            labels,
            proven_by: "explain",
            expires_at: SystemTime::now(),
        })
    }

    fn statement(&self) -> anyhow::Result<String> {
        match self.statement.as_deref() {
            Some(text) if text != "-" => Ok(text.to_owned()),
            Some(_) | None => {
                let mut text = String::new();
                io::stdin().lock().read_to_string(&mut text).context("reading the statement from standard input")?;
                Ok(text)
            }
        }
    }
}
