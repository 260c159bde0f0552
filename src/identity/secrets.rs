//! For every kind of identity: what proves the workload stands in no log, no error and no printed value.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use hyper::StatusCode;
use serde_json::{Value, json};

use super::signer::{Signer, claims};
use super::{IdentityError, Settings, github_actions, source};
use crate::fault::Reason;
use crate::http_server::stand_in::{Heard, StandIn};
use crate::http_server::{Answer, answer, json as json_answer};
use crate::log::paper::Paper;
use crate::secret::Secret;
use crate::tls::Trust;

const SUBJECT: &str = "system:serviceaccount:shop:dbt";
const HEADERS: [&str; 3] = ["authorization", "x-amz-security-token", "x-aws-ec2-metadata-token"];

/// Gives what each kind asks for.
fn good(signer: &Signer, heard: &Heard) -> Answer {
    let issuer = format!("http://{}", heard.header("host"));
    let token = |subject| signer.sign(&claims(&issuer, "tollhouse", subject));
    let keys = json!({ "AccessKeyId": "ASIA1", "SecretAccessKey": "SECRET-keys", "Token": "SECRET-session", "Expiration": "2099-01-01T00:00:00Z" });
    match heard.path.as_str() {
        "/agent" => json_answer(StatusCode::OK, &keys),
        "/sts" => {
            let token = token("arn:aws:iam::1:role/dbt");
            let result = format!("<WebIdentityToken>{token}</WebIdentityToken><Expiration>2099-01-01T00:00:00Z</Expiration>");
            answer(StatusCode::OK, "text/xml", format!("<R><GetWebIdentityTokenResult>{result}</GetWebIdentityTokenResult></R>"))
        }
        "/mint?audience=tollhouse" => json_answer(StatusCode::OK, &json!({ "value": token("repo:shop/dbt") })),
        "/review/apis/authentication.k8s.io/v1/tokenreviews" => {
            let status = json!({ "authenticated": true, "audiences": ["tollhouse"], "user": { "username": SUBJECT } });
            json_answer(StatusCode::CREATED, &json!({ "status": status }))
        }
        _ => json_answer(StatusCode::OK, &signer.key_set()),
    }
}

/// Refuses, and repeats all that it was sent.
fn parrot(heard: &Heard) -> Answer {
    let sent = HEADERS.map(|name| heard.header(name)).join(" ") + &heard.body.replace(['"', '<', '>'], " ");
    let status = if heard.body.is_empty() { StatusCode::FORBIDDEN } else { StatusCode::CREATED };
    json_answer(status, &json!({ "message": sent, "status": { "authenticated": false, "error": sent } }))
}

/// Identities of every kind that can be tried here, all at one address.
fn identities(at: &str, directory: &Path) -> Vec<Settings> {
    let (token, reviewer) = (directory.join("token"), directory.join("reviewer"));
    let own = json!({ "name": "own", "token_file": token, "issuer": at, "audience": "tollhouse", "algorithms": ["ES384"] });
    let with = |kind: &str, more: Value| {
        let mut settings = own.clone();
        settings["kind"] = kind.into();
        settings.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        serde_json::from_value(settings).unwrap()
    };
    let role = json!({
        "kind": "aws", "name": "role", "keys": { "container": { "url": format!("{at}/agent"), "token_file": reviewer },  },
        "region": "eu-west-1", "audience": "tollhouse", "issuer": at, "algorithm": "ES384", "endpoint": format!("{at}/sts"),
    });
    vec![
        with("kubernetes", json!({ "jwks_uri": at })),
        with("kubernetes", json!({ "verify": "token_review", "api_server": format!("{at}/review"), "bearer_token_file": reviewer })),
        with("oidc", json!({ "jwks_uri": at })),
        serde_json::from_value(role).unwrap(),
    ]
}

/// The kinds whose own test looks for secrets: SPIFFE's needs an agent, which `tests/identity/spire.sh` has.
const ELSEWHERE: [&str; 1] = ["spiffe"];

