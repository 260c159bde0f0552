//! Every kind of step that calls somebody, against every kind of answer that is none.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use hyper::StatusCode;
use hyper::header::{HeaderValue, LOCATION};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::every_step::{self, Files, everybody, proof_with_certificate};
use crate::credential::stand_in::{everything, proof, run, target};
use crate::credential::{Credential, ExchangeError, Step, StepReport, exchange};
use crate::fault::Reason;
use crate::http_server::stand_in::StandIn;
use crate::http_server::{Answer, answer};
use crate::tls::Trust;

/// A chain for each kind of step whose first call goes to `at`.
fn chains(at: &str, token_file: &std::path::Path) -> Vec<Value> {
    let token = json!({ "kind": "token_as_password" });
    let keys = json!({ "kind": "aws_sigv4" });
    let secret = json!({ "post": { "client_id": "me", "client_secret_file": token_file } });
    vec![
        json!([{ "kind": "token_exchange", "token_endpoint": at }, token]),
        json!([{ "kind": "token_exchange", "metadata": at }, token]),
        json!([{ "kind": "client_credentials", "token_endpoint": at, "client_auth": secret }, token]),
        json!([{ "kind": "jwt_bearer", "token_endpoint": at }, token]),
        json!([{ "kind": "gcp_sts", "project_number": 1, "pool": "p", "provider": "q", "token_endpoint": at }, token]),
        json!([{ "kind": "gcp_impersonation", "service_account": "a@b", "endpoint": at }, token]),
        json!([{ "kind": "gcp_metadata", "url": at }, token]),
        json!([{ "kind": "entra", "tenant": "t", "client_id": "a", "scope": "sql", "authority": at }, token]),
        json!([{ "kind": "databricks_oauth", "workspace": at }, token]),
        json!([{ "kind": "aws_web_identity", "role_arn": "r", "region": "eu-west-1", "endpoint": at }, keys]),
        json!([{ "kind": "aws_pod_identity", "url": at, "token_file": token_file }, keys]),
        json!([{ "kind": "vault_login", "address": at, "role": "r" }, { "kind": "vault_database", "role": "r" }]),
        json!([{ "kind": "client_certificate", "url": at, "common_name": "dbt" }]),
    ]
}

/// Makes an answer.
type Make = fn() -> Answer;

fn flavored(mut answer: Answer) -> Answer {
    // Google's metadata server is known by this; to the others it is a header like any.
    answer.headers_mut().insert("metadata-flavor", HeaderValue::from_static("Google"));
    answer
}

#[tokio::test]
async fn an_answer_that_is_none_fails_the_step_in_the_same_way_for_every_kind() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("token");
    std::fs::write(&file, "hunter2-file").unwrap();
    let answers: [(&str, Reason, Make); 8] = [
        ("500", Reason::ExchangeUnreachable, || answer(StatusCode::INTERNAL_SERVER_ERROR, "text/plain", "hunter2")),
        ("429", Reason::ExchangeUnreachable, || answer(StatusCode::TOO_MANY_REQUESTS, "application/json", "{\"error\":\"slow_down\"}")),
        ("403", Reason::ExchangeRefused, || answer(StatusCode::FORBIDDEN, "text/html", "<p>hunter2")),
        ("a redirect", Reason::ExchangeInvalid, || {
            let mut answer = answer(StatusCode::TEMPORARY_REDIRECT, "text/plain", "");
            answer.headers_mut().insert(LOCATION, HeaderValue::from_static("/elsewhere"));
            answer
        }),
        ("a page", Reason::ExchangeInvalid, || answer(StatusCode::OK, "text/html", "<html>hunter2</html>")),
        ("nothing", Reason::ExchangeInvalid, || answer(StatusCode::OK, "application/json", "{}")),
        ("half of it", Reason::ExchangeInvalid, || answer(StatusCode::OK, "application/json", "{\"access_token\":\"hunter2")),
        ("over 1 MiB", Reason::ExchangeInvalid, || answer(StatusCode::OK, "application/json", "x".repeat(1024 * 1024 + 1))),
    ];
    for (case, reason, make) in answers {
        let server = StandIn::start(move |_| flavored(make())).await;
        for (place, chain) in chains(&server.base, &file).into_iter().enumerate() {
            let name = chain[0]["kind"].as_str().unwrap().to_owned();
            let error = run(chain).await.unwrap_err();
            let said = everything(&error);
            assert_eq!(error.reason, reason, "{name} at {case}: {said}");
            assert_eq!(error.step.map(|step| step.kind), Some(name.as_str()));
            assert!(!said.contains("hunter2") && !said.contains(proof().token.expose()), "{name} at {case}: {said}");
            assert_eq!(server.heard().len(), place + 1, "{name} at {case}: asked more than once, or followed");
        }
    }
}

