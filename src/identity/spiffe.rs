//! The workload's identity as SPIFFE's Workload API gives it: a JWT-SVID, or an X.509-SVID as a client certificate.
//!
//! Sources: <https://spiffe.io/docs/latest/spiffe-specs/spiffe_workload_api/>, and the JWT-SVID and X.509-SVID documents beside it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use spiffe::transport::Endpoint;
use spiffe::{JwtBundleSet, JwtSvid, JwtSvidError, JwtVerificationErrorKind, SpiffeId, WorkloadApiClient, WorkloadApiError, X509Svid};
use tokio::time::{sleep, timeout};
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;

use crate::fault::Reason;
use crate::identity::token::verified_claims;
use crate::identity::{
    Certificate, Hears, IdentityError, IdentitySource, Principal, Proof, Proving, SUBJECT_LABEL, SettingsError, Watching,
};
use crate::secret::Secret;

mod watch;

/// The Workload API, and what to ask of it. Each exchange asks anew; between them the agent's stream tells of a withdrawal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The name that other parts of the configuration use.
    pub name: String,
    /// The agent's socket: `unix:///run/spire/agent.sock`, or `tcp://` with a loopback address. Absent: the environment variable
    /// SPIFFE_ENDPOINT_SOCKET.
    #[serde(default)]
    pub endpoint_socket: Option<String>,
    /// What the identity is proven with.
    #[serde(default)]
    pub svid: Svid,
    /// The audience of the JWT-SVID; an X.509-SVID has none.
    #[serde(default)]
    pub audience: Option<String>,
    /// The SPIFFE ID that it has to be, where the workload has several; the agent's default where absent.
    #[serde(default)]
    pub spiffe_id: Option<String>,
    /// Labels that policies select by.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
}

/// What the identity is proven with.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Svid {
    /// A token, which is exchanged as any other.
    #[default]
    Jwt,
    /// A certificate, which the step `x509_svid` shows to the warehouse.
    X509,
}

/// Time for one answer of the agent.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(5);
/// Pauses while the agent has no identity yet: a new registration takes seconds to arrive. What waits gives up after them, and the
/// next login asks again.
const REGISTRATION_PAUSES: [Duration; 3] = [Duration::from_secs(1), Duration::from_secs(2), Duration::from_secs(4)];

const KIND: &str = "spiffe";

/// The workload's identity at one agent.
#[derive(Debug)]
pub struct Source {
    endpoint: Endpoint,
    wish: Wish,
    id: Option<SpiffeId>,
    labels: BTreeMap<String, String>,
    /// Whether the agent has ever given an identity: from then on a refusal is a withdrawal.
    had_one: AtomicBool,
}

#[derive(Debug)]
enum Wish {
    Jwt { audience: String },
    X509,
}

impl Wish {
    fn svid(&self) -> Svid {
        match self {
            Self::Jwt { .. } => Svid::Jwt,
            Self::X509 => Svid::X509,
        }
    }
}

impl Source {
    /// The source that the settings describe.
    ///
    /// # Errors
    /// When there is no address of an agent or none that is on this machine, no audience, or no SPIFFE ID where one is written.
    pub fn new(settings: &Settings) -> Result<Self, SettingsError> {
        let written = settings.endpoint_socket.clone().or_else(|| std::env::var("SPIFFE_ENDPOINT_SOCKET").ok());
        let written =
            written.ok_or(SettingsError::WorkloadApi("says nowhere where the agent is, and SPIFFE_ENDPOINT_SOCKET is not set"))?;
        let endpoint = Endpoint::parse(&written).map_err(|_| SettingsError::WorkloadApi("is neither a `unix:` nor a `tcp:` address"))?;
        if let Endpoint::Tcp { host, .. } = &endpoint
            && !host.is_loopback()
        {
            return Err(SettingsError::WorkloadApi("must be on this machine: the agent's answers hold keys and are not encrypted"));
        }
        let wish = match (settings.svid, &settings.audience) {
            (Svid::Jwt, Some(audience)) => Wish::Jwt { audience: audience.clone() },
            (Svid::Jwt, None) => return Err(SettingsError::Audience("a JWT-SVID needs an `audience`")),
            (Svid::X509, None) => Wish::X509,
            (Svid::X509, Some(_)) => return Err(SettingsError::Audience("an X.509-SVID has no `audience`")),
        };
        let id = settings.spiffe_id.as_deref().map(str::parse).transpose().map_err(|_| SettingsError::SpiffeId)?;
        Ok(Self { endpoint, wish, id, labels: settings.labels.clone(), had_one: AtomicBool::new(false) })
    }

