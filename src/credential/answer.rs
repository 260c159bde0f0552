//! What the servers that we exchange at answer: whose fault a failure is, and what of it may be repeated.

use std::time::SystemTime;

use serde::de::DeserializeOwned;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::credential::ExchangeError;
use crate::fault::Reason;
use crate::fetch::endpoint::Endpoint;
use crate::fetch::{Answer, FetchError};

/// A call that got no whole answer.
pub(super) fn failed(error: FetchError) -> ExchangeError {
    let reason = match &error {
        FetchError::Unreachable { .. } | FetchError::TimedOut { .. } => Reason::ExchangeUnreachable,
        FetchError::TooLarge { .. } => Reason::ExchangeInvalid,
        FetchError::Identity { .. } | FetchError::Request => Reason::ExchangeUnprepared,
    };
    ExchangeError::new(reason, error)
}

/// An answer of failure, with the code that names it, where the server gave one that may be repeated.
pub(super) fn refused(from: &Endpoint, answer: &Answer, code: Option<&str>) -> ExchangeError {
    let (status, code) = (answer.status.as_u16(), code.unwrap_or("no error code"));
    let error = ExchangeError::new(reason_of(status), format!("{} answered {status}: {code}", from.authority()));
    match status {
        300..=399 => error.fix("it answers with a redirect, which is not followed; write the address that it leads to"),
        404 | 405 => error.fix("there is no such call at the address; check it"),
        429 => error.fix("it is asked too often; if that lasts, ask for longer lives"),
        _ => error,
    }
}

/// Whether a status means to try again, and who said no.
fn reason_of(status: u16) -> Reason {
    match status {
        408 | 429 | 500 | 502 | 503 | 504 => Reason::ExchangeUnreachable,
        200..=399 => Reason::ExchangeInvalid,
        _ => Reason::ExchangeRefused,
    }
}

/// The JSON of an answer; what is wrong with it is said without quoting it, for it may hold a token.
///
/// # Errors
/// `ExchangeInvalid` when it is not JSON, does not call itself JSON, or lacks one of `fields`.
pub(super) fn json<T: DeserializeOwned>(answer: &Answer, fields: &str) -> Result<T, ExchangeError> {
    // `application/json`, and the types of vendors that end in `json`.
    let content_type = answer.header("content-type").unwrap_or_default().split(';').next().unwrap_or_default().trim();
    if !content_type.ends_with("json") && !content_type.starts_with("application/x-amz-json") {
        return Err(
            invalid("the answer does not call itself JSON").fix("something else answers at the address; check it, and what stands between")
        );
    }
    serde_json::from_slice(answer.body.expose()).map_err(|_| invalid(format!("in the answer {fields} is missing or has the wrong shape")))
}

/// A time as answers write it: RFC 3339, with a fraction or without.
pub(super) fn time(text: &str) -> Result<SystemTime, ExchangeError> {
    let time = OffsetDateTime::parse(text, &Rfc3339).map_err(|_| invalid("a time in the answer cannot be read"))?;
    Ok(time.into())
}

/// A code that names an error, if it is one: some servers echo the token in what they say, and nothing that could be one passes.
pub(super) fn code(code: &str) -> Option<&str> {
    let is_code = (1..=64).contains(&code.len()) && code.bytes().all(|byte| byte.is_ascii_alphabetic() || byte == b'_');
    is_code.then_some(code)
}

/// The fault of an answer that cannot be used.
pub(super) fn invalid(cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> ExchangeError {
    ExchangeError::new(Reason::ExchangeInvalid, cause)
}

/// The fault of what we lack ourselves.
pub(super) fn unprepared(cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> ExchangeError {
    ExchangeError::new(Reason::ExchangeUnprepared, cause)
}

/// Our own fault.
pub(super) fn internal(cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> ExchangeError {
    ExchangeError::new(Reason::Internal, cause)
}
