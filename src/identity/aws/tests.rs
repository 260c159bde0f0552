//! A role's keys from each place, and the token that they ask for, against stand-ins that keep to AWS's documentation: they verify
//! signatures and fields, and sign what they give.

use std::path::Path;
use std::sync::Arc;

use hyper::StatusCode;
use serde_json::{Value, json};

use super::{Settings, Source};
use crate::aws::sigv4::{Scope, verify};
use crate::fault::Reason;
use crate::http_server::stand_in::{Heard, StandIn};
use crate::http_server::{Answer, answer, json as json_answer};
use crate::identity::signer::{Signer, claims};
use crate::identity::{IdentityError, IdentitySource, Proof, SUBJECT_LABEL};
use crate::tls::Trust;

const SECRET: &str = "keys-hunter2";
const ROLE: &str = "arn:aws:iam::123456789012:role/dbt";
const EXPIRATION: &str = "2099-01-01T00:00:00Z";

/// Changes what a token says.
type Change = fn(&mut Value);

/// An account: what it signs tokens with, and what it puts in them.
struct Account {
    signer: Signer,
    change: Change,
}

impl Account {
    fn new(change: Change) -> Self {
        Self { signer: Signer::new(), change }
    }

    fn token(&self, issuer: &str, audience: &str) -> String {
        let mut claims = claims(issuer, audience, ROLE);
        claims["https://sts.amazonaws.com/"] = json!({ "aws_account": "123456789012", "source_region": "eu-west-1" });
        (self.change)(&mut claims);
        self.signer.sign(&claims)
    }

    fn answer(&self, heard: &Heard) -> Answer {
        let xml = |body: String| answer(StatusCode::OK, "text/xml", body);
        let keys = json!({ "AccessKeyId": "ASIA1", "SecretAccessKey": SECRET, "Token": "session-hunter2", "Expiration": EXPIRATION });
        match (heard.method.as_str(), heard.path.as_str()) {
            ("GET", "/.well-known/jwks.json") => json_answer(StatusCode::OK, &self.signer.key_set()),
            ("GET", "/agent") if heard.header("authorization") == "pods-token" => json_answer(StatusCode::OK, &keys),
            ("GET", "/ecs") if heard.header("authorization").is_empty() => json_answer(StatusCode::OK, &keys),
            ("PUT", "/latest/api/token") if heard.header("x-aws-ec2-metadata-token-ttl-seconds") == "60" => {
                answer(StatusCode::OK, "text/plain", "imds-hunter2")
            }
            ("GET", path) if heard.header("x-aws-ec2-metadata-token") == "imds-hunter2" => match path {
                "/latest/meta-data/iam/security-credentials/" => answer(StatusCode::OK, "text/plain", "node-role\n"),
                "/latest/meta-data/iam/security-credentials/node-role" => answer(StatusCode::OK, "text/plain", keys.to_string()),
                _ => answer(StatusCode::NOT_FOUND, "text/plain", ""),
            },
            ("POST", "/sts") if heard.field("Action").as_deref() == Some("AssumeRoleWithWebIdentity") => xml(assumed(heard)),
            ("POST", "/sts") => xml(self.minted(heard)),
            _ => answer(StatusCode::IM_A_TEAPOT, "text/plain", ""),
        }
    }

    /// Gives a token to whoever asks as documented, signed by the keys.
    fn minted(&self, heard: &Heard) -> String {
        let expected = Scope { key_id: "ASIA1".to_owned(), region: "eu-west-1".to_owned(), service: "sts".to_owned() };
        assert_eq!(verify(heard, SECRET), expected);
        assert_eq!(heard.header("x-amz-security-token"), "session-hunter2");
        let fields = [("Action", "GetWebIdentityToken"), ("SigningAlgorithm", "ES384"), ("DurationSeconds", "300")];
        for (name, value) in fields {
            assert_eq!(heard.field(name).as_deref(), Some(value));
        }
        let token = self.token(&format!("http://{}", heard.header("host")), &heard.field("Audience.member.1").unwrap());
        format!(
            "<GetWebIdentityTokenResponse><GetWebIdentityTokenResult><WebIdentityToken>{token}</WebIdentityToken>\
             <Expiration>{EXPIRATION}</Expiration></GetWebIdentityTokenResult></GetWebIdentityTokenResponse>"
        )
    }
}

