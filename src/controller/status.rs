//! What is said on an object: whether it is valid, whom it concerns, and which policies are in force with it.

use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// Longest message of a condition (apimachinery, `Condition.message`: 32768); a list of many problems is cut.
const MESSAGE_BYTES_MAX: usize = 4096;

/// What is to be said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Status {
    /// Everything that is wrong; nothing where it is valid.
    problems: Vec<String>,
    /// The digest of the policies; of the last valid ones, where these are not, which stays as it is.
    digest: Option<String>,
    /// NAMESPACE/NAME of the service accounts that it concerns.
    accounts: Option<Vec<String>>,
}

impl Status {
    pub(super) fn valid(digest: &str, mut accounts: Vec<String>) -> Self {
        accounts.sort();
        accounts.dedup();
        Self { problems: Vec::new(), digest: Some(digest.to_owned()), accounts: Some(accounts) }
    }

    pub(super) fn invalid(problems: Vec<String>) -> Self {
        Self { problems, digest: None, accounts: None }
    }

    /// The merge patch for an object; `None` where it says so already.
    pub(super) fn change(&self, object: &Value) -> Option<Value> {
        let (status, reason) = if self.problems.is_empty() { ("True", "Compiled") } else { ("False", "Invalid") };
        let all = self.problems.join("; ");
        let message = all.get(..all.floor_char_boundary(MESSAGE_BYTES_MAX)).unwrap_or_default();
        let condition = |changed: &Value| json!({ "type": "Valid", "status": status, "reason": reason, "message": message, "lastTransitionTime": changed });
        let there = object.pointer("/status/conditions/0").filter(|there| there.get("status").and_then(Value::as_str) == Some(status));
        let since = there.and_then(|there| there.get("lastTransitionTime")).cloned();
        let changed = since.unwrap_or_else(|| OffsetDateTime::now_utc().format(&Rfc3339).unwrap_or_default().into());
        let mut said = json!({ "observedGeneration": object.pointer("/metadata/generation"), "conditions": [condition(&changed)] });
        if let Some(said) = said.as_object_mut() {
            said.extend(self.digest.as_ref().map(|digest| ("digest".to_owned(), digest.as_str().into())));
            said.extend(self.accounts.as_ref().map(|accounts| ("serviceAccounts".to_owned(), accounts.as_slice().into())));
        }
        let is_there =
            said.as_object()?.iter().all(|(key, value)| object.pointer("/status").and_then(|status| status.get(key)) == Some(value));
        (!is_there).then(|| json!({ "status": said }))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::Status;

    #[test]
    fn a_status_is_written_once() {
        let mut object = json!({ "metadata": { "generation": 2 } });
        let status = Status::valid("sha256:1", vec!["b/y".to_owned(), "a/x".to_owned()]);
        object["status"] = status.change(&object).unwrap()["status"].clone();
        assert_eq!(object["status"]["serviceAccounts"], json!(["a/x", "b/y"]));
        assert_eq!(status.change(&object), None);
        object["metadata"]["generation"] = 3.into();
        assert_eq!(status.change(&object).unwrap()["status"]["observedGeneration"], 3);
    }

    #[test]
    fn what_became_invalid_keeps_the_digest_that_is_in_force() {
        let mut object = json!({ "metadata": { "generation": 2 } });
        object["status"] = Status::valid("sha256:1", Vec::new()).change(&object).unwrap()["status"].clone();
        let change = Status::invalid(vec!["x: unknown".to_owned()]).change(&object).unwrap();
        assert_eq!(change["status"]["conditions"][0]["status"], "False");
        assert_eq!(change["status"]["conditions"][0]["message"], "x: unknown");
        assert!(change["status"]["digest"].is_null(), "a merge patch leaves it");
    }
}
