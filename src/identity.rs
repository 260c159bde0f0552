//! Who is calling, and how that was proven.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::fault::Reason;
use crate::fetch::failure::{Failure, Kind};
use crate::identity::actor::Actor;
use crate::secret::Secret;
use crate::tls::{TlsError, Trust};

pub mod actor;
pub mod aws;
pub mod client;
pub mod github_actions;
pub mod jwks;
pub mod kubernetes;
pub mod oidc;
mod own_token;
#[cfg(test)]
mod secrets;
#[cfg(test)]
mod signer;
pub mod spiffe;
pub mod token;
mod token_review;

/// One way of proving who this workload is, as configured.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Settings {
    /// A service-account token of a Kubernetes cluster.
    Kubernetes(Box<kubernetes::Settings>),
    /// A token of any OpenID provider.
    Oidc(Box<oidc::Settings>),
    /// What SPIFFE's Workload API gives.
    Spiffe(spiffe::Settings),
    /// A token that GitHub mints for a job.
    GithubActions(Box<github_actions::Settings>),
    /// An IAM role of AWS.
    Aws(Box<aws::Settings>),
}

impl Settings {
    /// The name that other parts of the configuration use.
    pub fn name(&self) -> &str {
        match self {
            Self::Kubernetes(settings) => &settings.name,
            Self::Oidc(settings) => &settings.name,
            Self::Spiffe(settings) => &settings.name,
            Self::GithubActions(settings) => &settings.name,
            Self::Aws(settings) => &settings.name,
        }
    }

    /// Whether it says where the workload's own token is. Without, it verifies what clients show.
    pub fn proves_workload(&self) -> bool {
        match self {
            Self::Kubernetes(settings) => settings.token_file.is_some(),
            Self::Oidc(settings) => settings.token_file.is_some() || settings.token_env.is_some(),
            Self::Spiffe(_) | Self::GithubActions(_) | Self::Aws(_) => true,
        }
    }

    /// Whether the workload is proven by a certificate, and has no token that could be exchanged.
    pub fn has_certificate(&self) -> bool {
        match self {
            Self::Spiffe(settings) => settings.svid == spiffe::Svid::X509,
            Self::Kubernetes(_) | Self::Oidc(_) | Self::GithubActions(_) | Self::Aws(_) => false,
        }
    }

    /// The keys of all labels that it may give.
    pub fn configured_labels(&self) -> impl Iterator<Item = &str> {
        let from_claims = match self {
            Self::Kubernetes(_) | Self::Spiffe(_) | Self::Aws(_) => None,
            Self::Oidc(settings) => Some(settings.labels_from_claims.keys()),
            Self::GithubActions(settings) => Some(settings.labels_from_claims.keys()),
        };
        self.labels().keys().chain(from_claims.into_iter().flatten()).map(String::as_str)
    }

    /// Labels that policies select by, as configured.
    pub fn labels(&self) -> &BTreeMap<String, String> {
        match self {
            Self::Kubernetes(settings) => &settings.labels,
            Self::Oidc(settings) => &settings.labels,
            Self::Spiffe(settings) => &settings.labels,
            Self::GithubActions(settings) => &settings.labels,
            Self::Aws(settings) => &settings.labels,
        }
    }
}

/// The label that holds `sub` of an OpenID provider's token.
pub const SUBJECT_LABEL: &str = "tollhouse.dev/subject";
/// The label that holds `sub` of the one who acts for that subject, where somebody does.
pub const ACTOR_LABEL: &str = "tollhouse.dev/actor";

/// The source that the settings describe: the registry of kinds. Nothing is read but certificate authorities.
///
/// # Errors
/// When the settings say nowhere where the workload's token is, or cannot be used.
pub fn source(settings: &Settings, trust: Trust) -> Result<Arc<dyn IdentitySource>, SettingsError> {
    Ok(match settings {
        Settings::Kubernetes(settings) => Arc::new(kubernetes::Source::new(settings, trust)?),
        Settings::Oidc(settings) => Arc::new(oidc::Source::new(settings, trust)?),
        Settings::Spiffe(settings) => Arc::new(spiffe::Source::new(settings)?),
        Settings::GithubActions(settings) => Arc::new(github_actions::Source::new(settings, trust)?),
        Settings::Aws(settings) => Arc::new(aws::Source::new(settings, trust)?),
    })
}

