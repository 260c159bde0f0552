//! Databricks' token endpoint: for a token of another issuer (federation), as settings of [`token_exchange`]; for a service
//! principal's own secret, use `client_credentials`.
//!
//! <https://docs.databricks.com/aws/en/dev-tools/auth/oauth-federation-exchange>

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::credential::chain::ChainProblem;
use crate::credential::oauth::token_exchange::{self, JWT_TOKEN_TYPE};
use crate::credential::oauth::{Extra, usual};
use crate::fetch::endpoint::Endpoint;
use crate::tls::ClientSettings;

/// A workspace, and which of its identities to become.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The workspace's address, such as `https://dbc-1.cloud.databricks.com`.
    pub workspace: Endpoint,
    /// The service principal's application id, where its own federation policy is meant and not the account's.
    #[serde(default)]
    pub client_id: Option<String>,
    /// The group to act as.
    #[serde(default)]
    pub assume_group: Option<String>,
    /// Scopes, separated by spaces.
    #[serde(default = "scope_default")]
    pub scope: String,
    /// The token endpoint at another address than the workspace's.
    #[serde(default)]
    pub token_endpoint: Option<Endpoint>,
    /// How it is reached.
    #[serde(default)]
    pub tls: ClientSettings,
}

fn scope_default() -> String {
    "all-apis".to_owned()
}

impl Settings {
    /// The settings of the exchange that this is.
    pub(in crate::credential) fn exchange(&self) -> Result<token_exchange::Settings, ChainProblem> {
        let at = format!("{}/oidc/v1/token", self.workspace.as_str().trim_end_matches('/'));
        let named = [("client_id", &self.client_id), ("assume_group", &self.assume_group)];
        let extra: BTreeMap<_, _> = named.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value.clone()?))).collect();
        Ok(token_exchange::Settings {
            token_endpoint: Some(usual(self.token_endpoint.as_ref(), &at)?),
            subject_token_type: Some(JWT_TOKEN_TYPE.to_owned()),
            scope: Some(self.scope.clone()),
            extra: Extra(extra),
            tls: self.tls.clone(),
            ..token_exchange::Settings::default()
        })
    }
}
