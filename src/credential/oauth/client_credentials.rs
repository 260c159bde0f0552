//! A token for the client itself (RFC 6749, section 4.4): of a client with a key or secret, or one that another issuer vouches for.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::credential::ExchangeError;
use crate::credential::chain::ChainProblem;
use crate::credential::oauth::client_auth::ClientAuth;
use crate::credential::oauth::{Extra, Server, TokenEndpoint};
use crate::credential::value::Token;
use crate::fetch::endpoint::Endpoint;
use crate::tls::{ClientSettings, Trust};

/// A token endpoint and what to ask of it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The token endpoint. Exactly one of this, `issuer` and `metadata` is needed.
    #[serde(default)]
    pub token_endpoint: Option<Endpoint>,
    /// An OpenID provider, whose discovery document names the token endpoint.
    #[serde(default)]
    pub issuer: Option<Endpoint>,
    /// The whole address of an authorization server's metadata (RFC 8414), which name the token endpoint.
    #[serde(default)]
    pub metadata: Option<Endpoint>,
    /// Scopes, separated by spaces.
    #[serde(default)]
    pub scope: Option<String>,
    /// How we prove ourselves. With `federated` the step takes a token, and with any other it takes nothing.
    pub client_auth: ClientAuth,
    /// More fields that the endpoint wants.
    #[serde(default)]
    pub extra: Extra,
    /// How the endpoint is reached.
    #[serde(default)]
    pub tls: ClientSettings,
}

/// One client at one token endpoint.
#[derive(Debug)]
pub(in crate::credential) struct ClientCredentials {
    endpoint: TokenEndpoint,
    scope: Option<String>,
    wanted: Option<String>,
}

impl ClientCredentials {
    pub(in crate::credential) fn new(settings: &Settings, trust: Trust) -> Result<Self, ChainProblem> {
        if settings.client_auth == ClientAuth::None {
            let problem = "with `none`, nothing would prove the client".to_owned();
            return Err(ChainProblem::Setting { field: "client_auth", problem });
        }
        let server = Server {
            token_endpoint: settings.token_endpoint.as_ref(),
            issuer: settings.issuer.as_ref(),
            metadata: settings.metadata.as_ref(),
            client_auth: &settings.client_auth,
            extra: &settings.extra,
            tls: &settings.tls,
        };
        Ok(Self { endpoint: TokenEndpoint::new(server, trust)?, scope: settings.scope.clone(), wanted: None })
    }

    /// The same, at an endpoint that is known to want tokens for this audience.
    pub(in crate::credential) fn wanting(self, audience: String) -> Self {
        Self { wanted: Some(audience), ..self }
    }

    /// The audience that the token should have, where it is known.
    pub(in crate::credential) fn audience(&self) -> Option<&str> {
        self.wanted.as_deref()
    }

    /// Asks once; `assertion` counts where the client is federated.
    pub(in crate::credential) async fn obtain(&self, assertion: &Token) -> Result<Token, ExchangeError> {
        let mut form = vec![("grant_type", "client_credentials")];
        form.extend(self.scope.as_deref().map(|scope| ("scope", scope)));
        self.endpoint.ask(form, assertion).await
    }
}
