//! `tollhouse explain`: what would be decided about a statement, and why.

use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::SystemTime;

use anyhow::{Context, anyhow, bail};
use clap::Args;

use super::audit::visible;
use super::check::load;
use crate::audit::recorded::{self, Recorded, RecordedExecution};
use crate::config::{Config, Route};
use crate::dbt::manifest::verify::{Asked, Standing};
use crate::dbt::{self, Claim};
use crate::identity::Principal;
use crate::policy::explain::Explanation;
use crate::policy::{AccessRequest, PolicySet};
use crate::serve::manifest;
use crate::serve::policies::Texts;
use crate::sql::{self, Effect};
use crate::warehouse;

/// Print what a statement would do and how policy decides about it, rule by rule.
///
/// Ends with the least that would have to change for it to be allowed. With --audit and --record, an execution that was recorded
/// is put to the policies of the configuration as they are now.
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
    /// The directory of the audit log that --record is in.
    #[arg(long, value_name = "DIRECTORY", requires = "record")]
    audit: Option<PathBuf>,
    /// Explain this recorded execution; its id, or its number alone.
    #[arg(
        long,
        value_name = "ID",
        requires = "audit",
        conflicts_with_all = ["target", "database", "namespace", "service_account", "labels", "search_path", "statement"]
    )]
    record: Option<String>,
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
        match (&self.audit, &self.record) {
            (Some(directory), Some(id)) => explain_recorded(&set, directory, id, &mut io::stdout().lock()),
            (None, _) | (_, None) => self.explain_statement(&set, &config, &mut io::stdout().lock()),
        }
    }

    fn explain_statement(&self, set: &PolicySet, config: &Config, out: &mut impl Write) -> anyhow::Result<ExitCode> {
        let route = self.route(config)?;
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
        for statement in &analysis.statements {
            writeln!(out, "statement  {}", statement.verb)?;
            for effect in &statement.effects {
                writeln!(out, "           {effect}")?;
            }
        }
        write!(out, "{explanation}")?;
        Ok(exit_code(&explanation))
    }

    fn route<'c>(&self, config: &'c Config) -> anyhow::Result<&'c Route> {
        match &self.target {
            Some(name) => config.routes.iter().find(|route| route.target.name == *name).context("no listener has that target"),
            None => config.routes.first().context("the configuration has no listener"),
        }
    }

    fn principal(&self, route: &Route) -> anyhow::Result<Principal> {
        let mut labels = route.identity.labels().clone();
        for label in &self.labels {
            let (key, value) = label.split_once('=').context("a label is KEY=VALUE")?;
            labels.insert(key.to_owned(), value.to_owned());
        }
        Ok(Principal {
            issuer: "explain".to_owned(),
            subject: format!("system:serviceaccount:{}:{}", self.namespace, self.service_account),
            token_id: None,
            actors: Vec::new(),
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

/// What was decided then, and how the policies decide now.
fn explain_recorded(set: &PolicySet, directory: &Path, id: &str, out: &mut impl Write) -> anyhow::Result<ExitCode> {
    let kind_of = |word: &str| warehouse::kind(word).map(|kind| kind.name);
    let execution = match recorded::find(directory, id, kind_of)? {
        Some(Recorded::Execution(execution)) => execution,
        Some(Recorded::Unreadable { id, why }) => bail!("record {id} cannot be judged: {why}"),
        Some(Recorded::SessionRefused { .. }) | None => bail!("the log in {} has no execution {id}", directory.display()),
    };
    let RecordedExecution { id, time, verbs, effects, decision, .. } = &*execution;
    writeln!(out, "record     {id}, {time}")?;
    writeln!(out, "statement  {}", verbs.join("; "))?;
    for effect in effects {
        writeln!(out, "           {effect}")?;
    }
    writeln!(out, "then       {} under {}", decision.verdict.as_str(), decision.revision)?;
    if let Some(rule) = &decision.rule {
        writeln!(out, "           by {rule}")?;
    }
    if let Some(denial) = &decision.denial {
        writeln!(out, "           because {} ({})", visible(&denial.sentence), visible(&denial.reason))?;
    }
    writeln!(out)?;
    let request = execution.request();
    let explanation = set.explain(&request);
    write!(out, "{explanation}")?;
    Ok(exit_code(&explanation))
}

fn exit_code(explanation: &Explanation<'_>) -> ExitCode {
    if explanation.decision().verdict.passes() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

#[cfg(test)]
mod tests {
    use std::process::ExitCode;

    use super::explain_recorded;
    use crate::audit::tests::Fixture;
    use crate::policy::{PolicySet, Source};

    #[tokio::test]
    async fn a_recorded_execution_is_put_to_the_policies_of_now() {
        let fixture = Fixture::new();
        let log = fixture.open();
        log.attempt(&fixture.attempt("select 1")).await.unwrap();
        let id = log.refuse(&fixture.attempt("select id from orders")).await.unwrap().to_string();
        log.close().await.unwrap();
        let text = "{apiVersion: tollhouse.dev/v1alpha1, kind: WarehousePolicy, metadata: {name: now, namespace: shop}, spec: {endpointSelector: {}, \
                    egress: [{toPorts: [{rules: {sql: [{tables: [shop.public.other]}]}}]}]}}";
        let set = PolicySet::parse(&[Source { file: "now", text }]).unwrap();
        let mut out = Vec::new();
        let code = explain_recorded(&set, fixture.path(), &id, &mut out).unwrap();
        let printed = String::from_utf8(out).unwrap();
        assert_eq!(code, ExitCode::FAILURE);
        for part in [
            format!("record     {id}, "),
            "then       allowed under abc123".to_owned(),
            "by shop/read spec.egress[0].toPorts[0].rules.sql[0]".to_owned(),
            "principal  system:serviceaccount:shop:dbt".to_owned(),
            "verdict    denied".to_owned(),
            "- { actions: [select], dbt: { nodes: [model.shop.orders] }, tables: [shop.public.orders] }".to_owned(),
        ] {
            assert!(printed.contains(&part), "{part} is missing in\n{printed}");
        }
        let missing = explain_recorded(&set, fixture.path(), "nobody-1", &mut Vec::new()).unwrap_err();
        assert!(missing.to_string().contains("has no execution nobody-1"));
    }
}
