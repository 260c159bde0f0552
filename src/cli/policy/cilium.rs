//! `tollhouse policy cilium`: what Cilium has to let pass beneath policies of ours.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::bail;
use clap::Args;

use crate::cli::check::load;
use crate::policy::network::write::needed;
use crate::serve::policies::Texts;

/// Write the CiliumNetworkPolicy that the configured policies and targets need.
///
/// DNS, hosts, ports, and server names where a connection begins with TLS; for those targets alone that a WarehousePolicy
/// reaches. To be put beside the policies, and applied to the cluster.
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
            Err(problems) => bail!("{}", problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")),
        };
        let targets: Vec<_> = config.routes.iter().map(|route| route.target.as_ref()).collect();
        io::stdout().lock().write_all(needed(&set, &targets).as_bytes())?;
        Ok(ExitCode::SUCCESS)
    }
}
