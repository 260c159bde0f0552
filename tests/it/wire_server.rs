//! What warehouses may ask of the proxy at login: a real PostgreSQL where it can, else a server that speaks from a script.

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tollhouse::tls::stream::Stream;
use tollhouse::tls::{Acceptor, ServerSettings, Trust};

use crate::support::proxy::{ALLOW_ALL, Proxy};
use crate::support::warehouse::warehouse;
use crate::support::wire::{Wire, kinds, message, startup_of_version, untyped};
use crate::support::within;

const PASSWORD: &str = "correct horse battery staple";

/// A proxy that has a password for its target.
async fn with_password(change: impl FnOnce(&mut Value)) -> (Proxy, TempDir) {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("password");
    std::fs::write(&file, PASSWORD).unwrap();
    let proxy = Proxy::with(ALLOW_ALL, |config| {
        let target = &mut config["targets"][0];
        target["credential"] = json!([{ "kind": "password_file", "file": file }]);
        change(target);
    });
    (proxy.await, directory)
}

#[tokio::test]
async fn a_login_is_bound_to_the_certificate_of_a_real_postgresql() {
    warehouse().admit_by_password("login_bound", "scram-sha-256", "scram-sha-256", PASSWORD).await;
    for methods in [&["scram-sha-256-plus"][..], &["scram-sha-256"], &["none", "scram-sha-256", "scram-sha-256-plus"]] {
        let (proxy, _directory) = with_password(|target| {
            target["role"] = "login_bound".into();
            target["authentication_methods"] = json!(methods);
        })
        .await;
        within(proxy.client().await.simple_query("select 1")).await.unwrap();
        proxy.stop().await;
    }
}

#[tokio::test]
async fn a_method_that_is_not_allowed_gets_no_answer() {
    for (method, encryption) in [("password", "scram-sha-256"), ("md5", "md5"), ("scram-sha-256", "scram-sha-256")] {
        let role = format!("login_disallowed_{}", method.replace('-', "_"));
        warehouse().admit_by_password(&role, method, encryption, PASSWORD).await;
        let (proxy, _directory) = with_password(|target| {
            target["role"] = role.into();
            target["authentication_methods"] = json!(["none", "oauthbearer"]);
        })
        .await;
        let error = proxy.refused().await;
        let about = format!("the server asks for `{method}`, which targets[].authentication_methods does not name");
        assert!(error.message().contains(&about), "{}", error.message());
        proxy.stop().await;
    }
}

#[tokio::test]
async fn a_warehouse_that_asks_for_nothing_is_refused_where_a_proof_is_demanded() {
    // The stand-in certificate authority's credential: PostgreSQL asks for no more than the certificate.
    let proxy = Proxy::with(ALLOW_ALL, |config| config["targets"][0]["authentication_methods"] = json!(["scram-sha-256-plus"])).await;
    assert!(proxy.refused().await.message().contains("the server asks for `none`"));
    proxy.stop().await;
}

/// A server that lets a test play its part. Plain, on loopback.
struct Script {
    listener: TcpListener,
}

/// A connection to it.
struct Part(Stream);

impl Script {
    async fn new() -> (Self, u16) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        (Self { listener }, port)
    }

    async fn accept(&self) -> Part {
        Part(Stream::Plain(self.listener.accept().await.unwrap().0))
    }

    /// Accepts, and does TLS with the warehouse's certificate.
    async fn accept_tls(&self) -> Part {
        let mut socket = self.listener.accept().await.unwrap().0;
        let mut request = [0; 8];
        socket.read_exact(&mut request).await.unwrap();
        socket.write_all(b"S").await.unwrap();
        let files = ["server/server.crt", "server/server.key"].map(|name| warehouse().file(name));
        let [certificate, key] = files;
        let acceptor = Acceptor::new(&ServerSettings { certificate, key }, Trust::Development).unwrap();
        Part(acceptor.accept(socket).await.unwrap())
    }
}

impl Part {
    /// A packet without a type byte.
    async fn packet(&mut self) -> Vec<u8> {
        let length = self.0.read_u32().await.unwrap();
        let mut body = vec![0; usize::try_from(length).unwrap() - 4];
        self.0.read_exact(&mut body).await.unwrap();
        body
    }