    async fn ask(&self) -> Result<Proof, IdentityError> {
        let mut pauses = REGISTRATION_PAUSES.into_iter();
        loop {
            let error = match timeout(ANSWER_TIME_MAX, self.ask_once()).await {
                Ok(Ok(proof)) => {
                    self.had_one.store(true, Ordering::Relaxed);
                    return Ok(proof);
                }
                Ok(Err(error)) => error,
                Err(_) => IdentityError::new(Reason::WorkloadApi, "the agent did not answer within 5 s"),
            };
            if error.reason != Reason::IdentityNotIssued {
                return Err(error);
            }
            if self.had_one.load(Ordering::Relaxed) {
                return Err(IdentityError { reason: Reason::IdentityWithdrawn, ..error });
            }
            let Some(pause) = pauses.next() else { return Err(error) };
            sleep(pause).await;
        }
    }

    async fn ask_once(&self) -> Result<Proof, IdentityError> {
        let client = WorkloadApiClient::connect(self.endpoint.clone()).await.map_err(refusal)?;
        match &self.wish {
            Wish::Jwt { audience } => {
                let svid = client.fetch_jwt_svid([audience], self.id.as_ref()).await.map_err(refusal)?;
                let bundles = client.fetch_jwt_bundles().await.map_err(refusal)?;
                let principal = verify(svid.token(), &bundles, audience)?;
                self.proof(principal, Secret::from(svid.token()), None)
            }
            Wish::X509 => {
                let svids = client.fetch_all_x509_svids().await.map_err(refusal)?;
                let wanted = svids.iter().find(|svid| self.id.as_ref().is_none_or(|id| id == svid.spiffe_id()));
                let svid =
                    wanted.ok_or_else(|| IdentityError::new(Reason::IdentityNotIssued, "none of its SVIDs has the configured ID"))?;
                let certificate = certificate(svid);
                self.proof(of_certificate(svid)?, Secret::new(String::new()), Some(Arc::new(certificate)))
            }
        }
    }

    fn proof(&self, principal: Principal, token: Secret<String>, certificate: Option<Arc<Certificate>>) -> Result<Proof, IdentityError> {
        if self.id.as_ref().is_some_and(|id| id.to_string() != principal.subject) {
            return Err(IdentityError::new(Reason::IdentityNotIssued, "the agent gave another ID than the configured one"));
        }
        let mut labels = self.labels.clone();
        labels.insert(SUBJECT_LABEL.to_owned(), principal.subject.clone());
        Ok(Proof { principal: Arc::new(Principal { labels, ..principal }), token, certificate })
    }
}

impl IdentitySource for Source {
    fn kind(&self) -> &'static str {
        KIND
    }

    fn prove(&self) -> Proving<'_> {
        Box::pin(self.ask())
    }

    fn watch<'a>(&'a self, hears: &'a Hears<'a>) -> Watching<'a> {
        Box::pin(watch::follow(&self.endpoint, self.id.as_ref(), self.wish.svid(), hears))
    }
}

/// Who a JWT-SVID is, if the bundle of its trust domain bears it out.
fn verify(token: &str, bundles: &JwtBundleSet, audience: &str) -> Result<Principal, IdentityError> {
    let svid = JwtSvid::parse_and_validate(token, bundles, &[audience]).map_err(|error| unverified(&error))?;
    let claims = verified_claims(&Secret::from(token)).unwrap_or_default();
    let text = |name: &str| claims.get(name).and_then(serde_json::Value::as_str).map(str::to_owned);
    // `iss` is optional in a JWT-SVID; the trust domain vouches for it.
    let issuer = text("iss").unwrap_or_else(|| format!("spiffe://{}", svid.spiffe_id().trust_domain()));
    Ok(principal(issuer, svid.spiffe_id(), text("jti"), svid.expiry().into()))
}

/// Who an X.509-SVID is; the agent, which made the key, vouches for it.
fn of_certificate(svid: &X509Svid) -> Result<Principal, IdentityError> {
    let unusable = || IdentityError::new(Reason::TokenMalformed, "the X.509-SVID cannot be read");
    let (_, leaf) = X509Certificate::from_der(svid.leaf().as_bytes()).map_err(|_| unusable())?;
    let seconds = u64::try_from(leaf.validity().not_after.timestamp()).map_err(|_| unusable())?;
    let expires_at = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
    if expires_at <= SystemTime::now() {
        return Err(IdentityError::new(Reason::TokenExpired, "the agent gave an X.509-SVID that has expired"));
    }
    let issuer = format!("spiffe://{}", svid.spiffe_id().trust_domain());
    Ok(principal(issuer, svid.spiffe_id(), Some(format!("{:x}", leaf.serial)), expires_at))
}

