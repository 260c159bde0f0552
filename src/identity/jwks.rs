//! The published keys of an issuer: found by discovery, kept while fresh, and kept longer while the issuer is away.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use jsonwebtoken::jwk::{AlgorithmParameters, Jwk, PublicKeyUse};
use openidconnect::core::CoreProviderMetadata;
use openidconnect::{DiscoveryError, IssuerUrl};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::sync::Semaphore;

use crate::fault::Reason;
use crate::fetch::endpoint::Endpoint;
use crate::fetch::failure::{self, Failure};
use crate::fetch::{Answer, Authorization, Fetch, FetchError};
use crate::identity::IdentityError;
use crate::identity::token::Header;
use crate::secret::Secret;

/// Where an issuer says which keys it has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// The keys lie here; there is no discovery.
    Keys(Endpoint),
    /// A Kubernetes discovery document names the place. It has no `authorization_endpoint`, so OpenID rules do not fit.
    Kubernetes {
        /// Where the document lies, where it is not below the issuer.
        discovery: Option<Endpoint>,
        /// What the document must give as its issuer.
        issuer: Endpoint,
    },
    /// An OpenID provider (OpenID Connect Discovery 1.0).
    OpenId {
        /// The provider.
        issuer: Endpoint,
    },
}

/// How often the issuer is asked, and for how long its keys are believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// The least time between two fetches once there are keys.
    pub refetch: Duration,
    /// The least time between two fetches while there are none.
    pub retry: Duration,
    /// For how long keys are used after they could not be fetched again.
    pub keep: Duration,
}

impl Pace {
    /// What a running proxy uses.
    pub const USUAL: Self = Self { refetch: Duration::from_secs(10), retry: Duration::from_secs(1), keep: Duration::from_secs(12 * 3600) };
}

/// Age of keys whose issuer says nothing; the API server's own value.
const MAX_AGE_DEFAULT: Duration = Duration::from_secs(3600);
const MAX_AGE_MAX: Duration = Duration::from_secs(24 * 3600);

/// The keys of one issuer.
#[derive(Debug)]
pub struct Keys {
    fetch: Fetch,
    place: Place,
    bearer_file: Option<PathBuf>,
    pace: Pace,
    known: ArcSwap<Known>,
    /// One fetch at a time; whoever waited looks again at what the other fetched.
    turn: Semaphore,
}

#[derive(Debug, Clone, Default)]
struct Known {
    keys: Vec<Jwk>,
    fetched: Option<Instant>,
    max_age: Duration,
    attempted: Option<Instant>,
    failure: Option<Reason>,
    /// For how long after the attempt the issuer wants not to be asked again.
    retry_after: Option<Duration>,
}

impl Keys {
    /// Keys that are fetched when first needed. `bearer_file` holds the token that the API server wants to see, if any.
    pub fn new(fetch: Fetch, place: Place, bearer_file: Option<PathBuf>, pace: Pace) -> Self {
        Self { fetch, place, bearer_file, pace, known: ArcSwap::default(), turn: Semaphore::new(1) }
    }

    /// The key that the header names.
    ///
    /// Cancel safe: a cancelled fetch counts as an attempt and leaves the known keys as they are.
    ///
    /// # Errors
    /// `TokenUnknownKey` when the issuer does not publish it, `IssuerUnreachable` or `IssuerInvalid` when nobody can tell.
    pub async fn find(&self, header: &Header) -> Result<Jwk, IdentityError> {
        if let Some(key) = self.fresh(header) {
            return Ok(key);
        }
        let _turn = self.turn.acquire().await.map_err(|_| IdentityError::new(Reason::Internal, "the lock is gone"))?;
        if let Some(key) = self.fresh(header) {
            return Ok(key);
        }
        let known = self.known.load_full();
        if self.may_ask(&known) {
            self.refetch(&known).await;
        }
        self.kept(header)
    }

    fn fresh(&self, header: &Header) -> Option<Jwk> {
        let known = self.known.load();
        let is_fresh = known.fetched.is_some_and(|at| at.elapsed() < known.max_age);
        if is_fresh { known.find(header) } else { None }
    }

    fn kept(&self, header: &Header) -> Result<Jwk, IdentityError> {
        let known = self.known.load();
        let is_kept = known.fetched.is_some_and(|at| at.elapsed() < known.max_age.saturating_add(self.pace.keep));
        match (known.find(header).filter(|_| is_kept), known.failure) {
            (Some(key), _) => Ok(key),
            (None, Some(reason)) => Err(IdentityError::new(reason, "the last attempt to fetch its keys failed; see the log")),
            (None, None) => Err(IdentityError::new(Reason::TokenUnknownKey, "no published key has its `kid`")),
        }
    }

    fn may_ask(&self, known: &Known) -> bool {
        let pause = if known.fetched.is_some() { self.pace.refetch } else { self.pace.retry };
        known.attempted.is_none_or(|at| at.elapsed() >= pause.max(known.retry_after.unwrap_or_default()))
    }

    async fn refetch(&self, known: &Known) {
        // Noted before the attempt: a cancelled one must not make the next come at once.
        let attempted = Some(Instant::now());
        let unfinished = known.failure.or(if known.fetched.is_none() { Some(Reason::IssuerUnreachable) } else { None });
        self.known.store(Arc::new(Known { attempted, failure: unfinished, ..known.clone() }));
        match self.ask().await {
            Ok((keys, max_age)) => {
                self.known.store(Arc::new(Known { keys, fetched: attempted, max_age, attempted, failure: None, retry_after: None }));
            }
            Err(error) => {
                tracing::warn!(reason = error.reason.code(), error = &error as &dyn std::error::Error, "issuer keys not fetched");
                let (failure, retry_after) = (Some(error.reason), error.retry_after);
                self.known.store(Arc::new(Known { attempted, failure, retry_after, ..known.clone() }));
            }
        }
    }

