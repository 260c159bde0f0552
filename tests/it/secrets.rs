//! What must never be written anywhere: tokens, keys and passwords.

use std::path::{Path, PathBuf};

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::support::evidence::Evidence;
use crate::support::program::Program;
use crate::support::proxy::{ALLOW_ALL, Proxy};
use crate::support::warehouse::warehouse;
use crate::support::wire::{Wire, message, query};
use crate::support::within;

/// How every JWT begins: `{"alg":` or `{"typ":` in base64url.
const JWT_BEGINNINGS: [&str; 2] = ["eyJhbGci", "eyJ0eXAi"];

fn contents(directory: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(contents(&path));
        } else {
            found.push((path.clone(), std::fs::read(path).unwrap()));
        }
    }
    found
}

fn contains(content: &[u8], secret: &str) -> bool {
    content.windows(secret.len()).any(|window| window == secret.as_bytes())
}

/// No file of the proxy holds any of these, but for the key that signs its own log.
fn assert_absent(evidence: &Evidence, secrets: &[&str]) {
    let files = contents(evidence.directory.path());
    assert!(files.iter().any(|(_, content)| contains(content, "session-")), "the log itself is not among {files:?}");
    for secret in secrets {
        assert!(secret.len() >= 8, "too short to look for");
        for (path, content) in files.iter().filter(|(path, _)| !path.ends_with("signing-key.pem")) {
            assert!(!contains(content, secret), "a secret stands in {}", path.display());
        }
    }
}

/// The lines of every private key, and its first line.
fn key_lines(directory: &Path) -> Vec<String> {
    let keys = contents(directory).into_iter().filter(|(path, _)| path.extension().is_some_and(|it| it == "key" || it == "pem"));
    let text: Vec<String> = keys.map(|(_, content)| String::from_utf8(content).unwrap()).filter(|it| it.contains("PRIVATE")).collect();
    assert!(!text.is_empty(), "no key in {}", directory.display());
    let inside = text.iter().flat_map(|text| text.lines()).filter(|line| !line.starts_with("-----") && line.len() >= 16);
    inside.map(str::to_owned).chain(["PRIVATE KEY-----".to_owned()]).collect()
}

#[tokio::test]
async fn no_token_and_no_key_stands_in_any_file_of_the_proxy() {
    let proxy = Proxy::start(ALLOW_ALL).await;
    let client = proxy.client().await;
    within(client.simple_query("select 1")).await.unwrap();
    let config = crate::support::http::get(proxy.loopback_admin, "/config").await.1;
    let metrics = crate::support::http::get(proxy.pod_admin, "/metrics").await.1;
    let evidence = proxy.stop().await;

    let token = warehouse().stand.cluster().projected_token().unwrap();
    let parts: Vec<&str> = token.expose().split('.').collect();
    assert_eq!(parts.len(), 3);
    let keys = [key_lines(&warehouse().stand.directory), key_lines(evidence.directory.path())].concat();
    let secrets: Vec<&str> = keys.iter().map(String::as_str).chain(parts).chain(JWT_BEGINNINGS).collect();
    assert_absent(&evidence, &secrets);
    for page in [config, metrics] {
        assert!(!secrets.iter().any(|secret| page.contains(secret)), "{page}");
    }
}

#[tokio::test]
async fn no_token_and_no_key_stands_in_the_most_talkative_log() {
    let program = Program::start(ALLOW_ALL, ":", |config| config["log"]["level"] = "trace".into()).await;
    let mut wire = Wire::log_in(program.address).await;
    wire.ask(&query("select 1")).await;
    let evidence = program.terminate().await;
    let log = std::fs::read(evidence.directory.path().join("program.log")).unwrap();
    assert!(contains(&log, "draining") && contains(&log, "DEBUG"), "{}", String::from_utf8_lossy(&log));
    let token = warehouse().stand.cluster().projected_token().unwrap();
    let keys = key_lines(&warehouse().stand.directory);
    let secrets: Vec<&str> = keys.iter().map(String::as_str).chain(token.expose().split('.')).chain(JWT_BEGINNINGS).collect();
    assert_absent(&evidence, &secrets);
}

/// A warehouse that asks for the password in clear, keeps it, and says no.
async fn greedy_warehouse() -> (u16, tokio::task::JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let caught = tokio::spawn(async move {
        let mut password = String::new();
        // What is refused is exchanged anew and tried again, once.
        for _ in 0..2 {
            let (mut socket, _) = listener.accept().await.unwrap();
            packet(&mut socket).await;
            socket.write_all(&message(b'R', &[0, 0, 0, 3])).await.unwrap();
            assert_eq!(socket.read_u8().await.unwrap(), b'p');
            password = String::from_utf8(packet(&mut socket).await).unwrap().trim_end_matches('\0').to_owned();
            let error = format!("SFATAL\0C28P01\0Mno good: {password}\0\0");
            socket.write_all(&message(b'E', error.as_bytes())).await.unwrap();
        }
        password
    });
    (port, caught)
}

async fn packet(socket: &mut TcpStream) -> Vec<u8> {
    let length = socket.read_u32().await.unwrap();
    let mut body = vec![0; usize::try_from(length).unwrap() - 4];
    socket.read_exact(&mut body).await.unwrap();
    body
}

#[tokio::test]
async fn an_access_token_reaches_the_warehouse_and_neither_the_client_nor_any_file() {
    let (port, caught) = greedy_warehouse().await;
    let proxy = Proxy::with(ALLOW_ALL, |config| {
        let target = &mut config["targets"][0];
        target["port"] = port.into();
        target["tls"] = json!({ "mode": "disable" });
        target["credential"][0]["audience"] = "warehouse".into();
        target["credential"][1] = json!({ "kind": "token_as_password" });
    })
    .await;
    // The warehouse repeats the token in its error: the client knows nothing of our credential and must not learn it.
    let error = proxy.refused().await;
    let token = within(caught).await.unwrap();
    assert_eq!(token.split('.').count(), 3, "no access token was caught");
    assert!(error.detail().unwrap().contains("target-login"), "{error:?}");
    assert!(!format!("{error:?}").contains(&token), "{error:?}");
    let evidence = proxy.stop().await;
    assert_absent(&evidence, &token.split('.').collect::<Vec<_>>());
}
