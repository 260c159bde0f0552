//! No secret that a step is given, makes or sends stands in what it logs, in what its values print, or in the metrics.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use hyper::StatusCode;
use serde_json::json;

use super::every_step::{Files, chains, everybody, kinds, proof_with_certificate};
use super::faults::calls;
use crate::credential::cache::Cache;
use crate::credential::stand_in::{everything, proof, target};
use crate::credential::{Login, Step, StepReport, exchange};
use crate::fault::Fault;
use crate::http_server::stand_in::{Heard, StandIn};
use crate::http_server::{Answer, answer};
use crate::identity::{IdentitySource, Proof, Proving};
use crate::log::paper::Paper;
use crate::metrics::Metrics;
use crate::tls::Trust;

/// The same proof each time.
struct Always(Proof);

impl IdentitySource for Always {
    fn kind(&self) -> &'static str {
        "always"
    }

    fn prove(&self) -> Proving<'_> {
        Box::pin(std::future::ready(Ok(self.0.clone())))
    }
}

/// What of a login is secret, as text and as bytes are printed.
fn secrets_of(login: &Login) -> Vec<String> {
    match login {
        Login::ClientCertificate { key, .. } => {
            let printed = format!("{:?}", key.expose().secret_der());
            vec![printed.trim_matches(['[', ']']).to_owned()]
        }
        Login::Password(secret) | Login::Token(secret) | Login::Snowflake { token: secret, .. } => vec![secret.expose().clone()],
        Login::AwsCredentials(keys) => vec![keys.secret_access_key.expose().clone(), keys.session_token.expose().clone()],
    }
}

#[tokio::test]
async fn what_is_secret_stands_in_no_log_no_metric_and_no_debug_output() {
    let (paper, _log) = Paper::of_this_thread();
    let (server, files) = (StandIn::start(everybody).await, Files::new());
    let (metrics, whole) = (Arc::new(Metrics::new().unwrap()), proof_with_certificate());
    let (said, ran) = (Mutex::new(String::new()), Mutex::new(BTreeSet::new()));
    let report = |report: &StepReport<'_>| {
        said.lock().unwrap().push_str(&format!("{report:?}"));
        ran.lock().unwrap().insert(report.step.kind.to_owned());
    };
    let mut secrets = files.key_lines();
    for steps in chains(&server.base, &files) {
        let exchange = exchange(&steps, "dbt_runner", Trust::Development).unwrap();
        let made = exchange.exchange(&whole, &target(), &report).await.unwrap_or_else(|error| panic!("{steps:?}: {error:?}"));
        secrets.extend(secrets_of(&made.login));
        let cache = Cache::new(Arc::new(Always(whole.clone())), Arc::clone(&exchange), Arc::new(target()), Arc::clone(&metrics));
        let lease = cache.get().await.unwrap();
        secrets.extend(secrets_of(&lease.credential.login));
        said.lock().unwrap().push_str(&format!("{made:?} {:?} {steps:?} {whole:?}", lease.credential));
        exchange.release().await;
    }
    assert_eq!(ran.into_inner().unwrap(), kinds(), "every kind of step ran");

    let logged = paper.text();
    assert!(logged.contains("an exchange's step was run") && logged.contains("redshift_credentials"), "{logged}");
    let scraped = String::from_utf8(metrics.render().unwrap()).unwrap();
    assert!(scraped.contains("steps_total{outcome=\"ok\",step=\"vault_pki\"} 1"), "{scraped}");
    let all = logged + &scraped + &said.into_inner().unwrap();
    let sent: String = server.heard().iter().map(|heard| format!("{} {:?}", heard.body, heard.headers)).collect();
    for secret in ["SECRET-file", "SECRET-session", "SECRET-vault", "SECRET-extra", proof().token.expose()] {
        assert!(sent.contains(secret), "{secret} was not sent, so nothing is shown by its absence");
    }
    secrets.extend(["SECRET", "Signature", proof().token.expose().split('.').nth(1).unwrap()].map(str::to_owned));
    for secret in secrets {
        assert!(!secret.is_empty() && !all.contains(&secret), "{secret}: {all}");
    }
}

/// Repeats all that it was sent, as some servers do in their errors, in each of their forms.
fn parrot(heard: &Heard) -> Answer {
    let sent = format!("{} {:?} {}", heard.path, heard.headers, heard.body).replace(['"', '<', '>', '(', ')'], " ");
    let code = heard.header("authorization");
    let said = match heard.body.len() % 3 {
        0 => json!({ "error": sent, "error_description": sent, "__type": sent, "errors": [sent] }).to_string(),
        1 => format!("<ErrorResponse><Error><Code>{sent}</Code><Message>{sent}</Message></Error></ErrorResponse>"),
        _ => format!("[{sent}]: ({code}): {sent}, fault: client"),
    };
    answer(StatusCode::BAD_REQUEST, "application/json", said)
}

#[tokio::test]
async fn what_a_server_repeats_of_a_secret_stands_in_no_error_and_no_log() {
    let (paper, _log) = Paper::of_this_thread();
    let (server, files) = (StandIn::start(parrot).await, Files::new());
    let (whole, mut said, mut refused) = (proof_with_certificate(), String::new(), BTreeSet::new());
    for steps in chains(&server.base, &files) {
        let exchange = exchange(&steps, "dbt_runner", Trust::Development).unwrap();
        let Err(error) = exchange.exchange(&whole, &target(), &|_| {}).await else { continue };
        refused.insert(error.step.unwrap().kind);
        said.push_str(&everything(&error));
        let fault = Fault::from(error);
        said.push_str(&format!("{fault} {fault:?} {}", fault.chain()));
    }
    let first = |steps: &[Step]| steps.iter().find(|step| calls(step)).map(|step| step.signature().kind);
    assert_eq!(refused, chains(&server.base, &files).iter().filter_map(|steps| first(steps)).collect());
    let all = paper.text() + &said;
    let sent: String = server.heard().iter().map(|heard| format!("{} {:?}", heard.body, heard.headers)).collect();
    for secret in ["SECRET-file", proof().token.expose().as_str()] {
        assert!(sent.contains(secret), "{secret} was not sent");
    }
    let parts = proof().token.expose().split('.').map(str::to_owned).collect::<Vec<_>>();
    for secret in ["SECRET"].map(str::to_owned).into_iter().chain(parts).chain(files.key_lines()) {
        assert!(!all.contains(&secret), "{secret}: {all}");
    }
}
