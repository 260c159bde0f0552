//! The files that the stand-ins leave, and TLS with them.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::{Rig, settings};
use crate::dev::{Stand, write_certificates};
use crate::tls::stream::Stream;
use crate::tls::{Acceptor, Alpn, Client, ClientSettings, Demands, Mode, ServerSettings, TlsError, Trust};

#[tokio::test]
async fn every_file_is_for_its_owner_alone_and_ready_comes_last() {
    let rig = Rig::start().await;
    let root = rig.directory.path();
    for file in
        ["ca.crt", "ca.key", "client-ca.crt", "warehouse/server.crt", "warehouse/server.key", "scram-secret", "ready", "token/token"]
    {
        let mode = std::fs::metadata(root.join(file)).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{file}");
    }
    assert_eq!(std::fs::metadata(root).unwrap().permissions().mode() & 0o777, 0o700);
    let ready = std::fs::read_to_string(root.join("ready")).unwrap();
    assert!(ready.contains(&format!("TOLLHOUSE_DEV_ISSUER={}/kubernetes\n", rig.stand.base())), "{ready}");
}

#[tokio::test]
async fn a_restart_keeps_the_authorities_that_others_trust() {
    let directory = tempfile::tempdir().unwrap();
    let read = |name: &str| std::fs::read(directory.path().join(name)).unwrap();
    write_certificates(&settings(&directory)).unwrap();
    let before = (read("ca.crt"), read("client-ca.crt"), read("scram-secret"));
    let _stand = Stand::start(&settings(&directory)).await.unwrap();
    assert_eq!((read("ca.crt"), read("client-ca.crt")), (before.0, before.1));

    std::fs::write(directory.path().join("ca.key"), "damaged").unwrap();
    let damaged = read("ca.crt");
    write_certificates(&settings(&directory)).unwrap();
    assert_ne!(read("ca.crt"), damaged, "an authority without its key is made anew");
}

/// Does a handshake over a real socket and sends a word each way.
async fn talk(server: &Acceptor, client: &Client, host: &str) -> Result<Stream, TlsError> {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let socket = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let accept = async {
        let mut stream = server.accept(listener.accept().await.unwrap().0).await.ok()?;
        let mut word = [0; 4];
        stream.read_exact(&mut word).await.ok()?;
        stream.write_all(&word).await.ok()?;
        stream.flush().await.ok()
    };
    let connect = async {
        let mut stream = client.connect(socket, host, None).await?;
        stream.write_all(b"ping").await.unwrap();
        stream.flush().await.unwrap();
        let mut word = [0; 4];
        stream.read_exact(&mut word).await.unwrap();
        assert_eq!(&word, b"ping");
        Ok(stream)
    };
    tokio::join!(accept, connect).1
}

fn server(root: &Path) -> ServerSettings {
    ServerSettings { certificate: root.join("warehouse/server.crt"), key: root.join("warehouse/server.key") }
}

fn client(root: &Path) -> ClientSettings {
    ClientSettings { ca: Some(root.join("ca.crt")), ..ClientSettings::default() }
}

#[tokio::test]
async fn a_server_is_believed_only_with_the_right_name_and_authority() {
    let directory = tempfile::tempdir().unwrap();
    write_certificates(&settings(&directory)).unwrap();
    let root = directory.path();
    let acceptor = Acceptor::new(&server(root), Trust::Development).unwrap();
    let trusting = Client::new(&client(root), Trust::Development).unwrap();

    let stream = talk(&acceptor, &trusting, "localhost").await.unwrap();
    assert!(stream.is_encrypted() && stream.peer_certificate().is_some());
    assert!(matches!(talk(&acceptor, &trusting, "elsewhere.example").await, Err(TlsError::Handshake(_))));

    let named = ClientSettings { server_name: Some("localhost".to_owned()), ..client(root) };
    assert!(talk(&acceptor, &Client::new(&named, Trust::Development).unwrap(), "elsewhere.example").await.is_ok());

    let distrusting = ClientSettings { ca: Some(root.join("client-ca.crt")), ..ClientSettings::default() };
    let distrusting = Client::new(&distrusting, Trust::Development).unwrap();
    assert!(matches!(talk(&acceptor, &distrusting, "localhost").await, Err(TlsError::Handshake(_))));
}

#[tokio::test]
async fn a_server_that_is_offered_a_protocol_has_to_choose_it() {
    let directory = tempfile::tempdir().unwrap();
    write_certificates(&settings(&directory)).unwrap();
    let root = directory.path();
    let speaking = Client::speaking(&client(root), Alpn::Demanded(b"postgresql"), Trust::Development).unwrap();
    let acceptor = |protocols: &'static [&'static [u8]]| {
        let demands = Demands { client_ca: None, protocols };
        Acceptor::demanding(&server(root), demands, Trust::Development).unwrap()
    };
    let stream = talk(&acceptor(&[b"postgresql"]), &speaking, "localhost").await.unwrap();
    assert_eq!(stream.protocol(), Some(&b"postgresql"[..]));
    assert!(matches!(talk(&acceptor(&[]), &speaking, "localhost").await, Err(TlsError::Protocol)));
    assert!(matches!(talk(&acceptor(&[b"other"]), &speaking, "localhost").await, Err(TlsError::Handshake(_))));
}

#[tokio::test]
async fn a_changed_certificate_or_authority_is_used_from_the_next_connection_on() {
    let directory = tempfile::tempdir().unwrap();
    write_certificates(&settings(&directory)).unwrap();
    let root = directory.path();
    let acceptor = Acceptor::new(&server(root), Trust::Development).unwrap();
    let client = Client::new(&client(root), Trust::Development).unwrap();
    let first = talk(&acceptor, &client, "localhost").await.unwrap().peer_certificate().cloned();

    std::fs::remove_file(root.join("ca.key")).unwrap();
    write_certificates(&settings(&directory)).unwrap();
    let second = talk(&acceptor, &client, "localhost").await.unwrap().peer_certificate().cloned();
    assert_ne!(first, second);

    // Half a pair: the server goes on with what it has, the client refuses rather than trust what was withdrawn.
    std::fs::write(root.join("warehouse/server.key"), "-----BEGIN PRIVATE KEY-----\nhunter2\n").unwrap();
    assert!(talk(&acceptor, &client, "localhost").await.is_ok());
    std::fs::write(root.join("ca.crt"), "hunter2").unwrap();
    let error = talk(&acceptor, &client, "localhost").await.unwrap_err();
    assert!(matches!(&error, TlsError::Unusable { .. }), "{error:?}");
    assert!(!format!("{error:?}").contains("hunter2"));
    let error = Acceptor::new(&server(root), Trust::Development).unwrap_err();
    assert!(!format!("{error:?}").contains("hunter2"));
}

#[test]
fn development_certificates_are_refused_in_production_on_either_side() {
    let directory = tempfile::tempdir().unwrap();
    write_certificates(&settings(&directory)).unwrap();
    let root = directory.path();
    assert!(matches!(Acceptor::new(&server(root), Trust::Production), Err(TlsError::NotForProduction { .. })));
    assert!(matches!(Client::new(&client(root), Trust::Production), Err(TlsError::NotForProduction { .. })));
    let plain = ClientSettings { mode: Mode::Disable, ..client(root) };
    let plain = Client::new(&plain, Trust::Production).unwrap();
    assert!(matches!(plain.config(None), Err(TlsError::Disabled)));
}