fn assumed(heard: &Heard) -> String {
    assert_eq!(heard.field("RoleArn").as_deref(), Some(ROLE));
    assert_eq!(heard.field("RoleSessionName").as_deref(), Some("tollhouse"));
    assert_eq!(heard.field("WebIdentityToken").as_deref(), Some("pods-token"));
    format!(
        "<AssumeRoleWithWebIdentityResponse><AssumeRoleWithWebIdentityResult><Credentials><AccessKeyId>ASIA1</AccessKeyId>\
         <SecretAccessKey>{SECRET}</SecretAccessKey><SessionToken>session-hunter2</SessionToken><Expiration>{EXPIRATION}</Expiration>\
         </Credentials></AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>"
    )
}

fn source(at: &str, keys: &Value) -> Source {
    let settings: Settings = serde_json::from_value(json!({
        "name": "role", "keys": keys, "region": "eu-west-1", "audience": "tollhouse", "issuer": at, "algorithm": "ES384",
        "endpoint": format!("{at}/sts"), "labels": { "app": "dbt" },
    }))
    .unwrap();
    Source::new(&settings, Trust::Production).unwrap()
}

async fn proven(server: &StandIn, keys: &Value) -> Result<Proof, IdentityError> {
    source(&server.base, keys).prove().await
}

/// The agent, whose token lies in the directory.
fn agent(server: &StandIn, directory: &Path) -> Value {
    std::fs::write(directory.join("token"), "pods-token\n").unwrap();
    json!({ "container": { "url": format!("{}/agent", server.base), "token_file": directory.join("token") } })
}

async fn account(change: Change) -> StandIn {
    let account = Arc::new(Account::new(change));
    StandIn::start(move |heard| account.answer(heard)).await
}

#[tokio::test]
async fn a_role_is_who_its_verified_token_says_wherever_its_keys_come_from() {
    let (server, directory) = (account(|_| {}).await, tempfile::tempdir().unwrap());
    let token_file = directory.path().join("token");
    for keys in [
        agent(&server, directory.path()),
        json!({ "container": { "url": format!("{}/ecs", server.base), "token_file": null } }),
        json!({ "instance": { "url": server.base } }),
        json!({ "web_identity": { "role_arn": ROLE, "token_file": token_file } }),
    ] {
        let proof = proven(&server, &keys).await.unwrap_or_else(|error| panic!("{keys}: {error:?}"));
        assert_eq!((proof.principal.subject.as_str(), proof.principal.proven_by), (ROLE, "aws"));
        assert_eq!(proof.principal.issuer, server.base);
        assert_eq!((proof.principal.labels[SUBJECT_LABEL].as_str(), proof.principal.labels["app"].as_str()), (ROLE, "dbt"));
        assert_eq!(proof.token.expose().split('.').count(), 3);
        assert!(!format!("{proof:?}").contains("hunter2"));
    }
}

#[tokio::test]
async fn a_token_that_says_something_else_than_was_asked_for_proves_nobody() {
    let directory = tempfile::tempdir().unwrap();
    let cases: [(Change, Reason); 3] = [
        (|claims| claims["aud"] = json!("elsewhere"), Reason::TokenWrongAudience),
        (|claims| claims["iss"] = json!("https://another.tokens.sts.global.api.aws"), Reason::TokenWrongIssuer),
        (|claims| claims["exp"] = json!(claims["iat"].as_u64().unwrap() - 10), Reason::TokenExpired),
    ];
    for (change, reason) in cases {
        let server = account(change).await;
        assert_eq!(proven(&server, &agent(&server, directory.path())).await.unwrap_err().reason, reason);
    }
}

