//! The settings of steps, and each kind of step against a stand-in that keeps to the documented contract.

mod aws;
mod cloud;
mod every_step;
mod faults;
mod oauth;
mod secrets;
mod subject;
mod vault;

use serde_json::json;

use crate::credential::Step;

#[test]
fn the_schema_of_a_step_accepts_what_the_types_accept_and_nothing_else() {
    let schema = jsonschema::validator_for(schemars::schema_for!(Step).as_value()).unwrap();
    for (step, is_good) in [
        (json!({ "kind": "token_exchange", "issuer": "https://issuer.example", "client_auth": "none" }), true),
        (json!({ "kind": "token_exchange", "client_auth": { "basic": { "client_id": "a", "client_secret_file": "/s" } } }), true),
        (json!({ "kind": "token_exchange", "client_auth": { "basic": { "client_id": "a", "client_secret": "hunter2" } } }), false),
        (json!({ "kind": "client_credentials", "token_endpoint": "https://x.example", "client_auth": { "federated": {} } }), true),
        (json!({ "kind": "client_credentials", "token_endpoint": "https://x.example" }), false),
        (json!({ "kind": "subject_token_file", "file": "/run/assertion", "token_type": "saml2" }), true),
        (json!({ "kind": "subject_token_file", "file": "/run/token", "token_type": "urn:example:token" }), true),
        (json!({ "kind": "subject_token_file", "file": "/run/token" }), false),
        (json!({ "kind": "jwt_bearer", "issuer": "https://x.example", "grant": "saml2" }), true),
        (json!({ "kind": "jwt_bearer", "issuer": "https://x.example", "grant": "saml1" }), false),
        (json!({ "kind": "client_certificate", "url": "https://ca.example/1.0/sign", "common_name": "dbt", "lifetime": "5m" }), true),
        (json!({ "kind": "client_certificate", "url": "https://ca.example/1.0/sign" }), false),
        (json!({ "kind": "client_certificate", "url": "ftp://ca.example", "common_name": "dbt" }), false),
        (json!({ "kind": "aws_web_identity", "role_arn": "arn:aws:iam::1:role/x", "region": "eu-west-1" }), true),
        (json!({ "kind": "aws_web_identity", "role_arn": "arn:aws:iam::1:role/x", "region": "eu/west" }), false),
        (json!({ "kind": "redshift_credentials", "region": "us-east-1", "deployment": { "serverless": { "workgroup": "w" } } }), true),
        (json!({ "kind": "redshift_credentials", "region": "us-east-1", "deployment": { "serverless": { "identifier": "w" } } }), false),
        (json!({ "kind": "aws_sigv4" }), true),
        (json!({ "kind": "password_file", "file": "/run/password" }), true),
        (json!({ "kind": "password_file", "file": "/run/password", "lifetime": "5m" }), false),
        (json!({ "kind": "token_as_password" }), true),
        (json!({ "kind": "token_as_password", "file": "/x" }), false),
        (json!({ "kind": "kerberos" }), false),
    ] {
        assert_eq!(schema.is_valid(&step), is_good, "schema: {step}");
        assert_eq!(serde_json::from_value::<Step>(step.clone()).is_ok(), is_good, "types: {step}");
    }
}

/// What `config/credentials.yaml` holds.
#[derive(serde::Deserialize, schemars::JsonSchema)]
struct Examples {
    chains: std::collections::BTreeMap<String, Vec<Step>>,
}

#[test]
fn the_example_chains_fit_and_show_every_kind_of_step() {
    let text = include_str!("../../config/credentials.yaml");
    let examples =
        crate::document::read::<Examples>("credentials.yaml", text, &|_| None).map_err(|problems| format!("{problems:#?}")).unwrap();
    let mut shown = std::collections::BTreeSet::new();
    for (name, steps) in &examples.chains {
        let made = crate::credential::exchange(steps, "dbt_runner", crate::tls::Trust::Production);
        assert!(made.is_ok(), "{name}: {:?}", made.err());
        shown.extend(steps.iter().map(|step| step.signature().kind.to_owned()));
    }
    assert_eq!(every_step::kinds(), shown);
}
