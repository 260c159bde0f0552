//! `tollhouse policy`: looks after policy documents.

use std::process::ExitCode;

use clap::{Args, Subcommand};

mod lint;
mod replay;

/// Look after policy documents.
#[derive(Args)]
pub(super) struct Command {
    #[command(subcommand)]
    command: Of,
}

#[derive(Subcommand)]
enum Of {
    Lint(lint::Command),
    Replay(replay::Command),
}

impl Command {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        match self.command {
            Of::Lint(command) => command.run(),
            Of::Replay(command) => command.run(),
        }
    }
}
