//! The proxy's own login at the warehouse with a password, in each way that PostgreSQL asks for one.

use serde_json::json;
use tokio_postgres::NoTls;
use tollhouse::config::Config;
use tollhouse::serve::doctor::examine;

use crate::support::proxy::{ALLOW_ALL, Proxy, configuration};
use crate::support::warehouse::warehouse;
use crate::support::within;

const PASSWORD: &str = "correct horse battery staple";

/// A proxy that logs in as a role of its own, for which PostgreSQL asks by `method`, with `password` from a file.
async fn with_password(method: &str, encryption: &str, password: &str) -> (Proxy, tempfile::TempDir) {
    let role = format!("login_{}", method.replace('-', "_"));
    warehouse().admit_by_password(&role, method, encryption, PASSWORD).await;
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("password");
    std::fs::write(&file, format!("{password}\n")).unwrap();
    let proxy = Proxy::with(ALLOW_ALL, |config| {
        config["targets"][0]["role"] = json!(role);
        config["targets"][0]["credential"] = json!([{ "kind": "password_file", "file": file }]);
    });
    (proxy.await, directory)
}

async fn logs_in(method: &str, encryption: &str) {
    let (proxy, _directory) = with_password(method, encryption, PASSWORD).await;
    let (client, connection) = within(proxy.client_config().connect(NoTls)).await.unwrap();
    tokio::spawn(connection);
    let row = within(client.query_one("select current_user::text", &[])).await.unwrap();
    assert_eq!(row.get::<_, String>(0), format!("login_{}", method.replace('-', "_")));
    proxy.stop().await;
}

#[tokio::test]
async fn a_password_proves_the_proxy_by_scram() {
    logs_in("scram-sha-256", "scram-sha-256").await;
}

#[tokio::test]
async fn a_password_proves_the_proxy_by_md5() {
    logs_in("md5", "md5").await;
}

#[tokio::test]
async fn a_password_proves_the_proxy_in_clear_behind_tls() {
    logs_in("password", "scram-sha-256").await;
}

#[tokio::test]
async fn a_wrong_password_is_the_proxys_own_trouble_and_told_as_such() {
    let role = "login_wrong";
    warehouse().admit_by_password(role, "scram-sha-256", "scram-sha-256", PASSWORD).await;
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("password");
    std::fs::write(&file, "wrong").unwrap();
    let proxy = Proxy::with(ALLOW_ALL, |config| {
        config["targets"][0]["role"] = json!(role);
        config["targets"][0]["credential"] = json!([{ "kind": "password_file", "file": file }]);
    })
    .await;
    let Err(error) = within(proxy.client_config().connect(NoTls)).await else { panic!("let in") };
    let error = error.as_db_error().unwrap();
    assert_eq!((error.code().code(), error.detail().unwrap().starts_with("Reason target-login")), ("28000", true));
    assert!(!error.message().contains(role), "the client knows nothing of the role: {}", error.message());
    let evidence = proxy.stop().await;
    assert_eq!(evidence.texts("session-refused", "reason"), ["target-login"]);
}

#[tokio::test]
async fn a_password_that_was_changed_at_the_warehouse_is_read_anew_within_the_login_that_finds_out() {
    let role = "login_changed";
    warehouse().admit_by_password(role, "scram-sha-256", "scram-sha-256", PASSWORD).await;
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("password");
    std::fs::write(&file, PASSWORD).unwrap();
    let proxy = Proxy::with(ALLOW_ALL, |config| {
        config["targets"][0]["role"] = json!(role);
        config["targets"][0]["credential"] = json!([{ "kind": "password_file", "file": file }]);
    })
    .await;
    proxy.client().await;
    warehouse().administrator().await.batch_execute(&format!("alter role {role} password 'changed'")).await.unwrap();
    std::fs::write(&file, "changed").unwrap();
    proxy.client().await;

    // Where another credential is refused as well, the warehouse's refusal is the answer, at once.
    warehouse().administrator().await.batch_execute(&format!("alter role {role} password 'changed again'")).await.unwrap();
    let refused = proxy.refused().await;
    assert!(refused.detail().unwrap().starts_with("Reason target-login, "), "{refused:?}");
    let evidence = proxy.stop().await;
    assert_eq!(evidence.of_kind("session-started").len(), 2);
    let mut used = evidence.texts("session", "credential");
    used.dedup();
    assert_eq!(used.len(), 2, "{used:?}");
}

#[tokio::test]
async fn the_doctor_asks_for_a_database_that_exists_only_when_it_is_told_of_one() {
    let role = "login_without_database";
    warehouse().admit_by_password(role, "scram-sha-256", "scram-sha-256", PASSWORD).await;
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("password");
    std::fs::write(&file, PASSWORD).unwrap();
    let mut config = configuration(&directory);
    config["targets"][0]["role"] = json!(role);
    config["targets"][0]["credential"] = json!([{ "kind": "password_file", "file": file }]);
    let config = Config::parse("test.yaml", &config.to_string(), &|_| None).unwrap();
    for (database, verdict, word) in [(None, "ok", "gives"), (Some("nowhere"), "failed", "cause")] {
        let findings = serde_json::to_value(within(examine(&config, database)).await).unwrap();
        assert_eq!((&findings[2]["part"], &findings[2]["verdict"]), (&json!("login"), &json!(verdict)), "{findings}");
        assert!(findings[2][word].as_str().unwrap().contains("does not exist"), "{findings}");
    }
}

#[tokio::test]
async fn the_doctor_logs_in_or_says_whose_fault_it_is_and_shows_no_password() {
    let role = "login_doctor";
    warehouse().admit_by_password(role, "scram-sha-256", "scram-sha-256", PASSWORD).await;
    for (password, expected) in [(PASSWORD, "ok"), ("wrong-hunter2", "failed")] {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("password");
        std::fs::write(&file, password).unwrap();
        let mut config = configuration(&directory);
        config["targets"][0]["role"] = json!(role);
        config["targets"][0]["credential"] = json!([{ "kind": "password_file", "file": file }]);
        let config = Config::parse("test.yaml", &config.to_string(), &|_| None).unwrap();
        let findings = serde_json::to_value(within(examine(&config, Some("postgres"))).await).unwrap();
        let parts: Vec<_> = findings.as_array().unwrap().iter().map(|found| (&found["part"], &found["verdict"])).collect();
        let expected = [json!("identity"), json!("ok"), json!("credential[0] password_file"), json!("ok"), json!("login"), json!(expected)];
        assert_eq!(
            parts.iter().flat_map(|(part, verdict)| [(*part).clone(), (*verdict).clone()]).collect::<Vec<_>>(),
            expected,
            "{findings}"
        );
        assert!(!findings.to_string().contains(password), "{findings}");
        if password != PASSWORD {
            assert_eq!((&findings[2]["reason"], &findings[2]["whose"]), (&json!("target-login"), &json!("target")));
        }
    }
}
