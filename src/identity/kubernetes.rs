//! Service-account tokens of a Kubernetes cluster: the workload's own, projected one, and those that clients show.
//!
//! Claims: <https://kubernetes.io/docs/reference/access-authn-authz/service-accounts-admin/>.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::document::Span;
use crate::fault::Reason;
use crate::fetch::Fetch;
use crate::fetch::endpoint::Endpoint;
use crate::identity::jwks::{Keys, Pace, Place};
use crate::identity::token::{Algorithm, Expectation, NumericDate, time_of};
use crate::identity::{IdentityError, IdentitySource, Principal, Proof, Proving, SettingsError};
use crate::secret::Secret;
use crate::tls::{ClientSettings, TlsError, Trust};

/// Service-account tokens and the API server behind them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The name that other parts of the configuration use.
    pub name: String,
    /// The workload's projected token. It is read again at each exchange, so the kubelet's rotation is seen. Absent where the
    /// tokens are those that clients show.
    #[serde(default)]
    pub token_file: Option<PathBuf>,
    /// `iss` of the cluster's tokens, to the last slash.
    pub issuer: Endpoint,
    /// The audience that the token is projected for.
    pub audience: String,
    /// Accepted signature algorithms.
    #[serde(default = "Algorithm::usual")]
    pub algorithms: Vec<Algorithm>,
    /// Where the keys lie, where discovery is not to be used.
    #[serde(default)]
    pub jwks_uri: Option<Endpoint>,
    /// Where the discovery document lies; below the issuer where this is absent.
    #[serde(default)]
    pub discovery_uri: Option<Endpoint>,
    /// A token to show to an API server that does not publish its keys to everybody.
    #[serde(default)]
    pub bearer_token_file: Option<PathBuf>,
    /// How the API server is reached.
    #[serde(default)]
    pub tls: ClientSettings,
    /// Labels that policies select by; they win over those of `labels_file`.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// The pod's labels as the downward API writes them: `key="value"` lines. Read again at each exchange.
    #[serde(default)]
    pub labels_file: Option<PathBuf>,
    /// How far the clocks of node and issuer may differ.
    #[serde(default = "leeway_default")]
    pub leeway: Span,
}

pub(super) fn leeway_default() -> Span {
    Span::seconds(30)
}

/// The workload's projected token, verified offline against the API server's keys.
#[derive(Debug)]
pub struct Source {
    token_file: PathBuf,
    labels_file: Option<PathBuf>,
    verifier: Verifier,
}

impl Source {
    /// The source that the settings describe.
    ///
    /// # Errors
    /// When there is no `token_file`, or the certificate authorities cannot be used.
    pub fn new(settings: &Settings, trust: Trust) -> Result<Self, SettingsError> {
        Ok(Self {
            token_file: settings.token_file.clone().ok_or(SettingsError::NoToken)?,
            labels_file: settings.labels_file.clone(),
            verifier: Verifier::new(settings, trust, Pace::USUAL)?,
        })
    }