fn principal(issuer: String, id: &SpiffeId, token_id: Option<String>, expires_at: SystemTime) -> Principal {
    Principal {
        issuer,
        subject: id.to_string(),
        token_id,
        actors: Vec::new(),
        namespace: None,
        service_account: None,
        pod: None,
        pod_uid: None,
        labels: BTreeMap::new(),
        proven_by: KIND,
        expires_at,
    }
}

fn certificate(svid: &X509Svid) -> Certificate {
    let chain = svid.cert_chain().iter().map(|certificate| CertificateDer::from(certificate.as_bytes().to_vec())).collect();
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(svid.private_key().as_bytes().to_vec()));
    Certificate { chain, key: Secret::new(key) }
}

/// The library's messages may hold the agent's own, which name no secret; its enum may grow.
fn refusal(error: WorkloadApiError) -> IdentityError {
    let reason = if matches!(error, WorkloadApiError::NoIdentityIssued | WorkloadApiError::PermissionDenied(_)) {
        Reason::IdentityNotIssued
    } else {
        Reason::WorkloadApi
    };
    IdentityError::new(reason, error)
}

/// The library's messages may quote the token's claims, so only our words leave here.
fn unverified(error: &JwtSvidError) -> IdentityError {
    if matches!(error, JwtSvidError::BundleNotFound(_) | JwtSvidError::AuthorityNotFound(_)) {
        return IdentityError::new(Reason::TokenUnknownKey, "no bundle of its trust domain has its key");
    }
    let JwtSvidError::InvalidToken(error) = error else {
        return IdentityError::new(Reason::TokenMalformed, "it is not as a JWT-SVID should be");
    };
    let (reason, words) = match error.kind() {
        JwtVerificationErrorKind::Expired => (Reason::TokenExpired, "`exp` has passed"),
        JwtVerificationErrorKind::NotYetValid => (Reason::TokenNotYetValid, "`nbf` has not come"),
        JwtVerificationErrorKind::AudienceMismatch => (Reason::TokenWrongAudience, "`aud` does not name the configured audience"),
        JwtVerificationErrorKind::InvalidSignature => (Reason::TokenSignature, "the signature does not verify"),
        JwtVerificationErrorKind::Other | _ => (Reason::TokenMalformed, "it cannot be verified"),
    };
    IdentityError::new(reason, words)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{Settings, Source};
    use crate::fault::Reason;
    use crate::identity::IdentitySource;

    fn source(settings: serde_json::Value) -> Result<Source, String> {
        let mut written = json!({ "name": "agent", "endpoint_socket": "unix:///nonexistent/agent.sock", "audience": "tollhouse" });
        written.as_object_mut().unwrap().extend(settings.as_object().unwrap().clone());
        let settings: Settings = serde_json::from_value(written).unwrap();
        Source::new(&settings).map_err(|error| error.to_string())
    }

    #[test]
    fn settings_that_cannot_be_meant_are_refused() {
        assert!(source(json!({})).is_ok());
        assert!(source(json!({ "endpoint_socket": "tcp://127.0.0.1:8081" })).is_ok());
        assert!(source(json!({ "svid": "x509", "audience": null, "spiffe_id": "spiffe://example.org/dbt" })).is_ok());
        for (settings, shown) in [
            (json!({ "endpoint_socket": "tcp://10.0.0.1:8081" }), "on this machine"),
            (json!({ "endpoint_socket": "https://agent" }), "neither a `unix:` nor a `tcp:` address"),
            (json!({ "audience": null }), "needs an `audience`"),
            (json!({ "svid": "x509" }), "has no `audience`"),
            (json!({ "spiffe_id": "https://example.org" }), "no SPIFFE ID"),
        ] {
            let error = source(settings.clone()).unwrap_err();
            assert!(error.contains(shown), "{settings}: {error}");
        }
    }

    #[tokio::test]
    async fn an_agent_that_is_not_there_is_told_from_one_that_gives_no_identity() {
        assert_eq!(source(json!({})).unwrap().prove().await.unwrap_err().reason, Reason::WorkloadApi);
    }
}
