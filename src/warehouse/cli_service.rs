//! TCLIService, the Thrift service of HiveServer2 that Spark and Databricks speak over HTTP: what its calls ask for.
//!
//! Source: the service's definition as Spark 3.5 and databricks-sql-connector 4.4 carry it; what Spark's server reads of an
//! `OpenSession` besides: its session manager. A call or a field that is not known here could change what runs, and is refused.
//! Handles are named by their identifier; the secret beside it opens nothing without the login, and stays with the client.

use std::borrow::Cow;

use bytes::{Bytes, BytesMut};
use hyper::Method;
use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderValue, USER_AGENT};

use super::http::{Asked, Call, Handle, Head, Outgoing, Refusal, SessionState, Sessions, Statement, Text, Told, Unread, Whole};
use super::thrift::{self, Message, Struct, Value, Writer};
use crate::sql::{Action, Effect, Object, ObjectKind, OpaqueClass};

mod reply;
pub(super) mod session;

use self::reply::{ReplyReader, Said};

const CONTENT: &str = "application/x-thrift";
const ERROR_MESSAGE: &str = "x-thriftserver-error-message";

/// The argument of every call, and the result of every reply.
const ARGUMENT: i16 = 1;
const SUCCESS: i16 = 0;
const SESSION_HANDLE: i16 = 1;
const OPERATION_HANDLE: i16 = 1;
const GET_DIRECT_RESULTS: i16 = 1281;
const RUN_ASYNC: i16 = 1282;
const CAN_DOWNLOAD_RESULT: i16 = 1283;

/// Parameters that decide how results look, or say something about the client: they change nothing that policy is about.
const HARMLESS: &[&str] =
    &["query_tags", "spark.sql.ansi.enabled", "spark.thriftserver.arrowbasedrowset.timestampasstring", "statement_timeout", "timezone"];
/// Whose rights a session has, where the server lets its user choose.
const PROXY_USER: &str = "hive.server2.proxy.user";
/// Where a session begins.
const USE_DATABASE: &str = "use:database";
/// Where names lead, behind the back of whoever follows `USE`.
const DEFAULT_CATALOG: &str = "spark.sql.defaultcatalog";

/// Spark's own catalog, where a server has no other.
pub(super) const ONLY_CATALOG: &str = "spark_catalog";

/// Where sessions begin whose client does not say it; the database is empty where the server alone knows.
#[derive(Debug, Clone, Copy)]
pub(super) struct Home {
    /// The catalog.
    pub(super) database: &'static str,
    /// The schema, in a catalog that is known.
    pub(super) schema: &'static str,
}

/// Is it a call, by its head?
pub(super) fn is_call(head: &Head<'_>) -> bool {
    let mut kinds = head.headers.get_all(CONTENT_TYPE).iter();
    head.method == Method::POST && kinds.next().is_some_and(|kind| kind == CONTENT) && kinds.next().is_none()
}

/// What a call asks for.
///
/// # Errors
/// It is malformed, or asks for something that is not known here.
pub(super) fn ask<'a>(request: &'a Whole<'_>, sessions: &dyn Sessions, home: Home) -> Result<Asked<'a>, &'static str> {
    // `doAs` there would have the server act as somebody else. Databricks has the workspace's number there.
    let is_workspace = |query: &str| query.strip_prefix("o=").is_some_and(|number| number.bytes().all(|byte| byte.is_ascii_digit()));
    if request.head.query.is_some_and(|query| !is_workspace(query)) {
        return Err("a call of the Thrift service has no query string");
    }
    let (name, arguments) = call(request.body)?;
    match name {
        "OpenSession" => open_session(request, &arguments, home),
        "CloseSession" => {
            only(&arguments, &[SESSION_HANDLE])?;
            let reader = Box::new(ReplyReader::new(Said::Closed));
            Ok(Asked { session: Some(handle(&arguments, SESSION_HANDLE)?), call: Call::Service, reader })
        }
        "GetInfo" => {
            only(&arguments, &[SESSION_HANDLE, 2])?;
            Ok(Asked { session: Some(handle(&arguments, SESSION_HANDLE)?), call: Call::Service, reader: Box::new(Unread) })
        }
        "ExecuteStatement" => execute(request, &arguments, sessions),
        "GetOperationStatus" => follow(&arguments, &[OPERATION_HANDLE, 2], Said::State),
        "FetchResults" => follow(&arguments, &[OPERATION_HANDLE, 2, 3, 4, 1281, 1282, 1283], Said::Rows),
        "GetResultSetMetadata" => follow(&arguments, &[OPERATION_HANDLE], Said::Nothing),
        "CancelOperation" | "CloseOperation" => follow(&arguments, &[OPERATION_HANDLE], Said::Ended),
        _ => {
            let listing = LISTINGS.iter().find(|listing| listing.name == name);
            list(request, &arguments, listing.ok_or("a call that is not known here")?, sessions)
        }
    }
}