    async fn ask(&self) -> Result<(Vec<Jwk>, Duration), IdentityError> {
        let place = self.place().await?;
        let answer = self.get(&place).await?;
        let max_age = answer.max_age.unwrap_or(MAX_AGE_DEFAULT).clamp(self.pace.refetch, MAX_AGE_MAX);
        let set: Set = json(&answer, "the key set")?;
        // An entry of a kind that we do not know must not cost us the ones we do.
        let keys: Vec<Jwk> = set.keys.into_iter().filter_map(|key| serde_json::from_value(key).ok()).filter(can_verify).collect();
        if keys.is_empty() {
            return Err(invalid("the key set holds no usable key"));
        }
        Ok((keys, max_age))
    }

    async fn place(&self) -> Result<Endpoint, IdentityError> {
        let (issuer, jwks_uri) = match &self.place {
            Place::Keys(endpoint) => return Ok(endpoint.clone()),
            Place::Kubernetes { discovery, issuer } => (issuer, self.kubernetes_jwks_uri(discovery.as_ref(), issuer).await?),
            Place::OpenId { issuer } => (issuer, discover(&self.fetch, issuer).await?.jwks_uri().to_string()),
        };
        Endpoint::parse(&jwks_uri).map_err(|error| invalid(format!("jwks_uri of {issuer}: {error}")))
    }

    async fn kubernetes_jwks_uri(&self, discovery: Option<&Endpoint>, issuer: &Endpoint) -> Result<String, IdentityError> {
        let discovery = match discovery {
            Some(discovery) => discovery.clone(),
            None => issuer.below(".well-known/openid-configuration").map_err(invalid)?,
        };
        let document: KubernetesDiscovery = json(&self.get(&discovery).await?, "the discovery document")?;
        if document.issuer == issuer.as_str() { Ok(document.jwks_uri) } else { Err(invalid("the discovery document names another issuer")) }
    }

    async fn get(&self, from: &Endpoint) -> Result<Answer, IdentityError> {
        let bearer = match &self.bearer_file {
            Some(path) => Some(Secret::read(path).await.map_err(|error| IdentityError::new(Reason::IssuerUnreachable, error))?),
            None => None,
        };
        let authorization = bearer.as_ref().map_or(Authorization::None, Authorization::Bearer);
        let answer = self.fetch.get(from, authorization).await.map_err(|error| unanswered(failure::failed(error)))?;
        if answer.status.is_success() { Ok(answer) } else { Err(unanswered(failure::refused(from, &answer, None))) }
    }
}

impl Known {
    fn find(&self, header: &Header) -> Option<Jwk> {
        match &header.key_id {
            Some(id) => self.keys.iter().find(|key| key.common.key_id.as_deref() == Some(id) && fits(key, header)).cloned(),
            // Without a name there must be no choice.
            None => match self.keys.as_slice() {
                [only] if fits(only, header) => Some(only.clone()),
                _ => None,
            },
        }
    }
}

/// Discovers an OpenID provider; the document's issuer must be the one asked for.
///
/// # Errors
/// `IssuerUnreachable` or `IssuerInvalid`.
pub async fn discover(fetch: &Fetch, issuer: &Endpoint) -> Result<CoreProviderMetadata, IdentityError> {
    let url = IssuerUrl::new(issuer.as_str().to_owned()).map_err(invalid)?;
    CoreProviderMetadata::discover_async(url, fetch).await.map_err(|error| undiscovered(issuer, error))
}

#[expect(clippy::wildcard_enum_match_arm, reason = "the library's enum may grow; what is unknown is a document that cannot be used")]
fn undiscovered(issuer: &Endpoint, error: DiscoveryError<FetchError>) -> IdentityError {
    match error {
        DiscoveryError::Request(error) => unanswered(failure::failed(error)),
        DiscoveryError::Response(status, ..) if !status.is_success() => {
            invalid(format!("{} answered {}", issuer.authority(), status.as_u16()))
        }
        // The library's message may quote the document.
        _ => invalid(format!("the discovery document of {issuer} is not an OpenID provider's")),
    }
}

/// The discovery document of a Kubernetes API server, as far as it matters.
#[derive(Deserialize)]
struct KubernetesDiscovery {
    issuer: String,
    jwks_uri: String,
}

#[derive(Deserialize)]
struct Set {
    keys: Vec<serde_json::Value>,
}

/// A shared secret (`oct`) in a public document is no key of ours.
fn can_verify(key: &Jwk) -> bool {
    let is_asymmetric = matches!(
        &key.algorithm,
        AlgorithmParameters::RSA(_) | AlgorithmParameters::EllipticCurve(_) | AlgorithmParameters::OctetKeyPair(_)
    );
    is_asymmetric && key.common.public_key_use != Some(PublicKeyUse::Encryption)
}

fn fits(key: &Jwk, header: &Header) -> bool {
    key.common.key_algorithm.is_none_or(|algorithm| algorithm.to_string() == header.algorithm.as_str())
}

fn json<T: DeserializeOwned>(answer: &Answer, what: &str) -> Result<T, IdentityError> {
    serde_json::from_slice(answer.body.expose()).map_err(|error| invalid(format!("{what} cannot be read, at line {}", error.line())))
}

/// What is not there, or lies elsewhere, is a matter of configuration.
fn unanswered(failure: Failure) -> IdentityError {
    IdentityError::of_issuer(failure, Reason::IssuerInvalid)
}

fn invalid(cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> IdentityError {
    IdentityError::new(Reason::IssuerInvalid, cause)
}

#[cfg(test)]
mod tests;
