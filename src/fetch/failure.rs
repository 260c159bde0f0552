//! Why a call brought nothing that can be used: whose fault that is, when to ask again, and what of an answer may be repeated.

use std::time::{Duration, SystemTime};

use serde::de::DeserializeOwned;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::fetch::endpoint::Endpoint;
use crate::fetch::{Answer, FetchError};

/// A call that failed, told without any part of what was sent or answered that could be secret.
#[derive(Debug, thiserror::Error)]
#[error("the call failed: {kind:?}")]
pub struct Failure {
    /// Whose fault it is.
    pub kind: Kind,
    /// What to do about it, in one sentence of our own words and configured names, where more is known than the kind says.
    pub fix: Option<String>,
    /// For how long the other side asks not to be asked again, where it does; at most [`crate::fetch::RETRY_AFTER_MAX`].
    pub retry_after: Option<Duration>,
    /// The cause.
    #[source]
    pub source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

/// Whose fault a failure is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The other side is away, or too busy: it may pass by itself.
    Away,
    /// The other side says no.
    Refused,
    /// The other side answers with what is no answer.
    Unusable,
    /// We lack something that the call needs.
    Unprepared,
    /// A bug of ours.
    Internal,
}

impl Failure {
    /// A failure with its cause, which must hold nothing secret.
    pub fn new(kind: Kind, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self { kind, fix: None, retry_after: None, source: Some(source.into()) }
    }

    /// Adds what to do about it: one sentence of our own words and configured names.
    #[must_use]
    pub fn fix(self, fix: impl Into<String>) -> Self {
        Self { fix: Some(fix.into()), ..self }
    }
}

/// A call that got no whole answer.
pub fn failed(error: FetchError) -> Failure {
    let (kind, retry_after) = match &error {
        FetchError::Unreachable { .. } | FetchError::TimedOut { .. } => (Kind::Away, None),
        FetchError::Busy { retry_after, .. } => (Kind::Away, *retry_after),
        FetchError::TooLarge { .. } => (Kind::Unusable, None),
        FetchError::Identity { .. } | FetchError::Request => (Kind::Unprepared, None),
    };
    Failure { retry_after, ..Failure::new(kind, error) }
}

/// An answer of failure, with the code that names it, where the server gave one that may be repeated.
pub fn refused(from: &Endpoint, answer: &Answer, code: Option<&str>) -> Failure {
    let (status, code) = (answer.status.as_u16(), code.unwrap_or("no error code"));
    let kind = match status {
        _ if answer.is_busy() => Kind::Away,
        200..=399 => Kind::Unusable,
        _ => Kind::Refused,
    };
    let cause = format!("{} answered {status}: {code}", from.authority());
    let failure = Failure { retry_after: answer.retry_after(SystemTime::now()), ..Failure::new(kind, cause) };
    match status {
        300..=399 => failure.fix("it answers with a redirect, which is not followed; write the address that it leads to"),
        404 | 405 => failure.fix("there is no such call at the address; check it"),
        429 => failure.fix("it is asked too often; if that lasts, ask for longer lives"),
        _ => failure,
    }
}

/// The JSON of an answer; what is wrong with it is said without quoting it, for it may hold a token.
///
/// # Errors
/// `Unusable` when it is not JSON, does not call itself JSON, or lacks one of `fields`.
pub fn json<T: DeserializeOwned>(answer: &Answer, fields: &str) -> Result<T, Failure> {
    // `application/json`, and the types of vendors that end in `json`.
    let content_type = answer.header("content-type").unwrap_or_default().split(';').next().unwrap_or_default().trim();
    if !content_type.ends_with("json") && !content_type.starts_with("application/x-amz-json") {
        return Err(unusable("the answer does not call itself JSON")
            .fix("something else answers at the address; check it, and what stands between"));
    }
    serde_json::from_slice(answer.body.expose()).map_err(|_| unusable(format!("in the answer {fields} is missing or has the wrong shape")))
}

/// A time as answers write it: RFC 3339, with a fraction or without.
///
/// # Errors
/// `Unusable` for anything else.
pub fn time(text: &str) -> Result<SystemTime, Failure> {
    let time = OffsetDateTime::parse(text, &Rfc3339).map_err(|_| unusable("a time in the answer cannot be read"))?;
    Ok(time.into())
}

/// A code that names an error, if it is one: some servers echo the token in what they say, and nothing that could be one passes.
pub fn code(code: &str) -> Option<&str> {
    let is_code = (1..=64).contains(&code.len()) && code.bytes().all(|byte| byte.is_ascii_alphabetic() || byte == b'_');
    is_code.then_some(code)
}

/// The fault of an answer that cannot be used.
pub fn unusable(cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Failure {
    Failure::new(Kind::Unusable, cause)
}

/// The fault of what we lack ourselves.
pub fn unprepared(cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Failure {
    Failure::new(Kind::Unprepared, cause)
}

/// Our own fault.
pub fn internal(cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Failure {
    Failure::new(Kind::Internal, cause)
}
