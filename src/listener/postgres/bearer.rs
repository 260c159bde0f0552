//! OAUTHBEARER, the SASL mechanism that shows a bearer token; PostgreSQL has it from version 18 on.
//!
//! Source: RFC 7628; PostgreSQL 18 documentation, section 54.3.2.

use serde::Deserialize;

use crate::fault::{Fault, Reason};
use crate::secret::Secret;

/// The mechanism's name on the wire.
pub(super) const MECHANISM: &str = "OAUTHBEARER";

/// What the client sends after a refusal (RFC 7628, section 3.2.3).
pub(super) const DUMMY: &[u8] = b"\x01";

/// Why a token cannot be shown.
pub(super) const UNFIT: &str = "the credential is not a bearer token as RFC 6750 writes one";

/// The client's one message. `None` for a token with characters that a bearer token does not have (RFC 6750, section 2.1),
/// which could say something else to the server.
pub(super) fn initial_response(token: &[u8]) -> Option<Secret<Vec<u8>>> {
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~+/=".contains(byte);
    if token.is_empty() || !token.iter().all(is_plain) {
        return None;
    }
    Some(Secret::new([b"n,,\x01auth=Bearer ".as_slice(), token, b"\x01\x01"].concat()))
}

/// The fault behind the server's error document (RFC 7628, section 3.2.2).
pub(super) fn refusal(document: &[u8]) -> Fault {
    let fault = Fault::new(Reason::TargetLogin);
    let Ok(refusal) = serde_json::from_slice::<Refusal>(document) else {
        return fault.about("the server refused the bearer token, and does not say why");
    };
    // The error codes of RFC 6750, section 3.1; the server's other words are for the log.
    let about = match refusal.status.as_str() {
        "invalid_token" => "the server refused the bearer token: invalid_token",
        "insufficient_scope" => "the server refused the bearer token: insufficient_scope",
        "invalid_request" => "the server refused the bearer token: invalid_request",
        _ => "the server refused the bearer token",
    };
    fault.about(about).because(format!(
        "status {:?}, scope {:?}, openid-configuration {:?}",
        refusal.status,
        refusal.scope.unwrap_or_default(),
        refusal.openid_configuration.unwrap_or_default()
    ))
}

#[derive(Deserialize)]
struct Refusal {
    status: String,
    scope: Option<String>,
    #[serde(rename = "openid-configuration")]
    openid_configuration: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::{initial_response, refusal};

    #[test]
    fn the_token_stands_in_one_message_and_nothing_can_stand_beside_it() {
        assert_eq!(initial_response(b"a.b-c_d~e+f/g=").unwrap().expose(), b"n,,\x01auth=Bearer a.b-c_d~e+f/g=\x01\x01");
        for token in [&b""[..], b"a b", b"a\x01host=elsewhere", b"a\n", b"\xff"] {
            assert!(initial_response(token).is_none(), "{token:?}");
        }
    }

    #[test]
    fn a_refusal_is_told_by_its_code_and_logged_in_full() {
        let fault = refusal(br#"{ "status": "invalid_token", "openid-configuration": "https://i/.well-known/x", "scope": "openid wh" }"#);
        assert!(fault.to_string().ends_with("(the server refused the bearer token: invalid_token)"), "{fault}");
        assert!(fault.chain().contains(r#"scope "openid wh", openid-configuration "https://i/.well-known/x""#), "{}", fault.chain());
    }

    #[test]
    fn the_servers_own_words_do_not_reach_the_client() {
        for document in [&br#"{"status":"<script>"}"#[..], b"not JSON"] {
            let fault = refusal(document);
            assert!(fault.to_string().contains("the server refused the bearer token"), "{fault}");
            assert!(!fault.to_string().contains("script"), "{fault}");
        }
    }
}
