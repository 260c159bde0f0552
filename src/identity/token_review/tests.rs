//! Reviews by a stand-in that insists on what the API server's documentation says, and answers in its words.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use hyper::{Method, Request, StatusCode};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::drain::{self, Stage, Trigger};
use crate::fault::Reason;
use crate::http_server::{self, Answer};
use crate::identity::jwks::Pace;
use crate::identity::kubernetes::{Settings, Verifier};
use crate::identity::{IdentityError, Principal};
use crate::secret::Secret;
use crate::tls::Trust;

const ISSUER: &str = "https://kubernetes.default.svc";

struct ApiServer {
    settings: Settings,
    reviews: Arc<AtomicUsize>,
    directory: TempDir,
    _task: JoinSet<()>,
    _trigger: Trigger,
}

impl ApiServer {
    /// A server that gives this status to whoever asks as it should, and this HTTP status.
    async fn start(http: u16, status: Value) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let bearer = directory.path().join("reviewer");
        std::fs::write(&bearer, "reviewer-token\n").unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let settings = serde_json::from_value(json!({
            "name": "pods", "issuer": ISSUER, "audience": "tollhouse", "verify": "token_review", "tls": { "mode": "disable" },
            "api_server": format!("http://{}", listener.local_addr().unwrap()), "bearer_token_file": bearer, "labels": { "app": "dbt" },
        }));
        let reviews = Arc::new(AtomicUsize::new(0));
        let (trigger, drain) = drain::channel();
        let mut task = JoinSet::new();
        let counter = Arc::clone(&reviews);
        task.spawn(http_server::serve(listener, None, drain, Stage::Draining, move |request| {
            counter.fetch_add(1, Ordering::SeqCst);
            std::future::ready(review(&request, http, &status))
        }));
        Self { settings: settings.unwrap(), reviews, directory, _task: task, _trigger: trigger }
    }

    async fn verify(&self, token: &str) -> Result<Principal, IdentityError> {
        Verifier::new(&self.settings, Trust::Production, Pace::USUAL).unwrap().verify(&Secret::from(token)).await
    }
}

/// A request that is not as documented gets a status that no test expects.
fn review(request: &Request<Bytes>, http: u16, status: &Value) -> Answer {
    let header = |name| request.headers().get(name).and_then(|value| value.to_str().ok());
    let body: Value = serde_json::from_slice(request.body()).unwrap_or_default();
    let is_as_documented = request.method() == Method::POST
        && request.uri().path() == "/apis/authentication.k8s.io/v1/tokenreviews"
        && header("authorization") == Some("Bearer reviewer-token")
        && header("content-type") == Some("application/json")
        && (&body["apiVersion"], &body["kind"]) == (&json!("authentication.k8s.io/v1"), &json!("TokenReview"))
        && body["spec"]["audiences"] == json!(["tollhouse"])
        && body["spec"]["token"].as_str().is_some_and(|token| token.starts_with("eyJ"));
    if !is_as_documented {
        return http_server::text(StatusCode::IM_A_TEAPOT, format!("{request:?}"));
    }
    let answer = json!({ "apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": body["spec"], "status": status });
    http_server::json(StatusCode::from_u16(http).unwrap(), &answer)
}

