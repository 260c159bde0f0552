//! The command line.

use std::io::{self, Write};
use std::process::ExitCode;

use anyhow::Context;
use clap::{Parser, Subcommand};
use rustix::process;

use crate::tls;

mod audit;
mod check;
mod controller;
mod dev;
mod doctor;
mod explain;
mod policy;
mod run;
mod schema;
mod webhook;

/// An identity-aware proxy sidecar for data-warehouse connections.
///
/// Tollhouse sits beside dbt on loopback. It proves who is calling from the workload's own token, exchanges the token
/// for a short-lived warehouse credential, forwards only the SQL that policy allows, and writes one durable audit
/// record per query before the query leaves. dbt's profile holds no secret.
#[derive(Parser)]
#[command(name = "tollhouse", version, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Run(run::Command),
    Dev(dev::Command),
    Check(check::Command),
    Doctor(doctor::Command),
    Explain(explain::Command),
    Policy(policy::Command),
    Audit(audit::Command),
    Webhook(webhook::Command),
    Controller(controller::Command),
    Schema(schema::Command),
}

/// Keeps the memory of this process, which holds tokens and keys, out of core dumps and from debuggers of the same user.
///
/// # Errors
/// The system refuses, and then nothing that holds a secret should start.
fn shield_memory() -> anyhow::Result<()> {
    process::set_dumpable_behavior(process::DumpableBehavior::NotDumpable).context("core dumps cannot be switched off")?;
    // For systems whose dump handler looks at the limit alone.
    let none = process::Rlimit { current: Some(0), maximum: Some(0) };
    process::setrlimit(process::Resource::Core, none).context("core dumps cannot be switched off")
}

/// Runs the command line of this process. Exit code 0: done; 1: refused or not proven; 2: the command line is wrong.
pub fn main() -> ExitCode {
    tls::install();
    let done = match Cli::parse().command {
        Command::Run(command) => command.run(),
        Command::Dev(command) => command.run(),
        Command::Check(command) => command.run(),
        Command::Doctor(command) => command.run(),
        Command::Explain(command) => command.run(),
        Command::Policy(command) => command.run(),
        Command::Audit(command) => command.run(),
        Command::Webhook(command) => command.run(),
        Command::Controller(command) => command.run(),
        Command::Schema(command) => command.run(),
    };
    done.unwrap_or_else(|error| {
        // Nothing is left to do if not even standard error takes it.
        let _lost = writeln!(io::stderr().lock(), "tollhouse: {error:#}");
        ExitCode::FAILURE
    })
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::Cli;
    use crate::golden::expect_file;

    #[test]
    fn the_published_manual_is_current() {
        let mut page =
            String::from("# Command line\n\nWhat `--help` says, command by command. Generated from `src/cli.rs` (`make schema`).\n");
        let mut root = Cli::command().term_width(100);
        root.build();
        write_command(&mut page, &mut root);
        expect_file("docs/CLI.md", &page);
    }

    fn write_command(page: &mut String, command: &mut clap::Command) {
        if command.get_name() == "help" {
            return;
        }
        let name = command.get_bin_name().unwrap_or("tollhouse").to_owned();
        let help = command.render_long_help().to_string();
        page.push_str(&format!("\n## `{name}`\n\n```text\n{}\n```\n", help.trim_end()));
        for subcommand in command.get_subcommands_mut() {
            write_command(page, subcommand);
        }
    }
}
