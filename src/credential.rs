//! A short-lived credential for a warehouse, in exchange for a proven identity.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::aws::AwsCredentials;
use crate::credential::chain::Chain;
use crate::credential::value::Shape;
use crate::fault::{Fault, Reason};
use crate::fetch::failure::{Failure, Kind};
use crate::identity::{IdentityError, Proof};
use crate::secret::Secret;
use crate::target::Target;
use crate::tls::Trust;

pub mod action;
pub mod aws;
pub mod cache;
pub mod chain;
pub mod client_certificate;
pub mod clients;
pub mod databricks_oauth;
pub mod entra;
pub mod gcp;
pub mod oauth;
pub mod password_file;
pub mod snowflake;
pub mod subject_token_file;
pub mod value;
pub mod vault;
mod x509_svid;

/// One step from the workload's token to a credential, as configured. Each takes what the one before it gives; the last makes
/// the credential.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Step {
    /// A token of somebody else's making in a file, to be exchanged. Takes nothing, and never says who is calling.
    SubjectTokenFile(subject_token_file::Settings),
    /// Another token from a token endpoint (RFC 8693).
    TokenExchange(Box<oauth::token_exchange::Settings>),
    /// A token for a client of its own at a token endpoint (RFC 6749).
    ClientCredentials(Box<oauth::client_credentials::Settings>),
    /// A token for an assertion as the grant (RFC 7523, RFC 7522).
    JwtBearer(Box<oauth::jwt_bearer::Settings>),
    /// Temporary AWS keys for a token (STS AssumeRoleWithWebIdentity).
    AwsWebIdentity(Box<aws::web_identity::Settings>),
    /// Temporary AWS keys from the EKS Pod Identity agent. Takes nothing.
    AwsPodIdentity(Box<aws::pod_identity::Settings>),
    /// A token for AWS keys (STS GetWebIdentityToken).
    AwsWebIdentityToken(Box<aws::web_identity_token::Settings>),
    /// The password of Amazon RDS and Aurora for AWS keys. Makes a credential.
    RdsToken(aws::rds_token::Settings),
    /// A user and password of Amazon Redshift for AWS keys. Makes a credential.
    RedshiftCredentials(Box<aws::redshift_credentials::Settings>),
    /// The AWS keys themselves, which sign every request to the warehouse anew. Makes a credential.
    AwsSigv4 {},
    /// Google's token for a workload of another place.
    GcpSts(Box<gcp::sts::Settings>),
    /// A token of a Google service account for the token of somebody who may act as it.
    GcpImpersonation(Box<gcp::impersonation::Settings>),
    /// A token from the node's metadata server (GKE, Compute Engine). Takes nothing.
    GcpMetadata(Box<gcp::metadata::Settings>),
    /// Microsoft Entra's token for an application that the workload's token is a federated credential of.
    Entra(Box<entra::Settings>),
    /// Databricks' token for a token of an issuer that it trusts.
    DatabricksOauth(Box<databricks_oauth::Settings>),
    /// A token for Snowflake's workload identity federation. Makes a credential.
    SnowflakeWorkloadIdentity(snowflake::WorkloadIdentity),
    /// An access token of an OAuth server that Snowflake trusts. Makes a credential.
    SnowflakeOauth {},
    /// A JWT signed with a Snowflake user's own key. Takes nothing, makes a credential.
    SnowflakeKeyPair(snowflake::KeyPairSettings),
    /// A token of Vault or OpenBao, kept and renewed while it is used, and revoked at the end.
    VaultLogin(Box<vault::login::Settings>),
    /// A user that Vault makes for the token, renewed while it can be. Makes a credential.
    VaultDatabase(vault::database::Settings),
    /// A user whose password Vault keeps. Makes a credential.
    VaultDatabaseStatic(vault::database::Settings),
    /// A client certificate that Vault signs. Makes a credential.
    VaultPki(vault::pki::Settings),
    /// A short-lived client certificate from a certificate authority. Makes a credential.
    ClientCertificate(Box<client_certificate::Settings>),
    /// A password from a file. Makes a credential.
    PasswordFile(password_file::Settings),
    /// The workload's X.509-SVID as the client certificate. Makes a credential, and needs an identity that has one.
    X509Svid {},
    /// The token itself, as a bearer token where the warehouse takes one, else as the password. Makes a credential.
    TokenAsPassword {},
}

