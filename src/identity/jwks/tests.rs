//! Published keys: how often they are asked for, and what outlives an outage.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use super::{Keys, Pace, Place};
use crate::fault::Reason;
use crate::fetch::Fetch;
use crate::fetch::endpoint::Endpoint;
use crate::identity::token::{Algorithm, Header};
use crate::tls::{ClientSettings, Mode, Trust};

const MINUTE: Duration = Duration::from_secs(60);

/// An issuer with one key `a` beside entries of kinds that nobody here knows; it may go away.
struct Issuer {
    at: Endpoint,
    fetches: Arc<AtomicUsize>,
    task: JoinSet<()>,
}

const KEYS: &str = r#"{"keys":[
    {"kty":"AKP","alg":"ML-DSA-65","kid":"new","pub":"x"},
    {"kty":"oct","kid":"shared","k":"c2VjcmV0"},
    {"kty":"EC","crv":"P-256","kid":"a","alg":"ES256","use":"sig","x":"AA","y":"AA"},
    {"kty":"EC","crv":"P-256","kid":"sealing","use":"enc","x":"AA","y":"AA"},
    17]}"#;

impl Issuer {
    async fn start(max_age: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = Endpoint::parse(&format!("http://{}/keys", listener.local_addr().unwrap())).unwrap();
        let fetches = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&fetches);
        let mut task = JoinSet::new();
        task.spawn(async move {
            loop {
                let (mut socket, _) = listener.accept().await.unwrap();
                counter.fetch_add(1, Ordering::SeqCst);
                let _ = socket.read(&mut [0; 4096]).await;
                let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nCache-Control: {max_age}\r\n\r\n", KEYS.len());
                let _ = socket.write_all(format!("{head}{KEYS}").as_bytes()).await;
            }
        });
        Self { at, fetches, task }
    }

    fn keys(&self, pace: Pace) -> Keys {
        let plain = ClientSettings { mode: Mode::Disable, ..ClientSettings::default() };
        Keys::new(Fetch::new(&plain, Trust::Production).unwrap(), Place::Keys(self.at.clone()), None, pace)
    }

    fn count(&self) -> usize {
        self.fetches.load(Ordering::SeqCst)
    }
}

fn header(key_id: &str) -> Header {
    Header { algorithm: Algorithm::ES256, key_id: Some(key_id.to_owned()) }
}

#[tokio::test]
async fn twenty_tokens_at_once_cost_one_fetch_and_unknown_keys_one_more_per_pause() {
    let issuer = Issuer::start("max-age=3600").await;
    let keys = Arc::new(issuer.keys(Pace { refetch: Duration::from_millis(200), retry: Duration::ZERO, keep: MINUTE }));
    let mut callers = JoinSet::new();
    for _ in 0..20 {
        let keys = Arc::clone(&keys);
        callers.spawn(async move { keys.find(&header("a")).await.is_ok() });
    }
    assert!(callers.join_all().await.into_iter().all(|found| found));
    assert_eq!(issuer.count(), 1);

    tokio::time::sleep(Duration::from_millis(220)).await;
    for _ in 0..20 {
        assert_eq!(keys.find(&header("b")).await.unwrap_err().reason, Reason::TokenUnknownKey);
    }
    assert_eq!(issuer.count(), 2);
}

#[tokio::test]
async fn only_a_signing_key_of_the_headers_algorithm_is_found() {
    let issuer = Issuer::start("max-age=3600").await;
    let keys = issuer.keys(Pace::USUAL);
    assert!(keys.find(&header("a")).await.is_ok());
    assert!(keys.find(&Header { algorithm: Algorithm::ES256, key_id: None }).await.is_ok(), "there is no other choice");
    for refused in [header("shared"), header("sealing"), header("new"), Header { algorithm: Algorithm::ES384, ..header("a") }] {
        assert_eq!(keys.find(&refused).await.unwrap_err().reason, Reason::TokenUnknownKey, "{refused:?}");
    }
}

#[tokio::test]
async fn keys_outlive_an_outage_of_their_issuer_for_as_long_as_they_are_kept() {
    let mut issuer = Issuer::start("max-age=0").await;
    let pace = |keep| Pace { refetch: Duration::ZERO, retry: Duration::ZERO, keep };
    let (kept, dropped) = (issuer.keys(pace(MINUTE)), issuer.keys(pace(Duration::ZERO)));
    for keys in [&kept, &dropped] {
        let _ = keys.find(&header("a")).await;
    }
    assert_eq!(issuer.count(), 2);
    issuer.task.shutdown().await;
    assert!(kept.find(&header("a")).await.is_ok());
    assert_eq!(kept.find(&header("b")).await.unwrap_err().reason, Reason::IssuerUnreachable, "nobody can tell");
    assert_eq!(dropped.find(&header("a")).await.unwrap_err().reason, Reason::IssuerUnreachable);
}
