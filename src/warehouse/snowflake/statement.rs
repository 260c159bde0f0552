//! Requests that run a statement: of the session API, and of the SQL API.

use std::borrow::Cow;

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::{Map, Value};

use super::{application_name, is_plain, parameters};
use crate::warehouse::http::{Call, SessionState, Statement, Text, Whole};

const QUERY_OPTIONS: &[&str] = &["requestId", "request_guid", "clientStartTime", "retryCount", "retryReason"];
const SUBMIT_OPTIONS: &[&str] = &["requestId", "async", "nullable", "retry"];
/// What may stand in the address of a request for a result of the SQL API.
pub(super) const RESULT_OPTIONS: &[&str] = &["requestId", "partition"];

/// The body of a query. What is not known here is refused, and so is a key that stands twice.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct QueryRequest {
    sql_text: String,
    parameters: Option<Map<String, Value>>,
    bind_stage: Option<String>,
    // How it is run and bound; none of it changes what the text may do.
    #[serde(rename = "asyncExec")]
    _async_exec: Option<bool>,
    #[serde(rename = "describeOnly")]
    _describe_only: Option<bool>,
    #[serde(rename = "bindings")]
    _bindings: Option<IgnoredAny>,
    #[serde(rename = "sequenceId")]
    _sequence_id: Option<IgnoredAny>,
    #[serde(rename = "querySubmissionTime")]
    _query_submission_time: Option<IgnoredAny>,
    #[serde(rename = "isInternal")]
    _is_internal: Option<bool>,
    #[serde(rename = "describedJobId")]
    _described_job_id: Option<IgnoredAny>,
    #[serde(rename = "disableOfflineChunks")]
    _disable_offline_chunks: Option<bool>,
    #[serde(rename = "queryContextDTO")]
    _query_context: Option<IgnoredAny>,
}

/// The statement of a query in a session.
///
/// # Errors
/// It is malformed, or asks for something that is not known here.
pub(super) fn query<'a>(request: &Whole<'_>, state: &SessionState) -> Result<Call<'a>, &'static str> {
    let options = parameters::query(&request.head, QUERY_OPTIONS)?;
    let asked: QueryRequest = serde_json::from_slice(request.body).map_err(|_| "the query is not one that is known here")?;
    let mut effects = parameters::effects(&asked.parameters.unwrap_or_default());
    effects.extend(asked.bind_stage.map(parameters::import));
    let name = options.get("requestId").filter(|id| is_plain(id)).ok_or("a query must have a requestId")?;
    Ok(Call::Run(Box::new(Statement {
        text: Text::Sql(Cow::Owned(asked.sql_text.into_bytes())),
        prepared: Vec::new(),
        database: state.database.clone(),
        schema: state.schema.clone(),
        effects,
        application_name: application_name(request.head.headers),
        client_user: String::new(),
        invocation: None,
        names: vec![name.clone()],
    })))
}

/// The body of a request to end a query.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct AbortRequest {
    request_id: String,
    // Snowflake looks the query up by its name alone.
    #[serde(rename = "sqlText")]
    _sql_text: Option<IgnoredAny>,
}

/// The name of the query that is to end.
///
/// # Errors
/// It is malformed.
pub(super) fn aborted(body: &[u8]) -> Result<String, &'static str> {
    let asked: AbortRequest = serde_json::from_slice(body).map_err(|_| "the request to end a query is malformed")?;
    if is_plain(&asked.request_id) { Ok(asked.request_id) } else { Err("the requestId to end is not one") }
}

/// The body of a statement of the SQL API. What is not known here is refused, and so is a key that stands twice.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SubmitRequest {
    statement: String,
    database: Option<String>,
    schema: Option<String>,
    warehouse: Option<String>,
    role: Option<String>,
    parameters: Option<Map<String, Value>>,
    #[serde(rename = "timeout")]
    _timeout: Option<u64>,
    #[serde(rename = "bindings")]
    _bindings: Option<IgnoredAny>,
}

/// The statement of a request of the SQL API. Each is a session of its own, and names in it are written as they are.
///
/// # Errors
/// It is malformed, asks for something that is not known here, or leaves to the user's settings where names lead.
pub(super) fn submit<'a>(request: &Whole<'_>) -> Result<Call<'a>, &'static str> {
    let options = parameters::query(&request.head, SUBMIT_OPTIONS)?;
    let asked: SubmitRequest = serde_json::from_slice(request.body).map_err(|_| "the statement is not one that is known here")?;
    let database = asked.database.ok_or("a statement of the SQL API must say its database")?;
    let parameters = asked.parameters.unwrap_or_default();
    let count = parameters.iter().find(|(name, _)| name.eq_ignore_ascii_case("multi_statement_count"));
    if count.is_some_and(|(_, count)| count.as_str() != Some("1") && count.as_u64() != Some(1)) {
        return Err("several statements in one request are taken in a session alone");
    }
    let mut effects: Vec<_> = asked.role.map(parameters::role).into_iter().collect();
    effects.extend(asked.warehouse.map(|_| parameters::set("warehouse".to_owned())));
    effects.extend(parameters::effects(&parameters));
    Ok(Call::Run(Box::new(Statement {
        text: Text::Sql(Cow::Owned(asked.statement.into_bytes())),
        prepared: Vec::new(),
        database,
        schema: asked.schema,
        effects,
        application_name: application_name(request.head.headers),
        client_user: String::new(),
        invocation: None,
        names: options.get("requestId").filter(|id| is_plain(id)).cloned().into_iter().collect(),
    })))
}
