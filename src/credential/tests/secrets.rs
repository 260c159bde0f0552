//! No secret that a step is given, makes or sends stands in what it logs or in what its values print.

use std::io::Write;
use std::sync::{Arc, Mutex};

use hyper::StatusCode;
use serde_json::json;
use tracing_subscriber::fmt::MakeWriter;

use crate::credential::stand_in::{Heard, StandIn, proof, target};
use crate::credential::{Step, StepReport, exchange};
use crate::http_server::{self, Answer};
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

/// Every service at once.
fn everybody(heard: &Heard) -> Answer {
    let ok = |body| http_server::json(StatusCode::OK, &body);
    match heard.path.as_str() {
        "/sts" => http_server::answer(
            StatusCode::OK,
            "text/xml",
            "<R><AssumeRoleWithWebIdentityResult><Credentials><AccessKeyId>ASIA1</AccessKeyId><SecretAccessKey>SECRET-keys</SecretAccessKey>\
             <SessionToken>SECRET-session</SessionToken><Expiration>2099-01-01T00:00:00Z</Expiration></Credentials>\
             </AssumeRoleWithWebIdentityResult></R>",
        ),
        "/redshift" => ok(json!({ "dbUser": "IAMR:dbt", "dbPassword": "SECRET-redshift", "expiration": 4_070_908_800_u64 })),
        "/v1/auth/jwt/login" => ok(json!({ "auth": { "client_token": "SECRET-vault", "lease_duration": 60, "renewable": true } })),
        "/v1/database/creds/r" => {
            let data = json!({ "username": "v-dbt", "password": "SECRET-database" });
            ok(json!({ "lease_id": "l", "lease_duration": 60, "renewable": true, "data": data }))
        }
        _ => ok(
            json!({ "access_token": "SECRET-token", "token_type": "Bearer", "accessToken": "SECRET-google", "expireTime": "2099-01-01T00:00:00Z" }),
        ),
    }
}

#[tokio::test]
async fn what_is_secret_stands_in_no_log_and_in_no_debug_output() {
    let paper = Paper::default();
    let log = tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE).with_writer(paper.clone()).finish();
    let _log = tracing::subscriber::set_default(log);
    let server = StandIn::start(everybody).await;
    let base = &server.base;
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("secret");
    std::fs::write(&file, "SECRET-file").unwrap();
    let secret = json!({ "basic": { "client_id": "me", "client_secret_file": file } });
    let assume = json!({ "kind": "aws_web_identity", "role_arn": "r", "region": "eu-west-1", "endpoint": format!("{base}/sts") });
    let serverless = json!({ "serverless": { "workgroup": "w" } });
    let chains = [
        json!([{ "kind": "client_credentials", "token_endpoint": base, "client_auth": secret }, { "kind": "token_as_password" }]),
        json!([{ "kind": "token_exchange", "token_endpoint": base, "actor_token_file": file }, { "kind": "snowflake_oauth" }]),
        json!([{ "kind": "gcp_impersonation", "service_account": "a@b", "endpoint": base }, { "kind": "token_as_password" }]),
        json!([assume, { "kind": "rds_token", "region": "eu-west-1" }]),
        json!([assume, { "kind": "aws_sigv4" }]),
        json!([assume, { "kind": "redshift_credentials", "region": "eu-west-1", "deployment": serverless, "endpoint": format!("{base}/redshift") }]),
        json!([{ "kind": "vault_login", "address": base, "role": "r" }, { "kind": "vault_database", "role": "r" }]),
        json!([{ "kind": "password_file", "file": file }]),
        json!([{ "kind": "snowflake_workload_identity", "audience": "tollhouse" }]),
    ];
    let said = Mutex::new(String::new());
    let report = |report: &StepReport<'_>| said.lock().unwrap().push_str(&format!("{report:?}"));
    for chain in chains {
        let steps: Vec<Step> = serde_json::from_value(chain.clone()).unwrap();
        let exchange = exchange(&steps, "dbt_runner", Trust::Development).unwrap();
        let made = exchange.exchange(&proof(), &target(), &report).await;
        let made = made.unwrap_or_else(|error| panic!("{chain}: {error:?}"));
        said.lock().unwrap().push_str(&format!("{made:?} {steps:?} {:?}", proof()));
        exchange.release().await;
    }
    let logged = String::from_utf8(paper.0.lock().unwrap().clone()).unwrap();
    assert!(logged.contains("an exchange's step was run") && logged.contains("redshift_credentials"), "{logged}");
    let all = logged + &said.into_inner().unwrap();
    let sent: String = server.heard().iter().map(|heard| format!("{} {:?}", heard.body, heard.headers)).collect();
    for secret in ["SECRET-file", "SECRET-session", "SECRET-vault", proof().token.expose()] {
        assert!(sent.contains(secret), "{secret} was not sent, so nothing is shown by its absence");
    }
    for secret in ["SECRET", "Signature", proof().token.expose(), proof().token.expose().split('.').nth(1).unwrap()] {
        assert!(!all.contains(secret), "{secret}: {all}");
    }
}
