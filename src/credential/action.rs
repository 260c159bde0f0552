//! The steps of a chain, ready to run: the registry of kinds.

use crate::aws::AwsCredentials;
use crate::aws::container::Agent;
use crate::credential::Step;
use crate::credential::aws::rds_token;
use crate::credential::aws::redshift_credentials::RedshiftCredentials;
use crate::credential::aws::web_identity::WebIdentity;
use crate::credential::aws::web_identity_token::WebIdentityToken;
use crate::credential::chain::ChainProblem;
use crate::credential::client_certificate::ClientCertificate;
use crate::credential::gcp::impersonation::Impersonation;
use crate::credential::gcp::metadata::Metadata;
use crate::credential::oauth::client_credentials::ClientCredentials;
use crate::credential::oauth::jwt_bearer::JwtBearer;
use crate::credential::oauth::token_exchange::TokenExchange;
use crate::credential::password_file::PasswordFile;
use crate::credential::value::{Draft, Shape, Token, Value};
use crate::credential::vault::database::{VaultDatabase, static_user};
use crate::credential::vault::login::VaultLogin;
use crate::credential::{Authenticator, ExchangeError, Login, LoginKind, entra, snowflake, subject_token_file, vault, x509_svid};
use crate::identity::{Certificate, Principal};
use crate::secret::Secret;
use crate::target::Target;
use crate::tls::Trust;

/// For whom and what an exchange is made.
#[derive(Debug, Clone, Copy)]
pub(super) struct Context<'a> {
    /// The workload's own token.
    pub(super) workload: &'a Token,
    /// Who it is.
    pub(super) principal: &'a Principal,
    /// The warehouse.
    pub(super) target: &'a Target,
    /// The role that sessions log in as there.
    pub(super) role: &'a str,
    /// The workload's own certificate, where its identity has one.
    pub(super) certificate: Option<&'a Certificate>,
}

/// What a kind of step is called, takes and gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Signature {
    /// Its name in the configuration.
    pub kind: &'static str,
    /// What it takes; `None` where it needs nothing of the steps before it.
    pub takes: Option<Shape>,
    /// What it gives.
    pub gives: Shape,
}

impl Step {
    /// What it is called, takes and gives.
    pub fn signature(&self) -> Signature {
        use Shape::{AwsCredentials, Credential, Token, VaultToken};
        let (kind, takes, gives) = match self {
            Self::SubjectTokenFile(_) => ("subject_token_file", None, Token),
            Self::TokenExchange(_) => ("token_exchange", Some(Token), Token),
            Self::ClientCredentials(settings) => ("client_credentials", settings.client_auth.is_federated().then_some(Token), Token),
            Self::JwtBearer(_) => ("jwt_bearer", Some(Token), Token),
            Self::AwsWebIdentity(_) => ("aws_web_identity", Some(Token), AwsCredentials),
            Self::AwsPodIdentity(_) => ("aws_pod_identity", None, AwsCredentials),
            Self::AwsWebIdentityToken(_) => ("aws_web_identity_token", Some(AwsCredentials), Token),
            Self::RdsToken(_) => ("rds_token", Some(AwsCredentials), Credential(LoginKind::Password)),
            Self::RedshiftCredentials(_) => ("redshift_credentials", Some(AwsCredentials), Credential(LoginKind::Password)),
            Self::AwsSigv4 {} => ("aws_sigv4", Some(AwsCredentials), Credential(LoginKind::AwsCredentials)),
            Self::GcpSts(_) => ("gcp_sts", Some(Token), Token),
            Self::GcpImpersonation(_) => ("gcp_impersonation", Some(Token), Token),
            Self::GcpMetadata(_) => ("gcp_metadata", None, Token),
            Self::Entra(_) => ("entra", Some(Token), Token),
            Self::DatabricksOauth(_) => ("databricks_oauth", Some(Token), Token),
            Self::SnowflakeWorkloadIdentity(_) => ("snowflake_workload_identity", Some(Token), Credential(LoginKind::Snowflake)),
            Self::SnowflakeOauth {} => ("snowflake_oauth", Some(Token), Credential(LoginKind::Snowflake)),
            Self::SnowflakeKeyPair(_) => ("snowflake_key_pair", None, Credential(LoginKind::Snowflake)),
            Self::VaultLogin(_) => ("vault_login", Some(Token), VaultToken),
            Self::VaultDatabase(_) => ("vault_database", Some(VaultToken), Credential(LoginKind::Password)),
            Self::VaultDatabaseStatic(_) => ("vault_database_static", Some(VaultToken), Credential(LoginKind::Password)),
            Self::VaultPki(_) => ("vault_pki", Some(VaultToken), Credential(LoginKind::ClientCertificate)),
            Self::ClientCertificate(_) => ("client_certificate", Some(Token), Credential(LoginKind::ClientCertificate)),
            Self::PasswordFile(_) => ("password_file", None, Credential(LoginKind::Password)),
            Self::X509Svid {} => ("x509_svid", None, Credential(LoginKind::ClientCertificate)),
            Self::TokenAsPassword {} => ("token_as_password", Some(Token), Credential(LoginKind::Token)),
        };
        Signature { kind, takes, gives }
    }

