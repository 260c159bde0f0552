//! No secret that a step is given, makes or sends stands in what it logs, in what its values print, or in the metrics.

use std::collections::BTreeSet;
use std::io::Write;
use std::sync::{Arc, Mutex};

use tracing_subscriber::fmt::MakeWriter;

use super::every_step::{Files, chains, everybody, kinds, proof_with_certificate};
use crate::credential::cache::Cache;
use crate::credential::stand_in::{StandIn, proof, target};
use crate::credential::{Login, StepReport, exchange};
use crate::identity::{IdentitySource, Proof, Proving};
use crate::metrics::Metrics;
use crate::tls::Trust;

/// What is written to it, for all who hold it.
#[derive(Clone, Default)]
struct Paper(Arc<Mutex<Vec<u8>>>);

impl Write for Paper {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl<'w> MakeWriter<'w> for Paper {
    type Writer = Self;

    fn make_writer(&'w self) -> Self {
        self.clone()
    }
}

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
    let paper = Paper::default();
    let log = tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE).with_writer(paper.clone()).finish();
    let _log = tracing::subscriber::set_default(log);
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

    let logged = String::from_utf8(paper.0.lock().unwrap().clone()).unwrap();
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
