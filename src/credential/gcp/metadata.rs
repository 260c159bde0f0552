//! A token of the service account that a node's metadata server gives to its pods (GKE workload identity, Compute Engine).
//!
//! <https://cloud.google.com/compute/docs/access/authenticate-workloads>

use std::time::{Duration, SystemTime};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::credential::chain::ChainProblem;
use crate::credential::gcp::CLOUD_PLATFORM;
use crate::credential::value::{Token, TokenKind, UnverifiedClaims};
use crate::fetch::endpoint::Endpoint;
use crate::fetch::failure::{self, Failure, Kind};
use crate::fetch::{Call, Fetch, form};
use crate::secret::Secret;
use crate::tls::{ClientSettings, Trust};

/// Hosts besides loopback that are asked without TLS: the node itself answers there.
const NODE_HOSTS: &[&str] = &["metadata.google.internal", "169.254.169.254"];

/// A metadata server and the token to ask for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The server's address.
    #[serde(default = "url_default")]
    pub url: String,
    /// The account, by e-mail address or as `default`.
    #[serde(default = "account_default")]
    pub account: String,
    /// Scopes of the access token.
    #[serde(default = "scopes_default")]
    pub scopes: Vec<String>,
    /// Ask for an identity token for this audience in place of an access token.
    #[serde(default)]
    pub id_token_audience: Option<String>,
}

fn url_default() -> String {
    "http://metadata.google.internal".to_owned()
}

fn account_default() -> String {
    "default".to_owned()
}

fn scopes_default() -> Vec<String> {
    vec![CLOUD_PLATFORM.to_owned()]
}

/// One account of one server.
#[derive(Debug)]
pub(in crate::credential) struct Metadata {
    fetch: Fetch,
    url: Endpoint,
    wants_identity: bool,
}

#[derive(Deserialize)]
struct AccessToken {
    access_token: String,
    expires_in: u64,
}

impl Metadata {
    pub(in crate::credential) fn new(settings: &Settings, trust: Trust) -> Result<Self, ChainProblem> {
        let asked = match &settings.id_token_audience {
            Some(audience) => format!("identity?{}", form(&[("audience", audience), ("format", "full")])),
            None => format!("token?{}", form(&[("scopes", &settings.scopes.join(","))])),
        };
        let base = settings.url.trim_end_matches('/');
        let url = format!("{base}/computeMetadata/v1/instance/service-accounts/{}/{asked}", settings.account);
        let url = Endpoint::parse_trusting(&url, NODE_HOSTS)
            .map_err(|error| ChainProblem::Setting { field: "url", problem: error.to_string() })?;
        let fetch = Fetch::new(&ClientSettings::default(), trust).map_err(ChainProblem::Tls)?;
        Ok(Self { fetch, url, wants_identity: settings.id_token_audience.is_some() })
    }

    /// Asks once.
    pub(in crate::credential) async fn obtain(&self) -> Result<Token, Failure> {
        let call = Call::get().header("metadata-flavor", "Google").map_err(failure::failed)?;
        let answer = self.fetch.send(&self.url, call).await.map_err(failure::failed)?;
        // Whoever does not say so is not the metadata server, and its token could be anybody's.
        if answer.header("metadata-flavor") != Some("Google") {
            return Err(failure::unusable("the answer does not come from a metadata server: it lacks Metadata-Flavor"));
        }
        if !answer.status.is_success() {
            let error = failure::refused(&self.url, &answer, None);
            // GKE's server knows nothing of a pod in its first seconds.
            return Err(match answer.status.as_u16() {
                404 => Failure { kind: Kind::Away, ..error }
                    .fix("the node knows no such account for this pod; check the annotation of its service account"),
                _ => error,
            });
        }
        if self.wants_identity {
            let text = std::str::from_utf8(answer.body.expose()).unwrap_or_default().trim();
            let value = Secret::from(text);
            let claims = UnverifiedClaims::of(&value).ok_or_else(|| failure::unusable("the identity token is not a JWT"))?;
            let expires_at = claims.exp.and_then(|exp| exp.time()).ok_or_else(|| failure::unusable("the identity token has no end"))?;
            return Ok(Token { id: claims.id(), value, kind: TokenKind::Jwt, expires_at });
        }
        let made: AccessToken = failure::json(&answer, "access_token or expires_in")?;
        let expires_at = SystemTime::now() + Duration::from_secs(made.expires_in.min(24 * 3600));
        Ok(Token { value: Secret::new(made.access_token), kind: TokenKind::Access, id: None, expires_at })
    }
}
