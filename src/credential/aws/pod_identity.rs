//! Temporary AWS keys from the agent of EKS Pod Identity on the node.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::aws::SettingsError;
use crate::aws::container::{Agent, EKS_TOKEN_FILE, EKS_URL};
use crate::tls::{ClientSettings, Trust};

/// The agent, and the token that it wants to see.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The agent's address, as EKS writes it into `AWS_CONTAINER_CREDENTIALS_FULL_URI`. Without TLS only at the addresses that
    /// a node answers for itself: 169.254.170.23, fd00:ec2::23, 169.254.170.2 and loopback.
    #[serde(default = "url_default")]
    pub url: String,
    /// The token's file, as in `AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE`; read at each exchange.
    #[serde(default = "token_file_default")]
    pub token_file: PathBuf,
    /// How the agent is reached where it is reached over TLS.
    #[serde(default)]
    pub tls: ClientSettings,
}

fn url_default() -> String {
    EKS_URL.to_owned()
}

fn token_file_default() -> PathBuf {
    EKS_TOKEN_FILE.into()
}

impl Settings {
    /// The agent that they describe.
    ///
    /// # Errors
    /// When the address or the TLS settings cannot be used.
    pub(in crate::credential) fn agent(&self, trust: Trust) -> Result<Agent, SettingsError> {
        Agent::new(&self.url, Some(self.token_file.clone()), &self.tls, trust)
    }
}
