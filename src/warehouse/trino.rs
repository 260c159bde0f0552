//! Trino, Starburst and their kin: statements by `POST /v1/statement`, results by following `nextUri`.
//!
//! Source: Trino documentation, "Trino client REST API"; the headers as Trino 476 reads them.

use std::borrow::Cow;

use hyper::Method;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use openidconnect::url::form_urlencoded;

use super::http::json::{Field, JsonReader, Reply, Treatment};
use super::http::{
    Access, Asked, Call, End, Handle, Head, HttpWarehouse, Outgoing, Progress, Purpose, Refusal, Sessions, Statement, Text, Told, Unusable,
    Whole,
};
use super::{Kind, Protocol};
use crate::credential::{Login, LoginKind};
use crate::sql::dialect::TRINO as SQL;
use crate::sql::{Dialect, Effect};

/// Trino.
pub const TRINO: Kind =
    Kind { name: "trino", dialect: Dialect::Other(&SQL), protocol: Protocol::Http(&Trino), default_port: 443, logins: LOGINS };

const LOGINS: &[LoginKind] = &[LoginKind::Token, LoginKind::Password, LoginKind::ClientCertificate];

/// What is particular about Trino.
#[derive(Debug)]
pub struct Trino;

const STATEMENT: &str = "/v1/statement";

const USER: HeaderName = HeaderName::from_static("x-trino-user");
const ORIGINAL_USER: HeaderName = HeaderName::from_static("x-trino-original-user");
const ORIGINAL_ROLE: HeaderName = HeaderName::from_static("x-trino-original-role");
const CATALOG: HeaderName = HeaderName::from_static("x-trino-catalog");
const SCHEMA: HeaderName = HeaderName::from_static("x-trino-schema");
const SOURCE: HeaderName = HeaderName::from_static("x-trino-source");
const PATH: HeaderName = HeaderName::from_static("x-trino-path");
const SESSION: HeaderName = HeaderName::from_static("x-trino-session");
const ROLE: HeaderName = HeaderName::from_static("x-trino-role");
const PREPARED: HeaderName = HeaderName::from_static("x-trino-prepared-statement");
const EXTRA_CREDENTIAL: HeaderName = HeaderName::from_static("x-trino-extra-credential");
const QUERY_DATA_ENCODING: HeaderName = HeaderName::from_static("x-trino-query-data-encoding");

/// Most prepared statements and most bytes of them that a request may carry in its head.
const PREPARED_MAX: usize = 1000;

const FIELDS: &[Field] = &[
    Field { path: &["id"], treatment: Treatment::Read },
    Field { path: &["nextUri"], treatment: Treatment::Address },
    Field { path: &["stats", "state"], treatment: Treatment::Read },
    Field { path: &["data"], treatment: Treatment::Count },
    Field { path: &["updateCount"], treatment: Treatment::Read },
    Field { path: &["error", "errorName"], treatment: Treatment::Read },
    Field { path: &["infoUri"], treatment: Treatment::Address },
    Field { path: &["partialCancelUri"], treatment: Treatment::Address },
];

impl HttpWarehouse for Trino {
    fn purpose(&self, head: &Head<'_>) -> Purpose {
        match call(head) {
            Some(_) => Purpose::Whole,
            None => Purpose::Other,
        }
    }

