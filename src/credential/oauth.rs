//! A token endpoint of an OAuth authorization server: how it is found, and how we prove ourselves and ask it.
//!
//! Every kind of step that asks such an endpoint is made of this; vendors differ in settings alone.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::credential::ExchangeError;
use crate::credential::chain::ChainProblem;
use crate::credential::oauth::client_auth::{ClientAuth, Shown};
use crate::credential::value::Token;
use crate::fault::Reason;
use crate::fetch::endpoint::Endpoint;
use crate::fetch::failure;
use crate::fetch::{Authorization, Fetch};
use crate::identity::jwks::discover;
use crate::tls::{ClientSettings, Trust};

pub mod client_auth;
pub mod client_credentials;
pub mod jwt_bearer;
mod reply;
pub mod token_exchange;

/// More fields that an endpoint wants, by name. What they mean only the operator knows, so no value is ever shown.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(transparent)]
pub struct Extra(pub BTreeMap<String, String>);

impl fmt::Debug for Extra {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// One value or several, as a form may repeat a field (RFC 8693, section 2.1).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(untagged)]
pub enum Repeated {
    /// One.
    One(String),
    /// Several, or none.
    Many(Vec<String>),
}

impl Default for Repeated {
    fn default() -> Self {
        Self::Many(Vec::new())
    }
}

impl Repeated {
    fn as_slice(&self) -> &[String] {
        match self {
            Self::One(value) => std::slice::from_ref(value),
            Self::Many(values) => values,
        }
    }
}

/// What the settings of every step that asks a token endpoint say about the endpoint.
#[derive(Debug, Clone, Copy)]
pub(super) struct Server<'a> {
    pub(super) token_endpoint: Option<&'a Endpoint>,
    pub(super) issuer: Option<&'a Endpoint>,
    pub(super) metadata: Option<&'a Endpoint>,
    pub(super) client_auth: &'a ClientAuth,
    pub(super) extra: &'a Extra,
    pub(super) tls: &'a ClientSettings,
}

/// A form, as it is sent.
pub(super) type Form<'a> = Vec<(&'a str, &'a str)>;

/// One token endpoint.
#[derive(Debug)]
pub(super) struct TokenEndpoint {
    fetch: Fetch,
    place: Place,
    client_auth: ClientAuth,
    extra: Extra,
}

#[derive(Debug)]
enum Place {
    Endpoint(Endpoint),
    Issuer(Endpoint),
    Metadata(Endpoint),
}

/// An authorization server's metadata, as far as it matters (RFC 8414, section 2).
#[derive(Deserialize)]
struct Metadata {
    token_endpoint: String,
}

impl TokenEndpoint {
    pub(super) fn new(server: Server<'_>, trust: Trust) -> Result<Self, ChainProblem> {
        let place = match (server.token_endpoint.cloned(), server.issuer.cloned(), server.metadata.cloned()) {
            (Some(endpoint), None, None) => Place::Endpoint(endpoint),
            (None, Some(issuer), None) => Place::Issuer(issuer),
            (None, None, Some(metadata)) => Place::Metadata(metadata),
            (None, None, None) | (Some(_), Some(_), _) | (Some(_), _, Some(_)) | (_, Some(_), Some(_)) => {
                return Err(ChainProblem::Endpoint);
            }
        };
        let fetch = match server.client_auth.certificate() {
            Some(files) => Fetch::showing(server.tls, files, trust),
            None => Fetch::new(server.tls, trust),
        };
        let fetch = fetch.map_err(ChainProblem::Tls)?;
        Ok(Self { fetch, place, client_auth: server.client_auth.clone(), extra: server.extra.clone() })
    }

    /// Asks once. `assertion` is the token that proves the client where its authentication is federated.
    pub(super) async fn ask(&self, form: Form<'_>, assertion: &Token) -> Result<Token, ExchangeError> {
        let endpoint = self.endpoint().await?;
        let shown = self.client_auth.show(&endpoint, assertion).await?;
        let mut form = form;
        form.extend(self.extra.0.iter().map(|(name, value)| (name.as_str(), value.as_str())));
        let authorization = match &shown {
            Shown::Basic { client_id, client_secret } => Authorization::Basic { client_id, client_secret },
            Shown::Fields(fields) => {
                form.extend(fields.iter().map(|(name, value)| (*name, value.expose().as_str())));
                Authorization::None
            }
        };
        let answer = self.fetch.post_form(&endpoint, &form, authorization).await.map_err(failure::failed)?;
        if answer.status.is_success() {
            Ok(reply::accepted(&answer, std::time::SystemTime::now())?)
        } else {
            Err(reply::refused(&endpoint, &answer).into())
        }
    }

    async fn endpoint(&self) -> Result<Endpoint, ExchangeError> {
        let (from, named) = match &self.place {
            Place::Endpoint(endpoint) => return Ok(endpoint.clone()),
            Place::Issuer(issuer) => (issuer, self.discovered(issuer).await?),
            Place::Metadata(metadata) => {
                let answer = self.fetch.get(metadata, Authorization::None).await.map_err(failure::failed)?;
                if !answer.status.is_success() {
                    return Err(failure::refused(metadata, &answer, None).into());
                }
                (metadata, failure::json::<Metadata>(&answer, "token_endpoint")?.token_endpoint)
            }
        };
        Endpoint::parse(&named).map_err(|error| failure::unusable(format!("token_endpoint of {from}: {error}")).into())
    }

    async fn discovered(&self, issuer: &Endpoint) -> Result<String, ExchangeError> {
        let metadata = discover(&self.fetch, issuer).await.map_err(|error| {
            let reason = if error.reason == Reason::IssuerUnreachable { Reason::ExchangeUnreachable } else { Reason::ExchangeInvalid };
            ExchangeError { reason, ..ExchangeError::from(error) }
        })?;
        let named = metadata.token_endpoint().map(|endpoint| endpoint.url().to_string());
        named.ok_or_else(|| failure::unusable(format!("the discovery document of {issuer} names no token endpoint")).into())
    }
}

/// The address that is configured, or the one that the provider has.
pub(super) fn usual(configured: Option<&Endpoint>, address: &str) -> Result<Endpoint, ChainProblem> {
    match configured {
        Some(configured) => Ok(configured.clone()),
        None => Endpoint::parse(address).map_err(|error| ChainProblem::Setting { field: "endpoint", problem: error.to_string() }),
    }
}
