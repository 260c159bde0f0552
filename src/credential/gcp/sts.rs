//! Google's token endpoint for workloads of other places (workload identity federation), as settings of [`token_exchange`].
//!
//! <https://cloud.google.com/iam/docs/reference/sts/rest/v1/TopLevel/token>

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::credential::chain::ChainProblem;
use crate::credential::gcp::CLOUD_PLATFORM;
use crate::credential::oauth::token_exchange::{self, ACCESS_TOKEN_TYPE, JWT_TOKEN_TYPE};
use crate::credential::oauth::{Repeated, usual};
use crate::fetch::endpoint::Endpoint;
use crate::tls::ClientSettings;

/// A provider of a workload identity pool.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The project's number, which is not its id.
    pub project_number: u64,
    /// The pool's id.
    pub pool: String,
    /// The provider's id.
    pub provider: String,
    /// Scopes, separated by spaces.
    #[serde(default = "scope_default")]
    pub scope: String,
    /// The endpoint at another address than Google's.
    #[serde(default)]
    pub token_endpoint: Option<Endpoint>,
    /// How it is reached.
    #[serde(default)]
    pub tls: ClientSettings,
}

fn scope_default() -> String {
    CLOUD_PLATFORM.to_owned()
}

impl Settings {
    /// The settings of the exchange that this is.
    pub(in crate::credential) fn exchange(&self) -> Result<token_exchange::Settings, ChainProblem> {
        Ok(token_exchange::Settings {
            token_endpoint: Some(usual(self.token_endpoint.as_ref(), "https://sts.googleapis.com/v1/token")?),
            audience: Repeated::One(format!("//{}", self.provider_name())),
            scope: Some(self.scope.clone()),
            subject_token_type: Some(JWT_TOKEN_TYPE.to_owned()),
            requested_token_type: Some(ACCESS_TOKEN_TYPE.to_owned()),
            tls: self.tls.clone(),
            ..token_exchange::Settings::default()
        })
    }

    /// The audience that the provider wants of a token unless it is configured with another.
    pub(in crate::credential) fn audience(&self) -> String {
        format!("https://{}", self.provider_name())
    }

    fn provider_name(&self) -> String {
        let Self { project_number, pool, provider, .. } = self;
        format!("iam.googleapis.com/projects/{project_number}/locations/global/workloadIdentityPools/{pool}/providers/{provider}")
    }
}
