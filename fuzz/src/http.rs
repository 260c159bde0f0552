//! Requests to HTTP warehouses and the replies to them.
//!
//! An input is a request's method and target on a line, its body on the next, and behind that the body of a reply.

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
    let Some((method, target)) = std::str::from_utf8(line).ok().and_then(|line| line.split_once(' ')) else { return };
    let (Ok(method), Ok(target)) = (method.parse::<Method>(), target.parse::<hyper::Uri>()) else { return };
    let headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static("application/json"))]);
    let head = Head { method: &method, path: target.path(), query: target.query(), headers: &headers };
    let request = Whole { head, body, near: "http://near" };
    let Some((means, whole)) = read(*warehouse, &request, reply, reply.len()) else { return };
    assert_eq!(means, warehouse.purpose(&head) == Purpose::Other, "what needs a rule of policy is said by the head");
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

struct Nobodys;

impl Sessions for Nobodys {
    fn find(&self, _: &str) -> Option<SessionState> {
        None
    }
}