/// Why an identity cannot be used as configured.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// There is no token of the workload.
    #[error("says nowhere where the workload's token is (`token_file` or `token_env`)")]
    NoToken,
    /// There are two tokens of the workload.
    #[error("`token_file` and `token_env` are two tokens; say one")]
    TwoTokens,
    /// The API server is to be asked, and nothing says where it is or as whom.
    #[error("`verify: token_review` needs `api_server` and `bearer_token_file`")]
    NoApiServer,
    /// The Workload API cannot be found.
    #[error("`endpoint_socket` {0}")]
    WorkloadApi(&'static str),
    /// An audience is missing, or has no meaning.
    #[error("{0}")]
    Audience(&'static str),
    /// A SPIFFE ID is written wrongly.
    #[error("`spiffe_id` is no SPIFFE ID, such as spiffe://example.org/dbt")]
    SpiffeId,
    /// There is a token of the workload, and a client would get that one's labels.
    #[error("proves the workload itself (`token_file` or `token_env`); clients need an identity of their own, without one")]
    WorkloadsOwn,
    /// Its calls to AWS cannot be made.
    #[error(transparent)]
    Aws(#[from] crate::aws::SettingsError),
    /// Its TLS settings cannot be used.
    #[error("its TLS settings cannot be used")]
    Tls(#[from] TlsError),
}

/// A future behind a seam that is chosen by configuration.
pub type Proving<'a> = Pin<Box<dyn Future<Output = Result<Proof, IdentityError>> + Send + 'a>>;

/// A way to learn and prove who this workload is.
pub trait IdentitySource: Send + Sync {
    /// The name of the kind (`kubernetes`), for records.
    fn kind(&self) -> &'static str;

    /// Reads the workload's token anew and verifies it. It has not ended, whatever leeway is configured: it is to be shown to others.
    ///
    /// # Errors
    /// [`IdentityError`] says which check failed. Cancel safe: nothing is kept between calls but published keys.
    fn prove(&self) -> Proving<'_>;

    /// Tells `hears` of each change that the source learns of without being asked, for as long as it is polled. Returns at once where
    /// it learns of none. Cancel safe.
    fn watch<'a>(&'a self, hears: &'a Hears<'a>) -> Watching<'a> {
        let _nobody_is_told = hears;
        Box::pin(std::future::ready(()))
    }
}

/// A change of an identity that its source learned of without being asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// It is gone: nothing that was made of it may be used any longer.
    Withdrawn,
    /// It can be proven anew; what was made of it before is still good.
    Renewed,
}

/// Hears of each change, as soon as it is known.
pub type Hears<'a> = dyn Fn(Change) + Send + Sync + 'a;

/// A future that tells of changes.
pub type Watching<'a> = Pin<Box<dyn Future<Output = ()> + Send + 'a>>;

/// A proven identity together with the token that proves it to others.
#[derive(Debug, Clone)]
pub struct Proof {
    /// Who.
    pub principal: Arc<Principal>,
    /// The verified token, the subject token of every exchange; empty where a certificate proves the workload.
    pub token: Secret<String>,
    /// The certificate that proves the workload to others, where its identity has one.
    pub certificate: Option<Arc<Certificate>>,
}

/// A certificate and its key.
#[derive(Debug)]
pub struct Certificate {
    /// Leaf first.
    pub chain: Vec<CertificateDer<'static>>,
    /// Its key.
    pub key: Secret<PrivateKeyDer<'static>>,
}

