//! Options of a request that are neither its text nor its login: in the address, and parameters of a session or statement.

use std::collections::BTreeMap;

use openidconnect::url::form_urlencoded;
use serde_json::{Map, Value};

use crate::sql::{Action, Effect, Object, ObjectKind};
use crate::warehouse::http::Head;

/// The options in a request's address, where each of them is known and stands once.
///
/// # Errors
/// One is not among `known`, stands twice, or could be read in two ways.
pub(super) fn query(head: &Head<'_>, known: &[&str]) -> Result<BTreeMap<String, String>, &'static str> {
    let text = head.query.unwrap_or_default();
    // A separator to some servers.
    if text.contains(';') {
        return Err("the address has a semicolon behind its question mark");
    }
    let mut options = BTreeMap::new();
    for (name, value) in form_urlencoded::parse(text.as_bytes()) {
        if !known.contains(&name.as_ref()) {
            return Err("the address has an option that is not known here");
        }
        if value.contains(char::REPLACEMENT_CHARACTER) {
            return Err("an option in the address is not UTF-8");
        }
        if options.insert(name.into_owned(), value.into_owned()).is_some() {
            return Err("an option stands twice in the address");
        }
    }
    Ok(options)
}

/// What setting these parameters does. The names of parameters are case-insensitive.
pub(super) fn effects(parameters: &Map<String, Value>) -> Vec<Effect> {
    let names = parameters.keys().map(|name| name.to_ascii_lowercase());
    names.filter(|name| !HARMLESS.contains(&name.as_str())).map(set).collect()
}

/// The effect of setting a parameter, or of what `USE` sets.
pub(super) fn set(name: String) -> Effect {
    Effect::Set { parameter: name }
}

/// The effect of taking a role.
pub(super) fn role(name: String) -> Effect {
    Effect::Role { role: Some(name) }
}

/// The effect of reading from a stage.
pub(super) fn import(stage: String) -> Effect {
    let object = Object { kind: ObjectKind::Location, database: None, schema: None, name: stage };
    Effect::Access { action: Action::Import, object, columns: Vec::new() }
}

/// The name that an identifier means (SQL reference, "Identifier requirements"): in capitals, but for what stands in quotes.
pub(super) fn folded(identifier: &str) -> String {
    match identifier.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
        Some(quoted) => quoted.replace("\"\"", "\""),
        None => identifier.to_uppercase(),
    }
}

/// Parameters that say how a client wants its results, or what is done at a statement's end: they give no right, and a text means
/// the same under each of them.
const HARMLESS: &[&str] = &[
    "autocommit",
    "client_memory_limit",
    "client_prefetch_threads",
    "client_request_mfa_token",
    "client_result_chunk_size",
    "client_session_keep_alive",
    "client_session_keep_alive_heartbeat_frequency",
    "client_store_temporary_credential",
    "client_telemetry_enabled",
    "client_validate_default_parameters",
    "go_query_result_format",
    "jdbc_query_result_format",
    "multi_statement_count",
    "odbc_query_result_format",
    "python_connector_query_result_format",
];

#[cfg(test)]
mod tests {
    use hyper::Method;
    use hyper::header::HeaderMap;
    use serde_json::json;

    use super::{effects, folded, query, set};
    use crate::warehouse::http::Head;

    #[test]
    fn an_address_that_could_be_read_in_two_ways_is_refused() {
        let (method, headers) = (Method::POST, HeaderMap::new());
        let read = |text: &'static str| {
            query(&Head { method: &method, path: "/", query: Some(text), headers: &headers }, &["requestId", "roleName"])
        };
        assert_eq!(read("requestId=a&roleName=%22a%20b%22").unwrap()["roleName"], "\"a b\"");
        for text in ["requestId=a&requestId=b", "requestId=a;roleName=b", "other=1", "roleName=%ff", "requestId=a&request%49d=b"] {
            assert!(read(text).is_err(), "{text}");
        }
    }

    #[test]
    fn parameters_are_effects_but_for_those_of_the_client_itself() {
        let parameters = json!({ "QUERY_TAG": "x", "AUTOCOMMIT": true, "client_prefetch_threads": 4, "Timezone": "UTC" });
        assert_eq!(effects(parameters.as_object().unwrap()), [set("query_tag".to_owned()), set("timezone".to_owned())]);
    }

    #[test]
    fn identifiers_are_folded_as_snowflake_folds_them() {
        for (identifier, name) in [("wh", "WH"), ("\"Wh\"", "Wh"), ("\"a\"\"b\"", "a\"b"), ("\"", "\""), ("\u{e4}", "\u{c4}")] {
            assert_eq!(folded(identifier), name);
        }
    }
}
