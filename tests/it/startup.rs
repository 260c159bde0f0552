//! The first packets of a connection, well meant and not.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::support::proxy::{ALLOW_ALL, Proxy};
use crate::support::warehouse::warehouse;
use crate::support::wire::{GSSENC_REQUEST, Message, SSL_REQUEST, Wire, kinds, query, startup, startup_of_version, untyped};

/// A client that may log in.
const GOOD: &[(&str, &str)] = &[("user", "anybody"), ("database", "demo")];

/// The error that a connection gets for these bytes, before it is closed.
async fn refused(address: SocketAddr, bytes: &[u8]) -> Message {
    let mut wire = Wire::connect(address).await;
    wire.send(bytes).await;
    refusal(&mut wire).await
}

async fn refusal(wire: &mut Wire) -> Message {
    let messages = wire.until_closed().await;
    assert_eq!(kinds(&messages), "E");
    assert_eq!(messages[0].field(b'V'), "FATAL");
    messages[0].clone()
}

fn reason(error: &Message) -> String {
    let detail = error.field(b'D');
    detail.trim_start_matches("Reason ").split([',', '.']).next().unwrap().to_owned()
}

#[tokio::test]
async fn requests_for_encryption_are_answered_no_where_none_is_configured() {
    let proxy = Proxy::start(ALLOW_ALL).await;
    for requests in [vec![SSL_REQUEST], vec![GSSENC_REQUEST], vec![GSSENC_REQUEST, SSL_REQUEST], vec![SSL_REQUEST, GSSENC_REQUEST]] {
        let mut wire = Wire::connect(proxy.address).await;
        for request in requests {
            wire.send(request).await;
            assert_eq!(wire.byte().await, Some(b'N'));
        }
        wire.send(&startup(GOOD)).await;
        wire.until_ready().await;
        assert_eq!(kinds(&wire.ask(&query("select 1")).await), "TDC");
    }
    proxy.stop().await;
}

#[tokio::test]
async fn the_same_encryption_asked_for_twice_is_refused() {
    let proxy = Proxy::start(ALLOW_ALL).await;
    for request in [SSL_REQUEST, GSSENC_REQUEST] {
        let mut wire = Wire::connect(proxy.address).await;
        wire.send(request).await;
        assert_eq!(wire.byte().await, Some(b'N'));
        wire.send(request).await;
        assert_eq!(reason(&refusal(&mut wire).await), "protocol-violation");
    }
    let evidence = proxy.stop().await;
    assert_eq!(evidence.texts("session-refused", "reason"), ["protocol-violation"; 2]);
}

#[tokio::test]
async fn what_is_no_startup_packet_is_refused_at_its_first_eight_bytes() {
    let proxy = Proxy::start(ALLOW_ALL).await;
    let with_length = |length: u32| [&length.to_be_bytes()[..], b"\0\x03\0\0"].concat();
    let cases = [
        ("length 0", with_length(0), "startup-invalid"),
        ("length 7", with_length(7), "startup-invalid"),
        ("length 10001", with_length(10_001), "startup-invalid"),
        ("length 4 GiB", with_length(u32::MAX), "startup-invalid"),
        ("HTTP", b"GET / HTTP/1.1\r\nHost: warehouse\r\n\r\n".to_vec(), "startup-invalid"),
        ("TLS without asking", b"\x16\x03\x01\x02\0\x01\0\x01\xfc".to_vec(), "startup-invalid"),
        ("protocol 2.0", startup_of_version(2 << 16, GOOD), "protocol-version"),
        ("protocol 4.0", startup_of_version(4 << 16, GOOD), "protocol-version"),
        ("a short cancel request", untyped(b"\x04\xd2\x16\x2e\0\0\0\x01"), "startup-invalid"),
        ("an SSLRequest with more inside", untyped(b"\x04\xd2\x16\x2fmore"), "protocol-version"),
        ("no user", startup(&[("database", "demo")]), "startup-invalid"),
        ("an empty user", startup(&[("user", ""), ("database", "demo")]), "startup-invalid"),
        ("no end", untyped(b"\0\x03\0\0user\0anybody\0"), "startup-invalid"),
        ("more behind the end", untyped(b"\0\x03\0\0user\0anybody\0\0database\0demo\0\0"), "startup-invalid"),
        ("not UTF-8", untyped(b"\0\x03\0\0user\0\xff\0\0"), "startup-invalid"),
    ];
    for (case, bytes, expected) in &cases {
        assert_eq!(reason(&refused(proxy.address, bytes).await), *expected, "{case}");
    }
    proxy.client().await;
    let evidence = proxy.stop().await;
    assert_eq!(evidence.texts("session-refused", "reason"), cases.map(|(_, _, expected)| expected));
}

#[tokio::test]
async fn a_newer_minor_version_is_negotiated_down_and_unknown_options_are_named() {
    let proxy = Proxy::start(ALLOW_ALL).await;
    let mut wire = Wire::connect(proxy.address).await;
    let parameters = [("user", "anybody"), ("database", "demo"), ("_pq_.unknown", "on"), ("_pq_.other", "")];
    wire.send(&startup_of_version((3 << 16) + 2, &parameters)).await;
    let greeting = wire.until_ready().await;
    assert_eq!(greeting[0].kind, b'v');
    assert_eq!(greeting[0].body, b"\0\x03\0\0\0\0\0\x02_pq_.unknown\0_pq_.other\0");
    assert_eq!(kinds(&wire.ask(&query("select 1")).await), "TDC");
    proxy.stop().await;
}

