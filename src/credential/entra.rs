//! Microsoft Entra's token endpoint for an application whose federated credential is the workload's token, as settings of
//! [`client_credentials`].
//!
//! <https://learn.microsoft.com/entra/identity-platform/v2-oauth2-client-creds-grant-flow>

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::credential::chain::ChainProblem;
use crate::credential::oauth::client_auth::{ClientAuth, JWT_ASSERTION_TYPE};
use crate::credential::oauth::{client_credentials, usual};
use crate::fetch::endpoint::Endpoint;
use crate::tls::ClientSettings;

/// The audience that Entra wants of such a token.
pub(in crate::credential) const AUDIENCE: &str = "api://AzureADTokenExchange";

/// What Entra calls the warehouses, by the words of `scope`.
const SCOPES: &[(&str, &str)] = &[
    ("databricks", "2ff814a6-3304-4ab8-85cb-cd0e6f879c1d/.default"),
    ("postgresql", "https://ossrdbms-aad.database.windows.net/.default"),
    ("snowflake", "api://fd3f753b-eed3-462c-b6a7-a4b5bb650aad/.default"),
    ("sql", "https://database.windows.net/.default"),
];

/// An application and the scope to ask for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The tenant's id.
    pub tenant: String,
    /// The application's id.
    pub client_id: String,
    /// `postgresql`, `sql` (SQL Database, Synapse, Fabric), `databricks`, `snowflake`, or a scope as Entra writes it.
    pub scope: String,
    /// The authority at another address than `https://login.microsoftonline.com`, such as a sovereign cloud's.
    #[serde(default)]
    pub authority: Option<Endpoint>,
    /// How it is reached.
    #[serde(default)]
    pub tls: ClientSettings,
}

impl Settings {
    /// The settings of the request that this is.
    pub(in crate::credential) fn request(&self) -> Result<client_credentials::Settings, ChainProblem> {
        let fail = |field, problem: &str| ChainProblem::Setting { field, problem: problem.to_owned() };
        let is_name = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte));
        if !is_name(&self.tenant) {
            return Err(fail("tenant", "expected an id or a domain"));
        }
        let scope = match SCOPES.iter().find(|(word, _)| *word == self.scope) {
            Some((_, scope)) => *scope,
            None if self.scope.contains('/') => &self.scope,
            None => {
                return Err(fail(
                    "scope",
                    "expected postgresql, sql, databricks, snowflake, or a scope such as https://x.example/.default",
                ));
            }
        };
        let authority = usual(self.authority.as_ref(), "https://login.microsoftonline.com")?;
        let endpoint =
            authority.below(&format!("{}/oauth2/v2.0/token", self.tenant)).map_err(|error| fail("authority", &error.to_string()))?;
        Ok(client_credentials::Settings {
            token_endpoint: Some(endpoint),
            scope: Some(scope.to_owned()),
            client_auth: ClientAuth::Federated {
                client_id: Some(self.client_id.clone()),
                client_assertion_type: JWT_ASSERTION_TYPE.to_owned(),
            },
            tls: self.tls.clone(),
            ..client_credentials::Settings::default()
        })
    }
}
