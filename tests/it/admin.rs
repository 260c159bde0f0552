//! The admin endpoints: who may ask what.

use crate::support::http::{get, metric, request};
use crate::support::proxy::{ALLOW_ALL, Proxy};

#[tokio::test]
async fn health_and_metrics_answer_on_both_addresses() {
    let proxy = Proxy::start(ALLOW_ALL).await;
    for address in [proxy.pod_admin, proxy.loopback_admin] {
        for path in ["/livez", "/readyz", "/startupz"] {
            assert_eq!(get(address, path).await, (200, "ok\n".to_owned()), "{path}");
        }
        assert!(metric(address, "tollhouse_start_time_seconds", &[]).await > 1e9);
        assert_eq!(get(address, "/nothing").await.0, 404);
        assert_eq!(request(address, "POST", "/livez").await.0, 405);
    }
    proxy.stop().await;
}

#[tokio::test]
async fn what_shows_configuration_or_stops_the_program_answers_on_loopback_only() {
    let proxy = Proxy::start(ALLOW_ALL).await;
    for (method, path) in [("GET", "/config"), ("GET", "/policies"), ("POST", "/quitquitquit")] {
        assert_eq!(request(proxy.pod_admin, method, path).await.0, 404, "{path}");
    }
    assert_eq!(request(proxy.loopback_admin, "GET", "/quitquitquit").await.0, 405);
    assert_eq!(request(proxy.loopback_admin, "POST", "/config").await.0, 405);
    assert!(!proxy.has_ended());

    let (_, config) = get(proxy.loopback_admin, "/config").await;
    let config: serde_json::Value = serde_json::from_str(&config).unwrap();
    assert_eq!(config["targets"][0]["role"], "dbt_runner");
    let (_, policies) = get(proxy.loopback_admin, "/policies").await;
    assert!(policies.contains("demo/it"), "{policies}");
    proxy.stop().await;
}

#[tokio::test]
async fn the_configuration_shown_holds_no_secret() {
    let proxy = Proxy::with(ALLOW_ALL, |config| {
        config["targets"][0]["credential"][0]["extra"] = serde_json::json!({ "api_key": "hunter2-is-secret" });
    })
    .await;
    let (status, config) = get(proxy.loopback_admin, "/config").await;
    assert_eq!(status, 200);
    assert!(config.contains("api_key"), "{config}");
    assert!(!config.contains("hunter2-is-secret"), "{config}");
    proxy.stop().await;
}

#[tokio::test]
async fn quitquitquit_ends_the_program_in_order() {
    let proxy = Proxy::start(ALLOW_ALL).await;
    assert_eq!(request(proxy.loopback_admin, "POST", "/quitquitquit").await.0, 200);
    crate::support::eventually(|| async { proxy.has_ended().then_some(()) }).await;
    let evidence = proxy.stop().await;
    assert_eq!(evidence.of_kind("closed").len(), 1);
}
