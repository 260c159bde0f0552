//! CiliumNetworkPolicy documents beside a WarehousePolicy: what Cilium would drop is refused in the client's protocol.

use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;

use crate::support::proxy::Proxy;
use crate::support::{eventually, within};

/// Every statement, wherever the warehouse is; and what Cilium allows.
fn policies(cilium: &str) -> String {
    format!(
        "apiVersion: tollhouse.dev/v1alpha1\n\
         kind: ClusterWarehousePolicy\n\
         metadata: {{ name: all }}\n\
         spec: {{ endpointSelector: {{}}, egress: [{{ toPorts: [{{ rules: {{ sql: [{{}}] }} }}] }}] }}\n\
         ---\n\
         apiVersion: cilium.io/v2\n\
         kind: CiliumNetworkPolicy\n\
         metadata: {{ name: warehouses, namespace: demo }}\n\
         spec: {{ endpointSelector: {{}}, {cilium} }}\n"
    )
}

const LOCALHOST: &str = "egress: [{ toFQDNs: [{ matchName: localhost }] }]";

/// A proxy whose warehouse is a socket of the test's own.
async fn at_a_socket(cilium: &str) -> (Proxy, TcpListener) {
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = socket.local_addr().unwrap().port();
    let proxy = Proxy::with(&policies(cilium), |config| config["targets"][0]["port"] = port.into()).await;
    (proxy, socket)
}

#[tokio::test]
async fn a_warehouse_that_cilium_would_drop_is_refused_by_rule_and_never_connected_to() {
    let (proxy, socket) = at_a_socket("egress: [{ toFQDNs: [{ matchName: warehouse.example.com }] }]").await;
    let error = proxy.refused().await;
    assert_eq!(error.code().code(), "42501");
    assert!(error.detail().unwrap().contains("network-policy-denied"), "{error:?}");
    assert!(error.message().contains("no rule of the Cilium policies that select this workload"), "{error:?}");
    let evidence = proxy.stop().await;
    assert_eq!(evidence.texts("session-refused", "reason"), ["network-policy-denied"]);
    assert!(tokio::time::timeout(std::time::Duration::from_millis(100), socket.accept()).await.is_err());
}

#[tokio::test]
async fn an_address_that_cilium_would_drop_is_sent_nothing() {
    let (proxy, socket) = at_a_socket(&format!("{LOCALHOST}, egressDeny: [{{ toCIDR: [127.0.0.0/8] }}]")).await;
    let sent = tokio::spawn(async move {
        let (mut connection, _) = socket.accept().await.unwrap();
        let mut sent = Vec::new();
        connection.read_to_end(&mut sent).await.unwrap();
        sent
    });
    let error = proxy.refused().await;
    assert!(error.message().contains("CiliumNetworkPolicy demo/warehouses spec.egressDeny[0] denies"), "{error:?}");
    assert_eq!(within(sent).await.unwrap(), b"");
    proxy.stop().await;
}

#[tokio::test]
async fn a_cilium_policy_that_comes_later_ends_what_it_forbids_and_nothing_else() {
    let proxy = Proxy::start(&policies(LOCALHOST)).await;
    let client = proxy.client().await;
    within(client.simple_query("select 1")).await.unwrap();
    proxy.write_policy(&policies("egress: [{}]"));
    let error = eventually(|| async { client.simple_query("select 1").await.err() }).await;
    assert!(error.as_db_error().unwrap().detail().unwrap().contains("network-policy-denied"), "{error:?}");
    proxy.write_policy(&policies(LOCALHOST));
    eventually(|| async { client.simple_query("select 1").await.ok() }).await;
    proxy.stop().await;
}
