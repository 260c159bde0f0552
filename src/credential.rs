//! A short-lived credential for a warehouse, in exchange for a proven identity.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::SystemTime;

use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::credential::chain::Chain;
use crate::fault::{Fault, Reason};
use crate::identity::{IdentityError, Proof};
use crate::secret::Secret;
use crate::target::Target;
use crate::tls::Trust;

pub mod cache;
pub mod chain;
pub mod client_certificate;
pub mod clients;
pub mod password_file;
pub mod token_exchange;

/// One step from the workload's token to a credential, as configured. The last step of a chain makes the credential,
/// the steps before it make another token of the token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Step {
    /// Another token from a token endpoint (RFC 8693).
    TokenExchange(Box<token_exchange::Settings>),
    /// A short-lived client certificate from a certificate authority. Makes a credential.
    ClientCertificate(Box<client_certificate::Settings>),
    /// A password from a file. Makes a credential.
    PasswordFile(password_file::Settings),
    /// The token itself, as a bearer token where the warehouse takes one, else as the password. Makes a credential.
    TokenAsPassword {},
}

/// The exchange that the steps describe: the registry of kinds. Nothing is read but certificate authorities.
///
/// # Errors
/// [`chain::ChainError`] names the step that cannot be used.
pub fn exchange(steps: &[Step], trust: Trust) -> Result<Arc<dyn CredentialExchange>, chain::ChainError> {
    Ok(Arc::new(Chain::new(steps, trust)?))
}

/// A future behind a seam that is chosen by configuration.
pub type Exchanging<'a> = Pin<Box<dyn Future<Output = Result<Credential, ExchangeError>> + Send + 'a>>;

/// A way to turn a proven identity into a credential for a target.
pub trait CredentialExchange: Send + Sync {
    /// The name of the kind (`client_certificate`), for records.
    fn kind(&self) -> &'static str;

    /// Exchanges the proof for a credential. Makes at most one attempt per step; retries belong to the cache.
    ///
    /// # Errors
    /// [`ExchangeError`] says whether to try again.
    fn exchange<'a>(&'a self, proof: &'a Proof, target: &'a Target) -> Exchanging<'a>;
}

/// What the login to a warehouse uses.
#[derive(Debug)]
pub struct Credential {
    /// A name for records that reveals nothing: a certificate's serial, a token's `jti`, or a counter.
    pub id: String,
    /// The secret part.
    pub login: Login,
    /// When it was issued to us.
    pub issued_at: SystemTime,
    /// When it stops being accepted at login.
    pub expires_at: SystemTime,
}

/// The secret part of a credential.
#[derive(Debug)]
pub enum Login {
    /// TLS client authentication.
    ClientCertificate {
        /// Leaf first.
        chain: Vec<CertificateDer<'static>>,
        /// Its key, made here and never sent anywhere.
        key: Secret<PrivateKeyDer<'static>>,
    },
    /// A password for cleartext, md5 or SCRAM authentication.
    Password(Secret<String>),
    /// A token: shown as what it is where the warehouse knows how, and as the password elsewhere.
    Token(Secret<String>),
}

/// Why an exchange gave no credential.
#[derive(Debug, thiserror::Error)]
#[error("no credential: {reason:?}")]
pub struct ExchangeError {
    /// Which kind of failure; an [`crate::identity::IdentityError`] passes its own through.
    pub reason: Reason,
    /// The cause, without any part of a token.
    #[source]
    pub source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl ExchangeError {
    /// An error with its cause, which must hold no part of a token.
    pub fn new(reason: Reason, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self { reason, source: Some(source.into()) }
    }
}

impl From<ExchangeError> for Fault {
    fn from(error: ExchangeError) -> Self {
        Self::new(error.reason).because(error)
    }
}

impl From<IdentityError> for ExchangeError {
    fn from(error: IdentityError) -> Self {
        Self { reason: error.reason, source: error.source }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::Step;

    #[test]
    fn the_schema_of_a_step_accepts_what_the_types_accept_and_nothing_else() {
        let schema = jsonschema::validator_for(schemars::schema_for!(Step).as_value()).unwrap();
        for (step, is_good) in [
            (json!({ "kind": "token_exchange", "issuer": "https://issuer.example", "client_auth": "none" }), true),
            (json!({ "kind": "token_exchange", "client_auth": { "basic": { "client_id": "a", "client_secret_file": "/s" } } }), true),
            (json!({ "kind": "token_exchange", "client_auth": { "basic": { "client_id": "a", "client_secret": "hunter2" } } }), false),
            (json!({ "kind": "client_certificate", "url": "https://ca.example/1.0/sign", "common_name": "dbt", "lifetime": "5m" }), true),
            (json!({ "kind": "client_certificate", "url": "https://ca.example/1.0/sign" }), false),
            (json!({ "kind": "client_certificate", "url": "ftp://ca.example", "common_name": "dbt" }), false),
            (json!({ "kind": "password_file", "file": "/run/password" }), true),
            (json!({ "kind": "password_file", "file": "/run/password", "lifetime": "5m" }), false),
            (json!({ "kind": "token_as_password" }), true),
            (json!({ "kind": "token_as_password", "file": "/x" }), false),
            (json!({ "kind": "kerberos" }), false),
        ] {
            assert_eq!(schema.is_valid(&step), is_good, "schema: {step}");
            assert_eq!(serde_json::from_value::<Step>(step.clone()).is_ok(), is_good, "types: {step}");
        }
    }
}
