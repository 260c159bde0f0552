//! The steps of a chain, ready to run: the registry of kinds.

use crate::credential::Step;
use crate::credential::chain::ChainProblem;
use crate::credential::client_certificate::ClientCertificate;
use crate::credential::oauth::client_credentials::ClientCredentials;
use crate::credential::oauth::jwt_bearer::JwtBearer;
use crate::credential::oauth::token_exchange::TokenExchange;
use crate::credential::password_file::PasswordFile;
use crate::credential::value::{Draft, Shape, Token, Value};
use crate::credential::{ExchangeError, Login, x509_svid};
use crate::identity::Certificate;
use crate::tls::Trust;

/// For whom and what an exchange is made.
#[derive(Debug, Clone, Copy)]
pub(super) struct Context<'a> {
    /// The workload's own token.
    pub(super) workload: &'a Token,
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
        use Shape::{Credential, Token};
        let (kind, takes, gives) = match self {
            Self::TokenExchange(_) => ("token_exchange", Some(Token), Token),
            Self::ClientCredentials(settings) => ("client_credentials", settings.client_auth.is_federated().then_some(Token), Token),
            Self::JwtBearer(_) => ("jwt_bearer", Some(Token), Token),
            Self::ClientCertificate(_) => ("client_certificate", Some(Token), Credential),
            Self::PasswordFile(_) => ("password_file", None, Credential),
            Self::X509Svid {} => ("x509_svid", None, Credential),
            Self::TokenAsPassword {} => ("token_as_password", Some(Token), Credential),
        };
        Signature { kind, takes, gives }
    }
}

/// A step that can run.
#[derive(Debug)]
pub(super) enum Action {
    TokenExchange(Box<TokenExchange>),
    ClientCredentials(Box<ClientCredentials>),
    JwtBearer(Box<JwtBearer>),
    ClientCertificate(Box<ClientCertificate>),
    PasswordFile(PasswordFile),
    X509Svid,
    TokenAsPassword,
}

impl Action {
    pub(super) fn new(step: &Step, trust: Trust) -> Result<Self, ChainProblem> {
        Ok(match step {
            Step::TokenExchange(settings) => Self::TokenExchange(Box::new(TokenExchange::new(settings, trust)?)),
            Step::ClientCredentials(settings) => Self::ClientCredentials(Box::new(ClientCredentials::new(settings, trust)?)),
            Step::JwtBearer(settings) => Self::JwtBearer(Box::new(JwtBearer::new(settings, trust)?)),
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
            Self::TokenExchange(_)
            | Self::ClientCredentials(_)
            | Self::JwtBearer(_)
            | Self::ClientCertificate(_)
            | Self::PasswordFile(_)
            | Self::X509Svid
            | Self::TokenAsPassword => None,
        }
    }

    /// Makes one attempt. `context` is for steps whose client is proven by the workload's own token.
    pub(super) async fn run(&self, value: Value, context: Context<'_>) -> Result<Value, ExchangeError> {
        Ok(match self {
            Self::TokenExchange(step) => Value::Token(step.exchange(&value.token()?, context.workload).await?),
            // Where it takes nothing, what it is given here is the workload's token, which it does not show.
            Self::ClientCredentials(step) => Value::Token(step.obtain(&value.token()?).await?),
            Self::JwtBearer(step) => Value::Token(step.exchange(&value.token()?, context.workload).await?),
            Self::ClientCertificate(step) => Value::Credential(step.obtain(&value.token()?).await?),
            Self::PasswordFile(step) => Value::Credential(step.obtain().await?),
            Self::X509Svid => Value::Credential(x509_svid::obtain(context.certificate, context.workload)?),
            Self::TokenAsPassword => Value::Credential(as_password(value.token()?)),
        })
    }
}

fn as_password(token: Token) -> Draft {
    Draft { id: token.id, login: Login::Token(token.value), role: None, expires_at: token.expires_at }
}