    /// What kind of login it makes, if it makes one.
    pub fn login(&self) -> Option<LoginKind> {
        match self.signature().gives {
            Shape::Credential(kind) => Some(kind),
            Shape::Token | Shape::AwsCredentials | Shape::VaultToken => None,
        }
    }
}

/// A step that can run.
#[derive(Debug)]
pub(super) enum Action {
    SubjectTokenFile(subject_token_file::Settings),
    TokenExchange(Box<TokenExchange>),
    ClientCredentials(Box<ClientCredentials>),
    JwtBearer(Box<JwtBearer>),
    AwsWebIdentity(Box<WebIdentity>),
    AwsPodIdentity(Box<Agent>),
    AwsWebIdentityToken(Box<WebIdentityToken>),
    RdsToken(rds_token::Settings),
    RedshiftCredentials(Box<RedshiftCredentials>),
    AwsSigv4,
    GcpImpersonation(Box<Impersonation>),
    GcpMetadata(Box<Metadata>),
    SnowflakeWorkloadIdentity(snowflake::WorkloadIdentity),
    SnowflakeOauth,
    SnowflakeKeyPair(snowflake::KeyPairSettings),
    VaultLogin(Box<VaultLogin>),
    VaultDatabase(Box<VaultDatabase>),
    VaultDatabaseStatic(vault::database::Settings),
    VaultPki(vault::pki::Settings),
    ClientCertificate(Box<ClientCertificate>),
    PasswordFile(PasswordFile),
    X509Svid,
    TokenAsPassword,
}

impl Action {
    pub(super) fn new(step: &Step, trust: Trust) -> Result<Self, ChainProblem> {
        Ok(match step {
            Step::SubjectTokenFile(settings) => {
                settings.check()?;
                Self::SubjectTokenFile(settings.clone())
            }
            Step::TokenExchange(settings) => Self::TokenExchange(Box::new(TokenExchange::new(settings, trust)?)),
            Step::ClientCredentials(settings) => Self::ClientCredentials(Box::new(ClientCredentials::new(settings, trust)?)),
            Step::JwtBearer(settings) => Self::JwtBearer(Box::new(JwtBearer::new(settings, trust)?)),
            Step::AwsWebIdentity(settings) => Self::AwsWebIdentity(Box::new(WebIdentity::new(settings, trust)?)),
            Step::AwsPodIdentity(settings) => Self::AwsPodIdentity(Box::new(settings.agent(trust)?)),
            Step::AwsWebIdentityToken(settings) => Self::AwsWebIdentityToken(Box::new(WebIdentityToken::new(settings, trust)?)),
            Step::RdsToken(settings) => Self::RdsToken(settings.clone()),
            Step::RedshiftCredentials(settings) => Self::RedshiftCredentials(Box::new(RedshiftCredentials::new(settings, trust)?)),
            Step::AwsSigv4 {} => Self::AwsSigv4,
            Step::GcpSts(settings) => {
                Self::TokenExchange(Box::new(TokenExchange::new(&settings.exchange()?, trust)?.wanting(settings.audience())))
            }
            Step::GcpImpersonation(settings) => Self::GcpImpersonation(Box::new(Impersonation::new(settings, trust)?)),
            Step::GcpMetadata(settings) => Self::GcpMetadata(Box::new(Metadata::new(settings, trust)?)),
            Step::Entra(settings) => {
                Self::ClientCredentials(Box::new(ClientCredentials::new(&settings.request()?, trust)?.wanting(entra::AUDIENCE.to_owned())))
            }
            Step::DatabricksOauth(settings) => Self::TokenExchange(Box::new(TokenExchange::new(&settings.exchange()?, trust)?)),
            Step::SnowflakeWorkloadIdentity(settings) => Self::SnowflakeWorkloadIdentity(settings.clone()),
            Step::SnowflakeOauth {} => Self::SnowflakeOauth,
            Step::SnowflakeKeyPair(settings) => {
                settings.check()?;
                Self::SnowflakeKeyPair(settings.clone())
            }
            Step::VaultLogin(settings) => Self::VaultLogin(Box::new(VaultLogin::new(settings, trust)?)),
            Step::VaultDatabase(settings) => Self::VaultDatabase(Box::new(VaultDatabase::new(settings))),
            Step::VaultDatabaseStatic(settings) => Self::VaultDatabaseStatic(settings.clone()),
            Step::VaultPki(settings) => Self::VaultPki(settings.clone()),
            Step::ClientCertificate(settings) => {
                Self::ClientCertificate(Box::new(ClientCertificate::new(settings, trust).map_err(ChainProblem::Tls)?))
            }
            Step::PasswordFile(settings) => Self::PasswordFile(PasswordFile::new(settings)),
            Step::X509Svid {} => Self::X509Svid,
            Step::TokenAsPassword {} => Self::TokenAsPassword,
        })
    }

