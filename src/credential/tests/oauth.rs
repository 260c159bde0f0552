//! Steps that ask a token endpoint: what goes over the wire, by each grant and each way to prove the client.

use serde_json::{Value, json};

use crate::credential::Login;
use crate::credential::stand_in::{everything, proof, run};
use crate::fault::Reason;
use crate::http_server::stand_in::StandIn;

const GRANT: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
const JWT: &str = "urn:ietf:params:oauth:token-type:jwt";
const ASSERTION: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

fn token_answer() -> Value {
    json!({ "access_token": "made-token", "token_type": "Bearer", "expires_in": "600", "issued_token_type": "t" })
}

/// The form that a step sends, and the token that it makes of the answer.
async fn form_of(step: impl FnOnce(&str) -> Value) -> Vec<(String, String)> {
    let server = StandIn::saying(token_answer()).await;
    let credential = run(json!([step(&format!("{}/token", server.base)), { "kind": "token_as_password" }])).await.unwrap();
    assert!(matches!(&credential.login, Login::Token(token) if token.expose() == "made-token"), "{credential:?}");
    let heard = server.only();
    assert_eq!((heard.method.as_str(), heard.path.as_str()), ("POST", "/token"));
    heard.form()
}

fn pairs(fields: &[(&str, &str)]) -> Vec<(String, String)> {
    fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

#[tokio::test]
async fn each_grant_sends_the_fields_of_its_specification_and_no_others() {
    let token = proof().token.expose().clone();
    let directory = tempfile::tempdir().unwrap();
    let actor = directory.path().join("actor");
    std::fs::write(&actor, "actors-token\n").unwrap();
    let exchange = form_of(|at| {
        json!({
            "kind": "token_exchange", "token_endpoint": at, "audience": ["a", "b"], "resource": "https://wh.example", "scope": "s",
            "requested_token_type": JWT, "actor_token_file": actor, "extra": { "options": "x" },
        })
    });
    assert_eq!(
        exchange.await,
        pairs(&[
            ("grant_type", GRANT),
            ("subject_token", &token),
            ("subject_token_type", JWT),
            ("actor_token", "actors-token"),
            ("actor_token_type", JWT),
            ("audience", "a"),
            ("audience", "b"),
            ("resource", "https://wh.example"),
            ("scope", "s"),
            ("requested_token_type", JWT),
            ("options", "x"),
        ])
    );
    let bearer = form_of(|at| json!({ "kind": "jwt_bearer", "token_endpoint": at, "scope": "s" })).await;
    assert_eq!(bearer, pairs(&[("grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer"), ("assertion", &token), ("scope", "s")]));
}

#[tokio::test]
async fn a_client_is_proven_in_the_way_that_is_configured() {
    let token = proof().token.expose().clone();
    let directory = tempfile::tempdir().unwrap();
    let secret = directory.path().join("secret");
    std::fs::write(&secret, "s3cret").unwrap();
    let client = |auth: Value| move |at: &str| json!({ "kind": "client_credentials", "token_endpoint": at, "client_auth": auth });
    let post = form_of(client(json!({ "post": { "client_id": "me", "client_secret_file": secret } }))).await;
    assert_eq!(post, pairs(&[("grant_type", "client_credentials"), ("client_id", "me"), ("client_secret", "s3cret")]));
    let basic = form_of(client(json!({ "basic": { "client_id": "me", "client_secret_file": secret } }))).await;
    assert_eq!(basic, pairs(&[("grant_type", "client_credentials")]));
    let federated = form_of(client(json!({ "federated": { "client_id": "me" } }))).await;
    assert_eq!(
        federated,
        pairs(&[
            ("grant_type", "client_credentials"),
            ("client_id", "me"),
            ("client_assertion_type", ASSERTION),
            ("client_assertion", &token)
        ])
    );
}

#[tokio::test]
async fn an_assertion_of_ours_is_signed_for_the_endpoint_and_lives_a_minute() {
    let directory = tempfile::tempdir().unwrap();
    let (file, key) = (directory.path().join("key.pem"), rcgen::KeyPair::generate().unwrap());
    std::fs::write(&file, key.serialize_pem()).unwrap();
    let auth = json!({ "private_key_jwt": { "client_id": "me", "key_file": file, "algorithm": "ES256", "key_id": "k1" } });
    let form = form_of(|at| json!({ "kind": "client_credentials", "token_endpoint": at, "client_auth": auth })).await;
    let field = |name: &str| form.iter().find(|(field, _)| field == name).unwrap().1.clone();
    assert_eq!((field("client_id").as_str(), field("client_assertion_type").as_str()), ("me", ASSERTION));

    let assertion = field("client_assertion");
    let public = jsonwebtoken::DecodingKey::from_ec_pem(key.public_key_pem().as_bytes()).unwrap();
    let mut validation = jsonwebtoken::Validation::new(jsonwebtoken::Algorithm::ES256);
    validation.validate_aud = false;
    let read = jsonwebtoken::decode::<Value>(&assertion, &public, &validation).unwrap();
    assert_eq!(read.header.kid.as_deref(), Some("k1"));
    let claims = read.claims;
    assert_eq!((&claims["iss"], &claims["sub"]), (&json!("me"), &json!("me")));
    assert!(claims["aud"].as_str().unwrap().ends_with("/token"));
    assert_eq!(claims["exp"].as_u64().unwrap() - claims["iat"].as_u64().unwrap(), 60);
    assert_eq!(claims["jti"].as_str().unwrap().len(), 32);
}

#[tokio::test]
async fn a_key_that_cannot_sign_is_our_own_lack_and_is_not_quoted() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("key.pem");
    for content in [None, Some("-----BEGIN PRIVATE KEY-----\nhunter2\n-----END PRIVATE KEY-----\n"), Some("hunter2")] {
        if let Some(content) = content {
            std::fs::write(&file, content).unwrap();
        }
        let auth = json!({ "private_key_jwt": { "client_id": "me", "key_file": file } });
        let step = json!({ "kind": "client_credentials", "token_endpoint": "http://127.0.0.1:9/token", "client_auth": auth });
        let error = run(json!([step, { "kind": "token_as_password" }])).await.unwrap_err();
        assert_eq!(error.reason, Reason::ExchangeUnprepared);
        assert!(everything(&error).contains("key.pem") && !everything(&error).contains("hunter2"), "{error:?}");
    }
}

