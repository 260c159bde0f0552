//! What replies say: those with results as they pass, the short ones held until they are whole.

use std::fmt;

use bytes::Bytes;
use hyper::StatusCode;
use hyper::header::HeaderMap;
use serde_json::{Map, Value, json};

use super::placeholder::{Placeholder, Token};
use crate::secret::Secret;
use crate::warehouse::http::json::{Field, Found, JsonReader, Reply, Tap, Treatment};
use crate::warehouse::http::{End, News, Progress, Reader, Reading, SessionState};

const QUERIED: &[Field] = &[
    Field { path: &["success"], treatment: Treatment::Read },
    Field { path: &["code"], treatment: Treatment::Read },
    Field { path: &["data", "queryId"], treatment: Treatment::Read },
    Field { path: &["data", "total"], treatment: Treatment::Read },
    Field { path: &["data", "statementTypeId"], treatment: Treatment::Read },
    Field { path: &["data", "chunks"], treatment: Treatment::Count },
    Field { path: &["data", "stageInfo", "locationType"], treatment: Treatment::Read },
    Field { path: &["data", "resultIds"], treatment: Treatment::Read },
    Field { path: &["data", "finalDatabaseName"], treatment: Treatment::Read },
    Field { path: &["data", "finalSchemaName"], treatment: Treatment::Read },
    Field { path: &["data", "finalRoleName"], treatment: Treatment::Read },
    Field { path: &["data", "stats", "numRowsInserted"], treatment: Treatment::Read },
    Field { path: &["data", "stats", "numRowsUpdated"], treatment: Treatment::Read },
    Field { path: &["data", "stats", "numRowsDeleted"], treatment: Treatment::Read },
    Field { path: &["data", "getResultUrl"], treatment: Treatment::Address },
];

/// The codes of a query that still runs.
const RUNNING: [&str; 2] = ["333333", "333334"];
/// "SQL execution canceled".
const CANCELED: &str = "000604";
/// How the codes begin that are about the session that asks, and not about the query.
const OF_SESSION: &str = "390";

/// Kinds of statement that change rows (`statementTypeId` of snowflake-connector-python).
const CHANGES_ROWS: std::ops::Range<u64> = 0x3000..0x3600;

/// Reads the reply to a query, or to a question for its result.
pub(super) struct Queried {
    tap: Tap,
    state: SessionState,
    is_begun: bool,
}

impl Queried {
    /// For the reply to the query itself, in a session of which this is known.
    pub(super) fn begun(near: &str, state: SessionState) -> Self {
        Self { tap: Tap::new(QUERIED, near.to_owned()), state, is_begun: false }
    }

    /// For the reply to a question about a query that was begun before.
    pub(super) fn followed(near: &str, state: SessionState) -> Self {
        Self { is_begun: true, ..Self::begun(near, state) }
    }
}

impl fmt::Debug for Queried {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Queried").field("is_begun", &self.is_begun).finish_non_exhaustive()
    }
}

impl Reader for Queried {
    fn head(&mut self, _: StatusCode, _: &mut HeaderMap) -> Reading {
        Reading::Read
    }

    fn pass(&mut self, piece: Bytes) -> Bytes {
        self.tap.pass(piece)
    }

    fn is_whole(&self) -> bool {
        self.tap.is_whole()
    }

    fn progress(&mut self) -> Progress {
        let found = self.tap.found();
        let [success, code, id, total, kind, chunks, stage, parts, database, schema, role, ..] = found else { return Progress::default() };
        let is_success = success.value() == Some("true");
        let code = said(code);
        let end = match code {
            Some(code) if RUNNING.contains(&code) => None,
            _ if is_success => Some(End::Completed),
            // The query goes on; whoever asked has to renew the session first.
            Some(code) if self.is_begun && code.starts_with(OF_SESSION) => None,
            _ if success.value().is_none() => None,
            Some(CANCELED) => Some(End::Cancelled),
            code => Some(End::Failed(code.map(str::to_owned))),
        };
        let changes = number(kind).is_some_and(|kind| CHANGES_ROWS.contains(&kind));
        Progress {
            id: said(id).map(str::to_owned),
            rows: if changes { 0 } else { number(total).unwrap_or(0) },
            changed: changed(found.get(11..14).unwrap_or_default()),
            out_of_band: out_of_band(chunks, stage),
            names: parts_of(parts),
            news: if is_success { moved(&self.state, [database, schema, role]) } else { None },
            // A session that has to be renewed runs nothing.
            declined: !is_success && code.is_some_and(|code| code.starts_with(OF_SESSION)),
            end,
            ..Progress::default()
        }
    }
}

/// What a value says; JSON's `null` says nothing.
fn said(found: &Found) -> Option<&str> {
    found.value().filter(|text| *text != "null")
}

fn number(found: &Found) -> Option<u64> {
    found.value()?.parse().ok()
}

/// The sum of the rows that were inserted, updated and deleted, where any of them is said.
fn changed(stats: &[Found]) -> Option<u64> {
    stats.iter().filter_map(number).reduce(u64::saturating_add)
}

