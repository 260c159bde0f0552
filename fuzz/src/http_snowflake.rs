//! Requests to Snowflake as its clients make them, and otherwise; the same bytes as replies.

use std::time::SystemTime;

use bytes::Bytes;
use hyper::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use hyper::{Method, StatusCode};
use serde_json::Value;
use tollhouse::credential::{Authenticator, Login};
use tollhouse::secret::Secret;
use tollhouse::warehouse::Protocol;
use tollhouse::warehouse::http::{Access, Call, Head, HttpWarehouse, Outgoing, SessionState, Sessions, Statement, Text, Whole};
use tollhouse::warehouse::snowflake::SNOWFLAKE;

const PLACEHOLDER: &str = "Snowflake Token=\"tollhouse-session-s1\"";

/// One session.
struct OneSession;

impl Sessions for OneSession {
    fn find(&self, id: &str) -> Option<SessionState> {
        (id == "s1").then(SessionState::default)
    }
}

/// A request: its path and what stands behind `?` up to the first line's end, its body behind that.
pub(crate) fn request(input: &[u8]) {
    let end = input.iter().position(|byte| *byte == b'\n').unwrap_or(input.len());
    let Ok(target) = std::str::from_utf8(&input[..end]) else { return };
    let body = input.get(end + 1..).unwrap_or_default();
    let Protocol::Http(warehouse) = SNOWFLAKE.protocol else { unreachable!("it is one of HTTP's") };
    for method in [Method::GET, Method::POST] {
        one(warehouse, &method, target, body);
    }
}

fn one(warehouse: &dyn HttpWarehouse, method: &Method, target: &str, body: &[u8]) {
    let headers = HeaderMap::from_iter([(AUTHORIZATION, HeaderValue::from_static(PLACEHOLDER))]);
    let (path, query) = target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query)));
    let head = Head { method, path, query, headers: &headers };
    warehouse.purpose(&head);
    let whole = Whole { head, body, near: "http://127.0.0.1" };
    let Ok(asked) = warehouse.ask(&whole, &OneSession) else { return };
    if let Call::Run(statement) = &asked.call {
        is_what_was_sent(statement, body);
    }
    let outgoing =
        Outgoing { method: method.clone(), target: target.to_owned(), headers: headers.clone(), body: Some(Bytes::copy_from_slice(body)) };
    carries_our_login(warehouse, outgoing, matches!(&asked.call, Call::Run(statement) if matches!(statement.text, Text::Call(_))));

    let mut reader = asked.reader;
    reader.head(StatusCode::OK, &mut HeaderMap::new());
    let (first, second) = body.split_at(body.len() / 2);
    for piece in [first, second] {
        reader.pass(Bytes::copy_from_slice(piece));
    }
    reader.finish();
    reader.progress();
}

/// What was judged is what any reader of JSON finds in the body.
fn is_what_was_sent(statement: &Statement<'_>, body: &[u8]) {
    let Text::Sql(sql) = &statement.text else { return };
    let sent: Value = serde_json::from_slice(body).expect("what is judged is JSON");
    let text = sent.get("sqlText").or(sent.get("statement")).and_then(Value::as_str).expect("what is judged has a text");
    assert_eq!(text.as_bytes(), &sql[..]);
}

/// Nothing that the client shows of itself goes on, and a login is ours.
fn carries_our_login(warehouse: &dyn HttpWarehouse, mut outgoing: Outgoing, is_login: bool) {
    let login = Login::Snowflake { authenticator: Authenticator::Oauth, token: Secret::new("ours".to_owned()) };
    let secrets = [Secret::new("real-session".to_owned()), Secret::new("real-master".to_owned())];
    let access =
        Access { login: &login, role: "DBT", authority: "a.snowflakecomputing.com", secrets: &secrets, owner: "o", now: SystemTime::now() };
    if warehouse.authorize(&mut outgoing, &access).is_err() {
        return;
    }
    let shown = outgoing.headers.get(AUTHORIZATION);
    assert!(shown.is_none_or(|shown| shown != PLACEHOLDER), "the placeholder goes on");
    if is_login {
        let sent: Value = serde_json::from_slice(&outgoing.body.expect("a login has a body")).expect("a login is JSON");
        let field = |name: &str| sent.pointer(&format!("/data/{name}")).and_then(Value::as_str);
        assert_eq!((field("TOKEN"), field("AUTHENTICATOR"), field("LOGIN_NAME")), (Some("ours"), Some("OAUTH"), Some("DBT")));
        assert_eq!((field("PASSWORD"), field("ACCOUNT_NAME")), (None, Some("A")));
    }
}
