//! `tollhouse policy replay`: what another set of policies would have decided on recorded executions.

mod page;
mod report;
mod tally;
#[cfg(test)]
mod tests;
mod text;

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::{Args, ValueEnum};

use crate::audit::recorded::{Recorded, RecordedExecutions};
use crate::policy::PolicySet;
use crate::serve::policies::Texts;
use crate::warehouse;

use report::Report;
use tally::Tally;

/// Decide again about every recorded execution, under another set of policies.
///
/// Tells what would be denied that passed, what would pass that was denied, and what another rule would decide, by dbt
/// node and rule, each with records to look up (`tollhouse audit show`, `tollhouse explain --record`).
///
/// The effects are those that were judged and recorded, so the text of a statement need not be in the log. Where it is, it is
/// also analyzed again, and a difference is noted. What dbt claims is worth what it was then. A rule of Cilium's about addresses
/// is not judged: the log has names.
///
/// Reads the log once, in memory that does not grow with it. Exit code 0: replayed; with --check, 1: something that passed
/// would be denied, or could not be judged.
#[derive(Debug, Args)]
pub(super) struct Command {
    /// The directory of the audit log.
    #[arg(long, value_name = "DIRECTORY", env = "TOLLHOUSE_AUDIT_DIRECTORY")]
    audit: PathBuf,
    /// A file or directory of policies; repeat it for several. Together they are the set.
    #[arg(long = "policy", value_name = "PATH", required = true)]
    policies: Vec<PathBuf>,
    /// Take every policy as enforcing: what would policies in observe mode deny?
    #[arg(long)]
    enforce: bool,
    /// Fail where something that passed would be denied.
    #[arg(long)]
    check: bool,
    /// How to print.
    #[arg(long, value_enum, default_value_t = Output::Text)]
    output: Output,
    /// Where to write; standard output where left out.
    #[arg(short = 'o', long = "file", value_name = "FILE")]
    file: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Output {
    /// Tables for people.
    Text,
    /// One JSON object.
    Json,
    /// One page without anything from elsewhere.
    Html,
}

impl Command {
    /// Does what was asked.
    ///
    /// # Errors
    /// When the log or a policy cannot be read, or the report cannot be written.
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let report = self.replay()?;
        match &self.file {
            Some(path) => {
                let file = File::create(path).with_context(|| format!("{} cannot be written", path.display()))?;
                let mut out = BufWriter::new(file);
                self.output.write(&mut out, &report)?;
                out.flush()?;
            }
            None => self.output.write(&mut io::stdout().lock(), &report)?,
        }
        Ok(if self.check && !report.is_harmless() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
    }

    fn replay(&self) -> anyhow::Result<Report> {
        let set = self.policies()?;
        let mut tally = Tally::new(&set);
        let mut recorded = RecordedExecutions::open(&self.audit, |word| warehouse::kind(word).map(|kind| kind.name))?;
        while let Some(found) = recorded.next_recorded()? {
            match found {
                Recorded::Execution(execution) => tally.add(&execution),
                Recorded::Unreadable { id, why } => tally.add_unreadable(id, why),
                Recorded::SessionRefused { .. } => tally.add_refused_session(),
            }
        }
        Ok(tally.into_report(self.enforce))
    }

    fn policies(&self) -> anyhow::Result<PolicySet> {
        match Texts::read(&self.policies).and_then(|texts| texts.compile()) {
            Ok(set) if self.enforce => Ok(set.enforced()),
            Ok(set) => Ok(set),
            Err(problems) => bail!("{}", problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")),
        }
    }
}

impl Output {
    fn write(self, out: &mut impl Write, report: &Report) -> anyhow::Result<()> {
        match self {
            Self::Text => text::write(out, report)?,
            Self::Json => writeln!(out, "{}", serde_json::to_string_pretty(report)?)?,
            Self::Html => out.write_all(page::page(report).into_string().as_bytes())?,
        }
        Ok(())
    }
}
