//! `tollhouse policy`: looks after policy documents.

use std::process::ExitCode;

use clap::{Args, Subcommand};

mod cilium;
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
    Cilium(cilium::Command),
    Derive(derive::Command),
    Lint(lint::Command),
    Replay(replay::Command),
}

impl Command {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        match self.action {
            Action::Cilium(command) => command.run(),
            Action::Derive(command) => command.run(),
            Action::Lint(command) => command.run(),
            Action::Replay(command) => command.run(),
        }
    }
}
