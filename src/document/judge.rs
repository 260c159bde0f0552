//! Says in words of our own what a schema error means, without showing the value that caused it.

use jsonschema::ValidationError;
use jsonschema::error::ValidationErrorKind as Kind;
use serde_json::Value;

use super::nearest;
use super::pointer::child;

/// One thing that is wrong with a document.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Finding {
    /// JSON pointer into the document.
    pub(super) pointer: String,
    /// What is wrong, and what would be right.
    pub(super) message: String,
    /// A value of another type would be right.
    pub(super) wrong_type: bool,
}

impl Finding {
    /// A finding that no other type would mend.
    pub(super) fn new(pointer: impl Into<String>, message: impl Into<String>) -> Self {
        Self { pointer: pointer.into(), message: message.into(), wrong_type: false }
    }
}

/// What `error` means, given the whole schema that it comes from.
pub(super) fn judge(schema: &Value, error: &ValidationError<'_>) -> Vec<Finding> {
    let at = error.instance_path().as_str();
    if let Kind::AnyOf { context } | Kind::OneOfNotValid { context } = error.kind() {
        return judge_alternatives(schema, error, context);
    }
    if let Kind::AdditionalProperties { unexpected } = error.kind() {
        let known = known_keys(schema, error);
        return unexpected.iter().map(|key| Finding::new(child(at, key), unknown_key(key, &known))).collect();
    }
    if let Kind::Required { property } = error.kind() {
        return vec![Finding::new(at, format!("missing key `{}`", property.as_str().unwrap_or_default()))];
    }
    let words = words(schema, error);
    if !words.is_empty() {
        return vec![Finding::new(at, one_of(&words, error.instance()))];
    }
    vec![Finding { wrong_type: error.kind().keyword() == "type", ..Finding::new(at, sentence(schema, error)) }]
}

type Branch = Vec<ValidationError<'static>>;

/// Picks the alternative that was meant, and judges only that.
fn judge_alternatives(schema: &Value, error: &ValidationError<'_>, branches: &[Branch]) -> Vec<Finding> {
    let at = error.instance_path().as_str();
    let here = |found: &ValidationError<'_>, keyword: &str| found.instance_path().as_str() == at && found.kind().keyword() == keyword;

    let choices: Vec<String> =
        branches.iter().flatten().filter(|e| e.instance_path().as_str() == at).flat_map(|e| words(schema, e)).collect();
    if !choices.is_empty() {
        return vec![Finding::new(at, one_of(&choices, error.instance()))];
    }
    let of_right_type: Vec<&Branch> = branches.iter().filter(|branch| !branch.iter().any(|e| here(e, "type"))).collect();
    if of_right_type.is_empty() {
        let types = branches.iter().flatten().filter(|e| here(e, "type")).flat_map(|e| expected_types(schema, e));
        return vec![Finding { wrong_type: true, ..Finding::new(at, of_type(types.collect(), error.instance())) }];
    }
    let tagged: Vec<&Branch> =
        of_right_type.iter().copied().filter(|branch| !branch.iter().any(|e| !words(schema, e).is_empty())).collect();
    if tagged.is_empty() {
        return wrong_tag(schema, &of_right_type);
    }
    let complete: Vec<&Branch> = tagged.iter().copied().filter(|branch| !branch.iter().any(|e| here(e, "required"))).collect();
    if complete.is_empty() && tagged.len() > 1 {
        return missing_alternative(error, at, &tagged);
    }
    let candidates = if complete.is_empty() { tagged } else { complete };
    let meant = candidates.into_iter().min_by_key(|branch| branch.len());
    meant.into_iter().flatten().flat_map(|found| judge(schema, found)).collect()
}

/// Every alternative asks for another word under the same key.
fn wrong_tag(schema: &Value, branches: &[&Branch]) -> Vec<Finding> {
    let tags = || branches.iter().copied().flatten().filter(|error| !words(schema, error).is_empty());
    let choices: Vec<String> = tags().flat_map(|error| words(schema, error)).collect();
    tags().take(1).map(|error| Finding::new(error.instance_path().as_str(), one_of(&choices, error.instance()))).collect()
}

/// Every alternative asks for a key that is not there.
fn missing_alternative(error: &ValidationError<'_>, at: &str, branches: &[&Branch]) -> Vec<Finding> {
    let mut missing: Vec<String> = Vec::new();
    for found in branches.iter().copied().flatten() {
        if let Kind::Required { property: Value::String(key) } = found.kind()
            && !missing.contains(key)
        {
            missing.push(key.clone());
        }
    }
    let typed = error.instance().as_object().into_iter().flat_map(|entries| entries.keys());
    let meant = typed.filter_map(|key| nearest(key, missing.iter().map(String::as_str))).next();
    let expected = match missing.as_slice() {
        [only] => format!("missing key `{only}`"),
        several => format!("expected one of the keys {}", quoted(several)),
    };
    vec![Finding::new(at, expected + &did_you_mean(meant))]
}

