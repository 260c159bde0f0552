//! Temporary keys of an EC2 instance's role, from the instance metadata service, version 2.
//!
//! <https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instance-metadata-security-credentials.html>. Version 1, which any request
//! that a server can be tricked into making would get an answer of, is not used.

use crate::aws::container::{FIELDS, Issued};
use crate::aws::{AwsCredentials, SettingsError};
use crate::fetch::endpoint::Endpoint;
use crate::fetch::failure::{self, Failure};
use crate::fetch::{Answer, Call, Fetch};
use crate::secret::Secret;
use crate::tls::{ClientSettings, Trust};

/// Hosts besides loopback that are asked without TLS: the node itself answers for them.
const NODE_HOSTS: &[&str] = &["169.254.169.254", "fd00:ec2::254"];
/// Life of the token that each question shows, in seconds: it is used at once.
const TOKEN_SECONDS: &str = "60";
/// Where the roles lie.
const ROLES: &str = "/latest/meta-data/iam/security-credentials/";

/// One metadata service.
#[derive(Debug)]
pub struct Metadata {
    fetch: Fetch,
    base: String,
}

impl Metadata {
    /// The service at `url`: loopback, 169.254.169.254 or fd00:ec2::254.
    ///
    /// # Errors
    /// When the address is none of these.
    pub fn new(url: &str, trust: Trust) -> Result<Self, SettingsError> {
        Endpoint::parse_trusting(url, NODE_HOSTS).map_err(|error| SettingsError::setting("url", error))?;
        let fetch = Fetch::new(&ClientSettings::default(), trust).map_err(SettingsError::Tls)?;
        Ok(Self { fetch, base: url.trim_end_matches('/').to_owned() })
    }

    /// The keys of the role that the instance has.
    ///
    /// # Errors
    /// By whose fault it is. Cancel safe.
    pub async fn keys(&self) -> Result<AwsCredentials, Failure> {
        let call = Call::put().header("x-aws-ec2-metadata-token-ttl-seconds", TOKEN_SECONDS).map_err(failure::failed)?;
        let token = Secret::from(text(&self.ask("/latest/api/token", call).await?)?);
        let roles = self.get(ROLES, &token).await?;
        // An instance has one role, or none.
        let role = text(&roles)?.lines().next().unwrap_or_default().trim().to_owned();
        if role.is_empty() || !role.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+=,.@-_".contains(&byte)) {
            return Err(failure::unusable("the instance names no role").fix("attach an instance profile with a role to the instance"));
        }
        let answer = self.get(&format!("{ROLES}{role}"), &token).await?;
        // It calls its JSON plain text.
        let issued: Issued = serde_json::from_slice(answer.body.expose())
            .map_err(|_| failure::unusable(format!("in the answer {FIELDS} is missing or has the wrong shape")))?;
        issued.into_keys()
    }

    async fn get(&self, path: &str, token: &Secret<String>) -> Result<Answer, Failure> {
        self.ask(path, Call::get().secret_header("x-aws-ec2-metadata-token", token).map_err(failure::failed)?).await
    }

    async fn ask(&self, path: &str, call: Call) -> Result<Answer, Failure> {
        let to = Endpoint::parse_trusting(&format!("{}{path}", self.base), NODE_HOSTS).map_err(failure::internal)?;
        let answer = self.fetch.send(&to, call).await.map_err(failure::failed)?;
        if answer.status.is_success() {
            return Ok(answer);
        }
        let failure = failure::refused(&to, &answer, None);
        Err(match answer.status.as_u16() {
            404 => failure.fix("the instance has no role; attach an instance profile with one"),
            // From a container the answer to the first question does not arrive where the hop limit is 1.
            403 => failure.fix("the instance metadata service is disabled, or wants another hop limit; see its metadata options"),
            _ => failure,
        })
    }
}

fn text(answer: &Answer) -> Result<&str, Failure> {
    std::str::from_utf8(answer.body.expose()).map(str::trim).map_err(|_| failure::unusable("the answer is not text"))
}