/// The exchange that the steps describe, for logins as `role`. Nothing is read but certificate authorities.
///
/// # Errors
/// [`chain::ChainError`] names the step that cannot be used.
pub fn exchange(steps: &[Step], role: &str, trust: Trust) -> Result<Arc<dyn CredentialExchange>, chain::ChainError> {
    Ok(Arc::new(Chain::new(steps, role, trust)?))
}

/// Which step of a chain, as the configuration places it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StepName {
    /// Its place in `targets[].credential`, from 0.
    pub index: usize,
    /// Its kind.
    pub kind: &'static str,
}

impl fmt::Display for StepName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "credential[{}] {}", self.index, self.kind)
    }
}

/// What became of one step.
#[derive(Debug)]
pub struct StepReport<'a> {
    /// Which step.
    pub step: StepName,
    /// What it made and when that ends, or why not.
    pub result: Result<(Shape, SystemTime), &'a ExchangeError>,
    /// How long it took.
    pub duration: Duration,
}

impl StepReport<'_> {
    /// `ok` or the reason's code, for metrics.
    pub fn outcome(&self) -> &'static str {
        self.result.map_or_else(|error| error.reason.code(), |_| "ok")
    }
}

/// Hears of each step that was run, as soon as it is over.
pub type Report<'a> = dyn Fn(&StepReport<'_>) + Send + Sync + 'a;

/// A future behind a seam that is chosen by configuration.
pub type Exchanging<'a> = Pin<Box<dyn Future<Output = Result<Credential, ExchangeError>> + Send + 'a>>;

/// A future that gives back what was kept.
pub type Releasing<'a> = Pin<Box<dyn Future<Output = ()> + Send + 'a>>;

/// A way to turn a proven identity into a credential for a target.
pub trait CredentialExchange: Send + Sync {
    /// The name of the kind (`client_certificate`), for records.
    fn kind(&self) -> &'static str;

    /// Exchanges the proof for a credential, and says of each step what became of it. Makes at most one attempt per step;
    /// retries belong to the cache.
    ///
    /// # Errors
    /// [`ExchangeError`] says whether to try again.
    fn exchange<'a>(&'a self, proof: &'a Proof, target: &'a Target, report: &'a Report<'a>) -> Exchanging<'a>;

    /// Gives back what is kept between exchanges, where somebody takes it back: Vault revokes its tokens, and so the users that it
    /// made. For the end of the program, when no session is left; it may be dropped at any time.
    fn release(&self) -> Releasing<'_> {
        Box::pin(std::future::ready(()))
    }
}

/// What the login to a warehouse uses.
#[derive(Debug)]
pub struct Credential {
    /// A name for records that reveals nothing: a certificate's serial, a token's `jti`, or a counter.
    pub id: String,
    /// The secret part.
    pub login: Login,
    /// The role that the credential is for, where it names one itself; sessions log in as that instead of `targets[].role`.
    pub role: Option<String>,
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
    /// Keys that sign each request anew (AWS Signature Version 4).
    AwsCredentials(AwsCredentials),
    /// A login to Snowflake, which answers with a session of its own.
    Snowflake {
        /// What the login request names as `AUTHENTICATOR`.
        authenticator: Authenticator,
        /// The token that goes with it.
        token: Secret<String>,
    },
}