#[tokio::test]
async fn each_refusal_has_its_reason_and_says_what_to_do_and_no_secret() {
    let directory = tempfile::tempdir().unwrap();
    let refusal = |code: &str| format!("<ErrorResponse><Error><Code>{code}</Code><Message>hunter2</Message></Error></ErrorResponse>");
    let cases = [
        (403, refusal("OutboundWebIdentityFederationDisabled"), Reason::TokenNotMinted, "enable outbound web identity federation"),
        (403, refusal("AccessDenied"), Reason::TokenNotMinted, "permissions"),
        (400, refusal("SessionDurationEscalationException"), Reason::TokenNotMinted, "lower `lifetime`"),
        (503, refusal("ServiceUnavailable"), Reason::IssuerUnreachable, "503"),
        (200, "<html>hunter2</html>".to_owned(), Reason::IssuerInvalid, "not the XML"),
    ];
    for (status, body, reason, shown) in cases {
        let usual = Account::new(|_| {});
        let server = StandIn::start(move |heard| match heard.path.as_str() {
            "/sts" => answer(StatusCode::from_u16(status).unwrap(), "text/xml", body.clone()),
            _ => usual.answer(heard),
        })
        .await;
        let error = proven(&server, &agent(&server, directory.path())).await.unwrap_err();
        let said = format!("{:?} {}", error, error.source.as_ref().unwrap());
        assert_eq!(error.reason, reason, "{said}");
        assert!(said.contains(shown) && !said.contains("hunter2"), "{said}");
    }
}

#[tokio::test]
async fn keys_that_cannot_be_had_are_told_apart() {
    let (server, directory) = (account(|_| {}).await, tempfile::tempdir().unwrap());
    let mut no_token = agent(&server, directory.path());
    no_token["container"]["token_file"] = json!("/nonexistent/token");
    assert_eq!(proven(&server, &no_token).await.unwrap_err().reason, Reason::TokenUnreadable);
    let nobody = json!({ "instance": { "url": "http://127.0.0.1:9" } });
    assert_eq!(proven(&server, &nobody).await.unwrap_err().reason, Reason::IssuerUnreachable);
    let no_role = StandIn::start(|heard| match heard.path.as_str() {
        "/latest/api/token" => answer(StatusCode::OK, "text/plain", "imds-hunter2"),
        _ => answer(StatusCode::NOT_FOUND, "text/plain", ""),
    })
    .await;
    let error = proven(&no_role, &json!({ "instance": { "url": no_role.base } })).await.unwrap_err();
    assert_eq!(error.reason, Reason::TokenNotMinted);
    assert!(error.source.unwrap().to_string().contains("instance profile"));
}

#[test]
fn settings_that_cannot_be_meant_are_refused() {
    let usual = json!({ "name": "role", "region": "eu-west-1", "audience": "tollhouse", "issuer": "https://a.tokens.sts.global.api.aws" });
    let made = |field: &str, value: Value| {
        let mut settings = usual.clone();
        settings[field] = value;
        let settings: Settings = serde_json::from_value(settings).unwrap();
        Source::new(&settings, Trust::Production).map(|_| ()).map_err(|error| error.to_string())
    };
    assert_eq!(made("keys", json!({ "container": {} })), Ok(()), "as EKS has it");
    assert_eq!(made("keys", json!({ "instance": {} })), Ok(()));
    for (field, value, shown) in [
        ("lifetime", json!("2h"), "1 minute to 1 hour"),
        ("keys", json!({ "container": { "url": "http://169.254.169.254/latest" } }), "loopback"),
        ("keys", json!({ "instance": { "url": "http://metadata.example" } }), "loopback"),
    ] {
        let error = made(field, value.clone()).unwrap_err();
        assert!(error.contains(shown), "{value}: {error}");
    }
}
