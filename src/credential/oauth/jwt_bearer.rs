//! A token for an assertion as the grant itself (RFC 7523, section 2.1; RFC 7522, section 2.1 for SAML).

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
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
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
    /// What the assertion is.
    #[serde(default)]
    pub grant: Grant,
    /// Scopes, separated by spaces.
    #[serde(default)]
    pub scope: Option<String>,
    /// How we prove ourselves to the endpoint, beside the assertion.
    #[serde(default)]
    pub client_auth: ClientAuth,
    /// More fields that the endpoint wants.
    #[serde(default)]
    pub extra: Extra,
    /// How the endpoint is reached.
    #[serde(default)]
    pub tls: ClientSettings,
}

/// What an assertion is, and so which grant it makes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Grant {
    /// A JWT.
    #[default]
    Jwt,
    /// A SAML 2.0 assertion, base64url-encoded.
    Saml2,
}

impl Grant {
    fn urn(self) -> &'static str {
        match self {
            Self::Jwt => "urn:ietf:params:oauth:grant-type:jwt-bearer",
            Self::Saml2 => "urn:ietf:params:oauth:grant-type:saml2-bearer",
        }
    }
}

/// One token endpoint that takes assertions.
#[derive(Debug)]
pub(in crate::credential) struct JwtBearer {
    endpoint: TokenEndpoint,
    settings: Settings,
}

impl JwtBearer {
    pub(in crate::credential) fn new(settings: &Settings, trust: Trust) -> Result<Self, ChainProblem> {
        let server = Server {
            token_endpoint: settings.token_endpoint.as_ref(),
            issuer: settings.issuer.as_ref(),
            metadata: settings.metadata.as_ref(),
            client_auth: &settings.client_auth,
            extra: &settings.extra,
            tls: &settings.tls,
        };
        Ok(Self { endpoint: TokenEndpoint::new(server, trust)?, settings: settings.clone() })
    }

    /// Asks once; `workload` proves the client where that is federated.
    pub(in crate::credential) async fn exchange(&self, assertion: &Token, workload: &Token) -> Result<Token, ExchangeError> {
        let mut form = vec![("grant_type", self.settings.grant.urn()), ("assertion", assertion.value.expose().as_str())];
        form.extend(self.settings.scope.as_deref().map(|scope| ("scope", scope)));
        self.endpoint.ask(form, workload).await
    }
}
