//! Every service that steps call, at one address, and chains in which every kind of step stands.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use hyper::StatusCode;
use hyper::header::HeaderValue;
use serde_json::{Value, json};

use super::vault::signed;
use crate::credential::Step;
use crate::credential::stand_in::{jwt, proof};
use crate::http_server::stand_in::Heard;
use crate::http_server::{Answer, answer, json as json_answer};
use crate::identity::{Certificate, Proof};
use crate::secret::Secret;

/// A good answer to each call. What is secret in it begins with `SECRET`.
pub(super) fn everybody(heard: &Heard) -> Answer {
    const KEYS: &str = "<Credentials><AccessKeyId>ASIA1</AccessKeyId><SecretAccessKey>SECRET-keys</SecretAccessKey>\
                        <SessionToken>SECRET-session</SessionToken><Expiration>2099-01-01T00:00:00Z</Expiration></Credentials>";
    let xml = |body: String| answer(StatusCode::OK, "text/xml", body);
    let ok = |body: Value| json_answer(StatusCode::OK, &body);
    let csr = |field: &str| {
        let asked: Value = serde_json::from_str(&heard.body).unwrap();
        signed(asked[field].as_str().unwrap())
    };
    match heard.path.as_str() {
        "/sts" if heard.body.contains("GetWebIdentityToken") => xml(format!(
            "<R><GetWebIdentityTokenResult><WebIdentityToken>{}</WebIdentityToken><Expiration>2099-01-01T00:00:00Z</Expiration>\
             </GetWebIdentityTokenResult></R>",
            jwt(&json!({ "aud": ["tollhouse"], "sub": "web" }))
        )),
        "/sts" => xml(format!("<R><AssumeRoleWithWebIdentityResult>{KEYS}</AssumeRoleWithWebIdentityResult></R>")),
        "/pod" => ok(json!({ "AccessKeyId": "ASIA1", "SecretAccessKey": "SECRET-keys", "Token": "SECRET-session",
                             "AccountId": "1", "Expiration": "2099-01-01T00:00:00Z" })),
        "/redshift" => ok(json!({ "dbUser": "IAMR:dbt", "dbPassword": "SECRET-redshift", "expiration": 4_070_908_800_u64 })),
        "/sign" => {
            let (certificate, authority) = csr("csr");
            ok(json!({ "crt": certificate, "ca": authority }))
        }
        "/v1/pki/sign/r" => {
            let (certificate, authority) = csr("csr");
            ok(json!({ "data": { "certificate": certificate, "issuing_ca": authority, "ca_chain": [authority] } }))
        }
        "/v1/auth/jwt/login" => ok(json!({ "auth": { "client_token": "SECRET-vault", "lease_duration": 60, "renewable": true } })),
        "/v1/database/creds/r" => {
            let data = json!({ "username": "v-dbt", "password": "SECRET-database" });
            ok(json!({ "lease_id": "l", "lease_duration": 60, "renewable": true, "data": data }))
        }
        "/v1/database/static-creds/r" => ok(json!({ "data": { "username": "dbt", "password": "SECRET-static", "ttl": 120 } })),
        _ => {
            let mut token = ok(json!({ "access_token": "SECRET-token", "token_type": "Bearer", "expires_in": 600,
                                       "accessToken": "SECRET-google", "expireTime": "2099-01-01T00:00:00Z" }));
            token.headers_mut().insert("metadata-flavor", HeaderValue::from_static("Google"));
            token
        }
    }
}

/// What steps read, in a directory that must outlive them.
pub(super) struct Files {
    _directory: tempfile::TempDir,
    secret: PathBuf,
    key: PathBuf,
}

impl Files {
    pub(super) fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let (secret, key) = (directory.path().join("secret"), directory.path().join("key.p8"));
        std::fs::write(&secret, "SECRET-file").unwrap();
        std::fs::write(&key, rcgen::KeyPair::generate().unwrap().serialize_pem()).unwrap();
        Self { _directory: directory, secret, key }
    }

    /// The lines of the key's PEM that are the key.
    pub(super) fn key_lines(&self) -> Vec<String> {
        let pem = std::fs::read_to_string(&self.key).unwrap();
        pem.lines().filter(|line| !line.starts_with("-----")).map(str::to_owned).collect()
    }
}

