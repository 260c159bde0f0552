//! Steps that call AWS, against stand-ins that verify signatures and fields as AWS documents them.

use std::time::{Duration, SystemTime};

use hyper::StatusCode;
use serde_json::{Value, json};

use crate::aws::sigv4::{Scope, verify};
use crate::credential::Login;
use crate::credential::stand_in::{everything, proof, run};
use crate::fault::{Fault, Reason};
use crate::http_server::stand_in::{Heard, StandIn};
use crate::http_server::{Answer, answer, json as json_answer};

const SECRET: &str = "wJalrXUtnFEMI-hunter2-key";
const EXPIRATION: &str = "2099-01-02T03:04:05.123456Z";

/// STS, as far as steps need it, and what a test adds.
fn sts(heard: &Heard, others: impl Fn(&Heard) -> Answer) -> Answer {
    match heard.body.contains("Action=AssumeRoleWithWebIdentity&").then(|| heard.field("Action")).flatten() {
        Some(_) => xml(&format!(
            "<AssumeRoleWithWebIdentityResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><AssumeRoleWithWebIdentityResult>\
             <Credentials><AccessKeyId>ASIA1</AccessKeyId><SecretAccessKey>{SECRET}</SecretAccessKey><SessionToken>session-hunter2</SessionToken>\
             <Expiration>{EXPIRATION}</Expiration></Credentials><Provider>p</Provider></AssumeRoleWithWebIdentityResult>\
             </AssumeRoleWithWebIdentityResponse>"
        )),
        None => others(heard),
    }
}

fn xml(body: &str) -> Answer {
    answer(StatusCode::OK, "text/xml", body.to_owned())
}

fn assume(endpoint: &str) -> Value {
    json!({ "kind": "aws_web_identity", "role_arn": "arn:aws:iam::1:role/dbt", "region": "eu-west-1", "endpoint": endpoint })
}

