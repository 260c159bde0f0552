//! The head of a request: what is refused for its form, what is not passed on, and its body where that must be seen.

use std::io::Read;
use std::net::IpAddr;

use bytes::Bytes;
use flate2::bufread::{GzDecoder, ZlibDecoder};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::Version;
use hyper::body::Body;
use hyper::header::{
    ACCEPT_ENCODING, CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, COOKIE, EXPECT, HOST, HeaderMap, HeaderName, HeaderValue,
    PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, SET_COOKIE, TE, TRAILER, TRANSFER_ENCODING, UPGRADE, WWW_AUTHENTICATE,
};
use hyper::http::request::Parts;
use hyper::http::uri::Authority;

use crate::fault::{Fault, Reason};
use crate::warehouse::http::Head;

/// What belongs to one connection and not to the message (RFC 9110, section 7.6.1), and the lengths, which are made anew.
const HOP_BY_HOP: &[HeaderName] =
    &[CONNECTION, CONTENT_LENGTH, TE, TRAILER, TRANSFER_ENCODING, UPGRADE, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION];

/// Refuses a request that is not for this door: in absolute form, or for another host. A page in a browser on the same machine
/// can reach loopback under a name of its own (DNS rebinding), and its requests carry that name.
///
/// # Errors
/// `RequestMalformed`.
pub(super) fn check(request: &Parts, target: &str) -> Result<(), Fault> {
    let malformed = |what: &str| Err(Fault::new(Reason::RequestMalformed).about(what));
    if !request.uri.path().starts_with('/') {
        return malformed("the request's target must be a path");
    }
    let mut hosts = request.headers.get_all(HOST).iter();
    let (host, further) = (hosts.next().map(HeaderValue::to_str), hosts.next());
    let host = match (request.version, request.uri.authority(), host, further) {
        // `:authority` takes the place of Host (RFC 9113, section 8.3.1).
        (Version::HTTP_2, Some(authority), None, None) => authority.as_str(),
        (Version::HTTP_2, Some(authority), Some(Ok(host)), None) if authority.as_str() == host => host,
        (_, None, Some(Ok(host)), None) => host,
        (_, None, _, _) => return malformed("exactly one Host header is needed, in ASCII"),
        (_, Some(_), _, _) => return malformed("the request's target must be a path"),
    };
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

/// The head as the warehouse looks at it.
pub(super) fn of(request: &Parts) -> Head<'_> {
    Head { method: &request.method, path: request.uri.path(), query: request.uri.query(), headers: &request.headers }
}

/// Where the client reached us, for addresses that are to lead back here.
pub(super) fn base(request: &Parts, is_encrypted: bool) -> String {
    let host = request.headers.get(HOST).and_then(|host| host.to_str().ok());
    let host = host.or(request.uri.authority().map(Authority::as_str)).unwrap_or("localhost");
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

/// The whole body of a request, uncompressed.
///
/// # Errors
/// `MessageTooLarge` over `limit` bytes, compressed or not; `RequestMalformed` where it ends early, or is compressed in a way that is
/// not known here or not in order.
pub(super) async fn whole<B>(headers: &HeaderMap, body: B, limit: usize) -> Result<Bytes, Fault>
where
    B: Body<Data = Bytes> + Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let body = match Limited::new(body, limit).collect().await {
        Ok(collected) => collected.to_bytes(),
        Err(error) if error.is::<LengthLimitError>() => return Err(Fault::new(Reason::MessageTooLarge).about("limits.statement_size")),
        Err(error) => return Err(Fault::new(Reason::RequestMalformed).about("the body ended early").because(error)),
    };
    let mut encodings = headers.get_all(CONTENT_ENCODING).iter();
    match (encodings.next().map(HeaderValue::as_bytes), encodings.next()) {
        (None | Some(b"identity"), None) => Ok(body),
        (Some(b"gzip" | b"x-gzip"), None) => inflated(GzDecoder::new(&*body), limit).await,
        // RFC 9110, section 8.4.1.2: the zlib format, whatever the name says.
        (Some(b"deflate"), None) => inflated(ZlibDecoder::new(&*body), limit).await,
        _ => Err(Fault::new(Reason::RequestMalformed).about("the body of a statement may be compressed with gzip or deflate alone")),
    }
}

/// Bytes that are decompressed before other tasks have their turn.
const INFLATED_AT_ONCE: u64 = 256 * 1024;

