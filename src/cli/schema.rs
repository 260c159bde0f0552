//! `tollhouse schema`: the JSON schemas that editors complete and check with.

use std::io::{self, Write};
use std::process::ExitCode;

use clap::{Args, ValueEnum};

use serde_json::json;

use crate::policy::{self, crd};
use crate::webhook::{self, binding};
use crate::{config, controller};

/// Print a JSON schema (draft 2020-12), for editors and for checks in CI.
#[derive(Args)]
pub(super) struct Command {
    /// Of what.
    #[arg(value_enum)]
    of: Document,
}

#[derive(Clone, Copy, ValueEnum)]
enum Document {
    /// The configuration of `tollhouse run`.
    Config,
    /// WarehousePolicy and ClusterWarehousePolicy.
    Policy,
    /// Both, and WarehouseBinding, as CustomResourceDefinitions, for `kubectl apply -f -`.
    Crd,
    /// The configuration of `tollhouse webhook`.
    Webhook,
    /// The configuration of `tollhouse controller`.
    Controller,
}

impl Command {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let schema = match self.of {
            Document::Config => config::schema(),
            Document::Policy => policy::schema(),
            Document::Webhook => webhook::schema(),
            Document::Controller => controller::schema(),
            Document::Crd => {
                let items: Vec<_> =
                    [crd::definitions(), vec![binding::definition()]].concat().into_iter().map(|(_, definition)| definition).collect();
                json!({ "apiVersion": "v1", "kind": "List", "items": items })
            }
        };
        writeln!(io::stdout().lock(), "{schema:#}")?;
        Ok(ExitCode::SUCCESS)
    }
}
