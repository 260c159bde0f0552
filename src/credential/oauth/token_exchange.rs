//! Exchanges one token for another at a token endpoint (RFC 8693).

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::credential::ExchangeError;
use crate::credential::chain::ChainProblem;
use crate::credential::oauth::client_auth::ClientAuth;
use crate::credential::oauth::{Extra, Form, Repeated, Server, TokenEndpoint};
use crate::credential::value::Token;
use crate::fetch::endpoint::Endpoint;
use crate::fetch::failure;
use crate::secret::Secret;
use crate::tls::{ClientSettings, Trust};

/// `grant_type` of an exchange (RFC 8693, section 2.1).
pub const GRANT_TYPE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
/// Token type of any JWT (RFC 8693, section 3).
pub const JWT_TOKEN_TYPE: &str = "urn:ietf:params:oauth:token-type:jwt";
/// Token type of an access token (RFC 8693, section 3).
pub const ACCESS_TOKEN_TYPE: &str = "urn:ietf:params:oauth:token-type:access_token";

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
    /// The logical name of where the new token is for, or several.
    #[serde(default)]
    pub audience: Repeated,
    /// The address of where the new token is for, or several.
    #[serde(default)]
    pub resource: Repeated,
    /// Scopes, separated by spaces.
    #[serde(default)]
    pub scope: Option<String>,
    /// What the endpoint is told the present token is; where absent, what the step that gave it says.
    #[serde(default)]
    pub subject_token_type: Option<String>,
    /// What the new token should be.
    #[serde(default)]
    pub requested_token_type: Option<String>,
    /// A file with the token of who acts for the subject, read at each exchange.
    #[serde(default)]
    pub actor_token_file: Option<PathBuf>,
    /// What the endpoint is told that token is.
    #[serde(default)]
    pub actor_token_type: Option<String>,
    /// How we prove ourselves to the endpoint, beside the token.
    #[serde(default)]
    pub client_auth: ClientAuth,
    /// More fields that the endpoint wants.
    #[serde(default)]
    pub extra: Extra,
    /// How the endpoint is reached.
    #[serde(default)]
    pub tls: ClientSettings,
}

/// One token endpoint that exchanges.
#[derive(Debug)]
pub(in crate::credential) struct TokenExchange {
    endpoint: TokenEndpoint,
    settings: Settings,
    wanted: Option<String>,
}

impl TokenExchange {
    pub(in crate::credential) fn new(settings: &Settings, trust: Trust) -> Result<Self, ChainProblem> {
        if settings.actor_token_type.is_some() && settings.actor_token_file.is_none() {
            let problem = "has no meaning without `actor_token_file`".to_owned();
            return Err(ChainProblem::Setting { field: "actor_token_type", problem });
        }
        let server = Server {
            token_endpoint: settings.token_endpoint.as_ref(),
            issuer: settings.issuer.as_ref(),
            metadata: settings.metadata.as_ref(),
            client_auth: &settings.client_auth,
            extra: &settings.extra,
            tls: &settings.tls,
        };
        Ok(Self { endpoint: TokenEndpoint::new(server, trust)?, settings: settings.clone(), wanted: None })
    }

    /// The same, at an endpoint that is known to want tokens for this audience.
    pub(in crate::credential) fn wanting(self, audience: String) -> Self {
        Self { wanted: Some(audience), ..self }
    }

    /// The audience that the token should have, where it is known.
    pub(in crate::credential) fn audience(&self) -> Option<&str> {
        self.wanted.as_deref()
    }

    /// Exchanges the token once; `workload` proves the client where that is federated.
    pub(in crate::credential) async fn exchange(&self, subject: &Token, workload: &Token) -> Result<Token, ExchangeError> {
        let actor = match &self.settings.actor_token_file {
            Some(path) => Some(Secret::read(path).await.map_err(failure::unprepared)?),
            None => None,
        };
        self.endpoint.ask(self.form(subject, actor.as_ref()), workload).await
    }

    fn form<'a>(&'a self, subject: &'a Token, actor: Option<&'a Secret<String>>) -> Form<'a> {
        let settings = &self.settings;
        let mut form = vec![
            ("grant_type", GRANT_TYPE),
            ("subject_token", subject.value.expose().as_str()),
            ("subject_token_type", settings.subject_token_type.as_deref().unwrap_or(subject.kind.urn())),
        ];
        if let Some(actor) = actor {
            form.push(("actor_token", actor.expose()));
            form.push(("actor_token_type", settings.actor_token_type.as_deref().unwrap_or(JWT_TOKEN_TYPE)));
        }
        form.extend(settings.audience.as_slice().iter().map(|audience| ("audience", audience.as_str())));
        form.extend(settings.resource.as_slice().iter().map(|resource| ("resource", resource.as_str())));
        let optional = [("scope", &settings.scope), ("requested_token_type", &settings.requested_token_type)];
        form.extend(optional.into_iter().filter_map(|(name, value)| Some((name, value.as_deref()?))));
        form
    }
}
