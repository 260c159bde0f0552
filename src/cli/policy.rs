//! `tollhouse policy`: what people do with policies before they are in force.

use std::process::ExitCode;

use clap::{Args, Subcommand};

mod derive;

/// Write policies.
#[derive(Args)]
pub(super) struct Command {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    Derive(derive::Command),
}

impl Command {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        match self.action {
            Action::Derive(command) => command.run(),
        }
    }
}
