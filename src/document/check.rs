//! Holds a value against its schema, and makes the typed document of it.

use jsonschema::Validator;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::judge::{Finding, judge};
use super::pointer::yaml_path;
use super::{Env, Problem, substitute, yaml};

/// How many problems of one document are told; a broken file of megabytes could have as many as it has lines.
const PROBLEMS_MAX: usize = 500;

/// A schema, ready to be used on many values.
pub(super) struct Checker {
    schema: Value,
    validator: Validator,
}

impl Checker {
    /// Takes the schema of a type.
    ///
    /// # Errors
    /// Only if the type describes itself with an invalid schema, which is a bug.
    pub(super) fn new(schema: Value) -> Result<Self, String> {
        let validator = jsonschema::validator_for(&schema).map_err(|error| format!("the schema itself is invalid: {}", error.masked()))?;
        Ok(Self { schema, validator })
    }

    /// Fills in the value from `env` where there is one, checks it and makes a `T` of it.
    ///
    /// # Errors
    /// Every problem there is, up to [`PROBLEMS_MAX`].
    pub(super) fn read<T: DeserializeOwned>(&self, file: &str, mut value: Value, env: Option<&Env<'_>>) -> Result<T, Vec<Problem>> {
        let filled = env.map(|env| substitute::fill(&mut value, env)).unwrap_or_default();
        let mut findings = self.findings(&value);
        if reread(&mut value, &findings, &filled.whole) {
            findings = self.findings(&value);
        }
        findings.retain(|finding| filled.failed.iter().all(|failed| failed.pointer != finding.pointer));
        findings.extend(filled.failed);
        if !findings.is_empty() {
            return Err(findings.into_iter().map(|finding| finding.into_problem(file, &value)).collect());
        }
        serde_json::from_value(value).map_err(|error| vec![Problem::at(file, "", without_values(&error))])
    }

    fn findings(&self, value: &Value) -> Vec<Finding> {
        let mut findings: Vec<Finding> = Vec::new();
        for finding in self.validator.iter_errors(value).flat_map(|error| judge(&self.schema, &error)) {
            if findings.len() == PROBLEMS_MAX {
                findings.push(Finding::new("", "more problems than these; mend them first"));
                break;
            }
            if !findings.contains(&finding) {
                findings.push(finding);
            }
        }
        findings
    }
}

impl Finding {
    fn into_problem(self, file: &str, value: &Value) -> Problem {
        Problem::at(file, &yaml_path(value, &self.pointer), self.message)
    }
}

/// Reads substituted strings again as scalars where another type is asked for; says whether it changed any.
fn reread(value: &mut Value, findings: &[Finding], substituted: &[String]) -> bool {
    let mut changed = false;
    for finding in findings.iter().filter(|finding| finding.wrong_type && substituted.contains(&finding.pointer)) {
        let Some(slot) = value.pointer_mut(&finding.pointer) else { continue };
        if let Some(scalar) = slot.as_str().and_then(yaml::scalar) {
            *slot = scalar;
            changed = true;
        }
    }
    changed
}

/// What serde says, without the value it found: that could be a secret.
fn without_values(error: &serde_json::Error) -> String {
    let text = error.to_string();
    match text.rsplit_once(", expected ") {
        Some((_, expected)) => format!("expected {expected}"),
        None => text,
    }
}

/// Takes `null` out of a schema: a key either has a value or is absent, so that `key:` is never read as an absent key.
pub(super) fn forbid_null(schema: &mut Value) {
    match schema {
        Value::Array(items) => items.iter_mut().for_each(forbid_null),
        Value::Object(keywords) => {
            if let Some(Value::Array(types)) = keywords.get_mut("type") {
                types.retain(|word| word != "null");
                if let [only] = types.as_slice() {
                    let only = only.clone();
                    keywords.insert("type".to_owned(), only);
                }
            }
            if let Some(Value::Array(alternatives)) = keywords.get_mut("anyOf") {
                alternatives.retain(|alternative| alternative.get("type").is_none_or(|word| word != "null"));
                if let [Value::Object(only)] = alternatives.as_slice() {
                    let only = only.clone();
                    keywords.remove("anyOf");
                    for (keyword, value) in only {
                        keywords.entry(keyword).or_insert(value);
                    }
                }
            }
            if let Some(Value::Array(words)) = keywords.get_mut("enum") {
                words.retain(|word| !word.is_null());
            }
            if keywords.get("default") == Some(&Value::Null) {
                keywords.remove("default");
            }
            keywords.values_mut().for_each(forbid_null);
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}
