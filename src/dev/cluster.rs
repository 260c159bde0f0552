//! What a Kubernetes cluster does for one pod: issues its token, publishes the keys, keeps the token file fresh.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use serde_json::{Value, json};

use crate::dev::directory::{project, random_text};
use crate::dev::issuer::Issuer;
use crate::dev::{DevError, Settings};
use crate::document::Span;
use crate::fetch::endpoint::Endpoint;
use crate::identity::kubernetes::{self, Verification};
use crate::identity::token::Algorithm;
use crate::secret::Secret;
use crate::tls::ClientSettings;

/// A cluster with one pod.
#[derive(Debug)]
pub struct Cluster {
    issuer: Issuer,
    namespace: String,
    service_account: String,
    audience: String,
    token_lifetime: Duration,
    volume: PathBuf,
    generation: AtomicU64,
}

impl Cluster {
    pub(super) fn new(settings: &Settings, issuer: Issuer) -> Self {
        Self {
            issuer,
            namespace: settings.namespace.clone(),
            service_account: settings.service_account.clone(),
            audience: settings.audience.clone(),
            token_lifetime: settings.token_lifetime,
            volume: settings.directory.join("token"),
            generation: AtomicU64::new(0),
        }
    }

    /// The issuer of its tokens.
    pub fn issuer(&self) -> &Issuer {
        &self.issuer
    }

    /// `sub` of the pod's token.
    pub fn subject(&self) -> String {
        format!("system:serviceaccount:{}:{}", self.namespace, self.service_account)
    }

    /// The claims of a new token for the pod.
    ///
    /// # Errors
    /// When the system gives no randomness.
    pub fn claims(&self) -> Result<Value, DevError> {
        let now = unix_seconds(SystemTime::now());
        Ok(json!({
            "iss": self.issuer.url(),
            "aud": [self.audience],
            "sub": self.subject(),
            "iat": now,
            "nbf": now,
            "exp": now + self.token_lifetime.as_secs(),
            "jti": random_text()?.expose(),
            "kubernetes.io": {
                "namespace": self.namespace,
                "serviceaccount": { "name": self.service_account, "uid": "00000000-0000-4000-8000-000000000001" },
                "pod": { "name": format!("{}-0", self.service_account), "uid": "00000000-0000-4000-8000-000000000002" },
                "node": { "name": "laptop", "uid": "00000000-0000-4000-8000-000000000003" },
            },
        }))
    }

    /// Puts a new token into the pod's volume.
    ///
    /// # Errors
    /// When it cannot be made or written.
    pub fn project_token(&self) -> Result<(), DevError> {
        let token = self.issuer.sign(&self.claims()?)?;
        // The time makes the name new even after a restart.
        let generation = unix_seconds(SystemTime::now()) * 1000 + self.generation.fetch_add(1, Ordering::Relaxed) % 1000;
        project(&self.volume, generation, "token", token.expose().as_bytes())
    }

    /// The discovery document as an API server has it: without an `authorization_endpoint`.
    pub fn discovery(&self) -> Value {
        json!({
            "issuer": self.issuer.url(),
            "jwks_uri": format!("{}/openid/v1/jwks", self.issuer.url()),
            "response_types_supported": ["id_token"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": [self.issuer.algorithm()],
        })
    }

    /// How the pod's token is verified.
    ///
    /// # Errors
    /// When the issuer's address is not one.
    pub fn verifier_settings(&self, tls: &ClientSettings) -> Result<kubernetes::Settings, DevError> {
        Ok(kubernetes::Settings {
            name: "dev".to_owned(),
            token_file: Some(self.volume.join("token")),
            issuer: Endpoint::parse(self.issuer.url())?,
            audience: self.audience.clone(),
            algorithms: Algorithm::usual(),
            jwks_uri: None,
            discovery_uri: None,
            verify: Verification::Offline,
            api_server: None,
            bearer_token_file: None,
            tls: tls.clone(),
            labels: BTreeMap::new(),
            labels_file: None,
            leeway: Span::seconds(30),
        })
    }

    /// The token that lies in the volume now.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn projected_token(&self) -> Result<Secret<String>, DevError> {
        let path = self.volume.join("token");
        std::fs::read_to_string(&path).map(Secret::new).map_err(DevError::file(&path))
    }
}

/// Whole seconds since 1970.
pub(super) fn unix_seconds(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs()
}