    async fn message(&mut self) -> (u8, Vec<u8>) {
        let kind = self.0.read_u8().await.unwrap();
        (kind, self.packet().await)
    }

    /// Sends an authentication request: its code and what follows.
    async fn ask(&mut self, code: u32, rest: &[u8]) {
        self.say(b'R', &[&code.to_be_bytes(), rest].concat()).await;
    }

    async fn say(&mut self, kind: u8, body: &[u8]) {
        self.0.write_all(&message(kind, body)).await.unwrap();
        self.0.flush().await.unwrap();
    }
}

fn plain(target: &mut Value, port: u16) {
    target["host"] = "localhost".into();
    target["port"] = port.into();
    target["tls"] = json!({ "mode": "disable" });
}

#[tokio::test]
async fn a_server_whose_offer_of_channel_binding_was_hidden_is_told_so() {
    let (script, port) = Script::new().await;
    let first: JoinHandle<Vec<u8>> = tokio::spawn(async move {
        let mut part = script.accept_tls().await;
        part.packet().await;
        part.ask(10, b"SCRAM-SHA-256\0\0").await;
        part.message().await.1
    });
    let (proxy, _directory) = with_password(|target| target["port"] = port.into()).await;
    proxy.refused().await;
    let first = first.await.unwrap();
    assert!(first.starts_with(b"SCRAM-SHA-256\0\0\0\0"), "{first:?}");
    assert!(first[18..].starts_with(b"y,,n=,r="), "{first:?}");
    proxy.stop().await;
}

#[tokio::test]
async fn a_server_that_asks_twice_gets_one_answer() {
    let (script, port) = Script::new().await;
    let asked = tokio::spawn(async move {
        let mut part = script.accept().await;
        part.packet().await;
        part.ask(5, b"salt").await;
        assert_eq!(part.message().await.0, b'p');
        part.ask(3, b"").await;
        let mut more = Vec::new();
        part.0.read_to_end(&mut more).await.unwrap_or_default();
        more
    });
    let (proxy, _directory) = with_password(|target| plain(target, port)).await;
    assert!(proxy.refused().await.detail().unwrap().contains("Reason target-protocol"));
    assert_eq!(asked.await.unwrap(), b"");
    proxy.stop().await;
}

/// A proxy whose credential for a scripted server is a token.
async fn with_token(port: u16, change: impl FnOnce(&mut Value)) -> Proxy {
    Proxy::with(ALLOW_ALL, |config| {
        let target = &mut config["targets"][0];
        plain(target, port);
        target["credential"][1] = json!({ "kind": "token_as_password" });
        change(target);
    })
    .await
}

/// A token is three pieces of Base64.
fn is_token(text: &[u8]) -> bool {
    text.starts_with(b"eyJ") && text.iter().filter(|byte| **byte == b'.').count() == 2
}

