//! The HTTP door in front of an Athena that answers as it is told to: what moto does not do on demand.

use serde_json::{Value, json};

use crate::support::proxy::Proxy;
use crate::support::script::{Request, Script, ask_text as ask, reply_with, request};

/// Analysts may read, and have results written to one bucket.
const POLICY: &str =
    "sql: [{ actions: [select], tables: [awsdatacatalog.analytics.*] }, { actions: [export], locations: ['s3://results/*'] }]";

const KEYS: &str = "<AssumeRoleWithWebIdentityResponse><AssumeRoleWithWebIdentityResult><Credentials><AccessKeyId>ASIAROLE</AccessKeyId>\
    <SecretAccessKey>key</SecretAccessKey><SessionToken>role-session</SessionToken><Expiration>2099-01-01T00:00:00Z</Expiration>\
    </Credentials></AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>";

fn is_sts(request: &Request) -> bool {
    request.text().contains("AssumeRoleWithWebIdentity")
}

fn answer(status: &str, body: &Value) -> Vec<u8> {
    reply_with(status, "Content-Type: application/x-amz-json-1.1\r\n", body.to_string().as_bytes())
}

/// An Athena whose executions are in this state, beside an STS that gives keys.
fn athena(state: &'static str) -> impl Fn(&Request) -> Vec<u8> + Send + Sync + 'static {
    move |request| {
        if is_sts(request) {
            return reply_with("200 OK", "Content-Type: text/xml\r\n", KEYS.as_bytes());
        }
        let head = request.head.to_ascii_lowercase();
        if head.contains("amazonathena.startqueryexecution") {
            return answer("200 OK", &json!({ "QueryExecutionId": "q1" }));
        }
        if head.contains("amazonathena.stopqueryexecution") {
            return answer("200 OK", &json!({}));
        }
        answer("200 OK", &json!({ "QueryExecution": { "Status": { "State": state, "AthenaError": { "ErrorType": 1301 } } } }))
    }
}

async fn sidecar(server: &Script, policy: &str) -> Proxy {
    server
        .sidecar("athena", policy, |config| {
            let endpoint = format!("http://localhost:{}", config["targets"][0]["port"]);
            let role = json!({
                "kind": "aws_web_identity", "role_arn": "arn:aws:iam::123456789012:role/dbt", "region": "eu-central-1", "endpoint": endpoint,
            });
            config["targets"][0]["credential"] = json!([role, { "kind": "aws_sigv4" }]);
            config["shutdown"]["deadline"] = json!("1s");
        })
        .await
}

const SIGNED: &str = "Authorization: AWS4-HMAC-SHA256 Credential=AKIACLIENT/20261124/eu-west-2/athena/aws4_request, \
    SignedHeaders=host, Signature=00\r\nX-Amz-Date: 20200101T000000Z\r\nX-Amz-Security-Token: client-session\r\n";

fn call(proxy: &Proxy, operation: &str, body: &str) -> String {
    let headers = format!("Content-Type: application/x-amz-json-1.1\r\nX-Amz-Target: AmazonAthena.{operation}\r\n{SIGNED}");
    request(proxy, "POST /", &headers, body)
}

fn start(sql: &str, location: &str) -> String {
    let context = json!({ "Catalog": "AwsDataCatalog", "Database": "analytics" });
    json!({ "QueryString": sql, "QueryExecutionContext": context, "ResultConfiguration": { "OutputLocation": location } }).to_string()
}

/// What Athena was sent, without what STS was.
fn calls(server: &Script) -> Vec<Request> {
    server.seen().into_iter().filter(|request| !is_sts(request)).collect()
}

#[tokio::test]
async fn a_statement_is_signed_as_the_role_and_followed_to_its_end() {
    let server = Script::start(athena("SUCCEEDED")).await;
    let proxy = sidecar(&server, POLICY).await;
    let sql = "-- /* {\"app\": \"dbt\", \"node_id\": \"model.a.b\"} */\nselect a from t";
    let begun = ask(&proxy, &call(&proxy, "StartQueryExecution", &start(sql, "s3://results/x/"))).await;
    assert!(begun.contains(r#"{"QueryExecutionId":"q1"}"#), "{begun}");
    let state = ask(&proxy, &call(&proxy, "GetQueryExecution", r#"{"QueryExecutionId":"q1"}"#)).await;
    assert!(state.contains("SUCCEEDED"), "{state}");

    let seen = calls(&server);
    assert_eq!((seen.len(), seen[0].body.as_slice()), (2, start(sql, "s3://results/x/").as_bytes()));
    for request in seen.iter().map(Request::text) {
        assert!(request.contains("Credential=ASIAROLE/") && request.contains("/eu-west-2/athena/aws4_request"), "{request}");
        assert!(request.contains("x-amz-security-token: role-session") && request.contains("x-amz-target: AmazonAthena."), "{request}");
        assert!(!request.contains("AKIACLIENT") && !request.contains("client-session") && !request.contains("20200101"), "{request}");
    }
    let evidence = proxy.stop().await;
    let execution = evidence.execution(sql);
    assert_eq!((execution.status.as_str(), execution.rows, execution.query_id.as_deref()), ("completed", None, Some("q1")));
    assert_eq!(
        (execution.dbt.as_deref(), execution.tables.as_slice()),
        (Some("model.a.b"), &["awsdatacatalog.analytics.t".to_owned()][..])
    );
    assert_eq!(evidence.texts("outcome", "out_of_band"), ["S3"]);
}

#[tokio::test]
async fn a_denied_call_reaches_nobody_and_is_told_as_athena_would() {
    let server = Script::start(athena("RUNNING")).await;
    let proxy = sidecar(&server, POLICY).await;
    let results = "s3://results/x/";
    for (operation, body, error, reason) in [
        ("StartQueryExecution", start("select a from fin.salaries", results), "AccessDeniedException", "policy-denied"),
        ("StartQueryExecution", start("select a from t", "s3://attacker/"), "AccessDeniedException", "policy-denied"),
        ("StartQueryExecution", start("execute p", results), "AccessDeniedException", "statement-opaque"),
        ("CreatePreparedStatement", r#"{"QueryStatement": "drop table t"}"#.to_owned(), "AccessDeniedException", "policy-denied"),
        (
            "GetTableMetadata",
            r#"{"CatalogName": "a", "DatabaseName": "b", "TableName": "c"}"#.to_owned(),
            "AccessDeniedException",
            "policy-denied",
        ),
        ("ListQueryExecutions", "{}".to_owned(), "AccessDeniedException", "policy-denied"),
        ("GetQueryResults", r#"{"QueryExecutionId": "q9"}"#.to_owned(), "InvalidRequestException", "handle-unknown"),
        (
            "StartQueryExecution",
            r#"{"QueryString": "select 1", "QueryString": "drop table t"}"#.to_owned(),
            "InvalidRequestException",
            "request-malformed",
        ),
        ("StartQueryExecution", r#"{"QueryString": "select 1", "Unknown": 1}"#.to_owned(), "InvalidRequestException", "request-malformed"),
        ("StartQueryExecution", "{".to_owned(), "InvalidRequestException", "request-malformed"),
    ] {
        let told = ask(&proxy, &call(&proxy, operation, &body)).await;
        assert!(told.starts_with("HTTP/1.1 400") && told.contains(&format!("x-amzn-errortype: {error}")), "{operation} {body}: {told}");
        assert!(told.contains(&format!("[reason {reason}")), "{operation} {body}: {told}");
    }
    let presigned = call(&proxy, "GetWorkGroup", "{}").replacen("POST / ", "POST /?X-Amz-Signature=00 ", 1);
    assert!(ask(&proxy, &presigned).await.contains("[reason request-malformed"));
    assert_eq!(calls(&server), []);
}

#[tokio::test]
async fn how_an_execution_ended_is_recorded() {
    for (state, status, error) in [("FAILED", "failed", Some("1301")), ("CANCELLED", "cancelled", None)] {
        let server = Script::start(athena(state)).await;
        let proxy = sidecar(&server, POLICY).await;
        ask(&proxy, &call(&proxy, "StartQueryExecution", &start("select a from t", "s3://results/x/"))).await;
        ask(&proxy, &call(&proxy, "GetQueryExecution", r#"{"QueryExecutionId":"q1"}"#)).await;
        let execution = proxy.stop().await.execution("select a from t");
        assert_eq!((execution.status.as_str(), execution.error.as_deref()), (status, error), "{state}");
    }
    let server = Script::start(athena("RUNNING")).await;
    let proxy = sidecar(&server, POLICY).await;
    ask(&proxy, &call(&proxy, "StartQueryExecution", &start("select a from t", "s3://results/x/"))).await;
    ask(&proxy, &call(&proxy, "StopQueryExecution", r#"{"QueryExecutionId":"q1"}"#)).await;
    assert_eq!(proxy.stop().await.execution("select a from t").status, "cancelled");
}

#[tokio::test]
async fn a_call_that_athena_refuses_has_its_name_in_the_record() {
    let server = Script::start(|request| {
        if is_sts(request) {
            return athena("RUNNING")(request);
        }
        answer("400 Bad Request", &json!({ "__type": "com.amazonaws.athena#InvalidRequestException", "message": "no" }))
    })
    .await;
    let proxy = sidecar(&server, POLICY).await;
    let told = ask(&proxy, &call(&proxy, "StartQueryExecution", &start("select a from t", "s3://results/x/"))).await;
    assert!(told.starts_with("HTTP/1.1 400") && told.contains("com.amazonaws.athena#InvalidRequestException"), "{told}");
    let execution = proxy.stop().await.execution("select a from t");
    assert_eq!((execution.status.as_str(), execution.error.as_deref()), ("failed", Some("InvalidRequestException")));
}
