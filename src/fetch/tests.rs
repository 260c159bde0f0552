//! Calls against servers that answer in bytes.

use std::time::{Duration, SystemTime};

use hyper::StatusCode;
use hyper::header::HeaderValue;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::{Answer, Authorization, BODY_BYTES_MAX, Fetch, FetchError};
use crate::fetch::endpoint::Endpoint;
use crate::secret::Secret;
use crate::tls::{ClientSettings, Mode, ServerSettings, Trust};

fn fetch() -> Fetch {
    let plain = ClientSettings { mode: Mode::Disable, ..ClientSettings::default() };
    Fetch::new(&plain, Trust::Production).unwrap()
}

/// Answers one request with these bytes and gives the request back.
async fn server(answer: Vec<u8>) -> (Endpoint, JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = Endpoint::parse(&format!("http://{}/path?query", listener.local_addr().unwrap())).unwrap();
    let task = tokio::spawn(async move {
        let (mut socket, _) = listener.accept().await.unwrap();
        let mut request = vec![0; 8192];
        let length = socket.read(&mut request).await.unwrap();
        let _ = socket.write_all(&answer).await;
        String::from_utf8(request[..length].to_vec()).unwrap()
    });
    (at, task)
}

async fn get(answer: &[u8]) -> Result<Answer, FetchError> {
    let (at, _task) = server(answer.to_vec()).await;
    fetch().get(&at, Authorization::None).await
}

#[tokio::test]
async fn a_form_is_posted_with_its_credentials_encoded_as_oauth_wants() {
    let (at, task) = server(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nCache-Control: public, max-age=90\r\n\r\n{}".to_vec()).await;
    let secret = Secret::from("s:e c");
    let authorization = Authorization::Basic { client_id: "a@b", client_secret: &secret };
    let answer = fetch().post_form(&at, &[("scope", "a b"), ("token", "x&y=z")], authorization).await.unwrap();
    assert_eq!((answer.status.as_u16(), answer.max_age), (200, Some(Duration::from_secs(90))));
    let request = task.await.unwrap();
    assert!(request.starts_with("POST /path?query HTTP/1.1\r\n"), "{request}");
    assert!(request.ends_with("\r\n\r\nscope=a+b&token=x%26y%3Dz"), "{request}");
    // base64 of `a%40b:s%3Ae+c`.
    assert!(request.contains("authorization: Basic YSU0MGI6cyUzQWUrYw==\r\n"), "{request}");
}

#[tokio::test]
async fn a_redirect_is_an_answer_and_is_not_followed() {
    let answer = get(b"HTTP/1.1 307 Temporary Redirect\r\nLocation: http://127.0.0.1:9/\r\nContent-Length: 0\r\n\r\n").await.unwrap();
    assert_eq!(answer.status.as_u16(), 307);
}

#[tokio::test]
async fn an_answer_over_the_limit_is_refused() {
    let mut answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", BODY_BYTES_MAX + 1).into_bytes();
    answer.resize(answer.len() + BODY_BYTES_MAX + 1, b'x');
    assert!(matches!(get(&answer).await, Err(FetchError::TooLarge { .. })));
    let mut answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {BODY_BYTES_MAX}\r\n\r\n").into_bytes();
    answer.resize(answer.len() + BODY_BYTES_MAX, b'x');
    assert_eq!(get(&answer).await.unwrap().body.expose().len(), BODY_BYTES_MAX);
}

#[tokio::test]
async fn half_an_answer_is_no_answer() {
    for answer in [&b""[..], b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf", b"hunter2\r\n\r\n"] {
        let error = get(answer).await.unwrap_err();
        assert!(matches!(error, FetchError::Unreachable { .. }), "{error:?}");
        assert!(!format!("{error:?}").contains("hunter2"));
    }
}

#[tokio::test]
async fn https_never_falls_back_to_plain_text() {
    let (at, task) = server(Vec::new()).await;
    let encrypted = Endpoint::parse(&at.as_str().replace("http:", "https:")).unwrap();
    let error = fetch().get(&encrypted, Authorization::None).await.unwrap_err();
    assert!(matches!(error, FetchError::Unreachable { .. }), "{error:?}");
    assert_eq!(task.await.unwrap(), "", "not a byte was sent");
}

#[tokio::test]
async fn a_secret_that_would_break_the_header_is_not_sent() {
    let (at, task) = server(Vec::new()).await;
    let token = Secret::from("hunter2\r\nX-Evil: 1");
    let error = fetch().get(&at, Authorization::Bearer(&token)).await.unwrap_err();
    assert!(matches!(error, FetchError::Request) && !format!("{error:?}").contains("hunter2"));
    assert!(!task.is_finished(), "nobody connected");
}

#[test]
fn a_busy_server_says_when_to_come_back_in_seconds_or_by_the_clock_and_is_not_waited_for_without_end() {
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
    let asks = |status: u16, value: &str| {
        let mut answer = Answer::new(StatusCode::from_u16(status).unwrap(), "text/plain", Vec::new());
        answer.headers.insert("retry-after", HeaderValue::from_str(value).unwrap());
        answer.retry_after(now).map(|asked| asked.as_secs())
    };
    for (status, value, expected) in [
        (429, "7", Some(7)),
        (503, " 0 ", Some(0)),
        (503, "86400", Some(60)),
        // The moment itself in each of the three forms (RFC 9110, section 5.6.7), and ten seconds later.
        (503, "Sun, 06 Nov 1994 08:49:37 GMT", Some(0)),
        (503, "Sunday, 06-Nov-94 08:49:47 GMT", Some(10)),
        (503, "Sun Nov  6 08:49:47 1994", Some(10)),
        (503, "Sat, 05 Nov 1994 08:49:37 GMT", Some(0)),
        (503, "-5", None),
        (503, "soon", None),
        (503, "", None),
        (501, "7", None),
        (403, "7", None),
        (200, "7", None),
    ] {
        assert_eq!(asks(status, value), expected, "{status} {value:?}");
    }
}

#[test]
fn which_statuses_mean_to_come_again() {
    let busy = |status: u16| Answer::new(StatusCode::from_u16(status).unwrap(), "text/plain", Vec::new()).is_busy();
    assert!([408, 429, 500, 502, 503, 504, 520, 599].into_iter().all(busy));
    assert!(![200, 301, 400, 401, 403, 404, 409, 412, 501, 505].into_iter().any(busy));
}

#[tokio::test]
async fn a_client_certificate_that_does_not_go_with_its_key_is_ours_to_mend_and_not_the_servers() {
    let (directory, keys) = (tempfile::tempdir().unwrap(), [(); 2].map(|()| rcgen::KeyPair::generate().unwrap()));
    let files = ServerSettings { certificate: directory.path().join("crt"), key: directory.path().join("key") };
    let leaf = rcgen::CertificateParams::default().self_signed(&keys[0]).unwrap();
    std::fs::write(&files.certificate, leaf.pem()).unwrap();
    std::fs::write(&files.key, keys[1].serialize_pem()).unwrap();
    let (at, _task) = server(Vec::new()).await;
    let encrypted = Endpoint::parse(&at.as_str().replace("http:", "https:")).unwrap();
    let fetch = Fetch::showing(&ClientSettings::default(), &files, Trust::Production).unwrap();
    let error = fetch.get(&encrypted, Authorization::None).await.unwrap_err();
    assert!(matches!(error, FetchError::Identity { .. }), "{error:?}");
}
