//! New policy files while the proxy runs.

use tollhouse::config::Config;
use tollhouse::serve::Server;

use crate::support::http::metric;
use crate::support::proxy::{ALLOW_ALL, Proxy};
use crate::support::{eventually, within};

/// Lets sessions in and no statement pass that does anything.
const NOTHING: &str = "sql: [{ tables: [demo.nowhere.nothing] }]";

const SALARIES: &str = "select * from finance.salaries";

#[tokio::test]
async fn a_changed_policy_is_in_force_in_sessions_that_are_open() {
    let proxy = Proxy::start(NOTHING).await;
    let client = proxy.client().await;
    assert!(within(client.simple_query(SALARIES)).await.is_err());
    proxy.write_policy(ALLOW_ALL);
    eventually(|| async { client.simple_query(SALARIES).await.ok() }).await;
    proxy.write_policy(NOTHING);
    eventually(|| async { client.simple_query(SALARIES).await.err() }).await;
    let evidence = proxy.stop().await;
    let revisions = evidence.texts("policy-loaded", "revision");
    assert_eq!(revisions.len(), 3);
    assert_ne!(revisions[0], revisions[1]);
    assert_eq!(revisions[0], revisions[2], "the revision is a digest of what is in force");
}

#[tokio::test]
async fn an_invalid_policy_file_changes_nothing_but_says_so_until_it_is_repaired() {
    let proxy = Proxy::start(NOTHING).await;
    let client = proxy.client().await;
    let current = || metric(proxy.pod_admin, "tollhouse_policy_current", &[]);
    assert_eq!(current().await, 1.0);

    proxy.write_policy("sql: [{ tabels: [demo.public.*] }]");
    eventually(|| async { (current().await == 0.0).then_some(()) }).await;
    assert!(within(client.simple_query(SALARIES)).await.is_err());
    assert_eq!(metric(proxy.pod_admin, "tollhouse_policy_change_total", &[r#"outcome="rejected""#]).await, 1.0);
    assert_eq!(crate::support::http::get(proxy.pod_admin, "/readyz").await.0, 200, "a bad file takes nothing down");

    proxy.write_policy(ALLOW_ALL);
    eventually(|| async { (current().await == 1.0).then_some(()) }).await;
    within(client.simple_query(SALARIES)).await.unwrap();
    let evidence = proxy.stop().await;
    let rejected = evidence.of_kind("policy-rejected");
    assert_eq!(rejected.len(), 1, "once, however often the file is looked at");
    assert_eq!(rejected[0].fields["in_force"], evidence.texts("policy-loaded", "revision")[0]);
    assert!(rejected[0].fields["problems"][0].as_str().unwrap().contains("tabels"), "{:?}", rejected[0]);
}

#[tokio::test]
async fn a_policy_file_that_vanishes_leaves_the_old_policies_in_force() {
    let proxy = Proxy::start(ALLOW_ALL).await;
    let client = proxy.client().await;
    std::fs::remove_file(proxy.policy_file()).unwrap();
    eventually(|| async { (proxy.records_of("policy-rejected").len() == 1).then_some(()) }).await;
    within(client.simple_query(SALARIES)).await.unwrap();
    // The old text again is a load like any other.
    proxy.write_policy(ALLOW_ALL);
    eventually(|| async { (metric(proxy.pod_admin, "tollhouse_policy_current", &[]).await == 1.0).then_some(()) }).await;
    proxy.stop().await;
}

#[tokio::test]
async fn one_bad_document_of_a_directory_keeps_the_last_good_set_in_force_and_refuses_a_start() {
    let directory = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(directory.path().join(name), text).unwrap();
    let policy = |name: &str, entry: &str| {
        format!(
            "apiVersion: tollhouse.dev/v1alpha1\nkind: ClusterWarehousePolicy\nmetadata: {{ name: {name} }}\n\
             spec: {{ endpointSelector: {{}}, egress: [{{ toPorts: [{{ rules: {{ sql: [{entry}] }} }}] }}] }}\n"
        )
    };
    write("a.yaml", &policy("a", "{}"));
    let paths = serde_json::json!([directory.path()]);
    let proxy = Proxy::with(NOTHING, |config| config["policy"]["paths"] = paths.clone()).await;
    let client = proxy.client().await;

    write("b.yaml", &policy("b", "{ tabels: [a.b] }"));
    eventually(|| async { (metric(proxy.pod_admin, "tollhouse_policy_current", &[]).await == 0.0).then_some(()) }).await;
    within(client.simple_query(SALARIES)).await.unwrap();
    assert_eq!(crate::support::http::get(proxy.pod_admin, "/readyz").await.0, 200);

    let other = tempfile::tempdir().unwrap();
    let mut config = crate::support::proxy::configuration(&other);
    config["policy"]["paths"] = paths;
    let config = Config::parse("test.yaml", &config.to_string(), &|_| None).unwrap();
    let error = Server::bind(config).await.err().unwrap().to_string();
    assert!(
        error.contains("b.yaml:4: spec.egress[0].toPorts[0].rules.sql[0].tabels: unknown key `tabels`; did you mean `tables`?"),
        "{error}"
    );
    proxy.stop().await;
}
