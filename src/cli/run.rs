//! `tollhouse run`: the sidecar.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::Args;
use tokio::signal::unix::{SignalKind, signal};

use super::check::load;
use super::shield_memory;
use crate::log;
use crate::serve::Server;

/// Run the sidecar.
///
/// Listens where the configuration says, and is ready when /readyz answers 200: listeners are bound, policies are in
/// force, and the audit log is writable. SIGTERM and SIGINT drain: no new sessions, running queries finish until
/// shutdown.deadline and are then cancelled at the warehouse, the audit log gets its closing record, exit code 0.
#[derive(Args)]
pub(super) struct Command {
    /// The configuration file.
    #[arg(long, value_name = "FILE", env = "TOLLHOUSE_CONFIG")]
    config: PathBuf,
}

impl Command {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        shield_memory()?;
        let config = load(&self.config)?;
        log::start(&config.file.log).context("log.level")?;
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("starting the runtime")?;
        runtime.block_on(async {
            let mut terminate = signal(SignalKind::terminate()).context("listening for SIGTERM")?;
            let mut interrupt = signal(SignalKind::interrupt()).context("listening for SIGINT")?;
            let development = config.file.development;
            let server = Server::bind(config).await?;
            for address in server.listener_addresses()? {
                tracing::info!(%address, "listening");
            }
            if development {
                tracing::warn!("development: true accepts certificates that are NOT FOR PRODUCTION");
            }
            let stop = async {
                tokio::select! {
                    _ = terminate.recv() => {}
                    _ = interrupt.recv() => {}
                }
            };
            server.run(stop).await?;
            tracing::info!("stopped");
            Ok(ExitCode::SUCCESS)
        })
    }
}