#[tokio::test]
async fn nobody_there_is_unreachable_for_every_kind() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("token");
    std::fs::write(&file, "hunter2-file").unwrap();
    for chain in chains("http://127.0.0.1:9", &file) {
        let error = run(chain.clone()).await.unwrap_err();
        assert_eq!(error.reason, Reason::ExchangeUnreachable, "{chain}");
        assert!(everything(&error).contains("127.0.0.1:9"));
    }
}

/// Whether a step calls somebody. A new kind has to say so here, and is then tried below.
pub(super) fn calls(step: &Step) -> bool {
    match step {
        Step::TokenExchange(_)
        | Step::ClientCredentials(_)
        | Step::JwtBearer(_)
        | Step::AwsWebIdentity(_)
        | Step::AwsPodIdentity(_)
        | Step::AwsWebIdentityToken(_)
        | Step::RedshiftCredentials(_)
        | Step::GcpSts(_)
        | Step::GcpImpersonation(_)
        | Step::GcpMetadata(_)
        | Step::Entra(_)
        | Step::DatabricksOauth(_)
        | Step::VaultLogin(_)
        | Step::VaultDatabase(_)
        | Step::VaultDatabaseStatic(_)
        | Step::VaultPki(_)
        | Step::ClientCertificate(_) => true,
        Step::SubjectTokenFile(_)
        | Step::RdsToken(_)
        | Step::AwsSigv4 {}
        | Step::SnowflakeWorkloadIdentity(_)
        | Step::SnowflakeOauth {}
        | Step::SnowflakeKeyPair(_)
        | Step::PasswordFile(_)
        | Step::X509Svid {}
        | Step::TokenAsPassword {} => false,
    }
}

/// Runs the chain of that place against everybody, who falls silent after so many answers; gives what came of it and the number
/// of calls that each step had made when it was over.
async fn run_until_silence(place: usize, answered: usize, files: &Files) -> (Result<Credential, ExchangeError>, Vec<usize>) {
    let server = StandIn::silent_after(answered, everybody).await;
    let steps = every_step::chains(&server.base, files).swap_remove(place);
    let made = Mutex::new(Vec::new());
    let report = |_: &StepReport<'_>| made.lock().unwrap().push(server.heard().len());
    let chain = exchange(&steps, "dbt_runner", Trust::Development).unwrap();
    let result = chain.exchange(&proof_with_certificate(), &target(), &report).await;
    (result, made.into_inner().unwrap())
}

#[tokio::test]
async fn whoever_never_answers_fails_the_step_that_asked_within_the_bound() {
    let files = Arc::new(Files::new());
    let chains = every_step::chains("http://127.0.0.1:9", &files);
    let mut silences = JoinSet::new();
    for (place, steps) in chains.iter().enumerate() {
        let (result, made) = run_until_silence(place, usize::MAX, &files).await;
        result.unwrap_or_else(|error| panic!("{steps:?}: {error:?}"));
        let before = std::iter::once(0).chain(made.iter().copied());
        for ((index, step), (before, after)) in steps.iter().enumerate().zip(before.zip(made.iter().copied())) {
            assert_eq!(after > before, calls(step), "{step:?}");
            let kind = step.signature().kind;
            for answered in before..after {
                let files = Arc::clone(&files);
                silences.spawn(async move {
                    let began = Instant::now();
                    let (result, _) = run_until_silence(place, answered, &files).await;
                    let error = result.unwrap_err();
                    let said = everything(&error);
                    assert_eq!(error.step.map(|step| (step.index, step.kind)), Some((index, kind)), "{said}");
                    assert_eq!(error.reason, Reason::ExchangeUnreachable, "{said}");
                    assert!(said.contains("TimedOut") && began.elapsed() < Duration::from_secs(9), "{:?}: {said}", began.elapsed());
                    kind
                });
            }
        }
    }
    let tried: BTreeSet<&str> = silences.join_all().await.into_iter().collect();
    let callers = chains.iter().flatten().filter(|step| calls(step)).map(|step| step.signature().kind);
    assert_eq!(tried, callers.collect());
}
