//! Calls of the Security Token Service: keys of a role for a token, and a token for keys.
//!
//! <https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRoleWithWebIdentity.html> and
//! `API_GetWebIdentityToken.html` beside it.

use std::ops::RangeInclusive;
use std::time::{Duration, SystemTime};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::aws::{AwsCredentials, Place, Service, SettingsError};
use crate::fetch::failure::{self, Failure};
use crate::secret::Secret;
use crate::tls::Trust;

/// The audience that a token for [`Sts::assume_role_with_web_identity`] usually has.
pub const AUDIENCE: &str = "sts.amazonaws.com";

/// The shortest life that STS gives keys: what is asked for where they are used at once.
pub const LIFE_OF_KEYS_MIN: Duration = Duration::from_secs(900);

/// The lives that STS gives keys, in seconds; a role may allow less.
const KEYS_SECONDS: RangeInclusive<u64> = 900..=43_200;
/// The lives that STS gives tokens, in seconds.
const TOKEN_SECONDS: RangeInclusive<u64> = 60..=3600;
/// How many audiences a token may have.
const AUDIENCES: RangeInclusive<usize> = 1..=10;

/// STS of one region.
#[derive(Debug)]
pub struct Sts(Service);

/// A role, and how it is taken.
#[derive(Debug, Clone, Copy)]
pub struct Role<'a> {
    /// The role's ARN.
    pub arn: &'a str,
    /// What CloudTrail calls the session; see [`session_name`].
    pub session: &'a str,
    /// How long the keys should live.
    pub lifetime: Duration,
    /// A session policy as JSON, which takes rights away.
    pub policy: Option<&'a str>,
    /// ARNs of managed policies that do.
    pub policy_arns: &'a [String],
}

/// What a token should say.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// Whom it is for.
    pub audiences: &'a [String],
    /// The signature's algorithm.
    pub algorithm: Algorithm,
    /// How long it should live.
    pub lifetime: Duration,
}

/// What STS signs tokens with.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Algorithm {
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    #[default]
    RS256,
    /// ECDSA on P-384 with SHA-384.
    ES384,
}

#[derive(Deserialize)]
struct Assumed {
    #[serde(rename = "AssumeRoleWithWebIdentityResult")]
    result: AssumedRole,
}

#[derive(Deserialize)]
struct AssumedRole {
    #[serde(rename = "Credentials")]
    credentials: Keys,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Keys {
    access_key_id: String,
    secret_access_key: String,
    session_token: String,
    expiration: String,
}

#[derive(Deserialize)]
struct Issued {
    #[serde(rename = "GetWebIdentityTokenResult")]
    result: IssuedToken,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct IssuedToken {
    web_identity_token: String,
    expiration: String,
}

/// Whether STS gives keys such a life.
///
/// # Errors
/// When it does not.
pub fn check_life_of_keys(lifetime: Duration) -> Result<(), SettingsError> {
    let is_good = KEYS_SECONDS.contains(&lifetime.as_secs());
    if is_good { Ok(()) } else { Err(SettingsError::setting("lifetime", "STS gives keys for 15 minutes to 12 hours")) }
}

impl Wanted<'_> {
    /// Whether STS gives such a token.
    ///
    /// # Errors
    /// When it does not.
    pub fn check(&self) -> Result<(), SettingsError> {
        if !AUDIENCES.contains(&self.audiences.len()) {
            return Err(SettingsError::setting("audiences", "STS takes one to ten"));
        }
        if !TOKEN_SECONDS.contains(&self.lifetime.as_secs()) {
            return Err(SettingsError::setting("lifetime", "STS gives such tokens for 1 minute to 1 hour"));
        }
        Ok(())
    }
}

impl Sts {
    /// STS at that place.
    ///
    /// # Errors
    /// When the address or the TLS settings cannot be used.
    pub fn new(place: Place<'_>, trust: Trust) -> Result<Self, SettingsError> {
        Ok(Self(Service::new("sts", place, trust)?))
    }

    /// Keys of the role for a token of an issuer that it trusts. Asks once.
    ///
    /// # Errors
    /// By whose fault it is; of a refusal only its code is told.
    pub async fn assume_role_with_web_identity(&self, role: Role<'_>, token: &Secret<String>) -> Result<AwsCredentials, Failure> {
        let seconds = role.lifetime.as_secs().to_string();
        let mut fields = vec![
            ("Action", "AssumeRoleWithWebIdentity"),
            ("Version", "2011-06-15"),
            ("RoleArn", role.arn),
            ("RoleSessionName", role.session),
            ("WebIdentityToken", token.expose()),
            ("DurationSeconds", &seconds),
        ];
        fields.extend(role.policy.map(|policy| ("Policy", policy)));
        let names: Vec<_> = (1..=role.policy_arns.len()).map(|place| format!("PolicyArns.member.{place}.arn")).collect();
        fields.extend(names.iter().map(String::as_str).zip(role.policy_arns.iter().map(String::as_str)));
        let issued = self.0.query::<Assumed>(None, &fields).await?.result.credentials;
        Ok(AwsCredentials {
            access_key_id: issued.access_key_id,
            secret_access_key: Secret::new(issued.secret_access_key),
            session_token: Secret::new(issued.session_token),
            expires_at: failure::time(&issued.expiration)?,
        })
    }

    /// A token that says to others whose the keys are, and when it ends. Asks once.
    ///
    /// # Errors
    /// By whose fault it is; of a refusal only its code is told.
    pub async fn web_identity_token(&self, keys: &AwsCredentials, wanted: Wanted<'_>) -> Result<(Secret<String>, SystemTime), Failure> {
        let seconds = wanted.lifetime.as_secs().to_string();
        let mut fields = vec![
            ("Action", "GetWebIdentityToken"),
            ("Version", "2011-06-15"),
            ("SigningAlgorithm", wanted.algorithm.as_str()),
            ("DurationSeconds", &seconds),
        ];
        let names: Vec<_> = (1..=wanted.audiences.len()).map(|place| format!("Audience.member.{place}")).collect();
        fields.extend(names.iter().map(String::as_str).zip(wanted.audiences.iter().map(String::as_str)));
        let issued = self.0.query::<Issued>(Some(keys), &fields).await?.result;
        Ok((Secret::new(issued.web_identity_token), failure::time(&issued.expiration)?))
    }
}

impl Algorithm {
    /// Its name (RFC 7518, section 3.1).
    pub fn as_str(self) -> &'static str {
        match self {
            Self::RS256 => "RS256",
            Self::ES384 => "ES384",
        }
    }
}

/// A name for a session that STS takes, `[\w+=,.@-]{2,64}`, of whatever says who it is.
pub fn session_name(who: &str) -> String {
    let mut name: String = who.chars().take(64).map(|c| if c.is_ascii_alphanumeric() || "_+=,.@-".contains(c) { c } else { '-' }).collect();
    while name.len() < 2 {
        name.push('-');
    }
    name
}