    async fn read_and_verify(&self) -> Result<Proof, IdentityError> {
        let token = Secret::read(&self.token_file).await.map_err(|error| IdentityError::new(Reason::TokenUnreadable, error))?;
        let mut principal = self.verifier.verify(&token).await?;
        if let Some(path) = &self.labels_file {
            let configured = std::mem::replace(&mut principal.labels, read_labels(path).await?);
            principal.labels.extend(configured);
        }
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

const KIND: &str = "kubernetes";

/// Verifies service-account tokens of one cluster for one audience, wherever they come from.
#[derive(Debug)]
pub struct Verifier {
    expectation: Expectation,
    keys: Keys,
    labels: BTreeMap<String, String>,
}

impl Verifier {
    /// A verifier for the cluster that the settings describe.
    ///
    /// # Errors
    /// When the certificate authorities cannot be used.
    pub fn new(settings: &Settings, trust: Trust, pace: Pace) -> Result<Self, TlsError> {
        let expectation = Expectation {
            issuer: settings.issuer.as_str().to_owned(),
            audience: settings.audience.clone(),
            algorithms: settings.algorithms.clone(),
            leeway: settings.leeway.0,
        };
        let fetch = Fetch::new(&settings.tls, trust)?;
        let keys = Keys::new(fetch, place(settings), settings.bearer_token_file.clone(), pace);
        Ok(Self { expectation, keys, labels: settings.labels.clone() })
    }

    /// Who the token speaks for, with the configured labels.
    ///
    /// # Errors
    /// The first check that fails. Cancel safe.
    pub async fn verify(&self, token: &Secret<String>) -> Result<Principal, IdentityError> {
        let header = self.expectation.header(token)?;
        let key = self.keys.find(&header).await?;
        let principal = principal(self.expectation.verify(token, &header, &key)?)?;
        Ok(Principal { labels: self.labels.clone(), ..principal })
    }
}

fn place(settings: &Settings) -> Place {
    match &settings.jwks_uri {
        Some(keys) => Place::Keys(keys.clone()),
        None => Place::Kubernetes { discovery: settings.discovery_uri.clone(), issuer: settings.issuer.clone() },
    }
}

#[derive(Deserialize)]
struct Claims {
    iss: String,
    sub: String,
    exp: NumericDate,
    jti: Option<String>,
    #[serde(rename = "kubernetes.io")]
    kubernetes: KubernetesClaims,
}

#[derive(Deserialize)]
struct KubernetesClaims {
    namespace: String,
    serviceaccount: Object,
    pod: Option<Object>,
    warnafter: Option<serde::de::IgnoredAny>,
}

#[derive(Deserialize)]
struct Object {
    name: String,
    uid: Option<String>,
}

fn principal(claims: Claims) -> Result<Principal, IdentityError> {
    let KubernetesClaims { namespace, serviceaccount, pod, warnafter } = claims.kubernetes;
    // Only the token that is mounted for the API server carries it: whoever gets hold of that has the pod's rights there.
    if warnafter.is_some() {
        return Err(IdentityError::new(Reason::TokenWrongAudience, "it is the auto-mounted API token (it has `warnafter`)"));
    }
    if claims.sub != format!("system:serviceaccount:{namespace}:{}", serviceaccount.name) {
        return Err(IdentityError::new(Reason::TokenClaims, "`sub` and `kubernetes.io` do not name one service account"));
    }
    let (pod, pod_uid) = pod.map_or((None, None), |pod| (Some(pod.name), pod.uid));
    Ok(Principal {
        issuer: claims.iss,
        subject: claims.sub,
        token_id: claims.jti,
        actors: Vec::new(),
        namespace: Some(namespace),
        service_account: Some(serviceaccount.name),
        pod,
        pod_uid,
        labels: BTreeMap::new(),
        proven_by: KIND,
        expires_at: time_of(claims.exp)?,
    })
}

/// The largest labels file that is read; the API server keeps annotations and labels under 256 KiB together.
const LABELS_BYTES_MAX: u64 = 256 * 1024;

async fn read_labels(path: &Path) -> Result<BTreeMap<String, String>, IdentityError> {
    use tokio::io::AsyncReadExt;

    let unreadable = |problem: &str| IdentityError::new(Reason::LabelsUnreadable, format!("{}: {problem}", path.display()));
    let file = tokio::fs::File::open(path).await.map_err(|error| unreadable(&error.to_string()))?;
    let mut text = String::new();
    file.take(LABELS_BYTES_MAX).read_to_string(&mut text).await.map_err(|error| unreadable(&error.to_string()))?;
    text.lines()
        .filter(|line| !line.is_empty())
        .map(parse_label)
        .collect::<Option<_>>()
        .ok_or_else(|| unreadable("expected key=\"value\" lines"))
}

/// One line of the downward API. Label values need no escapes, so a line with one is not a label.
fn parse_label(line: &str) -> Option<(String, String)> {
    let (key, value) = line.split_once('=')?;
    let value = value.strip_prefix('"')?.strip_suffix('"')?;
    let is_plain = !key.is_empty() && !value.contains(['"', '\\']);
    is_plain.then(|| (key.to_owned(), value.to_owned()))
}
