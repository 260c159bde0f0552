//! Published keys: how often they are asked for, and what outlives an outage.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::json;
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
/// Asks each time.
const ALWAYS: Pace = Pace { refetch: Duration::ZERO, retry: Duration::ZERO, keep: MINUTE };

/// An issuer with one key `a` beside entries of kinds that nobody here knows; it may answer otherwise, or go away.
struct Issuer {
    at: Endpoint,
    fetches: Arc<AtomicUsize>,
    /// What is sent to whoever asks, to the last byte; nothing, for one who never answers.
    answer: Arc<Mutex<Vec<u8>>>,
    task: JoinSet<()>,
}

const KEYS: &str = r#"{"keys":[
    {"kty":"AKP","alg":"ML-DSA-65","kid":"new","pub":"x"},
    {"kty":"oct","kid":"shared","k":"c2VjcmV0"},
    {"kty":"EC","crv":"P-256","kid":"a","alg":"ES256","use":"sig","x":"AA","y":"AA"},
    {"kty":"EC","crv":"P-256","kid":"sealing","use":"enc","x":"AA","y":"AA"},
    17]}"#;

impl Issuer {
    async fn start(max_age: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = Endpoint::parse(&format!("http://{}/keys", listener.local_addr().unwrap())).unwrap();
        let fetches = Arc::new(AtomicUsize::new(0));
        let answer = Arc::new(Mutex::new(response("200 OK", &format!("Cache-Control: {max_age}\r\n"), KEYS)));
        let (counter, answers) = (Arc::clone(&fetches), Arc::clone(&answer));
        let mut task = JoinSet::new();
        task.spawn(async move {
            let mut silent = Vec::new();
            loop {
                let (mut socket, _) = listener.accept().await.unwrap();
                counter.fetch_add(1, Ordering::SeqCst);
                let _ = socket.read(&mut [0; 4096]).await;
                let answer = answers.lock().unwrap().clone();
                let _ = socket.write_all(&answer).await;
                if answer.is_empty() {
                    silent.push(socket);
                }
            }
        });
        Self { at, fetches, answer, task }
    }

    fn answers(&self, bytes: Vec<u8>) {
        *self.answer.lock().unwrap() = bytes;
    }

    /// The issuer as it is found in each of the three ways.
    fn places(&self) -> [Place; 3] {
        [
            Place::Keys(self.at.clone()),
            Place::Kubernetes { discovery: None, issuer: self.at.clone() },
            Place::OpenId { issuer: self.at.clone() },
        ]
    }

    fn keys(&self, pace: Pace) -> Keys {
        keys_at(Place::Keys(self.at.clone()), pace)
    }

    fn count(&self) -> usize {
        self.fetches.load(Ordering::SeqCst)
    }
}

fn response(status: &str, headers: &str, body: &str) -> Vec<u8> {
    format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n{headers}\r\n{body}", body.len()).into_bytes()
}