/// The method of a call, and its one argument.
fn call(body: &[u8]) -> Result<(&str, Struct<'_>), &'static str> {
    let Message { kind, name, body, .. } = thrift::read(body).map_err(|malformed| malformed.0)?;
    let mut fields = body.0.into_iter();
    match (kind, fields.next().map(|field| (field.id, field.value)), fields.next()) {
        (thrift::CALL, Some((ARGUMENT, Value::Struct(argument))), None) => Ok((name, argument)),
        (_, _, _) => Err("a message that is not a call with one argument"),
    }
}

fn open_session<'a>(request: &'a Whole<'_>, arguments: &Struct<'_>, home: Home) -> Result<Asked<'a>, &'static str> {
    only(arguments, &[1, 2, 3, 4, 1281, 1282, 1283, 1284, 1285])?;
    let mut state = SessionState { database: home.database.to_owned(), ..SessionState::default() };
    if !home.database.is_empty() {
        state.schema = Some(home.schema.to_owned());
    }
    let mut effects = Vec::new();
    for (key, value) in pairs(arguments, 4)?.into_iter().chain(pairs(arguments, 1283)?) {
        match key.as_str() {
            USE_DATABASE => state.schema = Some(session::plain_name(&value).ok_or("use:database is not a plain name")?),
            PROXY_USER => effects.push(Effect::Role { role: Some(value) }),
            _ => effects.extend(parameter(&key)?),
        }
    }
    match arguments.get(1284) {
        None => {}
        Some(Value::Struct(namespace)) => {
            only(namespace, &[1, 2])?;
            if let Some(catalog) = text(namespace, 1)? {
                state = SessionState { database: catalog.to_lowercase(), schema: Some("default".to_owned()), role: None };
            }
            if let Some(schema) = text(namespace, 2)? {
                state.schema = Some(schema.to_lowercase());
            }
        }
        Some(_) => return Err("an argument of another type"),
    }
    let reader = Box::new(ReplyReader::new(Said::Opened(state.clone())));
    // A session as any other is no execution; one that changes something asks policy first.
    let call = if effects.is_empty() {
        Call::Service
    } else {
        let mut statement = statement(request, Text::Call("OpenSession".to_owned()), &state);
        statement.effects = effects;
        text(arguments, 2)?.unwrap_or_default().clone_into(&mut statement.client_user);
        Call::Run(Box::new(statement))
    };
    Ok(Asked { session: None, call, reader })
}

fn execute<'a>(request: &'a Whole<'_>, arguments: &Struct<'a>, sessions: &dyn Sessions) -> Result<Asked<'a>, &'static str> {
    // `statementConf` (1296) would run it in no session, or elsewhere.
    only(arguments, &[SESSION_HANDLE, 2, 3, 4, 5, 1281, 1282, 1283, 1284, 1285, 1286, 1287, 1288, 1289, 3353])?;
    let session = handle(arguments, SESSION_HANDLE)?;
    let Some(Value::Binary(sql)) = arguments.get(2) else { return Err("a call without a statement") };
    let Some(state) = sessions.find(&session) else { return Ok(in_no_session(session)) };
    let mut statement = statement(request, Text::Sql(Cow::Borrowed(sql)), &state);
    for (key, _) in pairs(arguments, 3)? {
        match key.as_str() {
            USE_DATABASE | PROXY_USER => return Err("a parameter that belongs to the beginning of a session"),
            _ => statement.effects.extend(parameter(&key)?),
        }
    }
    let statement = Box::new(statement);
    let call = match session::destination(&String::from_utf8_lossy(sql), &state) {
        Some(to) => Call::Move { statement, to },
        None if state.database.is_empty() => {
            return Err("where names lead in this session is not known: open it with a catalog, or USE one");
        }
        None => Call::Run(statement),
    };
    Ok(Asked { session: Some(session), call, reader: begun(request, arguments, 4) })
}

/// A request in a session that the principal does not have: the door says so.
pub(super) fn in_no_session<'a>(session: String) -> Asked<'a> {
    Asked { session: Some(session), call: Call::Other, reader: Box::new(Unread) }
}

/// A call that lists what the catalog has. It is read like the view of the information schema that holds the same.
struct Listing {
    name: &'static str,
    view: Option<&'static str>,
    /// The fields that say the database.
    databases: &'static [i16],
    /// The others.
    others: &'static [i16],
}