    /// The audience that a token shown to this step is known to need.
    pub(super) fn audience(&self) -> Option<&str> {
        match self {
            Self::TokenExchange(step) => step.audience(),
            Self::ClientCredentials(step) => step.audience(),
            Self::AwsWebIdentity(step) => Some(step.audience()),
            Self::SnowflakeWorkloadIdentity(settings) => Some(&settings.audience),
            Self::SubjectTokenFile(_)
            | Self::JwtBearer(_)
            | Self::AwsPodIdentity(_)
            | Self::AwsWebIdentityToken(_)
            | Self::RdsToken(_)
            | Self::RedshiftCredentials(_)
            | Self::AwsSigv4
            | Self::GcpImpersonation(_)
            | Self::GcpMetadata(_)
            | Self::SnowflakeOauth
            | Self::SnowflakeKeyPair(_)
            | Self::VaultLogin(_)
            | Self::VaultDatabase(_)
            | Self::VaultDatabaseStatic(_)
            | Self::VaultPki(_)
            | Self::ClientCertificate(_)
            | Self::PasswordFile(_)
            | Self::X509Svid
            | Self::TokenAsPassword => None,
        }
    }

    /// Makes one attempt. `context` is for steps whose client is proven by the workload's own token.
    pub(super) async fn run(&self, value: Value, context: Context<'_>) -> Result<Value, ExchangeError> {
        Ok(match self {
            Self::SubjectTokenFile(settings) => Value::Token(settings.obtain().await?),
            Self::TokenExchange(step) => Value::Token(step.exchange(&value.token()?, context.workload).await?),
            // Where it takes nothing, what it is given here is the workload's token, which it does not show.
            Self::ClientCredentials(step) => Value::Token(step.obtain(&value.token()?).await?),
            Self::JwtBearer(step) => Value::Token(step.exchange(&value.token()?, context.workload).await?),
            Self::AwsWebIdentity(step) => Value::AwsCredentials(step.exchange(&value.token()?, context.principal).await?),
            Self::AwsPodIdentity(agent) => Value::AwsCredentials(agent.keys().await?),
            Self::AwsWebIdentityToken(step) => Value::Token(step.exchange(&value.aws_credentials()?).await?),
            Self::RdsToken(settings) => Value::Credential(rds_token::make(settings, &value.aws_credentials()?, context)?),
            Self::RedshiftCredentials(step) => Value::Credential(step.obtain(&value.aws_credentials()?, context).await?),
            Self::AwsSigv4 => Value::Credential(as_signer(value.aws_credentials()?)),
            Self::GcpImpersonation(step) => Value::Token(step.exchange(&value.token()?).await?),
            Self::GcpMetadata(step) => Value::Token(step.obtain().await?),
            Self::SnowflakeWorkloadIdentity(settings) => Value::Credential(settings.login(value.token()?)?),
            Self::SnowflakeOauth => Value::Credential(snowflake::with_token(Authenticator::Oauth, value.token()?)),
            Self::SnowflakeKeyPair(settings) => Value::Credential(snowflake::with_key(settings, context.role).await?),
            Self::VaultLogin(step) => Value::VaultToken(step.exchange(&value.token()?).await?),
            Self::VaultDatabase(step) => Value::Credential(step.obtain(&value.vault_token()?).await?),
            Self::VaultDatabaseStatic(settings) => Value::Credential(static_user(settings, &value.vault_token()?).await?),
            Self::VaultPki(settings) => Value::Credential(vault::pki::obtain(settings, &value.vault_token()?, context.role).await?),
            Self::ClientCertificate(step) => Value::Credential(step.obtain(&value.token()?).await?),
            Self::PasswordFile(step) => Value::Credential(step.obtain().await?),
            Self::X509Svid => Value::Credential(x509_svid::obtain(context.certificate, context.workload)?),
            Self::TokenAsPassword => Value::Credential(as_password(value.token()?)),
        })
    }
}

impl Action {
    /// Drops what the step keeps of a token that is no longer taken.
    pub(super) fn forget(&self, token: &Secret<String>) {
        if let Self::VaultLogin(step) = self {
            step.forget(token);
        }
        if let Self::VaultDatabase(step) = self {
            step.forget(token);
        }
    }

    /// Gives back what the step keeps.
    pub(super) async fn release(&self) {
        if let Self::VaultLogin(step) = self {
            step.release().await;
        }
    }
}

fn as_password(token: Token) -> Draft {
    Draft { id: token.id, login: Login::Token(token.value), role: None, expires_at: token.expires_at }
}

fn as_signer(keys: AwsCredentials) -> Draft {
    let expires_at = keys.expires_at;
    Draft { id: Some(keys.access_key_id.clone()), login: Login::AwsCredentials(keys), role: None, expires_at }
}