/// The workload, with a certificate besides.
pub(super) fn proof_with_certificate() -> Proof {
    let key = rcgen::KeyPair::generate().unwrap();
    let leaf = rcgen::CertificateParams::default().self_signed(&key).unwrap();
    let certificate = Certificate { chain: vec![leaf.into()], key: Secret::new(key.into()) };
    Proof { certificate: Some(Arc::new(certificate)), ..proof() }
}

/// Chains in which every kind of step stands, with all that they call at `at`.
pub(super) fn chains(at: &str, files: &Files) -> Vec<Vec<Step>> {
    let Files { secret: file, key, .. } = files;
    let file: &Path = file;
    let token = json!({ "kind": "token_as_password" });
    let secret = json!({ "basic": { "client_id": "me", "client_secret_file": file } });
    let sts = format!("{at}/sts");
    let assume = json!({ "kind": "aws_web_identity", "role_arn": "r", "region": "eu-west-1", "endpoint": sts });
    let vault = json!({ "kind": "vault_login", "address": at, "role": "r" });
    let serverless = json!({ "serverless": { "workgroup": "w" } });
    let chains = [
        json!([token]),
        json!([{ "kind": "client_credentials", "token_endpoint": at, "client_auth": secret }, token]),
        json!([
            { "kind": "subject_token_file", "file": file, "token_type": "access_token" },
            { "kind": "token_exchange", "token_endpoint": at, "actor_token_file": file, "extra": { "api_key": "SECRET-extra" } },
            { "kind": "snowflake_oauth" },
        ]),
        json!([{ "kind": "jwt_bearer", "token_endpoint": at }, token]),
        json!([
            { "kind": "gcp_sts", "project_number": 1, "pool": "p", "provider": "q", "token_endpoint": at },
            { "kind": "gcp_impersonation", "service_account": "a@b", "endpoint": at },
            token,
        ]),
        json!([{ "kind": "gcp_metadata", "url": at }, token]),
        json!([{ "kind": "entra", "tenant": "t", "client_id": "a", "scope": "sql", "authority": at }, token]),
        json!([{ "kind": "databricks_oauth", "workspace": at }, token]),
        json!([assume, { "kind": "rds_token", "region": "eu-west-1" }]),
        json!([assume, { "kind": "aws_sigv4" }]),
        json!([assume, { "kind": "redshift_credentials", "region": "eu-west-1", "deployment": serverless, "endpoint": format!("{at}/redshift") }]),
        json!([
            { "kind": "aws_pod_identity", "url": format!("{at}/pod"), "token_file": file },
            { "kind": "aws_web_identity_token", "region": "eu-west-1", "audiences": ["tollhouse"], "endpoint": sts },
            { "kind": "snowflake_workload_identity", "audience": "tollhouse" },
        ]),
        json!([vault, { "kind": "vault_database", "role": "r" }]),
        json!([vault, { "kind": "vault_database_static", "role": "r" }]),
        json!([vault, { "kind": "vault_pki", "role": "r" }]),
        json!([{ "kind": "client_certificate", "url": format!("{at}/sign"), "common_name": "dbt_runner" }]),
        json!([{ "kind": "snowflake_key_pair", "account": "org-acct", "key_file": key, "algorithm": "ES256" }]),
        json!([{ "kind": "password_file", "file": file }]),
        json!([{ "kind": "x509_svid" }]),
    ];
    chains.into_iter().map(|chain| serde_json::from_value(chain).unwrap()).collect()
}

/// The name of every kind of step, as the schema of the configuration has them.
pub(super) fn kinds() -> BTreeSet<String> {
    let schema = schemars::schema_for!(Step).to_value();
    let kinds = schema["oneOf"].as_array().unwrap().iter();
    kinds.map(|step| step["properties"]["kind"]["const"].as_str().unwrap().to_owned()).collect()
}
