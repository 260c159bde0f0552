//! Google, Entra, Databricks and Snowflake: what goes over the wire, against what each documents. None was tried on the service.

use std::time::{Duration, SystemTime};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hyper::StatusCode;
use hyper::header::HeaderValue;
use rcgen::PublicKeyData;
use serde_json::{Value, json};

use crate::credential::stand_in::{everything, jwt, proof, run};
use crate::credential::{Authenticator, Login};
use crate::fault::Reason;
use crate::http_server::stand_in::{Heard, StandIn};
use crate::http_server::{self, Answer};

fn pairs(fields: &[(&str, &str)]) -> Vec<(String, String)> {
    fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn bearer_answer() -> Value {
    json!({ "access_token": "made-token", "token_type": "Bearer", "expires_in": 600 })
}

#[tokio::test]
async fn each_vendors_token_endpoint_is_sent_the_fields_that_it_documents() {
    let token = proof().token.expose().clone();
    let (exchange, jwt_type) = ("urn:ietf:params:oauth:grant-type:token-exchange", "urn:ietf:params:oauth:token-type:jwt");
    let server = StandIn::saying(bearer_answer()).await;
    let base = &server.base;
    let provider = "//iam.googleapis.com/projects/42/locations/global/workloadIdentityPools/pool/providers/prov";
    let cases = [
        (
            json!({ "kind": "gcp_sts", "project_number": 42, "pool": "pool", "provider": "prov", "token_endpoint": format!("{base}/v1/token") }),
            "/v1/token",
            pairs(&[
                ("grant_type", exchange),
                ("subject_token", &token),
                ("subject_token_type", jwt_type),
                ("audience", provider),
                ("scope", "https://www.googleapis.com/auth/cloud-platform"),
                ("requested_token_type", "urn:ietf:params:oauth:token-type:access_token"),
            ]),
        ),
        (
            json!({ "kind": "entra", "tenant": "t-1", "client_id": "app", "scope": "postgresql", "authority": base }),
            "/t-1/oauth2/v2.0/token",
            pairs(&[
                ("grant_type", "client_credentials"),
                ("scope", "https://ossrdbms-aad.database.windows.net/.default"),
                ("client_id", "app"),
                ("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"),
                ("client_assertion", &token),
            ]),
        ),
        (
            json!({ "kind": "databricks_oauth", "workspace": base, "client_id": "sp" }),
            "/oidc/v1/token",
            pairs(&[
                ("grant_type", exchange),
                ("subject_token", &token),
                ("subject_token_type", jwt_type),
                ("scope", "all-apis"),
                ("client_id", "sp"),
            ]),
        ),
    ];
    for (step, path, fields) in cases {
        let credential = run(json!([step, { "kind": "token_as_password" }])).await.unwrap();
        assert!(matches!(&credential.login, Login::Token(token) if token.expose() == "made-token"));
        let heard = server.heard().pop().unwrap();
        assert_eq!((heard.method.as_str(), heard.path.as_str(), heard.form()), ("POST", path, fields));
    }
}

#[tokio::test]
async fn a_service_account_is_impersonated_with_the_token_of_who_may() {
    let server = StandIn::start(|heard| {
        let made = if heard.path.ends_with(":generateAccessToken") {
            json!({ "accessToken": "made-token", "expireTime": "2099-01-01T00:00:00Z" })
        } else {
            json!({ "token": jwt(&json!({ "exp": 4_070_908_800_u64, "aud": "snowflakecomputing.com" })) })
        };
        http_server::json(StatusCode::OK, &made)
    })
    .await;
    let account = "dbt@shop.iam.gserviceaccount.com";
    let step =
        json!({ "kind": "gcp_impersonation", "service_account": account, "endpoint": server.base, "scopes": ["s1"], "delegates": ["d@x"] });
    let credential = run(json!([step, { "kind": "token_as_password" }])).await.unwrap();
    assert_eq!(credential.expires_at, SystemTime::UNIX_EPOCH + Duration::from_secs(4_070_908_800));
    let heard = server.only();
    assert_eq!(heard.path, format!("/v1/projects/-/serviceAccounts/{account}:generateAccessToken"));
    assert_eq!(heard.header("authorization"), format!("Bearer {}", proof().token.expose()));
    let asked: Value = serde_json::from_str(&heard.body).unwrap();
    assert_eq!(asked, json!({ "delegates": ["projects/-/serviceAccounts/d@x"], "scope": ["s1"], "lifetime": "3600s" }));

    let step = json!({ "kind": "gcp_impersonation", "service_account": account, "endpoint": server.base, "id_token_audience": "snowflakecomputing.com" });
    let credential = run(json!([step, { "kind": "snowflake_workload_identity" }])).await.unwrap();
    assert!(matches!(credential.login, Login::Snowflake { authenticator: Authenticator::WorkloadIdentity, .. }));
    let asked: Value = serde_json::from_str(&server.heard()[1].body).unwrap();
    assert_eq!(asked, json!({ "audience": "snowflakecomputing.com", "delegates": [], "includeEmail": true }));
}

#[tokio::test]
async fn what_does_not_say_that_it_is_a_metadata_server_is_not_believed() {
    let answering = |flavor: Option<&'static str>| {
        move |_: &Heard| -> Answer {
            let mut answer = http_server::json(StatusCode::OK, &bearer_answer());
            if let Some(flavor) = flavor {
                answer.headers_mut().insert("metadata-flavor", HeaderValue::from_static(flavor));
            }
            answer
        }
    };
    let server = StandIn::start(answering(Some("Google"))).await;
    let steps = |base: &str| json!([{ "kind": "gcp_metadata", "url": base, "scopes": ["a", "b"] }, { "kind": "token_as_password" }]);
    run(steps(&server.base)).await.unwrap();
    let heard = server.only();
    assert_eq!(heard.path, "/computeMetadata/v1/instance/service-accounts/default/token?scopes=a%2Cb");
    assert_eq!((heard.method.as_str(), heard.header("metadata-flavor")), ("GET", "Google"));
    let server = StandIn::start(answering(None)).await;
    assert_eq!(run(steps(&server.base)).await.unwrap_err().reason, Reason::ExchangeInvalid);
}

