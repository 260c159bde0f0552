//! `tollhouse check`: is this configuration right?

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::bail;
use clap::Args;

use crate::config::Config;
use crate::document::Problem;
use crate::serve::manifest;
use crate::serve::policies::Texts;

/// Check a configuration and the policies that it names, and report every problem at once.
///
/// Each problem is a line with the file, the place in it, and what would be right. Nothing is started and nothing is
/// connected to. Exit code 0: no problem; 1: problems.
#[derive(Args)]
pub(super) struct Command {
    /// The configuration file.
    #[arg(long, value_name = "FILE", env = "TOLLHOUSE_CONFIG")]
    config: PathBuf,
}

impl Command {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let config = load(&self.config)?;
        let set = match Texts::read(&config.file.policy.paths).and_then(|texts| texts.compile()) {
            Ok(set) => set,
            Err(problems) => bail!(report(&problems)),
        };
        if let Some(dbt) = &config.file.dbt
            && let Err(problem) = manifest::read(&dbt.manifest)
        {
            bail!(report(&[problem]));
        }
        let mut out = io::stdout().lock();
        for warning in set.warnings() {
            writeln!(out, "warning: {warning}")?;
        }
        let (listeners, targets, policies) = (config.routes.len(), config.file.targets.len(), set.summaries().len());
        writeln!(out, "{}: ok: listeners {listeners}, targets {targets}, policies {policies} ({})", self.config.display(), set.revision())?;
        Ok(ExitCode::SUCCESS)
    }
}

/// Reads a configuration with the environment of this process.
///
/// # Errors
/// Every problem, a line each.
pub(super) fn load(path: &Path) -> anyhow::Result<Config> {
    match Config::load(path, &|name| std::env::var(name).ok()) {
        Ok(config) => Ok(config),
        Err(problems) => bail!(report(&problems)),
    }
}

fn report(problems: &[Problem]) -> String {
    let count = match problems.len() {
        1 => "1 problem".to_owned(),
        count => format!("{count} problems"),
    };
    let lines: Vec<_> = problems.iter().map(|problem| format!("  {problem}")).collect();
    format!("{count}\n{}", lines.join("\n"))
}