fn pairs(fields: &[(&str, &str)]) -> Vec<(String, String)> {
    fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

#[tokio::test]
async fn a_token_becomes_keys_that_make_the_password_of_rds() {
    let server = StandIn::start(|heard| sts(heard, |_| panic!("a second call"))).await;
    let credential = run(json!([assume(&server.base), { "kind": "rds_token", "region": "eu-west-1" }])).await.unwrap();
    assert_eq!(
        server.only().form(),
        pairs(&[
            ("Action", "AssumeRoleWithWebIdentity"),
            ("Version", "2011-06-15"),
            ("RoleArn", "arn:aws:iam::1:role/dbt"),
            ("RoleSessionName", "shop.dbt"),
            ("WebIdentityToken", proof().token.expose()),
            ("DurationSeconds", "3600"),
        ])
    );
    assert_eq!(server.only().header("authorization"), "", "the token is the proof");
    let Login::Password(password) = &credential.login else { panic!("{credential:?}") };
    let password = password.expose();
    assert!(password.starts_with("wh.cluster-abc.eu-west-1.rds.amazonaws.com:5432/?Action=connect&DBUser=dbt_runner&X-Amz-"), "{password}");
    assert!(password.contains("X-Amz-Security-Token=session-hunter2&X-Amz-Signature="), "{password}");
    let life = credential.expires_at.duration_since(SystemTime::now()).unwrap();
    assert!(life <= Duration::from_secs(900) && life > Duration::from_secs(890), "{life:?}");
}

#[tokio::test]
async fn redshifts_user_is_the_one_that_comes_back_with_the_password() {
    let issued = |operation: &str, user: &str| {
        format!(
            "<{operation}Response><{operation}Result><DbUser>{user}</DbUser><DbPassword>p-hunter2</DbPassword>\
             <Expiration>2099-01-01T00:00:00Z</Expiration></{operation}Result></{operation}Response>"
        )
    };
    let by_name = json!({ "cluster": { "identifier": "wh", "auto_create": true, "groups": ["a", "b"] } });
    let cases = [
        (
            by_name,
            issued("GetClusterCredentials", "IAMA:dbt_runner"),
            "IAMA:dbt_runner",
            pairs(&[
                ("Action", "GetClusterCredentials"),
                ("Version", "2012-12-01"),
                ("DbUser", "dbt_runner"),
                ("ClusterIdentifier", "wh"),
                ("AutoCreate", "true"),
                ("DbGroups.DbGroup.1", "a"),
                ("DbGroups.DbGroup.2", "b"),
                ("DurationSeconds", "900"),
                ("DbName", "dev"),
            ]),
        ),
        (
            json!({ "cluster_iam": { "identifier": "wh" } }),
            issued("GetClusterCredentialsWithIAM", "IAMR:dbt"),
            "IAMR:dbt",
            pairs(&[
                ("Action", "GetClusterCredentialsWithIAM"),
                ("Version", "2012-12-01"),
                ("ClusterIdentifier", "wh"),
                ("DurationSeconds", "900"),
                ("DbName", "dev"),
            ]),
        ),
    ];
    for (deployment, body, user, fields) in cases {
        let server = StandIn::start(move |heard| sts(heard, |_| xml(&body))).await;
        let step = json!({ "kind": "redshift_credentials", "region": "eu-west-1", "deployment": deployment, "database": "dev", "endpoint": server.base });
        let credential = run(json!([assume(&server.base), step])).await.unwrap();
        assert_eq!(credential.role.as_deref(), Some(user));
        assert!(matches!(&credential.login, Login::Password(password) if password.expose() == "p-hunter2"));
        let heard = &server.heard()[1];
        assert_eq!(heard.form(), fields);
        assert_eq!(heard.header("x-amz-security-token"), "session-hunter2");
        let expected = Scope { key_id: "ASIA1".to_owned(), region: "eu-west-1".to_owned(), service: "redshift".to_owned() };
        assert_eq!(verify(heard, SECRET), expected);
    }
}

#[tokio::test]
async fn a_serverless_workgroup_is_asked_in_json() {
    let issued = json!({ "dbUser": "IAMR:dbt", "dbPassword": "p-hunter2", "expiration": 4_070_908_800.5 });
    let server = StandIn::start(move |heard| sts(heard, |_| json_answer(StatusCode::OK, &issued))).await;
    let step = json!({ "kind": "redshift_credentials", "region": "us-east-2", "deployment": { "serverless": { "workgroup": "wg" } }, "endpoint": server.base });
    let credential = run(json!([assume(&server.base), step])).await.unwrap();
    assert_eq!(credential.role.as_deref(), Some("IAMR:dbt"));
    assert_eq!(credential.expires_at, SystemTime::UNIX_EPOCH + Duration::from_millis(4_070_908_800_500));
    let heard = &server.heard()[1];
    assert_eq!(serde_json::from_str::<Value>(&heard.body).unwrap(), json!({ "workgroupName": "wg", "durationSeconds": 900 }));
    assert_eq!(heard.header("x-amz-target"), "RedshiftServerless.GetCredentials");
    assert_eq!(verify(heard, SECRET).service, "redshift-serverless");
}

#[tokio::test]
async fn keys_become_a_token_again_or_sign_for_themselves() {
    let token = format!(
        "<GetWebIdentityTokenResponse><GetWebIdentityTokenResult><WebIdentityToken>made-token</WebIdentityToken>\
         <Expiration>{EXPIRATION}</Expiration></GetWebIdentityTokenResult></GetWebIdentityTokenResponse>"
    );
    let server = StandIn::start(move |heard| sts(heard, |_| xml(&token))).await;
    let step = json!({ "kind": "aws_web_identity_token", "region": "eu-west-1", "audiences": ["snowflakecomputing.com"], "algorithm": "ES384", "endpoint": server.base });
    let credential = run(json!([assume(&server.base), step, { "kind": "token_as_password" }])).await.unwrap();
    assert!(matches!(&credential.login, Login::Token(token) if token.expose() == "made-token"));
    let heard = &server.heard()[1];
    assert_eq!(
        heard.form(),
        pairs(&[
            ("Action", "GetWebIdentityToken"),
            ("Version", "2011-06-15"),
            ("SigningAlgorithm", "ES384"),
            ("DurationSeconds", "300"),
            ("Audience.member.1", "snowflakecomputing.com"),
        ])
    );
    assert_eq!(verify(heard, SECRET).service, "sts");

    let credential = run(json!([assume(&server.base), { "kind": "aws_sigv4" }])).await.unwrap();
    let Login::AwsCredentials(keys) = &credential.login else { panic!("{credential:?}") };
    assert_eq!((credential.id.as_str(), keys.secret_access_key.expose().as_str()), ("ASIA1", SECRET));
}

#[tokio::test]
async fn a_pods_agent_is_shown_the_token_as_it_is_and_only_where_the_node_answers() {
    let issued = json!({ "AccessKeyId": "ASIA2", "SecretAccessKey": SECRET, "Token": "session-hunter2", "AccountId": "1", "Expiration": EXPIRATION });
    let server = StandIn::saying(issued).await;
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("token");
    std::fs::write(&file, "pods-token\n").unwrap();
    let agent = |url: &str| json!([{ "kind": "aws_pod_identity", "url": url, "token_file": file }, { "kind": "aws_sigv4" }]);
    let credential = run(agent(&format!("{}/v1/credentials", server.base))).await.unwrap();
    assert_eq!(credential.id, "ASIA2");
    let heard = server.only();
    assert_eq!((heard.method.as_str(), heard.path.as_str(), heard.header("authorization")), ("GET", "/v1/credentials", "pods-token"));

    for (url, is_good) in [
        ("http://169.254.170.23/v1/credentials", true),
        ("http://[fd00:ec2::23]/v1/credentials", true),
        ("https://agent.example/v1/credentials", true),
        ("http://169.254.169.254/latest", false),
        ("http://agent.example/v1/credentials", false),
    ] {
        let steps: Vec<crate::credential::Step> = serde_json::from_value(agent(url)).unwrap();
        assert_eq!(crate::credential::exchange(&steps, "dbt", crate::tls::Trust::Production).is_ok(), is_good, "{url}");
    }
}

#[tokio::test]
async fn what_aws_refuses_is_transient_or_final_by_its_code_and_nothing_else_of_it_is_repeated() {
    for (status, code, reason, fix) in [
        (400, "ExpiredTokenException", Reason::ExchangeRefused, "have expired"),
        (400, "InvalidIdentityToken", Reason::ExchangeRefused, "identity provider"),
        (400, "IDPCommunicationError", Reason::ExchangeUnreachable, "issuer"),
        (403, "AccessDenied", Reason::ExchangeRefused, "trust policy"),
        (403, "RegionDisabledException", Reason::ExchangeRefused, "not enabled"),
        (400, "Throttling", Reason::ExchangeUnreachable, ""),
        (503, "ServiceUnavailable", Reason::ExchangeUnreachable, ""),
        (400, "hunter2 is no code", Reason::ExchangeRefused, ""),
    ] {
        let body = format!(
            "<ErrorResponse><Error><Type>Sender</Type><Code>{code}</Code><Message>hunter2</Message></Error><RequestId>hunter2</RequestId></ErrorResponse>"
        );
        let server = StandIn::start(move |_| answer(StatusCode::from_u16(status).unwrap(), "text/xml", body.clone())).await;
        let error = run(json!([assume(&server.base), { "kind": "aws_sigv4" }])).await.unwrap_err();
        let said = everything(&error);
        assert_eq!(error.reason, reason, "{said}");
        assert!(said.contains(fix) && !said.contains("hunter2"), "{said}");
        assert_eq!(said.contains(code), code != "hunter2 is no code", "{said}");
    }
    let server =
        StandIn::start(|_| answer(StatusCode::BAD_REQUEST, "text/plain", "[r-1]: (AccessDeniedException): hunter2, fault: client")).await;
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("token"), "pods-token").unwrap();
    let agent = json!({ "kind": "aws_pod_identity", "url": server.base, "token_file": directory.path().join("token") });
    let said = everything(&run(json!([agent, { "kind": "aws_sigv4" }])).await.unwrap_err());
    assert!(said.contains("AccessDeniedException") && !said.contains("hunter2") && !said.contains("pods-token"), "{said}");
}

#[tokio::test]
async fn a_token_for_another_audience_is_shown_with_the_one_that_sts_wants() {
    let refusal = "<ErrorResponse><Error><Code>InvalidIdentityToken</Code></Error></ErrorResponse>";
    let server = StandIn::start(move |_| answer(StatusCode::BAD_REQUEST, "text/xml", refusal)).await;
    let error = run(json!([assume(&server.base), { "kind": "aws_sigv4" }])).await.unwrap_err();
    let told = Fault::from(error).to_string();
    assert!(told.contains("credential[0] aws_web_identity"), "{told}");
    assert!(told.contains("the token that was shown is for `tollhouse`, and `sts.amazonaws.com` is wanted"), "{told}");
}
