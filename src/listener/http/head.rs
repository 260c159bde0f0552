//! The head of a request: what is refused for its form, what is not passed on, and its body where that must be seen.

use std::net::IpAddr;

use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::Request;
use hyper::body::Body;
use hyper::header::{
    ACCEPT_ENCODING, CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, COOKIE, EXPECT, HOST, HeaderMap, HeaderName, HeaderValue,
    PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, SET_COOKIE, TE, TRAILER, TRANSFER_ENCODING, UPGRADE, WWW_AUTHENTICATE,
};

use crate::fault::{Fault, Reason};

/// What belongs to one connection and not to the message (RFC 9110, section 7.6.1), and the lengths, which are made anew.
const HOP_BY_HOP: &[HeaderName] =
    &[CONNECTION, CONTENT_LENGTH, TE, TRAILER, TRANSFER_ENCODING, UPGRADE, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION];

/// Refuses a request that is not for this door: in absolute form, or for another host. A page in a browser on the same machine
/// can reach loopback under a name of its own (DNS rebinding), and its requests carry that name.
///
/// # Errors
/// `RequestMalformed`.
pub(super) fn check<B>(request: &Request<B>, target: &str) -> Result<(), Fault> {
    let malformed = |what: &str| Err(Fault::new(Reason::RequestMalformed).about(what));
    if request.uri().authority().is_some() || !request.uri().path().starts_with('/') {
        return malformed("the request's target must be a path");
    }
    let mut hosts = request.headers().get_all(HOST).iter();
    let (Some(host), None) = (hosts.next(), hosts.next()) else { return malformed("exactly one Host header is needed") };
    let Ok(host) = host.to_str() else { return malformed("the Host header is not ASCII") };
    let name = name_of(host);
    let is_here = name.parse::<IpAddr>().is_ok() || name.eq_ignore_ascii_case("localhost") || name.eq_ignore_ascii_case(target);
    if is_here { Ok(()) } else { malformed("the Host header names neither this machine nor the warehouse") }
}

/// A host without its port and brackets.
fn name_of(host: &str) -> &str {
    if let Some(rest) = host.strip_prefix('[') {
        return rest.split(']').next().unwrap_or_default();
    }
    host.rsplit_once(':').map_or(host, |(name, _)| name)
}

/// Where the client reached us, for addresses that are to lead back here.
pub(super) fn base<B>(request: &Request<B>, is_encrypted: bool) -> String {
    let host = request.headers().get(HOST).and_then(|host| host.to_str().ok()).unwrap_or("localhost");
    format!("{}://{host}", if is_encrypted { "https" } else { "http" })
}

/// Takes out of a request's head what is not for the warehouse. Replies are asked for as they are, since they are read.
pub(super) fn strip(headers: &mut HeaderMap) {
    strip_hop_by_hop(headers);
    for name in [HOST, EXPECT, COOKIE] {
        headers.remove(name);
    }
    let forwarded: Vec<HeaderName> =
        headers.keys().filter(|name| name.as_str() == "forwarded" || name.as_str().starts_with("x-forwarded-")).cloned().collect();
    for name in forwarded {
        headers.remove(name);
    }
    headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
}

/// Takes out of a reply's head what is not for the client: no cookie or challenge of the warehouse leaves the sidecar.
pub(super) fn strip_reply(headers: &mut HeaderMap) {
    strip_hop_by_hop(headers);
    for name in [SET_COOKIE, WWW_AUTHENTICATE] {
        headers.remove(name);
    }
}

fn strip_hop_by_hop(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|list| list.split(','))
        .filter_map(|name| HeaderName::try_from(name.trim()).ok())
        .collect();
    for name in named.iter().chain(HOP_BY_HOP).chain(&[HeaderName::from_static("keep-alive"), HeaderName::from_static("proxy-connection")])
    {
        headers.remove(name);
    }
}

/// The header fields as policy looks at them; a value that is not text matches nothing.
pub(super) fn fields(headers: &HeaderMap) -> Vec<(&str, &str)> {
    headers.iter().filter_map(|(name, value)| Some((name.as_str(), value.to_str().ok()?))).collect()
}