#[tokio::test]
async fn a_token_is_shown_as_a_bearer_token_where_the_server_takes_one_and_its_refusal_is_told() {
    let (script, port) = Script::new().await;
    let shown = tokio::spawn(async move {
        let mut shown = Vec::new();
        // What is refused is exchanged anew and shown again, once.
        for _ in 0..2 {
            let mut part = script.accept().await;
            part.packet().await;
            part.ask(10, b"OAUTHBEARER\0\0").await;
            shown = part.message().await.1;
            part.ask(11, br#"{ "status": "invalid_token", "scope": "wh" }"#).await;
            assert_eq!(part.message().await, (b'p', b"\x01".to_vec()));
        }
        shown
    });
    let proxy = with_token(port, |_| {}).await;
    let error = proxy.refused().await;
    assert!(error.message().contains("the server refused the bearer token: invalid_token"), "{}", error.message());
    let shown = shown.await.unwrap();
    let response = shown.strip_prefix(b"OAUTHBEARER\0").unwrap();
    assert_eq!(u32::from_be_bytes(response[..4].try_into().unwrap()) as usize, response.len() - 4);
    let token = response[4..].strip_prefix(b"n,,\x01auth=Bearer ").and_then(|rest| rest.strip_suffix(b"\x01\x01"));
    assert!(is_token(token.unwrap()), "{shown:?}");
    proxy.stop().await;
}

#[tokio::test]
async fn redshift_gets_the_clients_word_about_itself_ours_about_the_login_and_the_token_by_its_own_code() {
    let (script, port) = Script::new().await;
    let served = tokio::spawn(async move {
        let mut part = script.accept().await;
        let hello = part.packet().await;
        part.ask(14, b"").await;
        let (kind, token) = part.message().await;
        part.ask(0, b"").await;
        part.say(b'Z', b"I").await;
        (hello, kind, token, part)
    });
    let proxy = with_token(port, |target| {
        target["kind"] = "redshift".into();
        target["login_parameters"] = json!({ "token_type": "EXT_JWT" });
    })
    .await;
    let mut client = Wire::connect(proxy.address).await;
    let theirs = [("token_type", "ACCESS_TOKEN"), ("idp_type", "AzureAD"), ("provider_name", "somebody-elses")];
    let parameters = [&[("user", "anybody"), ("database", "dev"), ("client_protocol_version", "2")][..], &theirs].concat();
    client.send(&startup_of_version(3 << 16, &parameters)).await;
    client.until_ready().await;
    let (hello, kind, token, _part) = served.await.unwrap();
    let hello = String::from_utf8(hello).unwrap();
    assert!(hello.ends_with("\0database\0dev\0token_type\0EXT_JWT\0client_protocol_version\x002\0\0"), "{hello:?}");
    assert!(kind == b'i' && is_token(&token));
    proxy.stop().await;
}

#[tokio::test]
async fn redshifts_parameters_do_not_reach_a_postgresql_which_would_refuse_them() {
    let proxy = Proxy::start(ALLOW_ALL).await;
    let mut client = Wire::connect(proxy.address).await;
    let parameters = [("user", "anybody"), ("database", "demo"), ("client_protocol_version", "2"), ("driver_version", "2.1")];
    client.send(&startup_of_version(3 << 16, &parameters)).await;
    client.until_ready().await;
    proxy.stop().await;
}

/// BackendKeyData of a server of protocol 3.2: a secret as long as it may be.
fn long_key() -> Vec<u8> {
    [&7_i32.to_be_bytes()[..], &(0..=255).collect::<Vec<u8>>()].concat()
}

#[tokio::test]
async fn a_long_cancel_key_passes_in_both_directions() {
    let (script, port) = Script::new().await;
    let served = tokio::spawn(async move {
        let mut session = script.accept().await;
        let hello = session.packet().await;
        session.ask(0, b"").await;
        session.say(b'K', &long_key()).await;
        session.say(b'Z', b"I").await;
        (hello, script.accept().await.packet().await, session)
    });
    let (proxy, _directory) = with_password(|target| plain(target, port)).await;
    let mut client = Wire::connect(proxy.address).await;
    let parameters = [("user", "anybody"), ("database", "demo")];
    client.send(&startup_of_version((3 << 16) + 2, &parameters)).await;
    let greeting = client.until_ready().await;
    assert_eq!(kinds(&greeting), "RK", "nothing is negotiated where both sides speak 3.2");
    assert_eq!(greeting[1].body, long_key());
    let cancel = [&80_877_102_u32.to_be_bytes()[..], &long_key()].concat();
    Wire::connect(proxy.address).await.send(&untyped(&cancel)).await;
    let (hello, cancelled, _session) = within(served).await.unwrap();
    assert!(hello.starts_with(b"\0\x03\0\x02"), "{hello:?}");
    assert_eq!(cancelled, cancel);
    proxy.stop().await;
}

#[tokio::test]
async fn a_server_without_a_cancel_key_is_served_all_the_same() {
    let (script, port) = Script::new().await;
    let served = tokio::spawn(async move {
        let mut session = script.accept().await;
        session.packet().await;
        session.ask(0, b"").await;
        session.say(b'Z', b"I").await;
        session
    });
    let (proxy, _directory) = with_password(|target| plain(target, port)).await;
    let mut client = Wire::connect(proxy.address).await;
    client.send(&startup_of_version(3 << 16, &[("user", "anybody"), ("database", "demo")])).await;
    assert_eq!(kinds(&client.until_ready().await), "R");
    drop(served.await.unwrap());
    proxy.stop().await;
}