    fn ask<'a>(&self, request: &'a Whole<'_>, _: &dyn Sessions) -> Result<Asked<'a>, &'static str> {
        let call = match call(&request.head) {
            Some(Asking::Statement) => Call::Run(Box::new(statement(request)?)),
            Some(Asking::Query(handle)) if request.body.is_empty() => Call::Follow(handle),
            Some(Asking::Query(_)) => return Err("a request about a query has no body"),
            None => Call::Other,
        };
        Ok(Asked { session: None, call, reader: Box::new(JsonReader::new(FIELDS, request.near, progress)) })
    }

    fn authorize(&self, request: &mut Outgoing, access: &Access<'_>) -> Result<(), Unusable> {
        let headers = &mut request.headers;
        for name in [&AUTHORIZATION, &ORIGINAL_USER, &ORIGINAL_ROLE, &EXTRA_CREDENTIAL] {
            headers.remove(name);
        }
        // Without it results come in the reply itself, where they are seen and counted, and not from an object store.
        headers.remove(QUERY_DATA_ENCODING);
        let takes = "token, a client certificate or a password";
        let authorization = match access.login {
            Login::Token(token) => Some(format!("Bearer {}", token.expose())),
            Login::Password(password) => Some(super::http::basic(access.role, password.expose())),
            Login::ClientCertificate { .. } => None,
            Login::AwsCredentials(_) => return Err(Unusable { given: "set of AWS keys", takes }),
            Login::Snowflake { .. } => return Err(Unusable { given: "login to Snowflake", takes }),
        };
        if let Some(text) = authorization {
            headers.insert(AUTHORIZATION, super::http::sensitive(&text, takes)?);
        }
        let user = HeaderValue::from_str(access.role);
        headers.insert(USER, user.map_err(|_| Unusable { given: "role that no header can carry", takes: "a plain one" })?);
        Ok(())
    }

    fn cancel(&self, id: &str) -> Option<Outgoing> {
        Some(Outgoing { method: Method::DELETE, target: format!("/v1/query/{id}"), headers: HeaderMap::new(), body: None })
    }

    /// The reply of a query that failed: clients show its message, and do not try again as they do after a status of 5xx.
    fn refusal(&self, told: &Told<'_>) -> Refusal {
        let (name, code) = if told.is_denial { ("PERMISSION_DENIED", 4) } else { ("GENERIC_INTERNAL_ERROR", 65536) };
        let kind = if told.is_denial { "USER_ERROR" } else { "INTERNAL_ERROR" };
        let body = serde_json::json!({
            "id": "tollhouse",
            "infoUri": "",
            "stats": {
                "state": "FAILED", "queued": false, "scheduled": false, "nodes": 0, "totalSplits": 0, "queuedSplits": 0,
                "runningSplits": 0, "completedSplits": 0, "cpuTimeMillis": 0, "wallTimeMillis": 0, "queuedTimeMillis": 0,
                "elapsedTimeMillis": 0, "processedRows": 0, "processedBytes": 0, "peakMemoryBytes": 0,
            },
            "error": {
                "message": told.message, "errorCode": code, "errorName": name, "errorType": kind,
                "failureInfo": { "type": "tollhouse", "message": told.message, "suppressed": [], "stack": [] },
            },
            "warnings": [],
        });
        Refusal::json(200, &body)
    }
}

/// What a request is about.
enum Asking {
    Statement,
    Query(Handle),
}

fn call(head: &Head<'_>) -> Option<Asking> {
    if head.path == STATEMENT && head.method == Method::POST {
        return Some(Asking::Statement);
    }
    let (id, is_whole) = handle(head.path)?;
    match *head.method {
        Method::GET => Some(Asking::Query(Handle { id, ends: false })),
        Method::DELETE => Some(Asking::Query(Handle { id, ends: is_whole })),
        _ => None,
    }
}

fn statement<'a>(request: &'a Whole<'_>) -> Result<Statement<'a>, &'static str> {
    let headers = request.head.headers;
    if headers.contains_key(PATH) {
        return Err("x-trino-path is not passed on: functions would be found along it unseen");
    }
    // The server reads the body by this, and what was judged must be what it reads.
    let media = one(headers, &CONTENT_TYPE)?.unwrap_or_default().to_ascii_lowercase().replace(['"', ' '], "");
    if media.split_once("charset").is_some_and(|(_, rest)| !["=utf-8", "=us-ascii"].contains(&rest)) {
        return Err("the body of a statement must be UTF-8");
    }
    let mut effects = Vec::new();
    for (catalog, role) in pairs(headers, &ROLE)? {
        effects.push(Effect::Role { role: Some(role_name(&role).unwrap_or(catalog)) });
    }
    for (parameter, _) in pairs(headers, &SESSION)? {
        effects.push(Effect::Set { parameter: parameter.to_ascii_lowercase() });
    }
    Ok(Statement {
        text: Text::Sql(Cow::Borrowed(request.body)),
        prepared: pairs(headers, &PREPARED)?,
        database: one(headers, &CATALOG)?.unwrap_or_default().to_ascii_lowercase(),
        schema: one(headers, &SCHEMA)?.map(|schema| schema.to_ascii_lowercase()),
        effects,
        application_name: one(headers, &SOURCE)?.map(str::to_owned),
        client_user: one(headers, &USER)?.unwrap_or_default().to_owned(),
        names: Vec::new(),
        invocation: None,
    })
}