/// The whole body of a request.
///
/// # Errors
/// `MessageTooLarge` over `limit` bytes; `RequestMalformed` where it is encoded or ends early.
pub(super) async fn whole<B>(headers: &HeaderMap, body: B, limit: usize) -> Result<Bytes, Fault>
where
    B: Body<Data = Bytes> + Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    if headers.get(CONTENT_ENCODING).is_some_and(|encoding| encoding != "identity") {
        return Err(Fault::new(Reason::RequestMalformed).about("the body of a statement must not be compressed here"));
    }
    match Limited::new(body, limit).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(Fault::new(Reason::MessageTooLarge).about("limits.statement_size")),
        Err(error) => Err(Fault::new(Reason::RequestMalformed).about("the body ended early").because(error)),
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http_body_util::Full;
    use hyper::Request;
    use hyper::header::{HeaderMap, HeaderName, HeaderValue};

    use super::{base, check, strip, strip_reply, whole};
    use crate::fault::Reason;

    fn request(target: &str, hosts: &[&str]) -> Request<()> {
        let mut request = Request::builder().uri(target).body(()).unwrap();
        for host in hosts {
            request.headers_mut().append("host", HeaderValue::from_str(host).unwrap());
        }
        request
    }

    #[test]
    fn only_requests_for_this_machine_or_the_warehouse_by_its_name_are_taken() {
        for (target, hosts, is_taken) in [
            ("/v1/statement", &["127.0.0.1:8080"][..], true),
            ("/v1/statement", &["[::1]:8080"], true),
            ("/v1/statement", &["LOCALHOST"], true),
            ("/v1/statement", &["trino.example.com:443"], true),
            ("/v1/statement", &["attacker.example"], false),
            ("/v1/statement", &[], false),
            ("/v1/statement", &["localhost", "trino.example.com"], false),
            ("http://trino.example.com/v1/statement", &["trino.example.com"], false),
            ("*", &["localhost"], false),
        ] {
            assert_eq!(check(&request(target, hosts), "trino.example.com").is_ok(), is_taken, "{target} {hosts:?}");
        }
        assert_eq!(base(&request("/", &["127.0.0.1:1"]), false), "http://127.0.0.1:1");
        assert_eq!(base(&request("/", &["localhost:1"]), true), "https://localhost:1");
    }

    #[test]
    fn what_belongs_to_a_connection_stays_with_it() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("connection", "close, X-Secret-Hop"),
            ("x-secret-hop", "1"),
            ("transfer-encoding", "chunked"),
            ("content-length", "5"),
            ("expect", "100-continue"),
            ("host", "localhost"),
            ("cookie", "a=b"),
            ("x-forwarded-for", "1.2.3.4"),
            ("forwarded", "for=1.2.3.4"),
            ("accept-encoding", "gzip"),
            ("x-trino-catalog", "memory"),
        ] {
            headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        let mut reply = headers.clone();
        strip(&mut headers);
        let mut names: Vec<_> = headers.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect();
        names.sort_unstable();
        assert_eq!(names, [("accept-encoding", "identity"), ("x-trino-catalog", "memory")]);
        reply.insert("set-cookie", HeaderValue::from_static("session=secret"));
        reply.insert("www-authenticate", HeaderValue::from_static("Bearer"));
        strip_reply(&mut reply);
        assert!(["set-cookie", "www-authenticate", "x-secret-hop", "content-length"].iter().all(|name| !reply.contains_key(*name)));
        assert!(reply.contains_key("x-trino-catalog"));
    }

    #[tokio::test]
    async fn a_body_over_the_limit_or_an_encoded_one_is_refused() {
        let body = || Full::new(Bytes::from_static(b"select 1"));
        assert_eq!(whole(&HeaderMap::new(), body(), 8).await.unwrap(), "select 1");
        assert_eq!(whole(&HeaderMap::new(), body(), 7).await.unwrap_err().reason, Reason::MessageTooLarge);
        let mut headers = HeaderMap::new();
        headers.insert("content-encoding", HeaderValue::from_static("gzip"));
        assert_eq!(whole(&headers, body(), 8).await.unwrap_err().reason, Reason::RequestMalformed);
    }
}
