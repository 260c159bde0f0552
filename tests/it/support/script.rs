//! An HTTP warehouse that answers as it is told to: what no real one does on demand.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::proxy::Proxy;
use super::within;

/// A server that answers each request by a function, closes each connection behind its answer, and remembers what it was sent.
pub(crate) struct Script {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<Request>>>,
}

/// A request as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Request {
    /// Its first line and headers.
    pub(crate) head: String,
    /// Its body.
    pub(crate) body: Vec<u8>,
}

impl Request {
    /// Its first line.
    pub(crate) fn line(&self) -> &str {
        self.head.lines().next().unwrap_or_default()
    }

    /// The whole of it, for looking into.
    pub(crate) fn text(&self) -> String {
        format!("{}\r\n\r\n{}", self.head, String::from_utf8_lossy(&self.body))
    }
}

impl Script {
    /// Starts a server; `answer` gives the bytes of each reply.
    pub(crate) async fn start(answer: impl Fn(&Request) -> Vec<u8> + Send + Sync + 'static) -> Self {
        let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, seen) = (socket.local_addr().unwrap(), Arc::new(Mutex::new(Vec::new())));
        let (answer, log) = (Arc::new(answer), Arc::clone(&seen));
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = socket.accept().await {
                let (answer, log) = (Arc::clone(&answer), Arc::clone(&log));
                tokio::spawn(async move {
                    let Some(request) = read_request(&mut stream).await else { return };
                    log.lock().unwrap().push(request.clone());
                    let _gone = stream.write_all(&answer(&request)).await;
                });
            }
        });
        Self { address, seen }
    }

    /// What came so far.
    pub(crate) fn seen(&self) -> Vec<Request> {
        self.seen.lock().unwrap().clone()
    }

    /// A sidecar in front of it, for a warehouse of that kind, with the workload's own token as the credential.
    pub(crate) async fn sidecar(&self, kind: &str, policy: &str, change: impl FnOnce(&mut Value)) -> Proxy {
        let port = self.address.port();
        Proxy::with(policy, |config| {
            config["targets"][0]["kind"] = json!(kind);
            config["targets"][0]["port"] = json!(port);
            config["targets"][0]["tls"] = json!({ "mode": "disable" });
            config["targets"][0]["credential"] = json!([{ "kind": "token_as_password" }]);
            change(config);
        })
        .await
    }
}

/// One request, head and body as they came; a body without a length is taken to the end of its last chunk.
async fn read_request(stream: &mut TcpStream) -> Option<Request> {
    let mut read = Vec::new();
    loop {
        if let Some(end) = read.windows(4).position(|window| window == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&read[..end]).into_owned();
            let body = &read[end + 4..];
            let lower = head.to_ascii_lowercase();
            let length = lower.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok());
            let is_whole =
                if lower.contains("transfer-encoding: chunked") { body.ends_with(b"0\r\n\r\n") } else { body.len() >= length.unwrap_or(0) };
            if is_whole {
                return Some(Request { head, body: body.to_vec() });
            }
        }
        if stream.read_buf(&mut read).await.ok()? == 0 {
            return None;
        }
    }
}

/// A reply in JSON, with a cookie that is none of the client's business.
pub(crate) fn reply(body: &str) -> Vec<u8> {
    reply_with("200 OK", "Content-Type: application/json\r\nSet-Cookie: secret=1\r\n", body.as_bytes())
}

/// A reply with a status, further headers and a body.
pub(crate) fn reply_with(status: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let mut reply = format!("HTTP/1.1 {status}\r\n{headers}Content-Length: {}\r\nConnection: close\r\n\r\n", body.len()).into_bytes();
    reply.extend_from_slice(body);
    reply
}

/// What a client gets for raw bytes.
pub(crate) async fn ask(proxy: &Proxy, request: &[u8]) -> Vec<u8> {
    let mut stream = within(TcpStream::connect(proxy.address)).await.unwrap();
    within(stream.write_all(request)).await.unwrap();
    let mut answer = Vec::new();
    let _cut_off = within(stream.read_to_end(&mut answer)).await;
    answer
}

/// The same, where both are text.
pub(crate) async fn ask_text(proxy: &Proxy, request: &str) -> String {
    String::from_utf8(ask(proxy, request.as_bytes()).await).unwrap()
}

/// A request with a body, on a connection of its own.
pub(crate) fn request(proxy: &Proxy, line: &str, headers: &str, body: &str) -> String {
    let (host, length) = (proxy.address, body.len());
    format!("{line} HTTP/1.1\r\nHost: {host}\r\n{headers}Connection: close\r\nContent-Length: {length}\r\n\r\n{body}")
}
