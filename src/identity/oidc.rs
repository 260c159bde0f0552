//! Proves the workload by a token file of any OpenID provider.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::document::Span;
use crate::fault::Reason;
use crate::fetch::Fetch;
use crate::fetch::endpoint::Endpoint;
use crate::identity::jwks::{Keys, Pace, Place};
use crate::identity::kubernetes::leeway_default;
use crate::identity::token::{Algorithm, Expectation, NumericDate, time_of};
use crate::identity::{IdentityError, IdentitySource, Principal, Proof, Proving};
use crate::secret::Secret;
use crate::tls::{ClientSettings, TlsError, Trust};

/// A token file and the OpenID provider behind it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The name that other parts of the configuration use.
    pub name: String,
    /// The token. It is read again at each exchange.
    pub token_file: PathBuf,
    /// `iss` of the provider's tokens, to the last slash.
    pub issuer: Endpoint,
    /// The audience that the token is issued for.
    pub audience: String,
    /// Accepted signature algorithms.
    #[serde(default = "Algorithm::usual")]
    pub algorithms: Vec<Algorithm>,
    /// Where the keys lie, where discovery is not to be used.
    #[serde(default)]
    pub jwks_uri: Option<Endpoint>,
    /// How the provider is reached.
    #[serde(default)]
    pub tls: ClientSettings,
    /// Labels that policies select by.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// How far the clocks of node and issuer may differ.
    #[serde(default = "leeway_default")]
    pub leeway: Span,
}

/// The workload's token, verified offline against the provider's keys.
#[derive(Debug)]
pub struct Source {
    token_file: PathBuf,
    labels: BTreeMap<String, String>,
    verifier: Verifier,
}

impl Source {
    /// The source that the settings describe.
    ///
    /// # Errors
    /// When the certificate authorities cannot be used.
    pub fn new(settings: &Settings, trust: Trust) -> Result<Self, TlsError> {
        Ok(Self {
            token_file: settings.token_file.clone(),
            labels: settings.labels.clone(),
            verifier: Verifier::new(settings, trust, Pace::USUAL)?,
        })
    }

    async fn read_and_verify(&self) -> Result<Proof, IdentityError> {
        let token = Secret::read(&self.token_file).await.map_err(|error| IdentityError::new(Reason::TokenUnreadable, error))?;
        let mut principal = self.verifier.verify(&token).await?;
        principal.labels = self.labels.clone();
        Ok(Proof { principal: Arc::new(principal), token })
    }
}

impl IdentitySource for Source {
    fn kind(&self) -> &'static str {
        KIND
    }

    fn prove(&self) -> Proving<'_> {
        Box::pin(self.read_and_verify())
    }
}

const KIND: &str = "oidc";

/// Verifies tokens of one provider for one audience, wherever they come from.
#[derive(Debug)]
pub struct Verifier {
    expectation: Expectation,
    keys: Keys,
}

impl Verifier {
    /// A verifier for the provider that the settings describe.
    ///
    /// # Errors
    /// When the certificate authorities cannot be used.
    pub fn new(settings: &Settings, trust: Trust, pace: Pace) -> Result<Self, TlsError> {
        let place = match &settings.jwks_uri {
            Some(keys) => Place::Keys(keys.clone()),
            None => Place::OpenId { issuer: settings.issuer.clone() },
        };
        let expectation = Expectation {
            issuer: settings.issuer.as_str().to_owned(),
            audience: settings.audience.clone(),
            algorithms: settings.algorithms.clone(),
            leeway: settings.leeway.0,
        };
        Ok(Self { expectation, keys: Keys::new(Fetch::new(&settings.tls, trust)?, place, None, pace) })
    }

    /// Who the token speaks for, without labels.
    ///
    /// # Errors
    /// The first check that fails. Cancel safe.
    pub async fn verify(&self, token: &Secret<String>) -> Result<Principal, IdentityError> {
        let header = self.expectation.header(token)?;
        let key = self.keys.find(&header).await?;
        let claims: Claims = self.expectation.verify(token, &header, &key)?;
        Ok(Principal {
            issuer: claims.iss,
            subject: claims.sub,
            token_id: claims.jti,
            namespace: None,
            service_account: None,
            pod: None,
            pod_uid: None,
            labels: BTreeMap::new(),
            proven_by: KIND,
            expires_at: time_of(claims.exp)?,
        })
    }
}

#[derive(Deserialize)]
struct Claims {
    iss: String,
    sub: String,
    exp: NumericDate,
    jti: Option<String>,
}