/// The words that an `enum` or `const` offers; empty for any other error.
fn words(schema: &Value, error: &ValidationError<'_>) -> Vec<String> {
    let offered = match error.kind().keyword() {
        "enum" | "const" => schema.pointer(error.schema_path().as_str()),
        _ => None,
    };
    let word = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    match offered {
        Some(Value::Array(choices)) => choices.iter().map(word).collect(),
        Some(only) => vec![word(only)],
        None => Vec::new(),
    }
}

fn one_of(words: &[String], found: &Value) -> String {
    let expected = match words {
        [only] => format!("expected `{only}`"),
        several => format!("expected one of {}", quoted(several)),
    };
    match found.as_str() {
        Some(typed) => expected + &did_you_mean(nearest(typed, words.iter().map(String::as_str))),
        None => format!("{expected}, found {}", type_words(found)),
    }
}

fn unknown_key(key: &str, known: &[&str]) -> String {
    let meant = did_you_mean(nearest(key, known.iter().copied()));
    match (meant.as_str(), known) {
        ("", []) => format!("unknown key `{key}`; no keys are expected here"),
        ("", known) => format!("unknown key `{key}`; expected one of {}", quoted(known)),
        (meant, _) => format!("unknown key `{key}`{meant}"),
    }
}

fn did_you_mean(word: Option<&str>) -> String {
    word.map(|word| format!("; did you mean `{word}`?")).unwrap_or_default()
}

fn quoted(words: &[impl AsRef<str>]) -> String {
    words.iter().map(|word| format!("`{}`", word.as_ref())).collect::<Vec<_>>().join(", ")
}

fn known_keys<'a>(schema: &'a Value, error: &ValidationError<'_>) -> Vec<&'a str> {
    let properties = holder(schema, error).and_then(|holder| holder.get("properties")).and_then(Value::as_object);
    properties.map(|properties| properties.keys().map(String::as_str).collect()).unwrap_or_default()
}

/// The schema that holds the keyword which failed.
fn holder<'a>(schema: &'a Value, error: &ValidationError<'_>) -> Option<&'a Value> {
    let (parent, _) = error.schema_path().as_str().rsplit_once('/')?;
    schema.pointer(parent)
}

/// The sentence for keywords that compare with a limit or a type.
fn sentence(schema: &Value, error: &ValidationError<'_>) -> String {
    let keyword = error.kind().keyword();
    let limit = schema.pointer(error.schema_path().as_str()).map(Value::to_string).unwrap_or_default();
    match keyword {
        "type" => of_type(expected_types(schema, error), error.instance()),
        "minimum" => format!("expected {limit} or more"),
        "maximum" => format!("expected {limit} or less"),
        "exclusiveMinimum" => format!("expected more than {limit}"),
        "exclusiveMaximum" => format!("expected less than {limit}"),
        "minLength" => format!("expected {limit} or more characters"),
        "maxLength" => format!("expected {limit} or fewer characters"),
        "minItems" => format!("expected {limit} or more entries"),
        "maxItems" => format!("expected {limit} or fewer entries"),
        "minProperties" => format!("expected {limit} or more keys"),
        "maxProperties" => format!("expected {limit} or fewer keys"),
        "uniqueItems" => "expected every entry only once".to_owned(),
        "pattern" => match holder(schema, error).and_then(|holder| holder.get("x-expected")).and_then(Value::as_str) {
            Some(expected) => format!("expected {expected}"),
            None => format!("expected text that matches {limit}"),
        },
        other => format!("breaks the rule `{other}` of the schema"),
    }
}

fn of_type(mut expected: Vec<&str>, found: &Value) -> String {
    expected.dedup();
    let expected = expected.join(" or ");
    let remedy = if found.is_null() { "; give it a value or leave the key out" } else { "" };
    format!("expected {expected}, found {}{remedy}", type_words(found))
}

fn expected_types<'a>(schema: &'a Value, error: &ValidationError<'_>) -> Vec<&'a str> {
    let names = match schema.pointer(error.schema_path().as_str()) {
        Some(Value::Array(names)) => names.iter().filter_map(Value::as_str).collect(),
        Some(Value::String(name)) => vec![name.as_str()],
        _ => Vec::new(),
    };
    names.into_iter().map(type_name).collect()
}

fn type_name(name: &str) -> &str {
    match name {
        "object" => "a mapping",
        "array" => "a list",
        "string" => "a string",
        "integer" => "a whole number",
        "number" => "a number",
        "boolean" => "true or false",
        "null" => "nothing",
        other => other,
    }
}

fn type_words(value: &Value) -> &'static str {
    match value {
        Value::Null => "nothing",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "a mapping",
    }
}
