//! AdmissionReview of `admission.k8s.io/v1`: what the API server asks, and what it is answered.
//!
//! Source: <https://kubernetes.io/docs/reference/access-authn-authz/extensible-admission-controllers/#webhook-request-and-response>.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use json_patch::Patch;
use serde::{Deserialize, Serialize};
use serde_json::Value;

const API_VERSION: &str = "admission.k8s.io/v1";
const KIND: &str = "AdmissionReview";

/// Longest warning that the API server passes on whole; it cuts longer ones, and all together at 4096.
const WARNING_BYTES_MAX: usize = 256;

/// What the API server asks.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Request {
    /// What the answer is matched by.
    pub(super) uid: String,
    /// The namespace of the request; an object that is made from a template names none of its own.
    #[serde(default)]
    pub(super) namespace: String,
    /// The part of the object that is asked about (`ephemeralcontainers`).
    #[serde(default)]
    pub(super) sub_resource: String,
    /// The object as it would be stored.
    pub(super) object: Value,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Asked {
    api_version: String,
    kind: String,
    request: Request,
}

impl Request {
    /// Reads a review.
    ///
    /// # Errors
    /// What is wrong with it, in a sentence.
    pub(super) fn parse(body: &[u8]) -> Result<Self, String> {
        let asked: Asked = serde_json::from_slice(body).map_err(|error| format!("not an {KIND}: {error}"))?;
        if asked.api_version != API_VERSION || asked.kind != KIND {
            return Err(format!("expected {KIND} of {API_VERSION}, found {} of {}", asked.kind, asked.api_version));
        }
        Ok(asked.request)
    }
}

/// What it is answered.
#[derive(Debug, Clone, Default)]
pub(super) struct Response {
    /// Why not, where the object must not be stored.
    pub(super) refused: Option<String>,
    /// What is to change.
    pub(super) patch: Option<Patch>,
    /// What whoever made the object is told all the same.
    pub(super) warnings: Vec<String>,
    /// What the API server's own audit log gets, below the webhook's name.
    pub(super) audit_annotations: BTreeMap<&'static str, String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Answered<'r> {
    uid: &'r str,
    allowed: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<Status<'r>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    patch_type: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    patch: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<&'r str>,
    audit_annotations: &'r BTreeMap<&'static str, String>,
}

#[derive(Serialize)]
struct Status<'r> {
    code: u16,
    reason: &'static str,
    message: &'r str,
}

impl Response {
    /// The review with the answer to the request of that `uid`.
    pub(super) fn write(&self, uid: &str) -> Value {
        let patch = self.patch.as_ref().filter(|patch| !patch.0.is_empty() && self.refused.is_none());
        let encoded = patch.and_then(|patch| Some(STANDARD.encode(serde_json::to_vec(patch).ok()?)));
        let answered = Answered {
            uid,
            allowed: self.refused.is_none(),
            status: self.refused.as_deref().map(|message| Status { code: 403, reason: "Forbidden", message }),
            patch_type: encoded.as_ref().map(|_| "JSONPatch"),
            patch: encoded,
            warnings: self.warnings.iter().map(|warning| cut(warning)).collect(),
            audit_annotations: &self.audit_annotations,
        };
        serde_json::json!({ "apiVersion": API_VERSION, "kind": KIND, "response": answered })
    }
}

fn cut(text: &str) -> &str {
    text.get(..text.floor_char_boundary(WARNING_BYTES_MAX)).unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::{Request, Response};

    #[test]
    fn a_refusal_says_why_and_changes_nothing() {
        let patch = serde_json::from_str(r#"[{"op":"remove","path":"/spec"}]"#).unwrap();
        let response = Response { refused: Some("no".to_owned()), patch: Some(patch), ..Response::default() };
        let written = response.write("u1");
        assert_eq!(written["response"]["uid"], "u1");
        assert_eq!(written["response"]["allowed"], false);
        assert_eq!(written["response"]["status"]["message"], "no");
        assert!(written["response"]["patch"].is_null() && written["response"]["patchType"].is_null(), "{written}");
    }

    #[test]
    fn a_patch_is_said_to_be_a_json_patch_and_an_empty_one_is_left_out() {
        let patch: json_patch::Patch = serde_json::from_str(r#"[{"op":"remove","path":"/spec"}]"#).unwrap();
        let written = Response { patch: Some(patch), ..Response::default() }.write("u1");
        assert_eq!((&written["response"]["allowed"], &written["response"]["patchType"]), (&true.into(), &"JSONPatch".into()));
        assert_eq!(written["response"]["patch"], "W3sib3AiOiJyZW1vdmUiLCJwYXRoIjoiL3NwZWMifV0=");
        let written = Response { patch: Some(json_patch::Patch(Vec::new())), ..Response::default() }.write("u1");
        assert!(written["response"]["patch"].is_null(), "{written}");
    }

    #[test]
    fn a_long_warning_is_cut_between_letters() {
        let warnings = vec!["ä".repeat(200)];
        let written = Response { warnings, ..Response::default() }.write("u");
        assert_eq!(written["response"]["warnings"][0].as_str().unwrap().chars().count(), 128);
    }

    #[test]
    fn what_is_no_review_of_this_version_is_refused() {
        assert!(Request::parse(b"{}").unwrap_err().starts_with("not an AdmissionReview"));
        let old = br#"{"apiVersion":"admission.k8s.io/v1beta1","kind":"AdmissionReview","request":{"uid":"1","object":{}}}"#;
        assert!(Request::parse(old).unwrap_err().contains("v1beta1"));
    }
}
