//! What passes from one step of a chain to the next.

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::aws::AwsCredentials;
use crate::credential::vault::Server;
use crate::credential::{ExchangeError, Login, LoginKind};
use crate::fault::Reason;
use crate::identity::Proof;
use crate::identity::token::NumericDate;
use crate::secret::Secret;

/// The kind of a value; steps fit together when the one gives what the other takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// A token of an identity provider.
    Token,
    /// Temporary keys that sign requests to AWS.
    AwsCredentials,
    /// A token of Vault or OpenBao.
    VaultToken,
    /// What a login to a warehouse uses, which ends a chain.
    Credential(LoginKind),
}

impl Shape {
    /// The kinds of step that give it, for a reader who lacks one.
    pub(super) fn makers(self) -> &'static str {
        match self {
            Self::Token => "a step such as `token_exchange`, `client_credentials`, `gcp_sts` or `entra`",
            Self::AwsCredentials => "`aws_web_identity` or `aws_pod_identity`",
            Self::VaultToken => "`vault_login`",
            Self::Credential(_) => CREDENTIAL_MAKERS,
        }
    }
}

/// The kinds of step that make a credential, for a reader who lacks one.
pub(super) const CREDENTIAL_MAKERS: &str =
    "a step such as `client_certificate`, `password_file`, `token_as_password`, `x509_svid` or `rds_token`";

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Token => "a token",
            Self::AwsCredentials => "AWS credentials",
            Self::VaultToken => "a Vault token",
            Self::Credential(_) => "a credential",
        })
    }
}

/// A value on its way through a chain.
#[derive(Debug)]
pub enum Value {
    /// A token of an identity provider.
    Token(Token),
    /// Temporary keys that sign requests to AWS.
    AwsCredentials(AwsCredentials),
    /// A token of Vault or OpenBao.
    VaultToken(VaultToken),
    /// What a login to a warehouse uses.
    Credential(Draft),
}

impl Value {
    /// Its kind.
    pub fn shape(&self) -> Shape {
        match self {
            Self::Token(_) => Shape::Token,
            Self::AwsCredentials(_) => Shape::AwsCredentials,
            Self::VaultToken(_) => Shape::VaultToken,
            Self::Credential(draft) => Shape::Credential(draft.login.kind()),
        }
    }

    /// When it ends.
    pub fn expires_at(&self) -> SystemTime {
        match self {
            Self::Token(token) => token.expires_at,
            Self::AwsCredentials(keys) => keys.expires_at,
            Self::VaultToken(token) => token.expires_at,
            Self::Credential(draft) => draft.expires_at,
        }
    }

    /// Whom a token is for, by its own word; for telling an operator, not for deciding. Empty for what does not say.
    pub(super) fn audiences(&self) -> Vec<String> {
        match self {
            Self::Token(token) => token.audiences(),
            Self::AwsCredentials(_) | Self::VaultToken(_) | Self::Credential(_) => Vec::new(),
        }
    }

    /// The token that a step takes.
    ///
    /// # Errors
    /// `Internal` for anything else, which the check of the chain rules out.
    pub(super) fn token(self) -> Result<Token, ExchangeError> {
        if let Self::Token(token) = self { Ok(token) } else { Err(self.unfit(Shape::Token)) }
    }

    /// The AWS keys that a step takes.
    ///
    /// # Errors
    /// `Internal` for anything else, which the check of the chain rules out.
    pub(super) fn aws_credentials(self) -> Result<AwsCredentials, ExchangeError> {
        if let Self::AwsCredentials(keys) = self { Ok(keys) } else { Err(self.unfit(Shape::AwsCredentials)) }
    }

    /// The Vault token that a step takes.
    ///
    /// # Errors
    /// `Internal` for anything else, which the check of the chain rules out.
    pub(super) fn vault_token(self) -> Result<VaultToken, ExchangeError> {
        if let Self::VaultToken(token) = self { Ok(token) } else { Err(self.unfit(Shape::VaultToken)) }
    }

    /// The token in it that was given before and kept, so that whoever gave it may no longer take it.
    pub(super) fn kept(&self) -> Option<Secret<String>> {
        match self {
            Self::VaultToken(token) => token.is_kept.then(|| token.value.clone()),
            Self::Token(_) | Self::AwsCredentials(_) | Self::Credential(_) => None,
        }
    }

    /// The credential that ends a chain.
    ///
    /// # Errors
    /// `Internal` for anything else, which the check of the chain rules out.
    pub(super) fn credential(self) -> Result<Draft, ExchangeError> {
        if let Self::Credential(draft) = self { Ok(draft) } else { Err(self.unfit("a credential")) }
    }