/// Who is calling: what the verified token says, and nothing else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal {
    /// `iss` of the token.
    pub issuer: String,
    /// `sub` of the token.
    pub subject: String,
    /// `jti` of the token, where it has one.
    pub token_id: Option<String>,
    /// Who acts for the subject (`act` of the token): the one that acts now first. Empty where the subject acts itself.
    pub actors: Vec<Actor>,
    /// Kubernetes namespace, from the verified claims.
    pub namespace: Option<String>,
    /// Kubernetes service account, from the verified claims.
    pub service_account: Option<String>,
    /// Pod name, from the verified claims.
    pub pod: Option<String>,
    /// Pod UID, from the verified claims.
    pub pod_uid: Option<String>,
    /// Labels of the workload that policies select by, in Cilium's `key` form without a source.
    /// They come from the configuration, the downward API, or claims that the configuration names.
    pub labels: BTreeMap<String, String>,
    /// The kind of source that proved it.
    pub proven_by: &'static str,
    /// When the proof ends (`exp`).
    pub expires_at: SystemTime,
}

/// Why an identity could not be proven; what the caller does next depends on the reason alone.
#[derive(Debug, thiserror::Error)]
#[error("identity not proven: {reason:?}")]
pub struct IdentityError {
    /// Which check failed.
    pub reason: Reason,
    /// For how long whoever was asked wants not to be asked again, where it says so.
    pub retry_after: Option<Duration>,
    /// The cause, without any part of the token.
    #[source]
    pub source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl IdentityError {
    /// An error with its cause, which must hold no part of a token.
    pub fn new(reason: Reason, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self { reason, retry_after: None, source: Some(source.into()) }
    }

    /// A call to the issuer that failed: `refused` says what it means that it says no.
    fn of_issuer(failure: Failure, refused: Reason) -> Self {
        let reason = match failure.kind {
            Kind::Away | Kind::Unprepared => Reason::IssuerUnreachable,
            Kind::Refused => refused,
            Kind::Unusable => Reason::IssuerInvalid,
            Kind::Internal => Reason::Internal,
        };
        let source = match (failure.source, failure.fix) {
            (Some(source), Some(fix)) => Some(format!("{source}; {fix}").into()),
            (source, _) => source,
        };
        Self { reason, retry_after: failure.retry_after, source }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::Settings;

    #[test]
    fn the_schema_of_the_settings_accepts_what_the_types_accept_and_nothing_else() {
        let schema = jsonschema::validator_for(schemars::schema_for!(Settings).as_value()).unwrap();
        let good = json!({
            "kind": "kubernetes", "name": "pod", "token_file": "/t", "issuer": "https://kubernetes.default.svc", "audience": "tollhouse",
        });
        let with = |field: &str, value: serde_json::Value| {
            let mut changed = good.clone();
            changed[field] = value;
            changed
        };
        for (settings, is_good) in [
            (good.clone(), true),
            (with("kind", json!("oidc")), true),
            (with("kind", json!("spiffe")), false),
            (json!({ "kind": "spiffe", "name": "agent", "audience": "tollhouse" }), true),
            (json!({ "kind": "github_actions", "name": "job", "audience": "tollhouse" }), true),
            (with("algorithms", json!(["ES384", "EdDSA"])), true),
            (with("algorithms", json!(["none"])), false),
            (with("algorithms", json!(["HS256"])), false),
            (with("leeway", json!("1m")), true),
            (with("leeway", json!(60)), false),
            (with("labels", json!({ "app": "dbt" })), true),
            (with("tls", json!({ "mode": "disable" })), true),
            (with("tls", json!({ "mode": "require" })), false),
            (with("labels_from_claims", json!({ "team": "team" })), false),
            (with("isuer", json!("https://typo.example")), false),
        ] {
            assert_eq!(schema.is_valid(&settings), is_good, "schema: {settings}");
            assert_eq!(serde_json::from_value::<Settings>(settings.clone()).is_ok(), is_good, "types: {settings}");
        }
        let settings: Settings = serde_json::from_value(good).unwrap();
        assert_eq!(settings.name(), "pod");
        let written = serde_json::to_value(&settings).unwrap();
        assert_eq!(written["leeway"], "30s");
        assert_eq!(written["algorithms"], json!(["RS256", "ES256"]));
        assert!(schema.is_valid(&written), "what is printed can be read: {written}");
    }
}