/// What a decoder gives, of which nothing may be left over: what the warehouse would read behind it has not been judged.
async fn inflated<'a, D: Read + IntoCompressed<'a>>(mut decoder: D, limit: usize) -> Result<Bytes, Fault> {
    let mut plain = Vec::new();
    loop {
        let read = (&mut decoder).take(INFLATED_AT_ONCE).read_to_end(&mut plain);
        let read = read.map_err(|error| Fault::new(Reason::RequestMalformed).about("the compressed body").because(error))?;
        if plain.len() > limit {
            return Err(Fault::new(Reason::MessageTooLarge).about("limits.statement_size"));
        }
        if read == 0 {
            break;
        }
        tokio::task::yield_now().await;
    }
    if decoder.into_compressed().is_empty() {
        return Ok(Bytes::from(plain));
    }
    Err(Fault::new(Reason::RequestMalformed).about("bytes behind the end of the compressed body"))
}

/// A decoder that gives back what it has not taken.
trait IntoCompressed<'a> {
    fn into_compressed(self) -> &'a [u8];
}

impl<'a> IntoCompressed<'a> for GzDecoder<&'a [u8]> {
    fn into_compressed(self) -> &'a [u8] {
        self.into_inner()
    }
}

impl<'a> IntoCompressed<'a> for ZlibDecoder<&'a [u8]> {
    fn into_compressed(self) -> &'a [u8] {
        self.into_inner()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use bytes::Bytes;
    use http_body_util::Full;
    use hyper::Version;
    use hyper::header::{HeaderMap, HeaderName, HeaderValue};
    use hyper::http::request::Parts;

    use super::{base, check, strip, strip_reply, whole};
    use crate::fault::Reason;

    fn request(target: &str, hosts: &[&str]) -> Parts {
        let mut request = hyper::Request::builder().uri(target).body(()).unwrap();
        for host in hosts {
            request.headers_mut().append("host", HeaderValue::from_str(host).unwrap());
        }
        request.into_parts().0
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
        for (authority, hosts, is_taken) in [
            ("http://localhost:1/v1/statement", &[][..], true),
            ("http://localhost:1/v1/statement", &["localhost:1"], true),
            ("http://localhost:1/v1/statement", &["other"], false),
            ("http://attacker.example/v1/statement", &[], false),
            ("/v1/statement", &["localhost"], true),
        ] {
            let mut parts = request(authority, hosts);
            parts.version = Version::HTTP_2;
            assert_eq!(check(&parts, "trino.example.com").is_ok(), is_taken, "{authority} {hosts:?}");
        }
        assert_eq!(base(&request("http://localhost:1/", &[]), false), "http://localhost:1");
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
    async fn a_body_over_the_limit_is_refused() {
        let body = || Full::new(Bytes::from_static(b"select 1"));
        assert_eq!(whole(&HeaderMap::new(), body(), 8).await.unwrap(), "select 1");
        assert_eq!(whole(&HeaderMap::new(), body(), 7).await.unwrap_err().reason, Reason::MessageTooLarge);
    }

    fn encoded(encoding: &'static str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert("content-encoding", HeaderValue::from_static(encoding));
        headers
    }

    #[tokio::test]
    async fn a_compressed_body_is_taken_as_what_is_in_it_and_nothing_may_stand_behind_it() {
        let gzip = |text: &[u8]| {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            encoder.write_all(text).unwrap();
            encoder.finish().unwrap()
        };
        let taken = async |encoding, bytes: Vec<u8>, limit| {
            whole(&encoded(encoding), Full::new(Bytes::from(bytes)), limit).await.map_err(|fault| fault.reason)
        };
        assert_eq!(taken("gzip", gzip(b"select 1"), 100).await.unwrap(), "select 1");
        let mut zlib = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
        zlib.write_all(b"select 1").unwrap();
        assert_eq!(taken("deflate", zlib.finish().unwrap(), 100).await.unwrap(), "select 1");
        let two = [gzip(b"select 1"), gzip(b"; drop table t")].concat();
        assert_eq!(taken("gzip", two, 1000).await, Err(Reason::RequestMalformed));
        let mut cut = gzip(b"select 1");
        cut.truncate(cut.len() - 4);
        assert_eq!(taken("gzip", cut, 1000).await, Err(Reason::RequestMalformed));
        assert_eq!(taken("gzip", b"select 1".to_vec(), 1000).await, Err(Reason::RequestMalformed));
        let bomb = gzip(&vec![b' '; 5_000_000]);
        assert!(bomb.len() < 50_000);
        assert_eq!(taken("gzip", bomb, 100_000).await, Err(Reason::MessageTooLarge));
        for encoding in ["br", "gzip, gzip", "zstd", ""] {
            assert_eq!(taken(encoding, b"select 1".to_vec(), 100).await, Err(Reason::RequestMalformed), "{encoding}");
        }
    }
}