const LISTINGS: &[Listing] = &[
    Listing { name: "GetTypeInfo", view: None, databases: &[], others: &[] },
    Listing { name: "GetTableTypes", view: None, databases: &[], others: &[] },
    Listing { name: "GetCatalogs", view: Some("catalogs"), databases: &[], others: &[] },
    Listing { name: "GetSchemas", view: Some("schemata"), databases: &[2], others: &[3] },
    Listing { name: "GetTables", view: Some("tables"), databases: &[2], others: &[3, 4, 5] },
    Listing { name: "GetColumns", view: Some("columns"), databases: &[2], others: &[3, 4, 5] },
    Listing { name: "GetFunctions", view: Some("functions"), databases: &[2], others: &[3, 4] },
    Listing { name: "GetPrimaryKeys", view: Some("table_constraints"), databases: &[2], others: &[3, 4] },
    Listing { name: "GetCrossReference", view: Some("table_constraints"), databases: &[2, 5], others: &[3, 4, 6, 7] },
];

fn list<'a>(request: &Whole<'_>, arguments: &Struct<'_>, listing: &Listing, sessions: &dyn Sessions) -> Result<Asked<'a>, &'static str> {
    let known = [SESSION_HANDLE, GET_DIRECT_RESULTS, RUN_ASYNC];
    only(arguments, &[&known, listing.databases, listing.others].concat())?;
    let session = handle(arguments, SESSION_HANDLE)?;
    let Some(state) = sessions.find(&session) else { return Ok(in_no_session(session)) };
    let mut statement = statement(request, Text::Call(listing.name.to_owned()), &state);
    if let Some(view) = listing.view {
        statement.effects = listed(arguments, listing.databases, view, &state)?;
    }
    Ok(Asked { session: Some(session), call: Call::Run(Box::new(statement)), reader: begun(request, arguments, RUN_ASYNC) })
}

/// The view of the information schema is read, of each database that a field says, or of the session's.
fn listed(arguments: &Struct<'_>, fields: &[i16], view: &str, state: &SessionState) -> Result<Vec<Effect>, &'static str> {
    let read = |database: Option<String>| {
        let (schema, name) = (Some("information_schema".to_owned()), view.to_owned());
        let object = Object { kind: ObjectKind::Relation, database, schema, name };
        Effect::Access { action: Action::Select, object, columns: Vec::new() }
    };
    let several = || Effect::Opaque { class: OpaqueClass::Wildcard, detail: "a list of what several catalogs have".to_owned() };
    if fields.is_empty() {
        return Ok(vec![read(None)]);
    }
    let effect = |field: &i16| {
        let database = text(arguments, *field)?.unwrap_or_default().replace("\\_", "_").to_lowercase();
        Ok(match database.as_str() {
            // A server with one catalog lists that; one with several might list them all.
            "" if state.database == ONLY_CATALOG => read(None),
            "" => several(),
            // An underscore that stands for any letter matches the name that has one as well.
            pattern if pattern.contains(['%', '*', '|', '\\']) => several(),
            _ => read(Some(database)),
        })
    };
    fields.iter().map(effect).collect()
}

/// A reader for the reply to what begins an execution, which may run on behind the reply.
fn begun(request: &Whole<'_>, arguments: &Struct<'_>, runs_async: i16) -> Box<ReplyReader> {
    let query = request.head.query.map(|query| format!("?{query}")).unwrap_or_default();
    let is_done = !matches!(arguments.get(runs_async), Some(Value::Number(1)));
    Box::new(ReplyReader::new(Said::Begun { is_done, target: format!("{}{query}", request.head.path) }))
}

/// The call that cancels an operation: its handle is the identifier and its secret, and what kind of operation it is.
fn cancel(target: String, guid: &[u8], secret: &[u8]) -> Outgoing {
    let writer = Writer::message(thrift::CALL, "CancelOperation", 0).begin(ARGUMENT).begin(OPERATION_HANDLE);
    let body = writer.begin(1).binary(1, guid).binary(2, secret).end().i32(2, 0).boolean(3, true).end().end().finish();
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(CONTENT));
    Outgoing { method: Method::POST, target, headers, body: Some(Bytes::from(body)) }
}

fn statement<'a>(request: &Whole<'_>, text: Text<'a>, state: &SessionState) -> Statement<'a> {
    Statement {
        text,
        prepared: Vec::new(),
        database: state.database.clone(),
        schema: state.schema.clone(),
        effects: Vec::new(),
        application_name: request.head.headers.get(USER_AGENT).and_then(|agent| agent.to_str().ok()).map(str::to_owned),
        client_user: String::new(),
        names: Vec::new(),
        invocation: None,
    }
}

fn follow<'a>(arguments: &Struct<'_>, known: &[i16], said: Said) -> Result<Asked<'a>, &'static str> {
    only(arguments, known)?;
    // Whether an end was brought about, the reply itself says.
    let followed = Handle { id: handle(arguments, OPERATION_HANDLE)?, ends: false };
    Ok(Asked { session: None, call: Call::Follow(followed), reader: Box::new(ReplyReader::new(said)) })
}

