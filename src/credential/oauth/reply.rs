//! What a token endpoint answers: a token, or an error that may be named.

use std::time::{Duration, SystemTime};

use serde::Deserialize;

use crate::credential::value::{Token, TokenKind, UnverifiedClaims};
use crate::fetch::Answer;
use crate::fetch::endpoint::Endpoint;
use crate::fetch::failure::{self, Failure, Kind};
use crate::secret::Secret;

/// Life of a token whose endpoint does not say (RFC 6749 and RFC 8693 leave `expires_in` optional).
const LIFE_DEFAULT: Duration = Duration::from_secs(300);

/// A successful answer (RFC 6749, section 5.1; RFC 8693, section 2.2.1). `issued_token_type` is not insisted on: Databricks'
/// endpoint leaves it out.
#[derive(Deserialize)]
struct Accepted {
    access_token: String,
    issued_token_type: Option<String>,
    token_type: String,
    expires_in: Option<Seconds>,
}

/// A number of seconds, which some endpoints write as a string.
#[derive(Deserialize)]
#[serde(untagged)]
enum Seconds {
    Number(u64),
    Text(String),
}

/// An answer of refusal (RFC 6749, section 5.2), with Databricks' other name for the code and Entra's numbers.
#[derive(Deserialize)]
struct Refused {
    #[serde(alias = "errorCode")]
    error: String,
    #[serde(default)]
    error_codes: Vec<u32>,
}

/// The token in an answer.
pub(super) fn accepted(answer: &Answer, now: SystemTime) -> Result<Token, Failure> {
    let accepted: Accepted = failure::json(answer, "access_token, token_type or expires_in")?;
    let value = Secret::new(accepted.access_token);
    // A token bound to a key (RFC 9449) is no use to a warehouse, and sending it on would look like a bearer token.
    if !["bearer", "n_a"].contains(&accepted.token_type.to_ascii_lowercase().as_str()) {
        return Err(failure::unusable("token_type is neither Bearer nor N_A").fix("have the server issue bearer tokens to this client"));
    }
    if value.expose().is_empty() || !value.expose().bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(failure::unusable("access_token is not a token"));
    }
    let claims = UnverifiedClaims::of(&value);
    let said = match accepted.expires_in {
        None => None,
        Some(Seconds::Number(seconds)) => Some(seconds),
        Some(Seconds::Text(text)) => Some(text.parse().map_err(|_| failure::unusable("expires_in is not a number"))?),
    };
    let said = said.and_then(|seconds| now.checked_add(Duration::from_secs(seconds)));
    let written = claims.as_ref().and_then(|claims| claims.exp?.time());
    let expires_at = [said, written].into_iter().flatten().min().unwrap_or(now + LIFE_DEFAULT);
    let kind = match accepted.issued_token_type.as_deref() {
        Some("urn:ietf:params:oauth:token-type:jwt" | "urn:ietf:params:oauth:token-type:id_token") => TokenKind::Jwt,
        Some("urn:ietf:params:oauth:token-type:saml2") => TokenKind::Saml2,
        Some(_) | None => TokenKind::Access,
    };
    Ok(Token { value, kind, id: claims.and_then(UnverifiedClaims::id), expires_at })
}

/// The error in an answer: its code, Entra's numbers, and never its description, which may repeat what was sent.
pub(super) fn refused(endpoint: &Endpoint, answer: &Answer) -> Failure {
    let refused = serde_json::from_slice::<Refused>(answer.body.expose()).ok();
    let code = refused.as_ref().and_then(|refused| failure::code(&refused.error));
    let numbers = refused.as_ref().map_or(&[][..], |refused| &refused.error_codes);
    let named = match (code, numbers.first()) {
        (Some(code), Some(number)) => Some(format!("{code}, AADSTS{number}")),
        (code, _) => code.map(str::to_owned),
    };
    let error = failure::refused(endpoint, answer, named.as_deref());
    let is_transient = matches!(code, Some("temporarily_unavailable" | "server_error" | "internal_failure"));
    let error = if is_transient { Failure { kind: Kind::Away, ..error } } else { error };
    match numbers.iter().find_map(|number| entra_fix(*number)).or_else(|| code.and_then(fix)) {
        Some(fix) => error.fix(fix),
        None => error,
    }
}

/// What to do about a code (RFC 6749, section 5.2; RFC 8693, section 2.2.2).
fn fix(code: &str) -> Option<&'static str> {
    Some(match code {
        "invalid_client" => "the endpoint does not take how we prove ourselves; check `client_auth` and what is registered for it",
        "invalid_grant" => "the endpoint does not take the token; check that it trusts its issuer and subject, and wants its audience",
        "invalid_target" => "the endpoint gives no token for the `audience` or `resource` that is asked for",
        "invalid_scope" => "the endpoint does not give the `scope` that is asked for",
        "unauthorized_client" => "this client may not do this at the endpoint; allow it there",
        "unsupported_grant_type" => "the endpoint does not do this kind of exchange; enable it there, or use another kind of step",
        "invalid_request" => "the endpoint lacks a field or does not know one; compare the step's settings with its documentation",
        _ => return None,
    })
}

