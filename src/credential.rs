//! A short-lived credential for a warehouse, in exchange for a proven identity.

use std::future::Future;
use std::pin::Pin;
use std::time::SystemTime;

use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::fault::Reason;
use crate::identity::Proof;
use crate::secret::Secret;
use crate::target::Target;

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
        key: PrivateKeyDer<'static>,
    },
    /// A password for cleartext, md5 or SCRAM authentication.
    Password(Secret<String>),
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