#[tokio::test]
async fn a_token_that_is_not_for_snowflake_is_not_sent_there() {
    let error = run(json!([{ "kind": "snowflake_workload_identity" }])).await.unwrap_err();
    let said = everything(&error);
    assert!(said.contains("is for `tollhouse`, and `snowflakecomputing.com` is wanted"), "{said}");
    let credential = run(json!([{ "kind": "snowflake_workload_identity", "audience": "tollhouse" }])).await.unwrap();
    assert!(matches!(&credential.login, Login::Snowflake { token, .. } if token.expose() == proof().token.expose()));
}

#[tokio::test]
async fn a_snowflake_users_own_key_signs_the_claims_that_snowflake_documents() {
    let directory = tempfile::tempdir().unwrap();
    let (file, key) = (directory.path().join("key.p8"), rcgen::KeyPair::generate().unwrap());
    std::fs::write(&file, key.serialize_pem()).unwrap();
    let step = json!({ "kind": "snowflake_key_pair", "account": "org-acct.eu-west-1", "key_file": file, "algorithm": "ES256" });
    let credential = run(json!([step])).await.unwrap();
    let Login::Snowflake { authenticator: Authenticator::SnowflakeJwt, token } = &credential.login else { panic!("{credential:?}") };
    let public = jsonwebtoken::DecodingKey::from_ec_pem(key.public_key_pem().as_bytes()).unwrap();
    let claims = jsonwebtoken::decode::<Value>(token.expose(), &public, &jsonwebtoken::Validation::new(jsonwebtoken::Algorithm::ES256));
    let claims = claims.unwrap().claims;
    let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &key.subject_public_key_info());
    assert_eq!(claims["iss"], format!("ORG-ACCT.DBT_RUNNER.SHA256:{}", STANDARD.encode(hash.as_ref())));
    assert_eq!(claims["sub"], "ORG-ACCT.DBT_RUNNER");
    assert_eq!(claims["exp"].as_u64().unwrap() - claims["iat"].as_u64().unwrap(), 600);
}
