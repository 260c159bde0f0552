//! A token that says to others which IAM role somebody is (STS GetWebIdentityToken).
//!
//! <https://docs.aws.amazon.com/STS/latest/APIReference/API_GetWebIdentityToken.html>

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::credential::aws::{Place, Region, Service};
use crate::credential::chain::ChainProblem;
use crate::credential::value::{AwsCredentials, Token, TokenKind, UnverifiedClaims};
use crate::credential::{ExchangeError, answer};
use crate::document::Span;
use crate::fetch::endpoint::Endpoint;
use crate::secret::Secret;
use crate::tls::{ClientSettings, Trust};

/// What the token should say.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The region whose STS is asked.
    pub region: Region,
    /// Whom the token is for: one to ten.
    pub audiences: Vec<String>,
    /// The signature's algorithm.
    #[serde(default)]
    pub algorithm: Algorithm,
    /// How long it should live, from 1 minute to an hour.
    #[serde(default = "lifetime_default")]
    pub lifetime: Span,
    /// STS at another address than the region's usual one.
    #[serde(default)]
    pub endpoint: Option<Endpoint>,
    /// How it is reached.
    #[serde(default)]
    pub tls: ClientSettings,
}

fn lifetime_default() -> Span {
    Span::seconds(300)
}

/// What STS signs with.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Algorithm {
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    #[default]
    RS256,
    /// ECDSA on P-384 with SHA-384.
    ES384,
}

/// One kind of token.
#[derive(Debug)]
pub(in crate::credential) struct WebIdentityToken {
    service: Service,
    settings: Settings,
}

#[derive(Deserialize)]
struct Response {
    #[serde(rename = "GetWebIdentityTokenResult")]
    result: Issued,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Issued {
    web_identity_token: String,
    expiration: String,
}

impl WebIdentityToken {
    pub(in crate::credential) fn new(settings: &Settings, trust: Trust) -> Result<Self, ChainProblem> {
        let fail = |field, problem: &str| Err(ChainProblem::Setting { field, problem: problem.to_owned() });
        if !(1..=10).contains(&settings.audiences.len()) {
            return fail("audiences", "STS takes one to ten");
        }
        if !(60..=3600).contains(&settings.lifetime.0.as_secs()) {
            return fail("lifetime", "STS gives such tokens for 1 minute to 1 hour");
        }
        let place = Place { region: &settings.region, endpoint: settings.endpoint.as_ref(), tls: &settings.tls };
        Ok(Self { service: Service::new("sts", place, trust)?, settings: settings.clone() })
    }

    /// Asks once.
    pub(in crate::credential) async fn exchange(&self, keys: &AwsCredentials) -> Result<Token, ExchangeError> {
        let settings = &self.settings;
        let seconds = settings.lifetime.0.as_secs().to_string();
        let algorithm = match settings.algorithm {
            Algorithm::RS256 => "RS256",
            Algorithm::ES384 => "ES384",
        };
        let mut fields = vec![
            ("Action", "GetWebIdentityToken"),
            ("Version", "2011-06-15"),
            ("SigningAlgorithm", algorithm),
            ("DurationSeconds", &seconds),
        ];
        let names: Vec<_> = (1..=settings.audiences.len()).map(|place| format!("Audience.member.{place}")).collect();
        fields.extend(names.iter().map(String::as_str).zip(settings.audiences.iter().map(String::as_str)));
        let issued = self.service.query::<Response>(Some(keys), &fields).await?.result;
        let expires_at = answer::time(&issued.expiration)?;
        let value = Secret::new(issued.web_identity_token);
        let id = UnverifiedClaims::of(&value).and_then(UnverifiedClaims::id);
        Ok(Token { value, kind: TokenKind::Jwt, id, expires_at })
    }
}