fn out_of_band(chunks: &Found, stage: &Found) -> Option<&'static str> {
    if stage.value().is_some() {
        return Some("stage");
    }
    chunks.elements().is_some_and(|count| count > 0).then_some("result chunks")
}

/// The names of the statements that one query was made of.
fn parts_of(ids: &Found) -> Vec<String> {
    said(ids).map(|ids| ids.split(',').filter(|id| super::is_plain(id)).map(str::to_owned).collect()).unwrap_or_default()
}

/// Where the session is now, if the reply says so.
fn moved(before: &SessionState, [database, schema, role]: [&Found; 3]) -> Option<News> {
    let [database, schema, role] = [database, schema, role].map(|name| match name {
        Found::Absent => None,
        Found::Value(_) | Found::Elements(_) | Found::Other => Some(said(name).map(str::to_owned)),
    });
    database.as_ref()?;
    Some(News::Changed(SessionState {
        database: database.map_or_else(|| before.database.clone(), Option::unwrap_or_default),
        schema: schema.unwrap_or_else(|| before.schema.clone()),
        role: role.unwrap_or_else(|| before.role.clone()),
    }))
}

const SUBMITTED: &[Field] = &[
    Field { path: &["code"], treatment: Treatment::Read },
    Field { path: &["statementHandle"], treatment: Treatment::Read },
    Field { path: &["resultSetMetaData", "numRows"], treatment: Treatment::Read },
    Field { path: &["stats", "numRowsInserted"], treatment: Treatment::Read },
    Field { path: &["stats", "numRowsUpdated"], treatment: Treatment::Read },
    Field { path: &["stats", "numRowsDeleted"], treatment: Treatment::Read },
    Field { path: &["statementStatusUrl"], treatment: Treatment::Address },
];

/// Reads the reply to a statement of the SQL API, or to a question for its result.
pub(super) fn submitted(near: &str) -> Box<dyn Reader> {
    Box::new(JsonReader::new(SUBMITTED, near, submit_progress))
}

fn submit_progress(reply: &Reply<'_>) -> Progress {
    let [code, id, rows, ..] = reply.found else { return Progress::default() };
    let changed = changed(reply.found.get(3..6).unwrap_or_default());
    let end = match (reply.status, said(code)) {
        (StatusCode::OK, _) => Some(End::Completed),
        (StatusCode::UNPROCESSABLE_ENTITY, Some(CANCELED)) => Some(End::Cancelled),
        (StatusCode::UNPROCESSABLE_ENTITY, code) => Some(End::Failed(code.map(str::to_owned))),
        _ => None,
    };
    let rows = if changed.is_some() { 0 } else { number(rows).unwrap_or(0) };
    Progress { id: said(id).map(str::to_owned), rows, changed, end, ..Progress::default() }
}

/// What a reply is that is held until it is whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Holds {
    /// The beginning of a session.
    Login,
    /// Other tokens for the session of that name.
    Renewal {
        /// The session's name.
        id: String,
    },
    /// The state of an execution.
    Status,
    /// Word of whether something was done.
    Answer,
    /// The same, of the session's end.
    Farewell,
}

/// Holds a short reply until it is whole, and gives what the client may see of it.
#[derive(Debug)]
pub(super) struct Held {
    what: Holds,
    held: Vec<u8>,
    is_too_long: bool,
    progress: Progress,
}

/// Longest reply that is held: a login's has some ten KiB.
const HELD_BYTES_MAX: usize = 1024 * 1024;

impl Held {
    /// Nothing has come yet.
    pub(super) fn new(what: Holds) -> Self {
        Self { what, held: Vec::new(), is_too_long: false, progress: Progress::default() }
    }
}

impl Reader for Held {
    fn head(&mut self, _: StatusCode, _: &mut HeaderMap) -> Reading {
        Reading::Read
    }

    fn pass(&mut self, piece: Bytes) -> Bytes {
        self.is_too_long |= self.held.len().saturating_add(piece.len()) > HELD_BYTES_MAX;
        if !self.is_too_long {
            self.held.extend_from_slice(&piece);
        }
        Bytes::new()
    }

    fn finish(&mut self) -> Bytes {
        let held = std::mem::take(&mut self.held);
        let reply = if self.is_too_long { None } else { serde_json::from_slice(&held).ok() };
        let Some(Value::Object(reply)) = reply else {
            self.progress = Progress { end: (self.what == Holds::Login).then_some(End::Failed(None)), ..Progress::default() };
            return Bytes::from(failure(Some("the warehouse's reply cannot be read"), None).to_string());
        };
        let (shown, progress) = match &self.what {
            Holds::Login => login(reply),
            Holds::Renewal { id } => renewal(id, reply),
            Holds::Status => status(reply),
            Holds::Answer => (shortened(&reply), Progress { declined: !is_success(&reply), ..Progress::default() }),
            Holds::Farewell => (shortened(&reply), Progress { news: Some(News::Closed), ..Progress::default() }),
        };
        self.progress = progress;
        Bytes::from(shown.to_string())
    }

