//! The ways in which real clients come: with and without TLS, by certificate, by SCRAM bound to it, by a Unix-domain socket.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tollhouse::tls::{Client, ClientSettings, Trust};

use crate::support::proxy::{ALLOW_ALL, Proxy};
use crate::support::psql::{file, psql};
use crate::support::warehouse::warehouse;
use crate::support::wire::{SSL_REQUEST, startup};
use crate::support::within;

const QUERY: &str = "select 'through the proxy'";
const ANSWER: &str = "through the proxy";

fn tls(mode: &str) -> Value {
    let warehouse = warehouse();
    json!({
        "mode": mode,
        "identity": { "certificate": warehouse.file("server/server.crt"), "key": warehouse.file("server/server.key") },
    })
}

/// A proxy with a changed listener.
async fn with_listener(change: impl FnOnce(&mut Value)) -> Proxy {
    Proxy::with(ALLOW_ALL, |config| change(&mut config["listeners"][0])).await
}

fn at(proxy: &Proxy) -> String {
    format!("host=localhost hostaddr=127.0.0.1 port={} {}", proxy.address.port(), file("sslrootcert", &warehouse().file("ca.crt")))
}

/// What psql says, in a word: the answer came, or why not.
fn in_a_word(said: Result<String, String>) -> &'static str {
    match said {
        Ok(answer) if answer == ANSWER => "works",
        Err(error) if error.contains("Reason tls-required") => "refused by us",
        Err(error) if error.contains("server does not support SSL, but SSL was required") => "refused by psql",
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn every_sslmode_meets_every_listener_as_it_would_meet_postgresql() {
    let modes = ["disable", "allow", "prefer", "require", "verify-ca", "verify-full"];
    let rows = [
        (None, ["works", "works", "works", "refused by psql", "refused by psql", "refused by psql"]),
        (Some("offer"), ["works"; 6]),
        (Some("require"), ["refused by us", "works", "works", "works", "works", "works"]),
    ];
    for (listener, expected) in rows {
        let proxy = with_listener(|settings| {
            if let Some(mode) = listener {
                settings["tls"] = tls(mode);
            }
        })
        .await;
        for (mode, expected) in modes.iter().zip(expected) {
            let said = psql(format!("{} sslmode={mode}", at(&proxy)), QUERY).await;
            assert_eq!(in_a_word(said), expected, "sslmode={mode} against tls {listener:?}");
        }
        proxy.stop().await;
    }
}

#[tokio::test]
async fn a_login_by_scram_is_bound_to_our_certificate_where_the_client_demands_it() {
    let secret = warehouse().file("scram-secret");
    let password = std::fs::read_to_string(&secret).unwrap();
    let proxy = with_listener(|settings| {
        settings["tls"] = tls("offer");
        settings["authentication"] = json!({ "mode": "scram", "secret_file": secret });
    })
    .await;
    let as_client = |settings: &str| psql(format!("{} password={} {settings}", at(&proxy), password.trim()), QUERY);
    for binding in ["require", "prefer", "disable"] {
        assert_eq!(as_client(&format!("sslmode=verify-full channel_binding={binding}")).await.as_deref(), Ok(ANSWER), "{binding}");
    }
    assert_eq!(as_client("sslmode=disable channel_binding=prefer").await.as_deref(), Ok(ANSWER));
    let unbound = as_client("sslmode=disable channel_binding=require").await.unwrap_err();
    assert!(unbound.contains("channel binding"), "{unbound}");
    proxy.stop().await;
}

/// Begins TLS at once, offering these protocols.
async fn direct(address: SocketAddr, protocols: &[&str]) -> std::io::Result<TlsStream<TcpStream>> {
    let settings = ClientSettings { ca: Some(warehouse().file("ca.crt")), ..ClientSettings::default() };
    let mut config = (*Client::new(&settings, Trust::Development).unwrap().config(None).unwrap()).clone();
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
    let socket = within(TcpStream::connect(address)).await.unwrap();
    within(TlsConnector::from(Arc::new(config)).connect("localhost".try_into().unwrap(), socket)).await
}

/// The first byte that answers a startup message over direct TLS; `None` where the connection ends instead.
async fn answer_to_direct(address: SocketAddr, protocols: &[&str], bytes: &[u8]) -> Option<u8> {
    let mut stream = direct(address, protocols).await.ok()?;
    within(stream.write_all(bytes)).await.ok()?;
    within(stream.read_u8()).await.ok()
}

#[tokio::test]
async fn tls_may_begin_at_once_if_the_client_names_the_protocol() {
    let hello = startup(&[("user", "anybody"), ("database", "demo")]);
    for mode in ["offer", "require"] {
        let proxy = with_listener(|settings| settings["tls"] = tls(mode)).await;
        assert_eq!(answer_to_direct(proxy.address, &["postgresql"], &hello).await, Some(b'R'));
        assert_eq!(answer_to_direct(proxy.address, &["h2", "postgresql"], &hello).await, Some(b'R'));
        // The client of another protocol could be made to talk to us, so it hears nothing.
        assert_eq!(answer_to_direct(proxy.address, &[], &hello).await, None);
        assert_eq!(answer_to_direct(proxy.address, &["http/1.1"], &hello).await, None);
        // TLS inside of TLS.
        assert_eq!(answer_to_direct(proxy.address, &["postgresql"], SSL_REQUEST).await, Some(b'E'));
        let evidence = proxy.stop().await;
        assert_eq!(evidence.texts("session-refused", "reason"), ["protocol-violation", "client-closed", "protocol-violation"]);
    }
}

/// A certificate authority of the test's own, and a client's certificate of it, in files.
fn client_certificate(directory: &Path, authority: &str, name: &str) {
    let key = KeyPair::generate().unwrap();
    let mut parameters = CertificateParams::default();
    parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    parameters.distinguished_name.push(DnType::CommonName, authority);
    std::fs::write(directory.join("clients-ca.crt"), parameters.self_signed(&key).unwrap().pem()).unwrap();
    let authority = Issuer::new(parameters, key);
    let key = KeyPair::generate().unwrap();
    let mut parameters = CertificateParams::default();
    parameters.distinguished_name = rcgen::DistinguishedName::new();
    parameters.distinguished_name.push(DnType::CommonName, name);
    std::fs::write(directory.join("client.crt"), parameters.signed_by(&key, &authority).unwrap().pem()).unwrap();
    let file = directory.join("client.key");
    std::fs::write(&file, key.serialize_pem()).unwrap();
    // libpq does not use a key that others can read.
    std::fs::set_permissions(file, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
}

fn showing(directory: &Path) -> String {
    format!("{} {}", file("sslcert", &directory.join("client.crt")), file("sslkey", &directory.join("client.key")))
}

#[tokio::test]
async fn a_client_is_let_in_by_its_certificate_whose_subject_is_recorded() {
    let (ours, theirs) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    client_certificate(ours.path(), "the clients' authority", "etl-job");
    client_certificate(theirs.path(), "somebody else's authority", "etl-job");
    let proxy = with_listener(|settings| {
        settings["tls"] = tls("require");
        settings["tls"]["client_ca"] = json!(ours.path().join("clients-ca.crt"));
        settings["authentication"] = json!({ "mode": "certificate" });
    })
    .await;
    let with = |certificate: String| psql(format!("{} sslmode=verify-full {certificate}", at(&proxy)), QUERY);
    assert_eq!(with(showing(ours.path())).await.as_deref(), Ok(ANSWER));
    let without = with(String::new()).await.unwrap_err();
    assert!(without.contains("a client certificate is needed") && without.contains("Reason client-authentication"), "{without}");
    let foreign = with(showing(theirs.path())).await.unwrap_err();
    assert!(foreign.contains("unknown ca"), "{foreign}");
    let evidence = proxy.stop().await;
    assert_eq!(evidence.texts("session", "client_certificate"), ["CN=etl-job"]);
    assert_eq!(evidence.texts("session-refused", "reason"), ["client-authentication", "client-closed"]);
}

/// A proxy that also listens on a Unix-domain socket, in whose directory psql looks for it.
async fn with_unix(directory: &Path, authentication: Value) -> Proxy {
    let socket = directory.join(".s.PGSQL.5432");
    Proxy::with(ALLOW_ALL, |config| {
        let unix = json!({ "name": "unix", "address": socket, "target": "warehouse", "authentication": authentication });
        config["listeners"].as_array_mut().unwrap().push(unix);
    })
    .await
}

fn own_uid() -> u32 {
    std::os::unix::fs::MetadataExt::uid(&std::fs::metadata("/proc/self").unwrap())
}

#[tokio::test]
async fn a_client_on_a_unix_socket_is_known_by_its_process() {
    let directory = tempfile::tempdir().unwrap();
    let proxy = with_unix(directory.path(), json!({ "mode": "peer", "uids": [own_uid()] })).await;
    assert_eq!(psql(format!("{} port=5432", file("host", directory.path())), QUERY).await.as_deref(), Ok(ANSWER));
    let evidence = proxy.stop().await;
    let session = &evidence.of_kind("session")[0].fields;
    assert_eq!(session["client_process"]["user_id"], own_uid());
    assert!(session["client_process"]["process_id"].as_i64().unwrap() > 1, "{session:?}");
    assert!(!session.contains_key("client_address"));
    assert!(!directory.path().join(".s.PGSQL.5432").exists(), "the socket's file goes with the proxy");
}

#[tokio::test]
async fn a_client_of_another_user_is_refused_on_a_unix_socket() {
    let directory = tempfile::tempdir().unwrap();
    let proxy = with_unix(directory.path(), json!({ "mode": "peer", "uids": [own_uid() + 1] })).await;
    let refused = psql(format!("{} port=5432", file("host", directory.path())), QUERY).await.unwrap_err();
    assert!(refused.contains("Reason client-authentication"), "{refused}");
    let evidence = proxy.stop().await;
    let refusal = &evidence.of_kind("session-refused")[0].fields;
    assert_eq!(refusal["client_process"]["user_id"], own_uid());
    assert!(evidence.of_kind("credential-exchanged").is_empty(), "it is refused before anything is done for it");
}