#[tokio::test]
async fn an_authorization_servers_metadata_name_its_token_endpoint() {
    let place = std::sync::Arc::new(std::sync::OnceLock::<String>::new());
    let known = place.clone();
    let server = StandIn::start(move |heard| {
        let body = match heard.path.as_str() {
            "/oidc/.well-known/oauth-authorization-server" => {
                json!({ "token_endpoint": format!("{}/oidc/v1/token", known.get().unwrap()) })
            }
            _ => token_answer(),
        };
        crate::http_server::json(hyper::StatusCode::OK, &body)
    })
    .await;
    place.set(server.base.clone()).unwrap();
    let metadata = format!("{}/oidc/.well-known/oauth-authorization-server", server.base);
    run(json!([{ "kind": "token_exchange", "metadata": metadata }, { "kind": "token_as_password" }])).await.unwrap();
    let asked = &server.heard()[1];
    assert_eq!((asked.path.as_str(), asked.field("grant_type").as_deref()), ("/oidc/v1/token", Some(GRANT)));
}

#[tokio::test]
async fn entras_number_is_shown_with_what_it_means() {
    let answer = json!({ "error": "invalid_request", "error_description": "AADSTS700213: hunter2", "error_codes": [700_213] });
    let server = StandIn::start(move |_| crate::http_server::json(hyper::StatusCode::BAD_REQUEST, &answer)).await;
    let step = json!({ "kind": "client_credentials", "token_endpoint": server.base, "client_auth": { "federated": {} } });
    let error = run(json!([step, { "kind": "token_as_password" }])).await.unwrap_err();
    let said = everything(&error);
    assert!(said.contains("invalid_request, AADSTS700213") && said.contains("no federated credential"), "{said}");
    assert!(!said.contains("hunter2"), "{said}");
}
