//! What a login to Snowflake shows: a token that it trusts, or a JWT signed with the user's own key.
//!
//! <https://docs.snowflake.com/en/user-guide/workload-identity-federation> and `.../key-pair-auth`; the JWT's claims follow
//! snowflake-connector-python 4.8.

use std::path::PathBuf;
use std::time::SystemTime;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rcgen::{KeyPair, PublicKeyData};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::credential::chain::ChainProblem;
use crate::credential::oauth::client_auth::{SigningAlgorithm, sign};
use crate::credential::value::{Draft, Token};
use crate::credential::{Authenticator, ExchangeError, Login};
use crate::document::Span;
use crate::fault::Reason;
use crate::fetch::failure;
use crate::secret::Secret;

/// A token for Snowflake's workload identity federation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WorkloadIdentity {
    /// The audience that the user's `OIDC_AUDIENCE_LIST` wants; a token without it is not sent.
    #[serde(default = "audience_default")]
    pub audience: String,
}

fn audience_default() -> String {
    "snowflakecomputing.com".to_owned()
}

/// A user and its own key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct KeyPairSettings {
    /// The account's identifier, such as `org-account`; a region behind a dot is left out.
    pub account: String,
    /// The user; the target's role where absent.
    #[serde(default)]
    pub user: Option<String>,
    /// The PEM file with the user's private key (PKCS#8), read at each exchange.
    pub key_file: PathBuf,
    /// The signature's algorithm, which the key must fit.
    #[serde(default)]
    pub algorithm: SigningAlgorithm,
    /// How long the JWT should let somebody log in; Snowflake takes at most an hour.
    #[serde(default = "lifetime_default")]
    pub lifetime: Span,
}

fn lifetime_default() -> Span {
    Span::seconds(600)
}

impl WorkloadIdentity {
    /// The login with a token of the right audience.
    pub(in crate::credential) fn login(&self, token: Token) -> Result<Draft, ExchangeError> {
        // Snowflake would only say that the login failed.
        if !token.audiences().contains(&self.audience) {
            return Err(
                ExchangeError::new(Reason::ExchangeRefused, "the token is not one for Snowflake").fix("exchange for one, or mount one")
            );
        }
        Ok(with_token(Authenticator::WorkloadIdentity, token))
    }
}

impl KeyPairSettings {
    /// Says what the types do not.
    pub(in crate::credential) fn check(&self) -> Result<(), ChainProblem> {
        if (60..=3600).contains(&self.lifetime.0.as_secs()) {
            return Ok(());
        }
        Err(ChainProblem::Setting {
            field: "lifetime",
            problem: "Snowflake takes such a JWT for at most 1 hour, and it should live 1 minute".to_owned(),
        })
    }
}

/// The login with a token.
pub(in crate::credential) fn with_token(authenticator: Authenticator, token: Token) -> Draft {
    Draft { id: token.id, login: Login::Snowflake { authenticator, token: token.value }, role: None, expires_at: token.expires_at }
}

/// The login with a JWT of the user's own key.
pub(in crate::credential) async fn with_key(settings: &KeyPairSettings, role: &str) -> Result<Draft, ExchangeError> {
    let unfit = |what: &str| failure::unprepared(format!("{}: {what}", settings.key_file.display()));
    let pem = tokio::fs::read_to_string(&settings.key_file).await.map_err(|error| unfit(&format!("cannot be read: {}", error.kind())))?;
    let pem = Secret::new(pem);
    let key = KeyPair::from_pem(pem.expose()).map_err(|_| unfit("holds no private key in PKCS#8"))?;
    let fingerprint = STANDARD.encode(digest(&SHA256, &key.subject_public_key_info()).as_ref());
    let account = settings.account.split('.').next().unwrap_or_default().to_uppercase();
    let user = format!("{account}.{}", settings.user.as_deref().unwrap_or(role).to_uppercase());
    let now = SystemTime::now();
    let seconds = now.duration_since(SystemTime::UNIX_EPOCH).map_err(failure::internal)?.as_secs();
    let life = settings.lifetime.0;
    let claims = json!({ "iss": format!("{user}.SHA256:{fingerprint}"), "sub": user, "iat": seconds, "exp": seconds + life.as_secs() });
    let token = sign(&settings.key_file, settings.algorithm, None, &claims).await?;
    Ok(Draft {
        id: None,
        login: Login::Snowflake { authenticator: Authenticator::SnowflakeJwt, token },
        role: settings.user.clone(),
        expires_at: now + life,
    })
}