fn said(error: &IdentityError) -> String {
    let mut text = format!("{error:?} {error}");
    let mut next: Option<&(dyn std::error::Error + 'static)> = error.source.as_deref().map(|source| source as _);
    while let Some(cause) = next {
        text.push_str(&format!(" {cause} {cause:?}"));
        next = cause.source();
    }
    text
}

/// Proves each identity against the server, which has to go as `expected`; gives what was printed of it, and the kinds.
async fn sweep(server: &StandIn, directory: &Path, expected: fn(&Result<(), Reason>) -> bool) -> (String, BTreeSet<String>) {
    let (mut printed, mut tried) = (String::new(), BTreeSet::new());
    for settings in identities(&server.base, directory) {
        let source = source(&settings, Trust::Production).unwrap();
        let proof = source.prove().await;
        printed.push_str(&proof.as_ref().map_or_else(said, |proof| format!("{proof:?} {settings:?}")));
        let outcome = proof.map(|_| ()).map_err(|error| error.reason);
        assert!(expected(&outcome), "{settings:?}: {outcome:?} {printed}");
        tried.insert(source.kind().to_owned());
    }
    // A job's address and token stand in its environment, which a test cannot set.
    let job = serde_json::from_value(json!({ "name": "job", "audience": "tollhouse", "issuer": server.base })).unwrap();
    let job_source = github_actions::Source::new(&job, Trust::Production).unwrap();
    let minted = job_source.mint(&format!("{}/mint", server.base), &Secret::from("SECRET-request")).await;
    printed.push_str(&minted.as_ref().map_or_else(said, |token| format!("{token:?} {job:?} {job_source:?}")));
    let outcome = minted.map(|_| ()).map_err(|error| error.reason);
    assert!(expected(&outcome), "{job:?}: {outcome:?} {printed}");
    tried.insert("github_actions".to_owned());
    (printed, tried)
}

#[tokio::test]
async fn what_proves_a_workload_stands_in_no_log_no_error_and_no_debug_output_whatever_its_kind() {
    let (paper, _log) = Paper::of_this_thread();
    let (signer, directory) = (Arc::new(Signer::new()), tempfile::tempdir().unwrap());
    let signing = Arc::clone(&signer);
    let (giving, repeating) = (StandIn::start(move |heard| good(&signing, heard)).await, StandIn::start(parrot).await);
    std::fs::write(directory.path().join("reviewer"), "SECRET-reviewer").unwrap();
    let (mut all, mut secrets) = (String::new(), vec!["SECRET".to_owned()]);
    for (server, expected) in [(&giving, Result::is_ok as fn(&Result<(), Reason>) -> bool), (&repeating, Result::is_err)] {
        let mut own = claims(&server.base, "tollhouse", SUBJECT);
        own["kubernetes.io"] = json!({ "namespace": "shop", "serviceaccount": { "name": "dbt" } });
        let token = signer.sign(&own);
        std::fs::write(directory.path().join("token"), &token).unwrap();
        let (printed, tried) = sweep(server, directory.path(), expected).await;
        all.push_str(&printed);
        secrets.extend(token.split('.').skip(1).map(str::to_owned));
        let tried: BTreeSet<String> = tried.into_iter().chain(ELSEWHERE.map(str::to_owned)).collect();
        assert_eq!(tried, kinds(), "every kind was tried");
    }
    let sent: String = giving.heard().iter().chain(&repeating.heard()).map(|heard| format!("{} {:?}", heard.body, heard.headers)).collect();
    assert!(["SECRET-reviewer", "SECRET-request", "SECRET-session"].into_iter().all(|secret| sent.contains(secret)), "{sent}");
    all.push_str(&paper.text());
    for secret in secrets {
        assert!(!secret.is_empty() && !all.contains(&secret), "{secret}: {all}");
    }
}

/// The name of every kind, as the schema of the configuration has them.
fn kinds() -> BTreeSet<String> {
    let schema = schemars::schema_for!(Settings).to_value();
    schema["oneOf"].as_array().unwrap().iter().map(|kind| kind["properties"]["kind"]["const"].as_str().unwrap().to_owned()).collect()
}
