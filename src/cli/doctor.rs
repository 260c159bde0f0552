//! `tollhouse doctor`: would a session get a credential and log in, and if not, whose fault is it?

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::{Args, ValueEnum};

use super::check::load;
use super::shield_memory;
use crate::document::Span;
use crate::serve::doctor::{Finding, Verdict, examine};

/// Run identity, each step of the credential exchange and the login of every target, against the real endpoints, and say of
/// each whether it works, whose fault it is if not, and what to do.
///
/// Nothing is run at the warehouse. No secret is printed. Exit code 0: everything that was tried works; 1: something does not.
#[derive(Args)]
pub(super) struct Command {
    /// The configuration file.
    #[arg(long, value_name = "FILE", env = "TOLLHOUSE_CONFIG")]
    config: PathBuf,
    /// The database to log in to; by default the one of the role's name, which need not exist.
    #[arg(long, value_name = "NAME")]
    database: Option<String>,
    /// How to print.
    #[arg(long, value_enum, default_value_t = Output::Text)]
    output: Output,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Output {
    /// For people.
    Text,
    /// For programs: a list of findings.
    Json,
}

impl Command {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        shield_memory()?;
        let config = load(&self.config)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("starting the runtime")?;
        let findings = runtime.block_on(examine(&config, self.database.as_deref()));
        let mut out = io::stdout().lock();
        match self.output {
            Output::Text => write!(out, "{}", text(&findings))?,
            Output::Json => writeln!(out, "{}", serde_json::to_string_pretty(&findings)?)?,
        }
        let is_well = !findings.iter().any(|finding| matches!(finding.verdict, Verdict::Failed { .. }));
        Ok(if is_well { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

fn text(findings: &[Finding]) -> String {
    let mut page = String::new();
    let mut target = None;
    for finding in findings {
        if target != Some(&finding.target) {
            target = Some(&finding.target);
            page.push_str(&format!("{}\n", finding.target));
        }
        page.push_str(&match &finding.verdict {
            Verdict::Ok { gives, expires_in: Some(seconds) } => {
                format!("  ok         {}: {gives}, for {} more\n", finding.part, Span::seconds(*seconds))
            }
            Verdict::Ok { gives, expires_in: None } => format!("  ok         {}: {gives}\n", finding.part),
            Verdict::NotTried { why } => format!("  not tried  {}: {why}\n", finding.part),
            Verdict::Failed { reason, whose, fix, cause } => {
                format!(
                    "  FAILED     {}: {reason}, the fault of: {whose}\n             cause: {cause}\n             fix: {fix}\n",
                    finding.part
                )
            }
        });
    }
    page
}

#[cfg(test)]
mod tests {
    use super::text;
    use crate::serve::doctor::{Finding, Verdict};

    #[test]
    fn a_verdict_reads_as_what_works_what_does_not_whose_fault_it_is_and_what_to_do() {
        let finding = |part: &str, verdict| Finding { target: "warehouse".to_owned(), part: part.to_owned(), verdict };
        let page = text(&[
            finding("identity", Verdict::Ok { gives: "dbt of i".to_owned(), expires_in: Some(600) }),
            finding(
                "credential[0] entra",
                Verdict::Failed { reason: "exchange-refused", whose: "exchange", fix: "do".to_owned(), cause: "400".to_owned() },
            ),
            finding("login", Verdict::NotTried { why: "there is no credential" }),
        ]);
        let expected = "warehouse\n  ok         identity: dbt of i, for 10m more\n  FAILED     credential[0] entra: exchange-refused, the fault of: \
                        exchange\n             cause: 400\n             fix: do\n  not tried  login: there is no credential\n";
        assert_eq!(page, expected);
    }
}