fn progress(reply: &Reply<'_>) -> Progress {
    let [id, next, state, data, changed, error, ..] = reply.found else { return Progress::default() };
    let end = match (error.value(), state.value(), next.value()) {
        (Some("USER_CANCELED"), _, _) => Some(End::Cancelled),
        (Some(name), _, _) => Some(End::Failed(Some(name.to_owned()))),
        (None, Some("FAILED"), _) => Some(End::Failed(None)),
        // What was asked for last has no successor.
        (None, Some(_), None) => Some(End::Completed),
        (None, _, _) => None,
    };
    Progress {
        id: id.value().map(str::to_owned),
        rows: data.elements().unwrap_or(0),
        changed: changed.value().and_then(|count| count.parse().ok()),
        end: if reply.status.is_success() { end } else { Some(End::Failed(None)) },
        ..Progress::default()
    }
}

/// The query of an address that replies name, and whether it is about all of it: `/v1/statement/{queued,executing}/ID/...`, or
/// `.../partialCancel/ID/...`, which ends a stage of it.
fn handle(path: &str) -> Option<(String, bool)> {
    let rest = path.strip_prefix(STATEMENT)?.strip_prefix('/')?;
    let mut parts = rest.split('/');
    let (id, is_whole) = match (parts.next()?, parts.next()?) {
        ("queued" | "executing", "partialCancel") => (parts.next()?, false),
        ("queued" | "executing", id) => (id, true),
        _ => return None,
    };
    let is_plain = (1..=64).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    is_plain.then(|| (id.to_owned(), is_whole))
}

/// The value of a header that stands at most once.
fn one<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Result<Option<&'h str>, &'static str> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(value), None) => value.to_str().map(Some).map_err(|_| "a header of the session is not ASCII"),
        (Some(_), Some(_)) => Err("a header of the session stands twice"),
    }
}

/// `name=value` pairs with values encoded as in a form, separated by commas or in several headers of one name.
fn pairs(headers: &HeaderMap, name: &HeaderName) -> Result<Vec<(String, String)>, &'static str> {
    let mut found = Vec::new();
    for value in headers.get_all(name) {
        let text = value.to_str().map_err(|_| "a header of the session is not ASCII")?;
        for pair in text.split(',').map(str::trim).filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').ok_or("a header of the session is not a list of name=value")?;
            let decode = |text: &str| {
                let text = text.trim().replace('=', "%3D").replace('&', "%26");
                form_urlencoded::parse(text.as_bytes()).next().map(|(text, _)| text.into_owned()).unwrap_or_default()
            };
            found.push((decode(name), decode(value)));
            if found.len() > PREPARED_MAX {
                return Err("a header of the session has too many entries");
            }
        }
    }
    Ok(found)
}

/// The role of `ROLE{name}`; `None` for `ALL` and `NONE`.
fn role_name(text: &str) -> Option<String> {
    Some(text.strip_prefix("ROLE{")?.strip_suffix('}')?.trim_matches('"').to_owned())
}