    fn progress(&mut self) -> Progress {
        std::mem::take(&mut self.progress)
    }
}

fn is_success(reply: &Map<String, Value>) -> bool {
    reply.get("success") == Some(&Value::Bool(true))
}

fn text(reply: &Map<String, Value>, name: &str) -> Option<String> {
    reply.get(name).and_then(Value::as_str).map(str::to_owned)
}

/// A reply without its data.
fn shortened(reply: &Map<String, Value>) -> Value {
    let field = |name| reply.get(name).cloned().unwrap_or_default();
    json!({ "data": null, "code": field("code"), "message": field("message"), "success": is_success(reply) })
}

fn failure(message: Option<&str>, code: Option<&str>) -> Value {
    json!({ "data": { "errorCode": code }, "code": code.unwrap_or("390100"), "message": message, "success": false })
}

/// The data of a login that a client may see: no token, of whatever kind.
const LOGIN_DATA: &[&str] = &[
    "displayUserName",
    "firstLogin",
    "healthCheckInterval",
    "masterValidityInSeconds",
    "newClientForUpgrade",
    "parameters",
    "serverVersion",
    "sessionId",
    "sessionInfo",
    "validityInSeconds",
];

fn login(mut reply: Map<String, Value>) -> (Value, Progress) {
    let code = text(&reply, "code");
    let failed = |message: Option<&str>| {
        let progress = Progress { end: Some(End::Failed(code.clone())), ..Progress::default() };
        (failure(message, code.as_deref()), progress)
    };
    if !is_success(&reply) {
        return failed(text(&reply, "message").as_deref());
    }
    let Some(Value::Object(mut data)) = reply.remove("data") else { return failed(None) };
    let (Some(session), Some(id)) = (text(&data, "token"), Placeholder::new_id()) else {
        return failed(Some("the warehouse asks for a further step of the login, which cannot be given here"));
    };
    let master = text(&data, "masterToken");
    let state = data.get("sessionInfo").and_then(Value::as_object).map(state).unwrap_or_default();
    data.retain(|name, _| LOGIN_DATA.contains(&name.as_str()));
    data.insert("token".to_owned(), Placeholder::text(&id, Token::Session).into());
    if master.is_some() {
        data.insert("masterToken".to_owned(), Placeholder::text(&id, Token::Master).into());
    }
    let secrets = vec![Secret::new(session), Secret::new(master.unwrap_or_default())];
    let progress = Progress { end: Some(End::Completed), news: Some(News::Opened { id, state, secrets }), ..Progress::default() };
    (json!({ "data": data, "code": null, "message": reply.remove("message"), "success": true }), progress)
}

/// Where a session begins.
fn state(info: &Map<String, Value>) -> SessionState {
    let [database, schema, role] = ["databaseName", "schemaName", "roleName"].map(|name| text(info, name));
    SessionState { database: database.unwrap_or_default(), schema, role }
}

/// The data of a renewal that a client may see.
const RENEWAL_DATA: &[&str] = &["sessionId", "validityInSecondsMT", "validityInSecondsST", "masterValidityInSeconds"];

fn renewal(id: &str, mut reply: Map<String, Value>) -> (Value, Progress) {
    let code = text(&reply, "code");
    let data = if is_success(&reply) { reply.remove("data") } else { None };
    let Some(Value::Object(mut data)) = data else {
        return (failure(text(&reply, "message").as_deref(), code.as_deref()), Progress::default());
    };
    let Some(session) = text(&data, "sessionToken") else { return (failure(None, code.as_deref()), Progress::default()) };
    let master = text(&data, "masterToken").unwrap_or_default();
    data.retain(|name, _| RENEWAL_DATA.contains(&name.as_str()));
    data.insert("sessionToken".to_owned(), Placeholder::text(id, Token::Session).into());
    data.insert("masterToken".to_owned(), Placeholder::text(id, Token::Master).into());
    let news = News::Renewed(vec![Secret::new(session), Secret::new(master)]);
    (json!({ "data": data, "code": null, "message": null, "success": true }), Progress { news: Some(news), ..Progress::default() })
}

fn status(reply: Map<String, Value>) -> (Value, Progress) {
    let query = reply.get("data").and_then(|data| data.get("queries")).and_then(|queries| queries.get(0));
    let end = query.and_then(|query| query.get("status")).and_then(Value::as_str).and_then(|status| match status {
        "SUCCESS" => Some(End::Completed),
        "ABORTED" => Some(End::Cancelled),
        "FAILED_WITH_ERROR" | "FAILED_WITH_INCIDENT" | "DISCONNECTED" => {
            Some(End::Failed(query.and_then(|query| query.get("errorCode")).and_then(Value::as_str).map(str::to_owned)))
        }
        // RUNNING, QUEUED, BLOCKED, RESUMING_WAREHOUSE and the like.
        _ => None,
    });
    (Value::Object(reply), Progress { end, ..Progress::default() })
}
