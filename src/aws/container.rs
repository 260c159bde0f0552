//! Temporary keys from the agent that the node runs for its containers: of EKS Pod Identity, or of ECS.
//!
//! <https://docs.aws.amazon.com/eks/latest/userguide/pod-identities.html> and
//! <https://docs.aws.amazon.com/sdkref/latest/guide/feature-container-credentials.html>; the agent's own source for what it answers.

use std::path::PathBuf;

use serde::Deserialize;

use crate::aws::{AwsCredentials, SettingsError, fault};
use crate::fetch::endpoint::Endpoint;
use crate::fetch::failure::{self, Failure};
use crate::fetch::{Answer, Call, Fetch};
use crate::secret::Secret;
use crate::tls::{ClientSettings, Trust};

/// Hosts besides loopback that a token may be sent to without TLS: the agent's and ECS's, which the node itself answers for.
const NODE_HOSTS: &[&str] = &["169.254.170.2", "169.254.170.23", "fd00:ec2::23"];

/// Where EKS has its agent: what it writes into `AWS_CONTAINER_CREDENTIALS_FULL_URI`.
pub const EKS_URL: &str = "http://169.254.170.23/v1/credentials";
/// Where EKS mounts the token for it: what it writes into `AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE`.
pub const EKS_TOKEN_FILE: &str = "/var/run/secrets/pods.eks.amazonaws.com/serviceaccount/eks-pod-identity-token";

/// One agent.
#[derive(Debug)]
pub struct Agent {
    fetch: Fetch,
    url: Endpoint,
    token_file: Option<PathBuf>,
}

/// Keys as agents write them.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Issued {
    access_key_id: String,
    secret_access_key: String,
    token: String,
    expiration: String,
}

/// The fields of [`Issued`], for telling that one is missing.
pub(super) const FIELDS: &str = "AccessKeyId, SecretAccessKey, Token or Expiration";

impl Issued {
    pub(super) fn into_keys(self) -> Result<AwsCredentials, Failure> {
        Ok(AwsCredentials {
            access_key_id: self.access_key_id,
            secret_access_key: Secret::new(self.secret_access_key),
            session_token: Secret::new(self.token),
            expires_at: failure::time(&self.expiration)?,
        })
    }
}

impl Agent {
    /// The agent at `url`, which is shown the token in the file, read at each call, where it wants one. Without TLS only at the
    /// addresses that a node answers for itself: 169.254.170.23, fd00:ec2::23, 169.254.170.2 and loopback.
    ///
    /// # Errors
    /// When the address or the TLS settings cannot be used.
    pub fn new(url: &str, token_file: Option<PathBuf>, tls: &ClientSettings, trust: Trust) -> Result<Self, SettingsError> {
        let url = Endpoint::parse_trusting(url, NODE_HOSTS).map_err(|error| SettingsError::setting("url", error))?;
        Ok(Self { fetch: Fetch::new(tls, trust).map_err(SettingsError::Tls)?, url, token_file })
    }

    /// Asks once.
    ///
    /// # Errors
    /// By whose fault it is; of a refusal only its code is told. Cancel safe.
    pub async fn keys(&self) -> Result<AwsCredentials, Failure> {
        let mut call = Call::get();
        if let Some(file) = &self.token_file {
            let token = Secret::read(file).await.map_err(failure::unprepared)?;
            // The agent wants the token as it is, without `Bearer`.
            call = call.secret_header("authorization", &token).map_err(failure::failed)?;
        }
        let answer = self.fetch.send(&self.url, call).await.map_err(failure::failed)?;
        if !answer.status.is_success() {
            return Err(self.refused(&answer));
        }
        failure::json::<Issued>(&answer, FIELDS)?.into_keys()
    }

    /// The agent refuses in plain text: `[request]: (Code): message, fault: ...`.
    fn refused(&self, answer: &Answer) -> Failure {
        let text = std::str::from_utf8(answer.body.expose()).unwrap_or_default();
        let code = text.split_once('(').and_then(|(_, rest)| rest.split_once(')')).map(|(code, _)| code);
        let failure = fault::coded(&self.url, answer, code);
        match code {
            Some("ResourceNotFoundException" | "ResourceNotFound") => {
                failure.fix("the service account has no pod identity association in this cluster; create one")
            }
            Some(_) | None => failure,
        }
    }
}
