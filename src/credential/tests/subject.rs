//! Tokens that another system mounts, against an endpoint that decodes and verifies what it is shown.

use std::path::Path;
use std::time::{Duration, SystemTime};

use base64::Engine;
use base64::engine::general_purpose::{URL_SAFE, URL_SAFE_NO_PAD};
use hyper::StatusCode;
use serde_json::{Value, json};

use crate::credential::stand_in::{everything, jwt, proof, run};
use crate::credential::{Credential, ExchangeError, Login, Step, exchange};
use crate::fault::Reason;
use crate::http_server::stand_in::{Heard, StandIn};
use crate::http_server::{Answer, json as json_answer};
use crate::tls::Trust;

const END: &str = "2099-06-01T12:00:00Z";

/// An assertion of SAML 2.0, with the names of its schema and a conditions element that ends at `end`.
fn assertion(end: &str) -> String {
    format!(
        "<?xml version=\"1.0\"?>\n<saml2:Assertion xmlns:saml2=\"urn:oasis:names:tc:SAML:2.0:assertion\" ID=\"_1\" Version=\"2.0\">\
         <saml2:Issuer>https://idp.example</saml2:Issuer><saml2:Subject><saml2:NameID>alice-hunter2</saml2:NameID>\
         <saml2:SubjectConfirmation Method=\"urn:oasis:names:tc:SAML:2.0:cm:bearer\"><saml2:SubjectConfirmationData \
         NotOnOrAfter=\"2099-07-01T12:00:00.000Z\" Recipient=\"https://sts.example/token\"/></saml2:SubjectConfirmation></saml2:Subject>\
         <saml2:Conditions NotOnOrAfter=\"{end}\"><saml2:AudienceRestriction><saml2:Audience>https://sts.example</saml2:Audience>\
         </saml2:AudienceRestriction></saml2:Conditions></saml2:Assertion>"
    )
}

/// Gives a token for exactly these fields, where the one of that name holds the assertion without padding.
fn verify(heard: &Heard, fields: &[(&str, &str)], holder: &str) -> Answer {
    let shown = heard.field(holder).unwrap_or_default();
    let rest: Vec<_> = heard.form().into_iter().filter(|(name, _)| name != holder).collect();
    let wanted: Vec<_> = fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let decoded = URL_SAFE_NO_PAD.decode(&shown).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    if rest == wanted && decoded == Some(assertion(END)) {
        json_answer(StatusCode::OK, &json!({ "access_token": "made-token", "token_type": "Bearer", "expires_in": 600 }))
    } else {
        json_answer(StatusCode::BAD_REQUEST, &json!({ "error": "invalid_grant" }))
    }
}

fn source(file: &Path, token_type: &str) -> Value {
    json!({ "kind": "subject_token_file", "file": file, "token_type": token_type })
}

/// Reads a file as the credential itself, so that its life shows.
async fn reading(content: &str, token_type: &str) -> Result<Credential, ExchangeError> {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("token");
    std::fs::write(&file, content).unwrap();
    run(json!([source(&file, token_type), { "kind": "token_as_password" }])).await
}

#[tokio::test]
async fn an_assertion_of_somebody_else_is_exchanged_in_both_ways_and_the_workload_stays_who_it_is() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("assertion");
    std::fs::write(&file, URL_SAFE.encode(assertion(END)) + "\n").unwrap();
    let grant = StandIn::start(|heard| {
        verify(heard, &[("grant_type", "urn:ietf:params:oauth:grant-type:saml2-bearer"), ("scope", "wh")], "assertion")
    });
    let grant = grant.await;
    let step = json!({ "kind": "jwt_bearer", "token_endpoint": grant.base, "grant": "saml2", "scope": "wh" });
    let by_grant = run(json!([source(&file, "saml2"), step, { "kind": "token_as_password" }])).await.unwrap();
    assert!(matches!(&by_grant.login, Login::Token(token) if token.expose() == "made-token"));

    let sts = StandIn::start(|heard| {
        let workload = proof().token;
        let fields = [
            ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"),
            ("subject_token_type", "urn:ietf:params:oauth:token-type:saml2"),
            ("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"),
            ("client_assertion", workload.expose()),
        ];
        verify(heard, &fields, "subject_token")
    });
    let sts = sts.await;
    let step = json!({ "kind": "token_exchange", "token_endpoint": sts.base, "client_auth": { "federated": {} } });
    let by_exchange = run(json!([source(&file, "saml2"), step, { "kind": "token_as_password" }])).await.unwrap();
    assert!(matches!(&by_exchange.login, Login::Token(token) if token.expose() == "made-token"));

    // The subject's name is nowhere but in what was exchanged.
    assert!(!format!("{by_grant:?} {by_exchange:?}").contains("hunter2"));
}