impl Login {
    /// What kind it is.
    pub fn kind(&self) -> LoginKind {
        match self {
            Self::ClientCertificate { .. } => LoginKind::ClientCertificate,
            Self::Password(_) => LoginKind::Password,
            Self::Token(_) => LoginKind::Token,
            Self::AwsCredentials(_) => LoginKind::AwsCredentials,
            Self::Snowflake { .. } => LoginKind::Snowflake,
        }
    }
}

/// The kind of a [`Login`]: which one a chain makes is known before it runs, and each kind of warehouse takes some.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LoginKind {
    /// TLS client authentication.
    ClientCertificate,
    /// A password.
    Password,
    /// A token.
    Token,
    /// Keys that sign each request.
    AwsCredentials,
    /// A login to Snowflake.
    Snowflake,
}

impl fmt::Display for LoginKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ClientCertificate => "a client certificate",
            Self::Password => "a password",
            Self::Token => "a token",
            Self::AwsCredentials => "AWS keys that sign each request",
            Self::Snowflake => "a login to Snowflake",
        })
    }
}

/// How a login request to Snowflake is to be read (`AUTHENTICATOR` of its session API).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Authenticator {
    /// An access token of an OAuth server that Snowflake trusts.
    Oauth,
    /// A token of an OpenID provider that the user is bound to; `PROVIDER` is `OIDC`.
    WorkloadIdentity,
    /// A JWT signed with the user's own key.
    SnowflakeJwt,
}

impl Authenticator {
    /// The word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Oauth => "OAUTH",
            Self::WorkloadIdentity => "WORKLOAD_IDENTITY",
            Self::SnowflakeJwt => "SNOWFLAKE_JWT",
        }
    }
}

/// Why an exchange gave no credential.
#[derive(Debug, thiserror::Error)]
#[error("no credential: {reason:?}")]
pub struct ExchangeError {
    /// Which kind of failure, and so whose; an [`crate::identity::IdentityError`] passes its own through.
    pub reason: Reason,
    /// Which step failed; `None` where none did, such as when the identity could not be proven.
    pub step: Option<StepName>,
    /// What to do about it, in one sentence of our own words and configured names, where more is known than the reason says.
    pub fix: Option<String>,
    /// For how long whoever was asked wants not to be asked again, where it says so.
    pub retry_after: Option<Duration>,
    /// The cause, without any part of a token.
    #[source]
    pub source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl ExchangeError {
    /// An error with its cause, which must hold no part of a token.
    pub fn new(reason: Reason, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self { reason, step: None, fix: None, retry_after: None, source: Some(source.into()) }
    }

    /// Adds what to do about it: one sentence of our own words and configured names.
    #[must_use]
    pub fn fix(self, fix: impl Into<String>) -> Self {
        Self { fix: Some(fix.into()), ..self }
    }
}

impl From<ExchangeError> for Fault {
    fn from(error: ExchangeError) -> Self {
        let step = error.step.map(|step| step.to_string());
        let about: Vec<_> = [step, error.fix.clone()].into_iter().flatten().collect();
        let fault = Self::new(error.reason);
        let fault = if about.is_empty() { fault } else { fault.about(about.join(": ")) };
        fault.because(error)
    }
}

impl From<IdentityError> for ExchangeError {
    fn from(error: IdentityError) -> Self {
        Self { reason: error.reason, step: None, fix: None, retry_after: error.retry_after, source: error.source }
    }
}

impl From<Failure> for ExchangeError {
    fn from(failure: Failure) -> Self {
        let reason = match failure.kind {
            Kind::Away => Reason::ExchangeUnreachable,
            Kind::Refused => Reason::ExchangeRefused,
            Kind::Unusable => Reason::ExchangeInvalid,
            Kind::Unprepared => Reason::ExchangeUnprepared,
            Kind::Internal => Reason::Internal,
        };
        Self { reason, step: None, fix: failure.fix, retry_after: failure.retry_after, source: failure.source }
    }
}

#[cfg(test)]
mod stand_in;
#[cfg(test)]
mod tests;
