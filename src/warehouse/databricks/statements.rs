//! The Statement Execution API: sessions, statements and the chunks of their results, in JSON.
//!
//! A request with a key that is not known here, or with one twice, could run something else than was judged, and is refused.

use std::borrow::Cow;

use bytes::Bytes;
use hyper::header::{HeaderMap, USER_AGENT};
use hyper::{Method, StatusCode};
use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::sql::Effect;
use crate::warehouse::cli_service::session::destination;
use crate::warehouse::cli_service::{in_no_session, parameter};
use crate::warehouse::http::json::{Field, JsonReader, Reply, Treatment};
use crate::warehouse::http::{
    Asked, Call, End, Handle, Head, News, Outgoing, Progress, Reader, Reading, Refusal, SessionState, Sessions, Statement, Text, Told,
    Whole,
};

const SESSIONS: &str = "/api/2.0/sql/sessions";
const STATEMENTS: &str = "/api/2.0/sql/statements";

const FIELDS: &[Field] = &[
    Field { path: &["statement_id"], treatment: Treatment::Read },
    Field { path: &["status", "state"], treatment: Treatment::Read },
    Field { path: &["status", "error", "error_code"], treatment: Treatment::Read },
    Field { path: &["result", "row_count"], treatment: Treatment::Read },
    Field { path: &["row_count"], treatment: Treatment::Read },
    Field { path: &["result", "external_links"], treatment: Treatment::Count },
    Field { path: &["external_links"], treatment: Treatment::Count },
    Field { path: &["session_id"], treatment: Treatment::Read },
];

