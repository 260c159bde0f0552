//! Service-account tokens of a Kubernetes cluster: the workload's own, projected one, and those that clients show.
//!
//! Claims: <https://kubernetes.io/docs/reference/access-authn-authz/service-accounts-admin/>.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::document::Span;
use crate::fault::Reason;
use crate::fetch::Fetch;
use crate::fetch::endpoint::Endpoint;
use crate::identity::jwks::{Keys, Pace, Place};
use crate::identity::own_token::OwnToken;
use crate::identity::token::{Algorithm, Expectation, NumericDate, time_of, verified_claims};
use crate::identity::token_review::{TokenReview, User};
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
    /// Who judges the tokens.
    #[serde(default)]
    pub verify: Verification,
    /// The API server, for `verify: token_review`.
    #[serde(default)]
    pub api_server: Option<Endpoint>,
    /// A token to show to an API server that does not publish its keys to everybody, and with `verify: token_review`.
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
    /// How far the clocks of node and issuer may differ. The workload's own token, which is shown to others, ends at its `exp` all the
    /// same.
    #[serde(default = "leeway_default")]
    pub leeway: Span,
}

/// Who judges the tokens.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Verification {
    /// We do, by the API server's published keys.
    #[default]
    Offline,
    /// The API server does, at most once a minute for each token: it also knows whether the pod still exists. `bearer_token_file`
    /// needs the ClusterRole `system:auth-delegator`.
    TokenReview,
}

pub(super) fn leeway_default() -> Span {
    Span::seconds(30)
}

/// The workload's projected token, verified offline against the API server's keys.
#[derive(Debug)]
pub struct Source {
    token: OwnToken,
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
            token: OwnToken::new(settings.token_file.as_ref(), None, settings.leeway.0)?,
            labels_file: settings.labels_file.clone(),
            verifier: Verifier::new(settings, trust, Pace::USUAL)?,
        })
    }

    async fn read_and_verify(&self) -> Result<Proof, IdentityError> {
        let token = self.token.read().await?;
        let mut principal = self.verifier.verify(&token).await?;
        self.token.note(&token, principal.expires_at)?;
        if let Some(path) = &self.labels_file {
            let configured = std::mem::replace(&mut principal.labels, read_labels(path).await?);
            principal.labels.extend(configured);
        }
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

const KIND: &str = "kubernetes";

/// Verifies service-account tokens of one cluster for one audience, wherever they come from.
#[derive(Debug)]
pub struct Verifier {
    judge: Judge,
    labels: BTreeMap<String, String>,
}

#[derive(Debug)]
enum Judge {
    Offline { expectation: Expectation, keys: Box<Keys> },
    ApiServer { review: Box<TokenReview>, issuer: String },
}

impl Verifier {
    /// A verifier for the cluster that the settings describe.
    ///
    /// # Errors
    /// When the API server is to be asked and is not named, or the certificate authorities cannot be used.
    pub fn new(settings: &Settings, trust: Trust, pace: Pace) -> Result<Self, SettingsError> {
        let judge = match settings.verify {
            Verification::Offline => offline(settings, trust, pace)?,
            Verification::TokenReview => api_server(settings, trust)?,
        };
        Ok(Self { judge, labels: settings.labels.clone() })
    }

    /// Who the token speaks for, with the configured labels.
    ///
    /// # Errors
    /// The first check that fails. Cancel safe.
    pub async fn verify(&self, token: &Secret<String>) -> Result<Principal, IdentityError> {
        let principal = match &self.judge {
            Judge::Offline { expectation, keys } => {
                let header = expectation.header(token)?;
                let key = keys.find(&header).await?;
                principal(expectation.verify(token, &header, &key)?)?
            }
            Judge::ApiServer { review, issuer } => reviewed(&review.review(token).await?, token, issuer)?,
        };
        Ok(Principal { labels: self.labels.clone(), ..principal })
    }
}

fn offline(settings: &Settings, trust: Trust, pace: Pace) -> Result<Judge, TlsError> {
    let expectation = Expectation {
        issuer: settings.issuer.as_str().to_owned(),
        audience: settings.audience.clone(),
        algorithms: settings.algorithms.clone(),
        leeway: settings.leeway.0,
    };
    let fetch = Fetch::new(&settings.tls, trust)?;
    let keys = Box::new(Keys::new(fetch, place(settings), settings.bearer_token_file.clone(), pace));
    Ok(Judge::Offline { expectation, keys })
}

fn api_server(settings: &Settings, trust: Trust) -> Result<Judge, SettingsError> {
    let (Some(server), Some(bearer_file)) = (&settings.api_server, &settings.bearer_token_file) else {
        return Err(SettingsError::NoApiServer);
    };
    let endpoint = server.below("apis/authentication.k8s.io/v1/tokenreviews").map_err(|_| SettingsError::NoApiServer)?;
    let review = TokenReview {
        fetch: Fetch::new(&settings.tls, trust)?,
        endpoint,
        bearer_file: bearer_file.clone(),
        audience: settings.audience.clone(),
        accepted: Mutex::default(),
    };
    Ok(Judge::ApiServer { review: Box::new(review), issuer: settings.issuer.as_str().to_owned() })
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
        return Err(auto_mounted());
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

/// The principal of a token that the API server has accepted; what its review does not say, the token's own claims do.
fn reviewed(user: &User, token: &Secret<String>, issuer: &str) -> Result<Principal, IdentityError> {
    let claims = verified_claims(token).and_then(|claims| serde_json::from_value::<Reviewed>(Value::Object(claims)).ok());
    let claims = claims.ok_or_else(|| IdentityError::new(Reason::TokenClaims, "it lacks `iss` or `exp`"))?;
    if claims.iss != issuer {
        return Err(IdentityError::new(Reason::TokenWrongIssuer, "`iss` is not the configured issuer"));
    }
    if claims.kubernetes.and_then(|kubernetes| kubernetes.warnafter).is_some() {
        return Err(auto_mounted());
    }
    let account = user.username.strip_prefix("system:serviceaccount:").and_then(|account| account.split_once(':'));
    let (namespace, name) =
        account.ok_or_else(|| IdentityError::new(Reason::TokenClaims, "the API server says that it is no service account's"))?;
    Ok(Principal {
        issuer: claims.iss,
        subject: user.username.clone(),
        token_id: user.fact("credential-id").and_then(|id| id.strip_prefix("JTI=")).map(str::to_owned),
        actors: Vec::new(),
        namespace: Some(namespace.to_owned()),
        service_account: Some(name.to_owned()),
        pod: user.fact("pod-name").map(str::to_owned),
        pod_uid: user.fact("pod-uid").map(str::to_owned),
        labels: BTreeMap::new(),
        proven_by: KIND,
        expires_at: time_of(claims.exp)?,
    })
}

/// The claims that a review leaves out.
#[derive(Deserialize)]
struct Reviewed {
    iss: String,
    exp: NumericDate,
    #[serde(rename = "kubernetes.io")]
    kubernetes: Option<ReviewedKubernetes>,
}

#[derive(Deserialize)]
struct ReviewedKubernetes {
    warnafter: Option<serde::de::IgnoredAny>,
}

fn auto_mounted() -> IdentityError {
    IdentityError::new(Reason::TokenWrongAudience, "it is the auto-mounted API token (it has `warnafter`)")
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
