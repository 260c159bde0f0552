//! Calls of our own to the API server of a Kubernetes cluster, with the token of a service account.
//!
//! Source: <https://kubernetes.io/docs/reference/using-api/api-concepts/>.

use std::path::PathBuf;

use hyper::StatusCode;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::fetch::endpoint::Endpoint;
use crate::fetch::{Answer, Authorization, Call, Fetch, FetchError};
use crate::secret::{Secret, SecretFileError};
use crate::tls::{ClientSettings, TlsError, Trust};

/// Objects on one page of a list; an answer must stay below 1 MiB.
const PAGE_OBJECTS: usize = 50;
/// Most pages of one list; a longer one is refused rather than read in part.
const PAGES_MAX: usize = 200;
/// Longest part of the API server's own words that is kept.
const MESSAGE_CHARACTERS_MAX: usize = 300;
/// Who we say that we are, where fields are owned.
const FIELD_MANAGER: &str = "tollhouse";

/// How the API server is reached.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Its address.
    pub server: String,
    /// Our service account's token; read for each call, since the kubelet replaces it.
    pub token_file: PathBuf,
    /// How it is verified.
    pub tls: ClientSettings,
}

impl Default for Settings {
    fn default() -> Self {
        let account = PathBuf::from("/var/run/secrets/kubernetes.io/serviceaccount");
        Self {
            server: "https://kubernetes.default.svc".to_owned(),
            token_file: account.join("token"),
            tls: ClientSettings { ca: Some(account.join("ca.crt")), ..ClientSettings::default() },
        }
    }
}

/// One API server.
#[derive(Debug)]
pub struct ApiServer {
    fetch: Fetch,
    server: Endpoint,
    token_file: PathBuf,
}

/// How a patch is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PatchKind {
    /// RFC 6902.
    Json,
    /// RFC 7386. With `metadata.resourceVersion` it fails with 409 where somebody was faster.
    Merge,
    /// Server-side apply: makes the object where there is none.
    Apply,
}

impl ApiServer {
    /// A client as the settings say.
    ///
    /// # Errors
    /// When the address is none, or the certificate authorities cannot be used.
    pub fn new(settings: &Settings) -> Result<Self, ApiError> {
        let server = Endpoint::parse(&settings.server).map_err(|error| ApiError::Address(error.to_string()))?;
        let fetch = Fetch::new(&settings.tls, Trust::Production)?;
        Ok(Self { fetch, server, token_file: settings.token_file.clone() })
    }

    /// Reads an object.
    ///
    /// # Errors
    /// [`ApiError`]. Cancel safe.
    pub async fn get(&self, path: &str) -> Result<Value, ApiError> {
        self.call(path, Call::get()).await
    }

    /// Reads every object of a list, page by page, each with the kind that the list leaves out.
    ///
    /// # Errors
    /// [`ApiError`]; more than 10 000 objects are refused. Cancel safe.
    pub async fn list(&self, path: &str) -> Result<Vec<Value>, ApiError> {
        let (mut objects, mut next) = (Vec::new(), String::new());
        for _ in 0..PAGES_MAX {
            let page = self.get(&format!("{path}?limit={PAGE_OBJECTS}{next}")).await?;
            let word = |key: &str| page.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
            let (version, kind) = (word("apiVersion"), word("kind"));
            let items = page.get("items").and_then(Value::as_array).cloned().unwrap_or_default();
            objects.extend(items.into_iter().map(|mut item| {
                if let Some(fields) = item.as_object_mut() {
                    fields.insert("apiVersion".to_owned(), version.clone().into());
                    fields.insert("kind".to_owned(), kind.trim_end_matches("List").into());
                }
                item
            }));
            match page.pointer("/metadata/continue").and_then(Value::as_str).unwrap_or_default() {
                "" => return Ok(objects),
                token => next = format!("&continue={token}"),
            }
        }
        Err(ApiError::TooMany { path: path.to_owned() })
    }

    /// Changes an object.
    ///
    /// # Errors
    /// [`ApiError`]. Dropping the future leaves open whether it was changed.
    pub async fn patch(&self, path: &str, kind: PatchKind, body: &Value) -> Result<Value, ApiError> {
        let (content_type, query) = match kind {
            PatchKind::Json => ("application/json-patch+json", ""),
            PatchKind::Merge => ("application/merge-patch+json", ""),
            // YAML, which JSON is.
            PatchKind::Apply => ("application/apply-patch+yaml", "&force=true"),
        };
        let call = Call::patch(content_type, body.to_string().into_bytes());
        self.call(&format!("{path}?fieldManager={FIELD_MANAGER}{query}"), call).await
    }

    async fn call(&self, path: &str, call: Call) -> Result<Value, ApiError> {
        let to = self.server.below(path).map_err(|error| ApiError::Address(error.to_string()))?;
        let token = Secret::read(&self.token_file).await?;
        let answer = self.fetch.send(&to, call.authorized(Authorization::Bearer(&token))?).await?;
        if answer.status.is_success() {
            serde_json::from_slice(answer.body.expose()).map_err(|_| ApiError::Unreadable { path: path.to_owned() })
        } else {
            Err(refused(path, &answer))
        }
    }
}

fn refused(path: &str, answer: &Answer) -> ApiError {
    let said: Option<Value> = serde_json::from_slice(answer.body.expose()).ok();
    let said = said.as_ref().and_then(|status| status.get("message")).and_then(Value::as_str).unwrap_or_default();
    let path = path.split('?').next().unwrap_or_default().to_owned();
    ApiError::Refused { path, status: answer.status, message: said.chars().take(MESSAGE_CHARACTERS_MAX).collect() }
}

/// Why the API server did not do what it was asked. Never shows what was sent.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// The address is none.
    #[error("the API server's address cannot be used: {0}")]
    Address(String),
    /// TLS cannot be used.
    #[error("TLS with the API server cannot be used")]
    Tls(#[from] TlsError),
    /// Our token cannot be read.
    #[error("the service account's token cannot be used")]
    Token(#[from] SecretFileError),
    /// There was no whole answer.
    #[error("the API server gave no answer")]
    Unreachable(#[from] FetchError),
    /// It refused.
    #[error("the API server answered {status} for {path}: {message}")]
    Refused {
        /// What was asked for, without its query.
        path: String,
        /// The status.
        status: StatusCode,
        /// Its own words.
        message: String,
    },
    /// The answer is no JSON.
    #[error("the API server's answer for {path} is no JSON")]
    Unreadable {
        /// What was asked for.
        path: String,
    },
    /// The list is longer than is read.
    #[error("{path} has more than {} objects", PAGES_MAX * PAGE_OBJECTS)]
    TooMany {
        /// What was asked for.
        path: String,
    },
}

impl ApiError {
    /// The status of a refusal.
    pub fn status(&self) -> Option<StatusCode> {
        match self {
            Self::Refused { status, .. } => Some(*status),
            Self::Address(_) | Self::Tls(_) | Self::Token(_) | Self::Unreachable(_) | Self::Unreadable { .. } | Self::TooMany { .. } => {
                None
            }
        }
    }
}