/// What a request is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum About<'a> {
    NewSession,
    EndSession(&'a str),
    NewStatement,
    State(&'a str),
    Cancel(&'a str),
    Close(&'a str),
    Chunk(&'a str),
}

/// Is it a request of the API, by its head?
pub(super) fn is_call(head: &Head<'_>) -> bool {
    about(head).is_some()
}

fn about<'a>(head: &Head<'a>) -> Option<About<'a>> {
    if head.query.is_some() {
        return None;
    }
    let is_plain = |id: &str| (1..=64).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    if let Some(rest) = head.path.strip_prefix(SESSIONS) {
        return match (rest.strip_prefix('/'), head.method.as_str()) {
            (None, "POST") if rest.is_empty() => Some(About::NewSession),
            (Some(id), "DELETE") if is_plain(id) => Some(About::EndSession(id)),
            (_, _) => None,
        };
    }
    let rest = head.path.strip_prefix(STATEMENTS)?;
    let parts: Vec<&str> = rest.split('/').collect();
    match (parts.as_slice(), head.method.as_str()) {
        ([""], "POST") => Some(About::NewStatement),
        (["", id], "GET") if is_plain(id) => Some(About::State(id)),
        (["", id], "DELETE") if is_plain(id) => Some(About::Close(id)),
        (["", id, "cancel"], "POST") if is_plain(id) => Some(About::Cancel(id)),
        (["", id, "result", "chunks", chunk], "GET") if is_plain(id) && is_plain(chunk) => Some(About::Chunk(id)),
        (_, _) => None,
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewSession<'a> {
    #[serde(rename = "warehouse_id")]
    _warehouse_id: IgnoredAny,
    #[serde(default)]
    session_confs: Pairs,
    #[serde(borrow, default)]
    catalog: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    schema: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewStatement<'a> {
    #[serde(borrow)]
    statement: Cow<'a, str>,
    #[serde(borrow, default)]
    session_id: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    catalog: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    schema: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    disposition: Option<Cow<'a, str>>,
    #[serde(default, rename = "warehouse_id")]
    _warehouse_id: IgnoredAny,
    #[serde(default, rename = "parameters")]
    _parameters: IgnoredAny,
    #[serde(default, rename = "format")]
    _format: IgnoredAny,
    #[serde(default, rename = "wait_timeout")]
    _wait_timeout: IgnoredAny,
    #[serde(default, rename = "on_wait_timeout")]
    _on_wait_timeout: IgnoredAny,
    #[serde(default, rename = "row_limit")]
    _row_limit: IgnoredAny,
    #[serde(default, rename = "byte_limit")]
    _byte_limit: IgnoredAny,
    #[serde(default, rename = "result_compression")]
    _result_compression: IgnoredAny,
    #[serde(default, rename = "query_tags")]
    _query_tags: IgnoredAny,
}

/// The keys of an object, none of which stands twice.
#[derive(Default)]
struct Pairs(Vec<String>);

impl<'de> Deserialize<'de> for Pairs {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Keys;
        impl<'de> serde::de::Visitor<'de> for Keys {
            type Value = Pairs;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<Pairs, A::Error> {
                let mut keys: Vec<String> = Vec::new();
                while let Some((key, IgnoredAny)) = map.next_entry::<String, IgnoredAny>()? {
                    if keys.iter().any(|other| other.eq_ignore_ascii_case(&key)) {
                        return Err(serde::de::Error::custom("a key stands twice"));
                    }
                    keys.push(key);
                }
                Ok(Pairs(keys))
            }
        }
        deserializer.deserialize_map(Keys)
    }
}

/// What a request of the API asks for.
///
/// # Errors
/// It is malformed, or asks for something that is not known here.
pub(super) fn ask<'a>(request: &'a Whole<'_>, sessions: &dyn Sessions) -> Result<Asked<'a>, &'static str> {
    let reader = || Box::new(JsonReader::new(FIELDS, request.near, progress));
    let follow = |id: &str, ends| {
        let call = Call::Follow(Handle { id: id.to_owned(), ends });
        Ok(Asked { session: None, call, reader: reader() })
    };
    match about(&request.head) {
        Some(About::NewSession) => open_session(request),
        Some(About::EndSession(id)) => {
            same(request, "session_id", id)?;
            Ok(Asked {
                session: Some(id.to_owned()),
                call: Call::Service,
                reader: Box::new(SessionReader { json: *reader(), opens: None }),
            })
        }
        Some(About::NewStatement) => execute(request, sessions),
        Some(About::State(id) | About::Chunk(id)) => {
            same(request, "statement_id", id)?;
            follow(id, false)
        }
        Some(About::Cancel(id) | About::Close(id)) => {
            same(request, "statement_id", id)?;
            follow(id, true)
        }
        None => Err("a request that is not known here"),
    }
}

/// Refuses a body that says something else than the path: some clients repeat the path's name in it.
fn same(request: &Whole<'_>, key: &str, id: &str) -> Result<(), &'static str> {
    if request.body.is_empty() {
        return Ok(());
    }
    let other = "a body that does not fit the path";
    let Ok(Pairs(keys)) = serde_json::from_slice(request.body) else { return Err(other) };
    let body: serde_json::Value = serde_json::from_slice(request.body).map_err(|_| other)?;
    let are_known = keys.iter().all(|known| known == key || known == "warehouse_id");
    if are_known && body.get(key).is_none_or(|named| named == id) { Ok(()) } else { Err(other) }
}

fn open_session<'a>(request: &'a Whole<'_>) -> Result<Asked<'a>, &'static str> {
    let asked: NewSession<'_> = serde_json::from_slice(request.body).map_err(|_| "a session that is not asked for as is known here")?;
    let mut effects = Vec::new();
    for key in &asked.session_confs.0 {
        effects.extend(parameter(key)?);
    }
    let state = begins(asked.catalog.as_deref(), asked.schema.as_deref(), SessionState::default());
    let json = JsonReader::new(FIELDS, request.near, progress);
    let reader = Box::new(SessionReader { json, opens: Some(state.clone()) });
    let call = if effects.is_empty() {
        Call::Service
    } else {
        Call::Run(Box::new(statement(request, Text::Call("OpenSession".to_owned()), &state, effects)))
    };
    Ok(Asked { session: None, call, reader })
}

fn execute<'a>(request: &'a Whole<'_>, sessions: &dyn Sessions) -> Result<Asked<'a>, &'static str> {
    let asked: NewStatement<'_> = serde_json::from_slice(request.body).map_err(|_| "a statement that is not asked for as is known here")?;
    if asked.disposition.is_some_and(|disposition| disposition != "INLINE") {
        return Err("results must be INLINE: elsewhere they would be fetched past the sidecar");
    }
    let session = asked.session_id.map(Cow::into_owned);
    let within = match &session {
        Some(name) => match sessions.find(name) {
            Some(state) => state,
            None => return Ok(in_no_session(name.clone())),
        },
        None => SessionState::default(),
    };
    let state = begins(asked.catalog.as_deref(), asked.schema.as_deref(), within);
    let moves = destination(&asked.statement, &state).filter(|_| session.is_some());
    if state.database.is_empty() && moves.is_none() {
        return Err("where names lead is not known: say a catalog");
    }
    let sql = Cow::Owned(asked.statement.into_owned().into_bytes());
    let statement = Box::new(statement(request, Text::Sql(sql), &state, Vec::new()));
    let call = match moves {
        Some(to) => Call::Move { statement, to },
        None => Call::Run(statement),
    };
    Ok(Asked { session, call, reader: Box::new(JsonReader::new(FIELDS, request.near, progress)) })
}

