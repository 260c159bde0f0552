//! Requests to HTTP warehouses and the replies to them.
//!
//! An input is a request's method and target on a line, with an operation of AWS's behind them, its body on the next, and behind
//! that the body of a reply.

use bytes::Bytes;
use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use hyper::{Method, StatusCode};
use tollhouse::warehouse::http::{Call, Head, HttpWarehouse, Purpose, Reader, Reading, SessionState, Sessions, Whole};
use tollhouse::warehouse::{Protocol, kind};

/// Asks the warehouse of that kind what a request means, and lets it read the reply in one piece and in two.
pub(crate) fn http(name: &str, input: &[u8]) {
    let Some(Protocol::Http(warehouse)) = kind(name).map(|kind| &kind.protocol) else { panic!("no HTTP warehouse: {name}") };
    let mut parts = input.splitn(3, |byte| *byte == b'\n');
    let (line, body, reply) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let Some((method, rest)) = std::str::from_utf8(line).ok().and_then(|line| line.split_once(' ')) else { return };
    let (target, operation) = rest.split_once(' ').map_or((rest, None), |(target, operation)| (target, Some(operation)));
    let (Ok(method), Ok(target)) = (method.parse::<Method>(), target.parse::<hyper::Uri>()) else { return };
    let mut headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static("application/json"))]);
    if let Some(operation) = operation.and_then(|operation| HeaderValue::from_str(operation).ok()) {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-amz-json-1.1"));
        headers.insert("x-amz-target", operation);
    }
    let head = Head { method: &method, path: target.path(), query: target.query(), headers: &headers };
    let request = Whole { head, body, near: "http://near" };
    let Some((means, whole)) = read(*warehouse, &request, reply, reply.len()) else { return };
    assert!(means || warehouse.purpose(&head) != Purpose::Other, "what is passed over by the head needs a rule of policy");
    for cut in [0, reply.len() / 3, reply.len() / 2] {
        assert_eq!(read(*warehouse, &request, reply, cut).map(|(_, read)| read), Some(whole.clone()), "cut at {cut}");
    }
}

/// Whether only a rule of policy can allow the request, and what is passed on of the reply and said about it.
fn read(warehouse: &dyn HttpWarehouse, request: &Whole<'_>, reply: &[u8], cut: usize) -> Option<(bool, (Vec<u8>, String))> {
    let mut asked = warehouse.ask(request, &Nobodys).ok()?;
    let needs_rule = match &asked.call {
        Call::Run(statement) | Call::Move { statement, .. } => {
            assert!(!statement.text.as_bytes().is_empty() || statement.effects.iter().len() > 0, "nothing is run unseen");
            false
        }
        Call::Follow(_) | Call::Service | Call::Answer(_) => false,
        Call::Other => true,
    };
    Some((needs_rule, passed(asked.reader.as_mut(), reply, cut)))
}

/// The same for the Thrift service of Spark and Databricks, in a session: an input is the length of a call in two bytes, the call,
/// and the reply. What is judged stands in the call, and the reply is passed on as it is.
pub(crate) fn thrift(name: &str, input: &[u8]) {
    let Some(Protocol::Http(warehouse)) = kind(name).map(|kind| &kind.protocol) else { panic!("no HTTP warehouse: {name}") };
    let Some((length, rest)) = input.split_first_chunk::<2>() else { return };
    let (call, reply) = rest.split_at_checked(u16::from_be_bytes(*length).into()).unwrap_or((rest, &[]));
    let headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static("application/x-thrift"))]);
    let head = Head { method: &Method::POST, path: "/cliservice", query: None, headers: &headers };
    let request = Whole { head, body: call, near: "http://near" };
    assert_eq!(warehouse.purpose(&head), Purpose::Whole);
    let read = |cut: usize| {
        let mut asked = warehouse.ask(&request, &Everybodys).ok()?;
        if let Call::Run(statement) | Call::Move { statement, .. } = &asked.call {
            let text = statement.text.as_bytes();
            let stands = text.is_empty() || call.windows(text.len()).any(|window| window == text);
            assert!(stands, "what is judged is not what is sent");
        }
        Some(passed(asked.reader.as_mut(), reply, cut))
    };
    let Some(whole) = read(reply.len()) else { return };
    assert!(whole.0.is_empty() || whole.0 == reply, "a reply was changed");
    for cut in [0, reply.len() / 3, reply.len() / 2] {
        assert_eq!(read(cut).as_ref(), Some(&whole), "cut at {cut}");
    }
}

fn passed(reader: &mut dyn Reader, reply: &[u8], cut: usize) -> (Vec<u8>, String) {
    let mut headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static("application/json"))]);
    let mut out = Vec::new();
    if reader.head(StatusCode::OK, &mut headers) == Reading::Read {
        let (first, second) = reply.split_at(cut);
        for piece in [first, second] {
            out.extend_from_slice(&reader.pass(Bytes::copy_from_slice(piece)));
        }
        out.extend_from_slice(&reader.finish());
    }
    (out, format!("{:?}", reader.progress()))
}

/// Every session is there, in one place.
struct Everybodys;

impl Sessions for Everybodys {
    fn find(&self, _: &str) -> Option<SessionState> {
        Some(SessionState { database: "main".to_owned(), schema: Some("raw".to_owned()), role: None })
    }
}

struct Nobodys;

impl Sessions for Nobodys {
    fn find(&self, _: &str) -> Option<SessionState> {
        None
    }
}
