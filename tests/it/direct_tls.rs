//! TLS with the warehouse that begins at once (`tls_negotiation: direct`).

use serde_json::json;

use crate::support::proxy::{ALLOW_ALL, Proxy};
use crate::support::warehouse::warehouse;
use crate::support::within;

#[tokio::test]
async fn tls_begins_at_once_with_a_server_that_knows_that_and_with_no_other() {
    let direct = |target: &mut serde_json::Value| target["tls_negotiation"] = "direct".into();
    // PostgreSQL 15 takes a TLS record for a startup packet. The other server is a listener of ours.
    let old = Proxy::with(ALLOW_ALL, |config| direct(&mut config["targets"][0])).await;
    let refused = old.refused().await;
    assert!(refused.detail().unwrap().contains("target-tls"), "{refused:?}");
    old.stop().await;
    let server = Proxy::with(ALLOW_ALL, |config| {
        let [certificate, key] = ["crt", "key"].map(|kind| warehouse().file(&format!("server/server.{kind}")));
        config["listeners"][0]["tls"] = json!({ "mode": "require", "identity": { "certificate": certificate, "key": key } });
    })
    .await;
    let proxy = Proxy::with(ALLOW_ALL, |config| {
        direct(&mut config["targets"][0]);
        config["targets"][0]["port"] = server.address.port().into();
    })
    .await;
    within(proxy.client().await.simple_query("select 'by way of two proxies'")).await.unwrap();
    assert_eq!(proxy.stop().await.execution("select 'by way of two proxies'").status, "completed");
    server.stop().await;
}

#[tokio::test]
async fn a_server_that_chooses_no_protocol_behind_direct_tls_is_not_spoken_to() {
    // The stand-ins' HTTPS server, which does not know ALPN's name of PostgreSQL.
    let port = warehouse().stand.base().rsplit(':').next().unwrap().trim_end_matches('/').parse::<u16>().unwrap();
    let proxy = Proxy::with(ALLOW_ALL, |config| {
        config["targets"][0]["tls_negotiation"] = "direct".into();
        config["targets"][0]["port"] = port.into();
    })
    .await;
    assert!(proxy.refused().await.detail().unwrap().contains("target-tls"));
    proxy.stop().await;
}