/// Where names lead that begin in `within`, with a catalog and a schema that the client says.
fn begins(catalog: Option<&str>, schema: Option<&str>, within: SessionState) -> SessionState {
    let mut state = within;
    if let Some(catalog) = catalog.filter(|catalog| !catalog.is_empty()) {
        state.database = catalog.to_lowercase();
        state.schema = Some("default".to_owned());
    }
    if let Some(schema) = schema.filter(|schema| !schema.is_empty()) {
        state.schema = Some(schema.to_lowercase());
    }
    state
}

fn statement<'a>(request: &Whole<'_>, text: Text<'a>, state: &SessionState, effects: Vec<Effect>) -> Statement<'a> {
    Statement {
        text,
        prepared: Vec::new(),
        database: state.database.clone(),
        schema: state.schema.clone(),
        effects,
        application_name: request.head.headers.get(USER_AGENT).and_then(|agent| agent.to_str().ok()).map(str::to_owned),
        client_user: String::new(),
        names: Vec::new(),
        invocation: None,
    }
}

fn progress(reply: &Reply<'_>) -> Progress {
    let [id, state, error, rows, chunk_rows, links, chunk_links, ..] = reply.found else { return Progress::default() };
    if !reply.status.is_success() {
        return Progress::default();
    }
    let (is_done, end) = match state.value() {
        Some("SUCCEEDED") => (true, None),
        Some("FAILED") => (false, Some(End::Failed(error.value().map(str::to_owned)))),
        Some("CANCELED") => (false, Some(End::Cancelled)),
        Some("CLOSED") => (true, Some(End::Completed)),
        Some(_) | None => (false, None),
    };
    let count = [rows, chunk_rows].iter().find_map(|count| count.value()?.parse().ok()).unwrap_or(0);
    let has_links = [links, chunk_links].iter().any(|links| links.elements().is_some_and(|links| links > 0));
    Progress {
        id: id.value().map(str::to_owned),
        rows: count,
        is_done,
        end,
        out_of_band: has_links.then_some("object storage of the warehouse"),
        ..Progress::default()
    }
}

/// Reads what becomes of a session.
#[derive(Debug)]
struct SessionReader {
    json: JsonReader,
    /// Where it begins; `None` where it is to end.
    opens: Option<SessionState>,
}

impl Reader for SessionReader {
    fn head(&mut self, status: StatusCode, headers: &mut HeaderMap) -> Reading {
        let reading = self.json.head(status, headers);
        if status.is_success() { reading } else { Reading::Pass }
    }

    fn pass(&mut self, piece: Bytes) -> Bytes {
        self.json.pass(piece)
    }

    fn is_whole(&self) -> bool {
        self.json.is_whole()
    }

    fn progress(&mut self) -> Progress {
        let reply = self.json.reply();
        if !reply.status.is_success() {
            return Progress::default();
        }
        let id = reply.found.last().and_then(|found| found.value()).map(str::to_owned);
        let (news, end) = match (self.opens.take(), id) {
            (None, _) => (Some(News::Closed), None),
            (Some(state), Some(id)) => (Some(News::Opened { id, state, secrets: Vec::new() }), Some(End::Completed)),
            (Some(_), None) => (None, Some(End::Failed(None))),
        };
        Progress { news, end, ..Progress::default() }
    }
}

/// The request that cancels a statement.
pub(super) fn cancel(id: &str) -> Outgoing {
    Outgoing { method: Method::POST, target: format!("{STATEMENTS}/{id}/cancel"), headers: HeaderMap::new(), body: None }
}

/// A statement that failed, whose message clients show; of any other request, the error that the API answers with.
pub(super) fn refusal(told: &Told<'_>) -> Refusal {
    let code = match (told.is_denial, told.status) {
        (true, 401 | 403) => "PERMISSION_DENIED",
        (true, _) => "INVALID_PARAMETER_VALUE",
        (false, _) => "TEMPORARILY_UNAVAILABLE",
    };
    if about(&told.head) == Some(About::NewStatement) {
        let status = serde_json::json!({ "state": "FAILED", "error": { "error_code": code, "message": told.message } });
        return Refusal::json(200, &serde_json::json!({ "statement_id": "tollhouse", "status": status }));
    }
    Refusal::json(told.status, &serde_json::json!({ "error_code": code, "message": told.message }))
}