/// The effect of a parameter that is set, if policy is about it.
pub(super) fn parameter(key: &str) -> Result<Option<Effect>, &'static str> {
    let key = key.to_ascii_lowercase();
    let parameter = ["set:hiveconf:", "set:"].iter().find_map(|prefix| key.strip_prefix(prefix)).unwrap_or(&key);
    match parameter {
        DEFAULT_CATALOG => Err("a parameter that would lead names elsewhere: open the session with a catalog, or USE one"),
        harmless if HARMLESS.contains(&harmless) => Ok(None),
        parameter => Ok(Some(Effect::Set { parameter: parameter.to_owned() })),
    }
}

/// Has the results of a statement come in the replies, where they are seen and counted, and not from an object store.
pub(super) fn keep_inline(body: &mut Bytes) {
    let at = {
        let Ok((_, arguments)) = call(body) else { return };
        let field = arguments.0.iter().find(|field| field.id == CAN_DOWNLOAD_RESULT && field.value == Value::Number(1));
        match field {
            Some(field) if matches!(call(body), Ok(("ExecuteStatement", _))) => field.at,
            Some(_) | None => return,
        }
    };
    let mut changed = BytesMut::from(&**body);
    if let Some(byte) = changed.get_mut(at) {
        *byte = 0;
    }
    *body = changed.freeze();
}

/// The reply of a call that failed, in the call's own name: clients show its message, and do not try again.
pub(super) fn refusal(told: &Told<'_>) -> Option<Refusal> {
    if !is_call(&told.head) {
        return None;
    }
    let message = thrift::read(told.body).ok()?;
    let writer = Writer::message(thrift::REPLY, message.name, message.sequence).begin(SUCCESS);
    let writer = writer.begin(1).i32(1, 3).binary(3, told.sqlstate.as_bytes()).binary(5, told.message.as_bytes()).end();
    // Java's reader expects a version in it all the same.
    let writer = if message.name == "OpenSession" { writer.i32(2, 0) } else { writer };
    Some(Refusal { status: 200, content_type: CONTENT, headers: Vec::new(), body: Bytes::from(writer.end().finish()) })
}

/// What clients show of a reply that is no Thrift message: of a call that could not be read.
pub(super) fn with_message(refusal: Refusal, told: &Told<'_>) -> Refusal {
    let headers = if is_call(&told.head) { vec![(ERROR_MESSAGE, told.message.to_owned())] } else { Vec::new() };
    Refusal { headers, ..refusal }
}

/// The name of a handle: its identifier in hexadecimal digits.
fn handle(arguments: &Struct<'_>, field: i16) -> Result<String, &'static str> {
    let none = "a call without a handle";
    let Some(Value::Struct(handle)) = arguments.get(field) else { return Err(none) };
    let Some(Value::Struct(identifier)) = handle.get(1) else { return Err(none) };
    let Some(Value::Binary(guid)) = identifier.get(1) else { return Err(none) };
    reply::name(guid).ok_or("a handle of another length")
}

/// The text of a field.
fn text<'a>(within: &Struct<'a>, field: i16) -> Result<Option<&'a str>, &'static str> {
    match within.get(field) {
        None => Ok(None),
        Some(Value::Binary(bytes)) => std::str::from_utf8(bytes).map(Some).map_err(|_| "an argument that is not UTF-8"),
        Some(_) => Err("an argument of another type"),
    }
}

/// The pairs of texts of a field, none of which stands twice.
fn pairs(within: &Struct<'_>, field: i16) -> Result<Vec<(String, String)>, &'static str> {
    let Some(value) = within.get(field) else { return Ok(Vec::new()) };
    let Value::Map(map) = value else { return Err("an argument of another type") };
    let mut pairs: Vec<(String, String)> = Vec::with_capacity(map.len());
    for pair in map {
        let (Value::Binary(key), Value::Binary(value)) = pair else { return Err("an argument of another type") };
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).map_err(|_| "an argument that is not UTF-8");
        let (key, value) = (text(key)?, text(value)?);
        if pairs.iter().any(|(other, _)| other.eq_ignore_ascii_case(&key)) {
            return Err("a parameter stands twice");
        }
        pairs.push((key, value));
    }
    Ok(pairs)
}

/// Refuses fields that are not known: they could change what runs.
fn only(within: &Struct<'_>, known: &[i16]) -> Result<(), &'static str> {
    if within.0.iter().all(|field| known.contains(&field.id)) { Ok(()) } else { Err("an argument that is not known here") }
}

#[cfg(test)]
mod tests;
