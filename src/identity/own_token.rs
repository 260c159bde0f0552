//! The workload's own token: where it lies, read anew each time, that it has not ended, and that it only ever gets newer.

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use crate::fault::Reason;
use crate::identity::token::{NumericDate, verified_claims};
use crate::identity::{IdentityError, SettingsError};
use crate::secret::{FileProblem, Secret};

/// Where the token lies, and the newest one that was seen there.
#[derive(Debug)]
pub(super) struct OwnToken {
    place: Place,
    /// How much older than the newest a token may be: API servers and issuers have several clocks.
    leeway: Duration,
    /// `iat` of the newest token that was verified.
    newest: Mutex<Option<SystemTime>>,
}

#[derive(Debug)]
enum Place {
    File(PathBuf),
    Variable(String),
}

impl OwnToken {
    /// A token in a file, or in a variable of the environment.
    ///
    /// # Errors
    /// Neither or both.
    pub(super) fn new(file: Option<&PathBuf>, variable: Option<&String>, leeway: Duration) -> Result<Self, SettingsError> {
        let place = match (file, variable) {
            (Some(path), None) => Place::File(path.clone()),
            (None, Some(name)) => Place::Variable(name.clone()),
            (None, None) => return Err(SettingsError::NoToken),
            (Some(_), Some(_)) => return Err(SettingsError::TwoTokens),
        };
        Ok(Self { place, leeway, newest: Mutex::default() })
    }

    /// The token as it lies there now.
    ///
    /// # Errors
    /// `TokenEmpty` or `TokenUnreadable`. Cancel safe.
    pub(super) async fn read(&self) -> Result<Secret<String>, IdentityError> {
        match &self.place {
            Place::File(path) => Secret::read(path).await.map_err(|error| {
                let reason = if error.problem == FileProblem::Empty { Reason::TokenEmpty } else { Reason::TokenUnreadable };
                IdentityError::new(reason, error)
            }),
            Place::Variable(name) => from_environment(name),
        }
    }

    /// Takes note of a token that was read and verified, and that ends at `exp`.
    ///
    /// # Errors
    /// `TokenExpired` when it has ended, or `TokenOlder` when it was issued before one that was seen here: somebody put an old one
    /// back.
    pub(super) fn note(&self, token: &Secret<String>, exp: SystemTime) -> Result<(), IdentityError> {
        not_ended(exp)?;
        let issued =
            verified_claims(token).and_then(|claims| serde_json::from_value::<NumericDate>(claims.get("iat")?.clone()).ok()?.time());
        // `iat` is optional (RFC 7519, section 4.1.6).
        let Some(issued) = issued else { return Ok(()) };
        let mut newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner);
        if newest.is_some_and(|newest| issued + self.leeway < newest) {
            return Err(IdentityError::new(Reason::TokenOlder, "its `iat` lies before that of a token that was there earlier"));
        }
        *newest = (*newest).max(Some(issued));
        Ok(())
    }
}

/// The leeway is for judging tokens. The workload's own is shown to others, who need not have any, and what is made of it would end
/// with it.
///
/// # Errors
/// `TokenExpired` when it has ended.
pub(super) fn not_ended(exp: SystemTime) -> Result<(), IdentityError> {
    if exp <= SystemTime::now() {
        return Err(IdentityError::new(Reason::TokenExpired, "`exp` has passed, and the leeway is not for what is shown to others"));
    }
    Ok(())
}

fn from_environment(name: &str) -> Result<Secret<String>, IdentityError> {
    let refused = |reason, what| IdentityError::new(reason, format!("the environment variable {name} {what}"));
    let value = std::env::var(name).map(Secret::new).map_err(|_| refused(Reason::TokenUnreadable, "is not set to text"))?;
    match value.expose().trim() {
        "" => Err(refused(Reason::TokenEmpty, "is empty")),
        text if text.contains(char::is_control) => Err(refused(Reason::TokenUnreadable, "is not one line of text")),
        text => Ok(Secret::from(text)),
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use serde_json::{Value, json};

    use super::OwnToken;
    use crate::fault::Reason;
    use crate::secret::Secret;

    fn in_variable(name: &str) -> OwnToken {
        OwnToken::new(None, Some(&name.to_owned()), Duration::from_secs(30)).unwrap()
    }

    #[test]
    fn a_token_may_only_be_replaced_by_a_newer_one() {
        let own = in_variable("unused");
        let exp = SystemTime::now() + Duration::from_secs(60);
        let note = |claims: Value| {
            own.note(&Secret::new(format!("e30.{}.x", URL_SAFE_NO_PAD.encode(claims.to_string()))), exp).map_err(|error| error.reason)
        };
        assert_eq!(note(json!({ "iat": 1000 })), Ok(()));
        assert_eq!(note(json!({ "iat": 1000 })), Ok(()), "the same");
        assert_eq!(note(json!({ "iat": 970 })), Ok(()), "another issuer's clock");
        assert_eq!(note(json!({ "iat": 969 })), Err(Reason::TokenOlder));
        assert_eq!(note(json!({})), Ok(()), "`iat` is optional");
        assert_eq!(note(json!({ "iat": 2000 })), Ok(()));
        assert_eq!(note(json!({ "iat": 1000 })), Err(Reason::TokenOlder));
    }

    #[tokio::test]
    async fn a_variable_is_read_as_a_file_is() {
        // Set for every process that cargo runs.
        assert_eq!(in_variable("CARGO_PKG_NAME").read().await.unwrap().expose(), "tollhouse");
        let error = in_variable("TOLLHOUSE_TEST_IS_NOT_SET").read().await.unwrap_err();
        assert_eq!(error.reason, Reason::TokenUnreadable);
        assert!(error.source.unwrap().to_string().contains("TOLLHOUSE_TEST_IS_NOT_SET"));
    }
}