#[tokio::test]
async fn startup_parameters_that_would_escape_policy_are_refused() {
    // Every statement passes that only touches tables: no role, no parameter is among the rules.
    let proxy = Proxy::start("sql: [{ tables: ['*.*.*'] }]").await;
    let cases = [
        (("replication", "true"), "statement-opaque"),
        (("replication", "database"), "statement-opaque"),
        (("options", "-r /etc/passwd"), "startup-parameter-refused"),
        (("options", "-c role=postgres"), "policy-denied"),
        (("options", "-crole=postgres"), "policy-denied"),
        (("options", "--role=postgres"), "policy-denied"),
        (("options", r"-c ro\le=postgres"), "policy-denied"),
        (("role", "postgres"), "policy-denied"),
        (("RoLe", "postgres"), "policy-denied"),
        (("session_authorization", "postgres"), "policy-denied"),
    ];
    for (parameter, expected) in cases {
        let error = refused(proxy.address, &startup(&[GOOD, &[parameter]].concat())).await;
        assert_eq!((reason(&error).as_str(), error.sqlstate().as_str()), (expected, "42501"), "{parameter:?}");
    }
    proxy.client().await;
    let evidence = proxy.stop().await;
    assert_eq!(evidence.texts("session-refused", "client_user"), ["anybody"; 10]);
    assert_eq!(evidence.of_kind("session-started").len(), 1);
}

#[tokio::test]
async fn a_client_that_says_nothing_is_dropped_after_the_handshake_timeout() {
    let proxy = Proxy::with(ALLOW_ALL, |config| config["limits"]["handshake_timeout"] = "200ms".into()).await;
    for begin in [&b""[..], b"\0\0", SSL_REQUEST] {
        let begun = Instant::now();
        let mut wire = Wire::connect(proxy.address).await;
        wire.send(begin).await;
        while wire.byte().await.is_some() {}
        assert!((Duration::from_millis(150)..Duration::from_secs(5)).contains(&begun.elapsed()), "{:?}", begun.elapsed());
    }
    let evidence = proxy.stop().await;
    assert_eq!(evidence.texts("session-refused", "reason"), ["handshake-timeout"; 3]);
}

#[tokio::test]
async fn an_unknown_database_is_the_servers_own_error_and_its_name_defaults_to_the_users() {
    let proxy = Proxy::start(ALLOW_ALL).await;
    for parameters in
        [&[("user", "anybody"), ("database", "nowhere")][..], &[("user", "nowhere")], &[("user", "nowhere"), ("database", "")]]
    {
        let error = refused(proxy.address, &startup(parameters)).await;
        assert_eq!(error.sqlstate(), "3D000");
        assert!(error.field(b'M').contains("\"nowhere\""), "{error:?}");
    }
    proxy.stop().await;
}

async fn with_tls(mode: &str) -> Proxy {
    let warehouse = warehouse();
    Proxy::with(ALLOW_ALL, |config| {
        config["listeners"][0]["tls"] = serde_json::json!({
            "mode": mode,
            "identity": { "certificate": warehouse.file("server/server.crt"), "key": warehouse.file("server/server.key") },
        });
    })
    .await
}

/// A connection whose request for TLS was granted.
async fn encrypted(address: SocketAddr) -> Wire {
    let mut wire = Wire::connect(address).await;
    wire.send(SSL_REQUEST).await;
    assert_eq!(wire.byte().await, Some(b'S'));
    wire.encrypt().await
}

#[tokio::test]
async fn a_client_library_works_behind_tls() {
    let proxy = with_tls("require").await;
    let stream = encrypted(proxy.address).await.into_stream();
    assert!(stream.is_encrypted());
    let mut config = proxy.client_config();
    config.ssl_mode(tokio_postgres::config::SslMode::Disable); // The stream is encrypted already.
    let (client, connection) = config.connect_raw(stream, tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    let row = client.query_one("select 'through TLS'", &[]).await.unwrap();
    assert_eq!(row.get::<_, &str>(0), "through TLS");
    proxy.stop().await;
}

#[tokio::test]
async fn a_client_without_tls_is_let_in_where_it_is_offered_and_refused_where_it_is_required() {
    let offering = with_tls("offer").await;
    offering.client().await;
    offering.stop().await;
    let requiring = with_tls("require").await;
    assert_eq!(reason(&refused(requiring.address, &startup(GOOD)).await), "tls-required");
    let evidence = requiring.stop().await;
    assert_eq!(evidence.texts("session-refused", "reason"), ["tls-required"]);
}

#[tokio::test]
async fn plain_bytes_behind_a_request_for_tls_are_never_taken_for_encrypted_ones() {
    let proxy = with_tls("offer").await;
    let mut wire = Wire::connect(proxy.address).await;
    wire.send(&[SSL_REQUEST, &startup(GOOD)].concat()).await;
    // Closed without a word: neither side knows which bytes are encrypted.
    assert_eq!(wire.byte().await, None);
    let evidence = proxy.stop().await;
    assert_eq!(evidence.texts("session-refused", "reason"), ["protocol-violation"]);
}

#[tokio::test]
async fn encryption_inside_of_encryption_is_refused() {
    let proxy = with_tls("offer").await;
    let mut wire = encrypted(proxy.address).await;
    wire.send(SSL_REQUEST).await;
    assert_eq!(reason(&refusal(&mut wire).await), "protocol-violation");
    proxy.stop().await;
}