fn token(change: impl FnOnce(&mut Value)) -> String {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    let mut claims = json!({ "iss": ISSUER, "aud": ["tollhouse"], "exp": now + 600, "kubernetes.io": { "namespace": "demo" } });
    change(&mut claims);
    format!("{}.{}.c2ln", URL_SAFE_NO_PAD.encode(r#"{"alg":"ES512"}"#), URL_SAFE_NO_PAD.encode(claims.to_string()))
}

fn accepted(change: impl FnOnce(&mut Value)) -> Value {
    let mut status = json!({
        "authenticated": true,
        "user": {
            "username": "system:serviceaccount:demo:dbt-runner",
            "uid": "u-1",
            "groups": ["system:serviceaccounts"],
            "extra": {
                "authentication.kubernetes.io/pod-name": ["dbt-runner-0"],
                "authentication.kubernetes.io/pod-uid": ["u-2"],
                "authentication.kubernetes.io/credential-id": ["JTI=c0ffee"],
            },
        },
        "audiences": ["tollhouse"],
    });
    change(&mut status);
    status
}

#[tokio::test]
async fn a_token_is_who_the_api_server_says_even_where_its_algorithm_is_not_known_here() {
    let server = ApiServer::start(201, accepted(|_| {})).await;
    let who = server.verify(&token(|_| {})).await.unwrap();
    assert_eq!((who.subject.as_str(), who.issuer.as_str()), ("system:serviceaccount:demo:dbt-runner", ISSUER));
    assert_eq!((who.namespace.as_deref(), who.service_account.as_deref()), (Some("demo"), Some("dbt-runner")));
    assert_eq!((who.pod.as_deref(), who.pod_uid.as_deref(), who.token_id.as_deref()), (Some("dbt-runner-0"), Some("u-2"), Some("c0ffee")));
    assert_eq!(who.labels.get("app").map(String::as_str), Some("dbt"));
    let life = who.expires_at.duration_since(SystemTime::now()).unwrap();
    assert!(life > Duration::from_secs(590) && life <= Duration::from_secs(600));
}

#[tokio::test]
async fn what_the_api_server_or_the_token_itself_does_not_say_is_refused() {
    let denied = json!({ "user": {}, "error": "[invalid bearer token, service account token has been invalidated]" });
    for (http, status, reason, shown) in [
        (201, json!({ "authenticated": false, "error": "pod is gone" }), Reason::TokenReviewDenied, "pod is gone"),
        (201, json!({ "error": denied["error"] }), Reason::TokenReviewDenied, "has been invalidated"),
        (201, accepted(|status| status["audiences"] = json!([])), Reason::TokenWrongAudience, "did not confirm"),
        (201, accepted(|status| status["audiences"] = json!(["other"])), Reason::TokenWrongAudience, "did not confirm"),
        (201, accepted(|status| drop(status.as_object_mut().unwrap().remove("audiences"))), Reason::TokenWrongAudience, "did not confirm"),
        (201, accepted(|status| status["user"]["username"] = json!("ada@example.com")), Reason::TokenClaims, "no service account"),
        (201, accepted(|status| status["user"] = Value::Null), Reason::IssuerInvalid, "names no user"),
        (201, json!("accepted"), Reason::IssuerInvalid, "cannot be read"),
        (401, accepted(|_| {}), Reason::IssuerInvalid, "system:auth-delegator"),
        (403, accepted(|_| {}), Reason::IssuerInvalid, "system:auth-delegator"),
        (404, accepted(|_| {}), Reason::IssuerInvalid, "answered 404"),
        (503, accepted(|_| {}), Reason::IssuerUnreachable, "answered 503"),
    ] {
        let server = ApiServer::start(http, status.clone()).await;
        let error = server.verify(&token(|_| {})).await.unwrap_err();
        assert_eq!(error.reason, reason, "{http} {status}: {error:?}");
        assert!(error.source.unwrap().to_string().contains(shown), "{http} {status}");
    }
}

#[tokio::test]
async fn an_accepted_token_still_has_to_be_ours() {
    let server = ApiServer::start(201, accepted(|_| {})).await;
    for (change, reason) in [
        (json!({ "iss": "https://elsewhere" }), Reason::TokenWrongIssuer),
        (json!({ "exp": null }), Reason::TokenClaims),
        (json!({ "kubernetes.io": { "warnafter": 1 } }), Reason::TokenWrongAudience),
    ] {
        let token = token(|claims| claims.as_object_mut().unwrap().extend(change.as_object().unwrap().clone()));
        assert_eq!(server.verify(&token).await.unwrap_err().reason, reason, "{change}");
    }
}

#[tokio::test]
async fn an_explanation_that_quotes_the_token_stays_here() {
    let token = token(|_| {});
    let server = ApiServer::start(201, json!({ "error": format!("no good: {token}") })).await;
    let error = server.verify(&token).await.unwrap_err();
    assert_eq!(error.source.unwrap().to_string(), "the API server does not say why");
}

#[tokio::test]
async fn one_token_is_reviewed_once_a_minute_and_a_refused_one_each_time() {
    let server = ApiServer::start(201, accepted(|_| {})).await;
    let verifier = Verifier::new(&server.settings, Trust::Production, Pace::USUAL).unwrap();
    let (first, second) = (Secret::new(token(|_| {})), Secret::new(token(|claims| claims["jti"] = json!("second"))));
    for _ in 0..3 {
        verifier.verify(&first).await.unwrap();
        verifier.verify(&second).await.unwrap();
    }
    assert_eq!(server.reviews.load(Ordering::SeqCst), 2);

    let refusing = ApiServer::start(201, json!({ "authenticated": false })).await;
    let verifier = Verifier::new(&refusing.settings, Trust::Production, Pace::USUAL).unwrap();
    for _ in 0..2 {
        assert_eq!(verifier.verify(&first).await.unwrap_err().reason, Reason::TokenReviewDenied);
    }
    assert_eq!(refusing.reviews.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn a_reviewer_without_a_token_of_its_own_asks_nobody() {
    let server = ApiServer::start(201, accepted(|_| {})).await;
    std::fs::remove_file(server.directory.path().join("reviewer")).unwrap();
    assert_eq!(server.verify(&token(|_| {})).await.unwrap_err().reason, Reason::IssuerUnreachable);
    assert_eq!(server.reviews.load(Ordering::SeqCst), 0);
}
