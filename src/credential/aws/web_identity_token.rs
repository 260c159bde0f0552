//! A token that says to others which IAM role somebody is (STS GetWebIdentityToken).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::aws::sts::{Algorithm, Sts, Wanted};
use crate::aws::{AwsCredentials, Place, Region, SettingsError};
use crate::credential::value::{Token, TokenKind, UnverifiedClaims};
use crate::document::Span;
use crate::fetch::endpoint::Endpoint;
use crate::fetch::failure::Failure;
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

/// One kind of token.
#[derive(Debug)]
pub(in crate::credential) struct WebIdentityToken {
    sts: Sts,
    settings: Settings,
}

impl WebIdentityToken {
    pub(in crate::credential) fn new(settings: &Settings, trust: Trust) -> Result<Self, SettingsError> {
        settings.wanted().check()?;
        let place = Place { region: &settings.region, endpoint: settings.endpoint.as_ref(), tls: &settings.tls };
        Ok(Self { sts: Sts::new(place, trust)?, settings: settings.clone() })
    }

    /// Asks once.
    pub(in crate::credential) async fn exchange(&self, keys: &AwsCredentials) -> Result<Token, Failure> {
        let (value, expires_at) = self.sts.web_identity_token(keys, self.settings.wanted()).await?;
        let id = UnverifiedClaims::of(&value).and_then(UnverifiedClaims::id);
        Ok(Token { value, kind: TokenKind::Jwt, id, expires_at })
    }
}

impl Settings {
    fn wanted(&self) -> Wanted<'_> {
        Wanted { audiences: &self.audiences, algorithm: self.algorithm, lifetime: self.lifetime.0 }
    }
}
