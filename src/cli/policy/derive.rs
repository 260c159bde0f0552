//! `tollhouse policy derive`: the policy that a dbt project needs.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, anyhow, bail};
use clap::{ArgGroup, Args};
use similar::TextDiff;

use crate::audit::recorded::{Recorded, RecordedExecutions};
use crate::policy::derive::observed::{Observed, Proposal};
use crate::policy::derive::{Options, derive};
use crate::policy::{PolicySet, Source, Verdict};
use crate::serve::manifest;
use crate::sql::{Effect, OpaqueClass};
use crate::warehouse;

/// Write the WarehousePolicy that a dbt project needs, and nothing more.
///
/// From a manifest: each node may read what it depends on (through ephemeral models) and write what is its own, with the
/// temporary and backup relations, indexes and grants that its materialization makes. Hooks that are plain SQL are analyzed;
/// a comment stands where a person must decide. The manifest has to be of the target that the policy is for: its relations
/// carry that target's database and schemas. Known so far is what the adapter `postgres` sends.
///
/// From an audit log: the narrowest rules that allow what was recorded and not denied, node by node. What was opaque, or
/// whose schema was not certain, becomes a comment.
///
/// Exit code 0: written, or --check found no difference; 1: not possible, or --check found one.
#[derive(Args)]
#[command(group(ArgGroup::new("from").required(true)))]
pub(super) struct Command {
    /// dbt's `target/manifest.json`.
    #[arg(long, value_name = "FILE", group = "from")]
    manifest: Option<PathBuf>,
    /// The directory of an audit log.
    #[arg(long, value_name = "DIRECTORY", group = "from")]
    from_audit: Option<PathBuf>,
    /// The dbt target that statements of nodes must claim; any where left out.
    #[arg(long, value_name = "NAME")]
    target: Option<String>,
    /// The namespace of the policy.
    #[arg(long)]
    namespace: Option<String>,
    /// The name of the policy.
    #[arg(long, default_value = "dbt")]
    name: String,
    /// A label of the workloads that the policy is for; all of the namespace where none is given.
    #[arg(long = "selector", value_name = "KEY=VALUE")]
    selector: Vec<String>,
    /// A host of the warehouse, where `*` stands for any part of one label; any host where none is given.
    #[arg(long = "host")]
    hosts: Vec<String>,
    /// Demand that statements fit the nodes that they name, by the manifest in the configuration of the sidecar.
    #[arg(long)]
    verified: bool,
    /// Where to write; standard output where left out.
    #[arg(short, long, value_name = "FILE", conflicts_with = "check")]
    output: Option<PathBuf>,
    /// Compare with this file, print the difference, and write nothing.
    #[arg(long, value_name = "FILE")]
    check: Option<PathBuf>,
}

impl Command {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let text = self.text()?;
        if let Err(problems) = PolicySet::parse(&[Source { file: "the derived policy", text: &text }]) {
            bail!("{}", problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"));
        }
        match (&self.check, &self.output) {
            (Some(file), _) => check(file, &text),
            (None, Some(file)) => {
                std::fs::write(file, &text).with_context(|| format!("writing {}", file.display()))?;
                Ok(ExitCode::SUCCESS)
            }
            (None, None) => {
                io::stdout().lock().write_all(text.as_bytes())?;
                Ok(ExitCode::SUCCESS)
            }
        }
    }

    fn text(&self) -> anyhow::Result<String> {
        let options = self.options()?;
        match (&self.manifest, &self.from_audit) {
            (Some(file), _) => {
                let manifest = manifest::read(file).map_err(|problem| anyhow!("{problem}"))?;
                Ok(derive(&manifest, &options)?)
            }
            (None, Some(directory)) => {
                let mut proposal = Proposal::default();
                let mut recorded = RecordedExecutions::open(directory, |word| warehouse::kind(word).map(|kind| kind.name))?;
                while let Some(found) = recorded.next_recorded()? {
                    if let Some(observed) = observed(found) {
                        proposal.take(&observed)?;
                    }
                }
                Ok(proposal.write(&options))
            }
            (None, None) => bail!("nothing to derive from"),
        }
    }

    fn options(&self) -> anyhow::Result<Options> {
        let mut selector = BTreeMap::new();
        for label in &self.selector {
            let (key, value) = label.split_once('=').with_context(|| format!("`{label}` is not KEY=VALUE"))?;
            selector.insert(key.to_owned(), value.to_owned());
        }
        Ok(Options {
            name: self.name.clone(),
            namespace: self.namespace.clone(),
            selector,
            hosts: self.hosts.clone(),
            target: self.target.clone(),
            verified: self.verified,
        })
    }
}

/// Prints how a file differs from what would be written.
fn check(file: &Path, text: &str) -> anyhow::Result<ExitCode> {
    let written = std::fs::read_to_string(file).with_context(|| format!("reading {}", file.display()))?;
    if written == text {
        return Ok(ExitCode::SUCCESS);
    }
    let name = file.display().to_string();
    let diff = TextDiff::from_lines(written.as_str(), text);
    let mut out = io::stdout().lock();
    write!(out, "{}", diff.unified_diff().context_radius(3).header(&name, "what the project needs"))?;
    writeln!(io::stderr().lock(), "tollhouse: {name} is not what the project needs; derive it anew and review the difference")?;
    Ok(ExitCode::FAILURE)
}
/// What was done, of a record of something that was not denied.
fn observed(found: Recorded) -> Option<Observed> {
    match found {
        Recorded::Execution(execution) if execution.decision.verdict != Verdict::Denied => Some(Observed {
            node: execution.dbt.and_then(|(attribution, _)| attribution.node),
            database: execution.session.database.clone(),
            unqualified_schema: execution.unqualified_schema,
            effects: execution.effects,
        }),
        Recorded::Execution(_) | Recorded::SessionRefused { .. } => None,
        // No rule could be made of it, so it becomes a comment.
        Recorded::Unreadable { id, why } => Some(Observed {
            node: None,
            database: String::new(),
            unqualified_schema: None,
            effects: vec![Effect::Opaque { class: OpaqueClass::Unsupported, detail: format!("record {id} cannot be read: {why}") }],
        }),
    }
}