    fn unfit(&self, wanted: impl fmt::Display) -> ExchangeError {
        ExchangeError::new(Reason::Internal, format!("a step wants {wanted} and was given {}", self.shape()))
    }
}

/// What a token is, as RFC 8693 (section 3) tells it apart.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TokenKind {
    /// A JWT that says who somebody is.
    Jwt,
    /// An access token of an OAuth server, readable or not.
    #[serde(rename = "access_token")]
    Access,
    /// An ID token of OpenID Connect.
    #[serde(rename = "id_token")]
    Id,
    /// A SAML 2.0 assertion, base64url-encoded.
    Saml2,
    /// Something else, by its URI.
    #[serde(untagged)]
    Other(#[schemars(extend("pattern" = ":"))] String),
}

impl TokenKind {
    /// Its identifier.
    pub fn urn(&self) -> &str {
        match self {
            Self::Jwt => "urn:ietf:params:oauth:token-type:jwt",
            Self::Access => "urn:ietf:params:oauth:token-type:access_token",
            Self::Id => "urn:ietf:params:oauth:token-type:id_token",
            Self::Saml2 => "urn:ietf:params:oauth:token-type:saml2",
            Self::Other(uri) => uri,
        }
    }
}

/// The longest audience and the most of them that an operator is told of.
const AUDIENCE_BYTES_SHOWN: usize = 200;
const AUDIENCES_SHOWN: usize = 4;

/// A token of an identity provider.
#[derive(Debug, Clone)]
pub struct Token {
    /// The token itself.
    pub value: Secret<String>,
    /// What it is.
    pub kind: TokenKind,
    /// Its `jti`, if it has one that is fit for a record.
    pub id: Option<String>,
    /// When it ends.
    pub expires_at: SystemTime,
}

impl Token {
    /// The token that proves an identity.
    pub(super) fn of(proof: &Proof) -> Self {
        Self {
            value: proof.token.clone(),
            kind: TokenKind::Jwt,
            id: proof.principal.token_id.clone(),
            expires_at: proof.principal.expires_at,
        }
    }

    /// Whom it is for, by its own word.
    pub(super) fn audiences(&self) -> Vec<String> {
        let said = match UnverifiedClaims::of(&self.value).and_then(|claims| claims.aud) {
            Some(Audiences::One(audience)) => vec![audience],
            Some(Audiences::Many(audiences)) => audiences,
            None => Vec::new(),
        };
        let is_showable =
            |audience: &String| audience.len() <= AUDIENCE_BYTES_SHOWN && audience.bytes().all(|byte| byte.is_ascii_graphic());
        said.into_iter().filter(is_showable).take(AUDIENCES_SHOWN).collect()
    }
}

/// A token of Vault or OpenBao.
#[derive(Debug, Clone)]
pub struct VaultToken {
    /// The token itself.
    pub value: Secret<String>,
    /// Where it is good.
    pub server: Arc<Server>,
    /// When it ends, and with it every lease that it was given.
    pub expires_at: SystemTime,
    /// Whether it was given to an exchange before.
    pub is_kept: bool,
}

/// A credential as the last step makes it.
#[derive(Debug)]
pub struct Draft {
    /// A name for records, where it has one of its own that reveals nothing.
    pub id: Option<String>,
    /// The secret part.
    pub login: Login,
    /// The role that the credential is for, where it names one itself.
    pub role: Option<String>,
    /// When it stops being accepted at login.
    pub expires_at: SystemTime,
}

/// What a JWT says of itself. Unverified: who issued it vouches for it over TLS, and it can only shorten its own life.
#[derive(Deserialize)]
pub(super) struct UnverifiedClaims {
    pub(super) exp: Option<NumericDate>,
    pub(super) jti: Option<String>,
    aud: Option<Audiences>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Audiences {
    One(String),
    Many(Vec<String>),
}

impl UnverifiedClaims {
    /// The claims, where the token is a JWT.
    pub(super) fn of(token: &Secret<String>) -> Option<Self> {
        let payload = token.expose().split('.').nth(1)?;
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).ok()?).ok()
    }

    /// The token's own name, if a record may show it.
    pub(super) fn id(self) -> Option<String> {
        self.jti.filter(|id| is_fit_for_a_record(id))
    }
}

fn is_fit_for_a_record(id: &str) -> bool {
    (1..=64).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
}