fn keys_at(place: Place, pace: Pace) -> Keys {
    let plain = ClientSettings { mode: Mode::Disable, ..ClientSettings::default() };
    Keys::new(Fetch::new(&plain, Trust::Production).unwrap(), place, None, pace)
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

/// What an issuer may send in place of its documents, and whether asking again later may help.
fn faults(issuer: &Issuer) -> Vec<(&'static str, Reason, Vec<u8>)> {
    let page = "<html>hunter2</html>";
    let elsewhere = format!("Location: {}/elsewhere\r\n", issuer.at);
    let foreign = json!({
        "issuer": "https://hunter2.example", "jwks_uri": issuer.at.as_str(), "authorization_endpoint": "https://hunter2.example/a",
        "response_types_supported": ["code"], "subject_types_supported": ["public"], "id_token_signing_alg_values_supported": ["ES256"],
    });
    vec![
        ("500", Reason::IssuerUnreachable, response("500 Internal Server Error", "", page)),
        ("503", Reason::IssuerUnreachable, response("503 Service Unavailable", "", "")),
        ("429", Reason::IssuerUnreachable, response("429 Too Many Requests", "", "")),
        ("404", Reason::IssuerInvalid, response("404 Not Found", "", page)),
        ("401", Reason::IssuerInvalid, response("401 Unauthorized", "", "{}")),
        ("a redirect", Reason::IssuerInvalid, response("302 Found", &elsewhere, KEYS)),
        ("a page", Reason::IssuerInvalid, response("200 OK", "Content-Type: text/html\r\n", page)),
        ("a page that is called JSON", Reason::IssuerInvalid, response("200 OK", "Content-Type: application/json\r\n", page)),
        ("nothing", Reason::IssuerInvalid, response("200 OK", "", "")),
        ("other JSON", Reason::IssuerInvalid, response("200 OK", "", r#"{"keys":"hunter2"}"#)),
        ("no key", Reason::IssuerInvalid, response("200 OK", "", r#"{"keys":[]}"#)),
        ("half of it", Reason::IssuerInvalid, response("200 OK", "", &KEYS[..KEYS.len() / 2])),
        ("over 1 MiB", Reason::IssuerInvalid, response("200 OK", "", &" ".repeat(1024 * 1024 + 1))),
        ("an answer that breaks off", Reason::IssuerUnreachable, b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{\"keys\":[".to_vec()),
        ("no HTTP", Reason::IssuerUnreachable, b"220 mail.example ESMTP\r\n".to_vec()),
        ("a document of another issuer", Reason::IssuerInvalid, response("200 OK", "", &foreign.to_string())),
    ]
}

#[tokio::test]
async fn whatever_an_issuer_sends_in_place_of_its_documents_gives_no_key_and_is_asked_for_once() {
    let issuer = Issuer::start("max-age=0").await;
    for (case, reason, bytes) in faults(&issuer) {
        issuer.answers(bytes);
        for place in issuer.places() {
            let before = issuer.count();
            let error = keys_at(place.clone(), ALWAYS).ask().await.unwrap_err();
            assert_eq!(error.reason, reason, "{case} at {place:?}: {error:?}");
            assert_eq!(issuer.count(), before + 1, "{case} at {place:?}: asked again, or followed");
            assert!(!format!("{error:?}").contains("hunter2"), "{case} at {place:?}: {error:?}");
        }
    }
}

#[tokio::test]
async fn keys_that_are_known_outlive_whatever_their_issuer_sends_later() {
    let issuer = Issuer::start("max-age=0").await;
    let keys = issuer.keys(ALWAYS);
    assert!(keys.find(&header("a")).await.is_ok());
    for (case, reason, bytes) in faults(&issuer) {
        issuer.answers(bytes);
        let before = issuer.count();
        assert!(keys.find(&header("a")).await.is_ok(), "{case}");
        assert_eq!(keys.find(&header("b")).await.unwrap_err().reason, reason, "{case}: nobody can tell");
        assert_eq!(issuer.count(), before + 2, "{case}");
    }
}

#[tokio::test]
async fn a_key_is_found_as_soon_as_it_is_published_and_no_longer_once_it_is_withdrawn() {
    let issuer = Issuer::start("max-age=3600").await;
    let keys = issuer.keys(ALWAYS);
    assert!(keys.find(&header("a")).await.is_ok());
    let rotated =
        |kept: &str| response("200 OK", "", &KEYS.replace(r#""kid":"sealing","use":"enc""#, r#""kid":"b""#).replace(r#""kid":"a""#, kept));
    issuer.answers(rotated(r#""kid":"a""#));
    assert!(keys.find(&header("b")).await.is_ok(), "a token of the new key comes before the old keys are stale");
    assert!(keys.find(&header("a")).await.is_ok(), "the old tokens are still good");
    issuer.answers(rotated(r#""kid":"c""#));
    assert!(keys.find(&header("c")).await.is_ok());
    assert_eq!(keys.find(&header("a")).await.unwrap_err().reason, Reason::TokenUnknownKey);
}

#[tokio::test]
async fn an_issuer_that_takes_the_question_and_never_answers_is_given_up() {
    let issuer = Issuer::start("max-age=0").await;
    issuer.answers(Vec::new());
    let error = issuer.keys(ALWAYS).ask().await.unwrap_err();
    assert_eq!(error.reason, Reason::IssuerUnreachable);
    let cause = error.source.unwrap().to_string();
    assert!(cause.contains("did not answer"), "{cause}");
}

#[tokio::test]
async fn an_issuer_that_asks_to_be_left_alone_is_asked_again_only_when_it_says() {
    for place in 0..3 {
        let issuer = Issuer::start("max-age=0").await;
        let keys = keys_at(issuer.places()[place].clone(), ALWAYS);
        let busy = |seconds: &str| response("503 Service Unavailable", &format!("Retry-After: {seconds}\r\n"), "");
        issuer.answers(busy("0"));
        assert_eq!(keys.find(&header("a")).await.unwrap_err().reason, Reason::IssuerUnreachable);
        issuer.answers(busy("3600"));
        assert_eq!(keys.find(&header("a")).await.unwrap_err().reason, Reason::IssuerUnreachable);
        assert_eq!(issuer.count(), 2);
        assert_eq!(keys.find(&header("a")).await.unwrap_err().reason, Reason::IssuerUnreachable);
        assert_eq!(issuer.count(), 2, "nobody asks");
        assert_eq!(keys.known.load().retry_after, Some(crate::fetch::RETRY_AFTER_MAX), "and no longer than we allow");
    }
}