#[tokio::test]
async fn every_token_type_reaches_the_endpoint_as_its_uri() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("token");
    std::fs::write(&file, "opaque").unwrap();
    for (word, uri) in [
        ("jwt", "urn:ietf:params:oauth:token-type:jwt"),
        ("access_token", "urn:ietf:params:oauth:token-type:access_token"),
        ("id_token", "urn:ietf:params:oauth:token-type:id_token"),
        ("urn:example:token", "urn:example:token"),
    ] {
        let server = StandIn::saying(json!({ "access_token": "made", "token_type": "Bearer" })).await;
        let step = json!({ "kind": "token_exchange", "token_endpoint": server.base });
        run(json!([source(&file, word), step, { "kind": "token_as_password" }])).await.unwrap();
        let heard = server.only();
        assert_eq!((heard.field("subject_token_type").as_deref(), heard.field("subject_token").as_deref()), (Some(uri), Some("opaque")));
    }
}

#[tokio::test]
async fn a_mounted_token_ends_when_it_says_or_in_five_minutes() {
    let seconds = |expires_at: SystemTime| expires_at.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    let read = reading(&jwt(&json!({ "exp": 4_070_908_800_u64, "jti": "j-1" })), "id_token").await.unwrap();
    assert_eq!((seconds(read.expires_at), read.id.as_str()), (4_070_908_800, "j-1"));
    let read = reading("opaque", "access_token").await.unwrap();
    let life = read.expires_at.duration_since(SystemTime::now()).unwrap();
    assert!(life > Duration::from_secs(290) && life <= Duration::from_secs(300), "{life:?}");
    let error = reading(&jwt(&json!({ "exp": 1 })), "jwt").await.unwrap_err();
    assert_eq!((error.reason, error.step.map(|step| step.kind)), (Reason::ExchangeUnprepared, Some("subject_token_file")));
    assert!(everything(&error).contains("has ended"), "{error:?}");
}

#[tokio::test]
async fn what_is_no_assertion_or_has_ended_is_shown_to_nobody_and_not_quoted() {
    let server = StandIn::saying(json!({ "access_token": "made", "token_type": "Bearer" })).await;
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("assertion");
    let dtd = "<!DOCTYPE a [<!ENTITY x \"hunter2\">]><Assertion/>";
    for (content, words) in [
        (assertion(END).replace('\n', ""), "not base64url"),
        (assertion(END), "one line"),
        (URL_SAFE.encode("hunter2"), "not an assertion"),
        (URL_SAFE.encode([0xff, 0xfe]), "not UTF-8"),
        (URL_SAFE.encode("<a></b>hunter2"), "not an assertion"),
        (URL_SAFE.encode("<Assertion></b>hunter2"), "not XML"),
        (URL_SAFE.encode("<Response><Assertion/></Response>"), "not an assertion"),
        (URL_SAFE.encode(dtd), "document type"),
        (URL_SAFE.encode(assertion("hunter2")), "cannot be read"),
        (URL_SAFE.encode(assertion("2001-01-01T00:00:00Z")), "has ended"),
        ("A".repeat(64 * 1024 + 1), "over 64 KiB"),
    ] {
        std::fs::write(&file, &content).unwrap();
        let step = json!({ "kind": "token_exchange", "token_endpoint": server.base });
        let error = run(json!([source(&file, "saml2"), step, { "kind": "token_as_password" }])).await.unwrap_err();
        let said = everything(&error);
        assert_eq!((error.reason, error.step.map(|step| step.index)), (Reason::ExchangeUnprepared, Some(0)), "{said}");
        assert!(said.contains(words) && !said.contains("hunter2"), "{words}: {said}");
    }
    assert!(server.heard().is_empty());
}

#[test]
fn a_chain_whose_steps_cannot_show_the_token_is_refused() {
    let refused = |chain: Value| {
        let steps: Vec<Step> = serde_json::from_value(chain).unwrap();
        let error = exchange(&steps, "dbt", Trust::Production).err().unwrap();
        (error.step, error.problem.to_string())
    };
    let token = json!({ "kind": "token_as_password" });
    let saml = source(Path::new("/run/assertion"), "saml2");
    let bearer = json!({ "kind": "jwt_bearer", "token_endpoint": "https://x.example" });
    for (chain, place, words) in [
        (json!([saml, token]), 1, "`token_as_password` takes no SAML assertion"),
        (json!([saml, bearer, token]), 1, "`jwt_bearer` with `grant: saml2`"),
        (json!([bearer, saml, token]), 1, "it must be the first step"),
        (json!([source(Path::new("/run/token"), "saml"), token]), 0, "`saml` is none of"),
    ] {
        let (step, said) = refused(chain.clone());
        assert!(step == place && said.contains(words), "{chain}: {step}: {said}");
    }
}
