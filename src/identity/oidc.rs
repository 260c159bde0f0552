//! Tokens of any OpenID provider: the workload's own, and those that clients show.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::document::Span;
use crate::fault::Reason;
use crate::fetch::Fetch;
use crate::fetch::endpoint::Endpoint;
use crate::identity::actor::{Actor, actors};
use crate::identity::jwks::{Keys, Pace, Place};
use crate::identity::kubernetes::leeway_default;
use crate::identity::own_token::OwnToken;
use crate::identity::token::{Algorithm, Expectation, NumericDate, time_of};
use crate::identity::{ACTOR_LABEL, IdentityError, IdentitySource, Principal, Proof, Proving, SUBJECT_LABEL, SettingsError};
use crate::secret::Secret;
use crate::tls::{ClientSettings, TlsError, Trust};

/// Tokens and the OpenID provider behind them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The name that other parts of the configuration use.
    pub name: String,
    /// The workload's token. It is read again at each exchange. Absent where the tokens are those that clients show.
    #[serde(default)]
    pub token_file: Option<PathBuf>,
    /// The environment variable that holds the workload's token, in place of a file: as GitLab gives it to a job.
    #[serde(default)]
    pub token_env: Option<String>,
    /// `iss` of the provider's tokens, to the last slash.
    pub issuer: Endpoint,
    /// The audience that the tokens are issued for.
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
    /// More labels, each with the claim that has its value. A token without such a claim, or with one that is no text, is refused:
    /// a rule that forbids something to a label must not miss who lacks it.
    #[serde(default)]
    pub labels_from_claims: BTreeMap<String, String>,
    /// How far the clocks of node and issuer may differ. The workload's own token, which is shown to others, ends at its `exp` all the
    /// same.
    #[serde(default = "leeway_default")]
    pub leeway: Span,
}

/// The workload's token, verified offline against the provider's keys.
#[derive(Debug)]
pub struct Source {
    token: OwnToken,
    verifier: Verifier,
}

impl Source {
    /// The source that the settings describe.
    ///
    /// # Errors
    /// When there is no token or two, or the certificate authorities cannot be used.
    pub fn new(settings: &Settings, trust: Trust) -> Result<Self, SettingsError> {
        Ok(Self {
            token: OwnToken::new(settings.token_file.as_ref(), settings.token_env.as_ref(), settings.leeway.0)?,
            verifier: Verifier::new(settings, trust, Pace::USUAL)?,
        })
    }

    async fn read_and_verify(&self) -> Result<Proof, IdentityError> {
        let token = self.token.read().await?;
        let principal = self.verifier.verify(&token).await?;
        self.token.note(&token, principal.expires_at)?;
        Ok(Proof { principal: Arc::new(principal), token, certificate: None })
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
    labels: BTreeMap<String, String>,
    labels_from_claims: BTreeMap<String, String>,
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
        Ok(Self {
            expectation,
            keys: Keys::new(Fetch::new(&settings.tls, trust)?, place, None, pace),
            labels: settings.labels.clone(),
            labels_from_claims: settings.labels_from_claims.clone(),
        })
    }

    /// Who the token speaks for, and who acts for it, with labels.
    ///
    /// # Errors
    /// The first check that fails. Cancel safe.
    pub async fn verify(&self, token: &Secret<String>) -> Result<Principal, IdentityError> {
        let header = self.expectation.header(token)?;
        let key = self.keys.find(&header).await?;
        let claims: Claims = self.expectation.verify(token, &header, &key)?;
        let actors = actors(&claims.others)?;
        let labels = self.labels(&claims, &actors)?;
        Ok(Principal {
            issuer: claims.iss,
            subject: claims.sub,
            token_id: claims.jti,
            actors,
            namespace: None,
            service_account: None,
            pod: None,
            pod_uid: None,
            labels,
            proven_by: KIND,
            expires_at: time_of(claims.exp)?,
        })
    }

    /// What policies select by. What the token proves wins over what is configured.
    fn labels(&self, claims: &Claims, actors: &[Actor]) -> Result<BTreeMap<String, String>, IdentityError> {
        let mut labels = self.labels.clone();
        for (label, claim) in &self.labels_from_claims {
            let value = claims.others.get(claim).and_then(Value::as_str).filter(|value| value.len() <= LABEL_BYTES_MAX);
            let value = value.ok_or_else(|| {
                IdentityError::new(Reason::TokenClaims, format!("`{claim}`, which labels_from_claims names, is missing or no short text"))
            })?;
            labels.insert(label.clone(), value.to_owned());
        }
        labels.insert(SUBJECT_LABEL.to_owned(), claims.sub.clone());
        if let Some(actor) = actors.first() {
            labels.insert(ACTOR_LABEL.to_owned(), actor.subject.clone());
        }
        Ok(labels)
    }
}

/// Longest value of a label from a claim: it stands in each session's record.
const LABEL_BYTES_MAX: usize = 256;

#[derive(Deserialize)]
struct Claims {
    iss: String,
    sub: String,
    exp: NumericDate,
    jti: Option<String>,
    #[serde(flatten)]
    others: Map<String, Value>,
}