/// What to do about Entra's numbers: <https://learn.microsoft.com/entra/identity-platform/reference-error-codes>.
fn entra_fix(number: u32) -> Option<&'static str> {
    Some(match number {
        700_024 => "the assertion is outside its time; check the node's clock and that the token is still refreshed",
        70_021 | 700_211 | 700_212 | 700_213 => {
            "no federated credential of the application fits the token's issuer, subject and audience to the letter; a new one takes minutes"
        }
        700_016 | 7_000_229 => "the application is not known in this tenant; check `client_id` and `tenant`",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use hyper::StatusCode;

    use super::{accepted, refused};
    use crate::credential::value::Token;
    use crate::fetch::Answer;
    use crate::fetch::endpoint::Endpoint;
    use crate::fetch::failure::{Failure, Kind};

    const NOW: SystemTime = SystemTime::UNIX_EPOCH;

    fn answer(status: u16, body: &str) -> Answer {
        Answer::new(StatusCode::from_u16(status).unwrap(), "application/json", body.as_bytes().to_vec())
    }

    fn read(body: &str) -> Result<Token, Failure> {
        accepted(&answer(200, body), NOW)
    }

    fn life(body: &str) -> u64 {
        read(body).unwrap().expires_at.duration_since(NOW).unwrap().as_secs()
    }

    #[test]
    fn the_life_of_a_token_is_the_least_that_anybody_says() {
        // The claims {"exp":100,"jti":"a1"}.
        let jwt = "e30.eyJleHAiOjEwMCwianRpIjoiYTEifQ.x";
        let body = |token: &str, rest: &str| format!(r#"{{"access_token":"{token}","issued_token_type":"t","token_type":"Bearer"{rest}}}"#);
        assert_eq!(life(&body("opaque", "")), 300);
        assert_eq!(life(&body("opaque", r#","expires_in":60"#)), 60);
        assert_eq!(life(&body("opaque", r#","expires_in":"60""#)), 60);
        assert_eq!(life(&body(jwt, "")), 100);
        assert_eq!(life(&body(jwt, r#","expires_in":3600"#)), 100);
        assert_eq!(life(&body(jwt, r#","expires_in":50"#)), 50);
        assert_eq!(read(&body(jwt, "")).unwrap().id.as_deref(), Some("a1"));
    }

    #[test]
    fn an_answer_that_is_not_a_plain_token_is_refused_and_not_quoted() {
        for body in [
            r#"{"access_token":"hunter2"}"#,
            r#"{"access_token":"hunter2","issued_token_type":"t","token_type":"DPoP"}"#,
            r#"{"access_token":"hunter2","issued_token_type":"t","token_type":"Bearer","expires_in":"soon"}"#,
            r#"{"access_token":"hunter2\r\nX: 1","issued_token_type":"t","token_type":"Bearer"}"#,
            r#"{"access_token":"","issued_token_type":"t","token_type":"Bearer"}"#,
            "hunter2",
        ] {
            let error = read(body).unwrap_err();
            assert_eq!(error.kind, Kind::Unusable, "{body}");
            assert!(!format!("{error:?}").contains("hunter2"), "{error:?}");
        }
        let plain = r#"{"access_token":"hunter2","issued_token_type":"t","token_type":"N_A"}"#;
        assert_eq!(read(plain).unwrap().value.expose(), "hunter2");
    }

    #[test]
    fn a_refusal_is_final_or_transient_by_status_and_code_and_never_repeats_the_description() {
        let endpoint = Endpoint::parse("https://sts.example/token").unwrap();
        for (status, body, kind, shown) in [
            (400, r#"{"error":"invalid_grant","error_description":"hunter2"}"#, Kind::Refused, "400: invalid_grant"),
            (401, r#"{"error":"invalid_client"}"#, Kind::Refused, "401: invalid_client"),
            (400, r#"{"error":"temporarily_unavailable"}"#, Kind::Away, "temporarily_unavailable"),
            (503, "hunter2", Kind::Away, "503: no error code"),
            (429, "", Kind::Away, "429"),
            (400, r#"{"error":"hunter2"}"#, Kind::Refused, "400: no error code"),
        ] {
            let error = refused(&endpoint, &answer(status, body));
            let chain = format!("{error:?} {}", error.source.as_ref().unwrap());
            assert_eq!(error.kind, kind, "{body}");
            assert!(chain.contains(shown) && !chain.contains("hunter2"), "{chain}");
        }
    }
}
