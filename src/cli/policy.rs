//! `tollhouse policy`: looks after policy documents.

use std::process::ExitCode;

use clap::{Args, Subcommand};

mod derive;
mod lint;
mod replay;

/// Look after policy documents.
#[derive(Args)]
pub(super) struct Command {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    Derive(derive::Command),
    Lint(lint::Command),
    Replay(replay::Command),
}

impl Command {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        match self.action {
            Action::Derive(command) => command.run(),
            Action::Lint(command) => command.run(),
            Action::Replay(command) => command.run(),
        }
    }
}
