//! For tests: verifies AWS Signature Version 4 as its documentation describes it, with no code of the library that makes signatures.
//!
//! <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html>

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::hmac;

use crate::http_server::stand_in::Heard;

/// What a signature was made for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Scope {
    pub(crate) key_id: String,
    pub(crate) region: String,
    pub(crate) service: String,
}

/// Verifies a request's signature by `secret`, and that it covers what it must; says what it was made for.
pub(crate) fn verify(heard: &Heard, secret: &str) -> Scope {
    let value = heard.header("authorization").strip_prefix("AWS4-HMAC-SHA256 ").expect("a signature");
    let part = |name: &str| value.split(", ").find_map(|part| part.strip_prefix(name)?.strip_prefix('=')).unwrap().to_owned();
    let (credential, signed, signature) = (part("Credential"), part("SignedHeaders"), part("Signature"));
    for needed in ["host", "content-type", "x-amz-date", "x-amz-security-token"] {
        assert!(signed.split(';').any(|name| name == needed), "{needed} is not signed: {signed}");
    }
    let headers: String = signed.split(';').map(|name| format!("{name}:{}\n", heard.header(name).trim())).collect();
    let canonical =
        format!("{}\n{}\n\n{headers}\n{signed}\n{}", heard.method, heard.path, hex(digest(&SHA256, heard.body.as_bytes()).as_ref()));
    let (key_id, scope) = credential.split_once('/').unwrap();
    let hash = hex(digest(&SHA256, canonical.as_bytes()).as_ref());
    let to_sign = format!("AWS4-HMAC-SHA256\n{}\n{scope}\n{hash}", heard.header("x-amz-date"));
    let parts: Vec<&str> = scope.split('/').collect();
    let mut key = format!("AWS4{secret}").into_bytes();
    for part in &parts {
        key = mac(&key, part);
    }
    assert_eq!(hex(&mac(&key, &to_sign)), signature, "{canonical}");
    Scope { key_id: key_id.to_owned(), region: parts[1].to_owned(), service: parts[2].to_owned() }
}

fn mac(key: &[u8], text: &str) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text.as_bytes()).as_ref().to_vec()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
