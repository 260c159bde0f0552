//! `tollhouse controller`: compiles bindings and policies into what sidecars mount.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, anyhow};
use clap::Args;
use tokio::signal::unix::{SignalKind, signal};

use super::shield_memory;
use crate::controller::{Controller, Settings};
use crate::{document, log};

/// Compile WarehouseBindings and policies into the ConfigMaps that sidecars mount, and say on each object whether it is valid.
///
/// One replica is enough; sidecars that run do not need it. A change is in its ConfigMap within the configured interval, and in
/// running sidecars when the kubelet has brought it there, within a minute as a rule. SIGTERM and SIGINT stop it, exit code 0.
#[derive(Args)]
pub(super) struct Command {
    /// The controller's configuration; everything has a default.
    #[arg(long, value_name = "FILE", env = "TOLLHOUSE_CONTROLLER_CONFIG")]
    config: Option<PathBuf>,
}

impl Command {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        shield_memory()?;
        let (name, text) = match &self.config {
            Some(path) => (path.display().to_string(), std::fs::read_to_string(path).with_context(|| path.display().to_string())?),
            None => ("defaults".to_owned(), "{}".to_owned()),
        };
        let settings: Settings = document::read(&name, &text, &|name| std::env::var(name).ok())
            .map_err(|problems| anyhow!(problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")))?;
        log::start(&settings.log).context("log.level")?;
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().context("starting the runtime")?;
        runtime.block_on(async {
            let mut terminate = signal(SignalKind::terminate()).context("listening for SIGTERM")?;
            let mut interrupt = signal(SignalKind::interrupt()).context("listening for SIGINT")?;
            let stop = async {
                tokio::select! {
                    _ = terminate.recv() => {}
                    _ = interrupt.recv() => {}
                }
            };
            Controller::new(settings)?.run(stop).await?;
            tracing::info!("stopped");
            Ok(ExitCode::SUCCESS)
        })
    }
}
