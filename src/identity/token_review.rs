//! Has the API server itself judge a service-account token, which sees what no signature shows: that the pod is gone.
//!
//! Source: <https://kubernetes.io/docs/reference/kubernetes-api/authentication-resources/token-review-v1/>.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use aws_lc_rs::digest;
use serde::Deserialize;
use serde_json::json;

use crate::fault::Reason;
use crate::fetch::endpoint::Endpoint;
use crate::fetch::failure;
use crate::fetch::{Answer, Authorization, Call, Fetch};
use crate::identity::IdentityError;
use crate::secret::Secret;

/// For how long an acceptance is believed, so that a burst of logins costs one call: a deleted pod is out after that.
const ACCEPTED_FOR: Duration = Duration::from_secs(60);
/// Most acceptances that are remembered; at one more, all are asked for again.
const ACCEPTED_MAX: usize = 1024;
/// Longest part of the API server's own explanation that is kept for the log.
const EXPLANATION_CHARACTERS_MAX: usize = 200;

/// One API server, asked for one audience.
#[derive(Debug)]
pub(super) struct TokenReview {
    pub(super) fetch: Fetch,
    /// Where reviews are posted.
    pub(super) endpoint: Endpoint,
    /// The token that we show: it needs the ClusterRole `system:auth-delegator`.
    pub(super) bearer_file: PathBuf,
    /// What the token has to be for.
    pub(super) audience: String,
    pub(super) accepted: Mutex<HashMap<[u8; digest::SHA256_OUTPUT_LEN], Accepted>>,
}

/// Whom a token was accepted as, and when.
#[derive(Debug, Clone)]
pub(super) struct Accepted {
    pub(super) user: User,
    /// On both clocks: one of them stands still while the machine sleeps, the other can be set back.
    at: (Instant, SystemTime),
}

/// `status.user` of a review.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct User {
    /// `system:serviceaccount:NAMESPACE:NAME`.
    pub(super) username: String,
    /// More facts, by their names with `authentication.kubernetes.io/` in front.
    #[serde(default)]
    extra: BTreeMap<String, Vec<String>>,
}

impl User {
    /// The one value of a fact.
    pub(super) fn fact(&self, name: &str) -> Option<&str> {
        match self.extra.get(&format!("authentication.kubernetes.io/{name}"))?.as_slice() {
            [value] => Some(value),
            _ => None,
        }
    }
}

#[derive(Deserialize)]
struct Review {
    status: Status,
}

#[derive(Deserialize)]
struct Status {
    #[serde(default)]
    authenticated: bool,
    user: Option<User>,
    #[serde(default)]
    audiences: Vec<String>,
    #[serde(default)]
    error: String,
}

impl TokenReview {
    /// Whose token it is. Asks at most once a minute for one token.
    ///
    /// # Errors
    /// `TokenReviewDenied`, `TokenWrongAudience`, `IssuerUnreachable` or `IssuerInvalid`. Cancel safe.
    pub(super) async fn review(&self, token: &Secret<String>) -> Result<User, IdentityError> {
        let mut key = [0; digest::SHA256_OUTPUT_LEN];
        key.copy_from_slice(digest::digest(&digest::SHA256, token.expose().as_bytes()).as_ref());
        if let Some(user) = self.remembered(&key) {
            return Ok(user);
        }
        let answer = self.ask(token).await?;
        let user = self.judge(&answer, token)?;
        let mut accepted = self.accepted.lock().unwrap_or_else(PoisonError::into_inner);
        if accepted.len() >= ACCEPTED_MAX {
            accepted.clear();
        }
        accepted.insert(key, Accepted { user: user.clone(), at: (Instant::now(), SystemTime::now()) });
        Ok(user)
    }

    fn remembered(&self, key: &[u8; digest::SHA256_OUTPUT_LEN]) -> Option<User> {
        let accepted = self.accepted.lock().unwrap_or_else(PoisonError::into_inner);
        let Accepted { user, at: (instant, time) } = accepted.get(key)?;
        let is_fresh = instant.elapsed() < ACCEPTED_FOR && time.elapsed().is_ok_and(|age| age < ACCEPTED_FOR);
        is_fresh.then(|| user.clone())
    }

    async fn ask(&self, token: &Secret<String>) -> Result<Answer, IdentityError> {
        let bearer = Secret::read(&self.bearer_file).await.map_err(|error| IdentityError::new(Reason::IssuerUnreachable, error))?;
        let review = json!({
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenReview",
            "spec": { "token": token.expose(), "audiences": [self.audience] },
        });
        let unanswered = |failure| IdentityError::of_issuer(failure, Reason::IssuerInvalid);
        let call = Call::post("application/json", review.to_string().into_bytes());
        let call = call.authorized(Authorization::Bearer(&bearer)).map_err(|error| unanswered(failure::failed(error)))?;
        let answer = self.fetch.send(&self.endpoint, call).await.map_err(|error| unanswered(failure::failed(error)))?;
        match answer.status.as_u16() {
            200 | 201 => Ok(answer),
            status @ (401 | 403) => {
                let (host, fix) = (self.endpoint.authority(), "the token in bearer_token_file needs the ClusterRole system:auth-delegator");
                Err(IdentityError::new(Reason::IssuerInvalid, format!("{host} answered {status}: {fix}")))
            }
            _ => Err(unanswered(failure::refused(&self.endpoint, &answer, None))),
        }
    }

    fn judge(&self, answer: &Answer, token: &Secret<String>) -> Result<User, IdentityError> {
        let review: Review = serde_json::from_slice(answer.body.expose())
            .map_err(|error| IdentityError::new(Reason::IssuerInvalid, format!("the review cannot be read, at line {}", error.line())))?;
        let Status { authenticated, user, audiences, error } = review.status;
        if !authenticated {
            return Err(IdentityError::new(Reason::TokenReviewDenied, explanation(&error, token)));
        }
        // A server that knows no audiences leaves them out: it has accepted a token that may be for anybody.
        if !audiences.contains(&self.audience) {
            return Err(IdentityError::new(Reason::TokenWrongAudience, "the API server did not confirm the audience"));
        }
        user.ok_or_else(|| IdentityError::new(Reason::IssuerInvalid, "the review names no user"))
    }
}

/// What the API server says of a refusal, as far as it is fit for a log.
fn explanation(error: &str, token: &Secret<String>) -> String {
    let quotes_the_token = token.expose().split('.').any(|part| !part.is_empty() && error.contains(part));
    if error.is_empty() || quotes_the_token {
        return "the API server does not say why".to_owned();
    }
    error.chars().filter(|c| !c.is_control()).take(EXPLANATION_CHARACTERS_MAX).collect()
}

#[cfg(test)]
mod tests;
