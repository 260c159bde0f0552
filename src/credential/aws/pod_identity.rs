//! Temporary AWS keys from the agent of EKS Pod Identity on the node.
//!
//! <https://docs.aws.amazon.com/eks/latest/userguide/pod-identities.html>, and the agent's own source for what it answers.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::credential::aws::fault;
use crate::credential::chain::ChainProblem;
use crate::credential::value::AwsCredentials;
use crate::credential::{ExchangeError, answer};
use crate::fetch::endpoint::Endpoint;
use crate::fetch::{Answer, Call, Fetch};
use crate::secret::Secret;
use crate::tls::{ClientSettings, Trust};

/// Hosts besides loopback that a token may be sent to without TLS: the agent's and ECS's, which the node itself answers for.
const NODE_HOSTS: &[&str] = &["169.254.170.2", "169.254.170.23", "fd00:ec2::23"];

/// The agent, and the token that it wants to see.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The agent's address, as EKS writes it into `AWS_CONTAINER_CREDENTIALS_FULL_URI`. Without TLS only at the addresses that
    /// a node answers for itself: 169.254.170.23, fd00:ec2::23, 169.254.170.2 and loopback.
    #[serde(default = "url_default")]
    pub url: String,
    /// The token's file, as in `AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE`; read at each exchange.
    #[serde(default = "token_file_default")]
    pub token_file: PathBuf,
    /// How the agent is reached where it is reached over TLS.
    #[serde(default)]
    pub tls: ClientSettings,
}

fn url_default() -> String {
    "http://169.254.170.23/v1/credentials".to_owned()
}

fn token_file_default() -> PathBuf {
    "/var/run/secrets/pods.eks.amazonaws.com/serviceaccount/eks-pod-identity-token".into()
}

/// One agent.
#[derive(Debug)]
pub(in crate::credential) struct PodIdentity {
    fetch: Fetch,
    url: Endpoint,
    token_file: PathBuf,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Issued {
    access_key_id: String,
    secret_access_key: String,
    token: String,
    expiration: String,
}

impl PodIdentity {
    pub(in crate::credential) fn new(settings: &Settings, trust: Trust) -> Result<Self, ChainProblem> {
        let url = Endpoint::parse_trusting(&settings.url, NODE_HOSTS)
            .map_err(|error| ChainProblem::Setting { field: "url", problem: error.to_string() })?;
        let fetch = Fetch::new(&settings.tls, trust).map_err(ChainProblem::Tls)?;
        Ok(Self { fetch, url, token_file: settings.token_file.clone() })
    }

    /// Asks once.
    pub(in crate::credential) async fn obtain(&self) -> Result<AwsCredentials, ExchangeError> {
        let token = Secret::read(&self.token_file).await.map_err(answer::unprepared)?;
        // The agent wants the token as it is, without `Bearer`.
        let call = Call::get().secret_header("authorization", &token).map_err(answer::failed)?;
        let answer = self.fetch.send(&self.url, call).await.map_err(answer::failed)?;
        if !answer.status.is_success() {
            return Err(self.refused(&answer));
        }
        let issued: Issued = answer::json(&answer, "AccessKeyId, SecretAccessKey, Token or Expiration")?;
        Ok(AwsCredentials {
            access_key_id: issued.access_key_id,
            secret_access_key: Secret::new(issued.secret_access_key),
            session_token: Secret::new(issued.token),
            expires_at: answer::time(&issued.expiration)?,
        })
    }

    /// The agent refuses in plain text: `[request]: (Code): message, fault: ...`.
    fn refused(&self, answer: &Answer) -> ExchangeError {
        let text = std::str::from_utf8(answer.body.expose()).unwrap_or_default();
        let code = text.split_once('(').and_then(|(_, rest)| rest.split_once(')')).map(|(code, _)| code);
        let error = fault::coded(&self.url, answer, code);
        match code {
            Some("ResourceNotFoundException" | "ResourceNotFound") => {
                error.fix("the service account has no pod identity association in this cluster; create one")
            }
            Some(_) | None => error,
        }
    }
}