#[cfg(test)]
mod tests {
    use hyper::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};
    use hyper::{Method, StatusCode};

    use super::{FIELDS, TRINO, Trino};
    use crate::aws::AwsCredentials;
    use crate::credential::{Authenticator, Login};
    use crate::fault::Reason;
    use crate::secret::Secret;
    use crate::sql::Effect;
    use crate::warehouse::http::json::{Found, Reply};
    use crate::warehouse::http::{
        Access, Call, End, Handle, Head, HttpWarehouse, Outgoing, Purpose, SessionState, Sessions, Told, Unusable, Whole,
    };

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(HeaderName::from_static(name), HeaderValue::from_str(value).unwrap());
        }
        headers
    }

    fn head<'a>(method: &'a Method, path: &'a str, headers: &'a HeaderMap) -> Head<'a> {
        Head { method, path, query: None, headers }
    }

    #[test]
    fn a_request_is_known_by_method_and_path() {
        let follow = |id: &str, ends| Some((id.to_owned(), ends));
        for (method, path, expected) in [
            (Method::GET, "/v1/statement/queued/20261124_1_00001_abcde/y1/1", follow("20261124_1_00001_abcde", false)),
            (Method::GET, "/v1/statement/executing/q1/y1/0", follow("q1", false)),
            (Method::DELETE, "/v1/statement/executing/q1/y1/0", follow("q1", true)),
            (Method::DELETE, "/v1/statement/executing/partialCancel/q1/0/y1/1", follow("q1", false)),
            (Method::GET, "/v1/statement", None),
            (Method::POST, "/v1/statement/", None),
            (Method::POST, "/v1/statement/executing/q1/y1/0", None),
            (Method::GET, "/v1/statement/executing/..%2f/y1/0", None),
            (Method::GET, "/v1/query", None),
            (Method::GET, "/v1/info", None),
        ] {
            let headers = HeaderMap::new();
            let head = head(&method, path, &headers);
            let whole = Whole { head, body: b"", near: "http://near" };
            let followed = match Trino.ask(&whole, &Nobodys).unwrap().call {
                Call::Follow(Handle { id, ends }) => Some((id, ends)),
                Call::Other => None,
                call @ (Call::Run(_) | Call::Move { .. } | Call::Service | Call::Answer(_)) => panic!("{method} {path}: {call:?}"),
            };
            assert_eq!(followed, expected, "{method} {path}");
            assert_eq!(Trino.purpose(&head) == Purpose::Whole, expected.is_some(), "{method} {path}");
            let with_body = Whole { body: b"select 1", ..whole };
            assert_eq!(Trino.ask(&with_body, &Nobodys).is_err(), expected.is_some(), "{method} {path}");
        }
        assert_eq!(Trino.purpose(&head(&Method::POST, "/v1/statement", &HeaderMap::new())), Purpose::Whole);
    }

    /// No sessions: Trino has none.
    struct Nobodys;

    impl Sessions for Nobodys {
        fn find(&self, _: &str) -> Option<SessionState> {
            None
        }
    }

    #[test]
    fn what_the_head_says_of_the_session_goes_with_the_statement() {
        let headers = headers(&[
            ("x-trino-user", "ada"),
            ("x-trino-catalog", "Memory"),
            ("x-trino-schema", "analytics"),
            ("x-trino-source", "dbt-trino-1.11.0"),
            ("x-trino-session", "query_max_run_time=1h,memory.splits=4"),
            ("x-trino-role", "system=ROLE{auditor},hive=ALL"),
            ("x-trino-prepared-statement", "a=select+1%2C2,b=drop%20table%20t"),
            ("x-trino-prepared-statement", "c=select%20%27a%26b%3Dc%27"),
        ]);
        let whole = Whole { head: head(&Method::POST, "/v1/statement", &headers), body: b"select 1", near: "http://near" };
        let statement = super::statement(&whole).unwrap();
        assert_eq!(
            (statement.text.as_bytes(), statement.database.as_str(), statement.schema.as_deref()),
            (&b"select 1"[..], "memory", Some("analytics"))
        );
        assert_eq!((statement.client_user.as_str(), statement.application_name.as_deref()), ("ada", Some("dbt-trino-1.11.0")));
        let pair = |name: &str, text: &str| (name.to_owned(), text.to_owned());
        assert_eq!(statement.prepared, [pair("a", "select 1,2"), pair("b", "drop table t"), pair("c", "select 'a&b=c'")]);
        let role = |role: &str| Effect::Role { role: Some(role.to_owned()) };
        let set = |parameter: &str| Effect::Set { parameter: parameter.to_owned() };
        assert_eq!(statement.effects, [role("auditor"), role("hive"), set("query_max_run_time"), set("memory.splits")]);
    }

    #[test]
    fn a_head_that_could_be_read_in_two_ways_is_refused() {
        for pairs in [
            &[("x-trino-catalog", "a"), ("x-trino-catalog", "b")][..],
            &[("x-trino-path", "system.other")],
            &[("x-trino-session", "no-equals-sign")],
            &[("x-trino-schema", "\u{e4}")],
        ] {
            let headers = headers(pairs);
            let head = head(&Method::POST, "/v1/statement", &headers);
            assert!(Trino.ask(&Whole { head, body: b"select 1", near: "" }, &Nobodys).is_err(), "{pairs:?}");
        }
    }

    #[test]
    fn the_login_takes_the_place_of_everything_that_the_client_says_about_its_own() {
        let client = headers(&[
            ("authorization", "Basic cGxhY2Vob2xkZXI="),
            ("x-trino-user", "root"),
            ("x-trino-original-user", "root"),
            ("x-trino-extra-credential", "a=b"),
            ("x-trino-query-data-encoding", "json+zstd,json"),
            ("x-trino-catalog", "memory"),
        ]);
        for (login, expected) in [
            (Login::Token(Secret::new("t0ken".to_owned())), Some("Bearer t0ken")),
            (Login::Password(Secret::new("pass".to_owned())), Some("Basic ZGJ0OnBhc3M=")),
        ] {
            let headers = authorized(&client, &login).unwrap();
            assert_eq!(headers.get(AUTHORIZATION).map(|value| value.to_str().unwrap()), expected);
            assert!(headers.get(AUTHORIZATION).unwrap().is_sensitive());
            let mut names: Vec<&str> = headers.keys().map(HeaderName::as_str).collect();
            names.sort_unstable();
            assert_eq!(names, ["authorization", "x-trino-catalog", "x-trino-user"]);
            assert_eq!(headers.get("x-trino-user").unwrap(), "dbt");
        }
        let broken = Login::Token(Secret::new("a\r\nb".to_owned()));
        assert!(authorized(&client, &broken).is_err());
    }

    /// The headers of a request that is sent with a login.
    fn authorized(client: &HeaderMap, login: &Login) -> Result<HeaderMap, Unusable> {
        let mut request = Outgoing { method: Method::POST, target: "/v1/statement".to_owned(), headers: client.clone(), body: None };
        let authority = "trino.example.com";
        let access = Access { login, role: "dbt", authority, secrets: &[], owner: "0", now: std::time::SystemTime::UNIX_EPOCH };
        Trino.authorize(&mut request, &access).map(|()| request.headers)
    }

    #[test]
    fn the_logins_that_the_kind_takes_are_those_that_a_request_can_be_authorized_with() {
        let secret = || Secret::new("s".to_owned());
        let keys = AwsCredentials {
            access_key_id: "ASIA1".to_owned(),
            secret_access_key: secret(),
            session_token: secret(),
            expires_at: std::time::SystemTime::now(),
        };
        let certificate =
            Login::ClientCertificate { chain: Vec::new(), key: Secret::new(rustls::pki_types::PrivatePkcs8KeyDer::from(vec![0]).into()) };
        let snowflake = Login::Snowflake { authenticator: Authenticator::Oauth, token: secret() };
        for login in [Login::Token(secret()), Login::Password(secret()), certificate, Login::AwsCredentials(keys), snowflake] {
            let is_taken = authorized(&HeaderMap::new(), &login).is_ok();
            assert_eq!(is_taken, TRINO.logins.contains(&login.kind()), "{login:?}");
        }
    }

    #[test]
    fn a_reply_without_successor_is_the_end() {
        let value = |text: &str| Found::Value(text.to_owned());
        let reply = |id: &str, next: Option<&str>, state: &str, rows: u64, error: Option<&str>| {
            let mut found = vec![Found::Absent; FIELDS.len()];
            found[0] = value(id);
            found[1] = next.map_or(Found::Absent, value);
            found[2] = value(state);
            found[3] = Found::Elements(rows);
            found[5] = error.map_or(Found::Absent, value);
            let progress = super::progress(&Reply { status: StatusCode::OK, is_whole: true, found: &found });
            (progress.rows, progress.end)
        };
        assert_eq!(reply("q", Some("u"), "QUEUED", 0, None), (0, None));
        assert_eq!(reply("q", Some("u"), "FINISHED", 7, None), (7, None));
        assert_eq!(reply("q", None, "FINISHED", 0, None), (0, Some(End::Completed)));
        assert_eq!(reply("q", None, "FAILED", 0, Some("SYNTAX_ERROR")), (0, Some(End::Failed(Some("SYNTAX_ERROR".to_owned())))));
        assert_eq!(reply("q", None, "FAILED", 0, Some("USER_CANCELED")), (0, Some(End::Cancelled)));
    }

    #[test]
    fn a_refusal_is_a_failed_query_with_our_message() {
        let headers = HeaderMap::new();
        let told = Told {
            head: head(&Method::POST, "/v1/statement", &headers),
            body: b"drop table t",
            message: "no \"way\"",
            reason: Reason::PolicyDenied,
            sqlstate: "42501",
            status: 403,
            is_denial: true,
        };
        let refusal = Trino.refusal(&told);
        let body: serde_json::Value = serde_json::from_slice(&refusal.body).unwrap();
        assert_eq!((refusal.status, &body["error"]["message"]), (200, &"no \"way\"".into()));
        assert_eq!((&body["error"]["errorName"], &body["error"]["errorType"]), (&"PERMISSION_DENIED".into(), &"USER_ERROR".into()));
    }
}
