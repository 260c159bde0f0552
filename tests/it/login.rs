//! The client's own login to the proxy.

use tokio_postgres::NoTls;

use crate::support::proxy::{ALLOW_ALL, Proxy};
use crate::support::warehouse::warehouse;
use crate::support::wire::{Wire, kinds, message, startup};
use crate::support::within;

async fn with_scram() -> Proxy {
    let secret = warehouse().file("scram-secret");
    let authentication = serde_json::json!({ "mode": "scram", "secret_file": secret });
    Proxy::with(ALLOW_ALL, |config| config["listeners"][0]["authentication"] = authentication).await
}

#[tokio::test]
async fn a_client_that_knows_the_secret_is_let_in() {
    let proxy = with_scram().await;
    let secret = std::fs::read_to_string(warehouse().file("scram-secret")).unwrap();
    let (client, connection) = within(proxy.client_config().password(secret.trim()).connect(NoTls)).await.unwrap();
    tokio::spawn(connection);
    within(client.simple_query("select 1")).await.unwrap();
    proxy.stop().await;
}

#[tokio::test]
async fn a_client_with_a_wrong_secret_is_refused_before_the_warehouse_hears_of_it() {
    let proxy = with_scram().await;
    let error = match within(proxy.client_config().password("wrong").connect(NoTls)).await {
        Ok(_) => panic!("let in"),
        Err(error) => error,
    };
    assert_eq!(error.code().unwrap().code(), "28P01");
    let evidence = proxy.stop().await;
    assert_eq!(evidence.texts("session-refused", "reason"), ["client-authentication"]);
    assert!(evidence.of_kind("credential-exchanged").is_empty());
}

#[tokio::test]
async fn a_client_that_answers_in_another_way_is_refused() {
    let proxy = with_scram().await;
    let password = message(b'p', b"a cleartext password\0");
    let plus = message(b'p', b"SCRAM-SHA-256-PLUS\0\0\0\0\0");
    let short = message(b'p', b"SCRAM-SHA-256\0\0\0\0\x09n,,n=");
    for (answer, sqlstate) in [(password, "28P01"), (plus, "28P01"), (short, "28P01"), (message(b'Q', b"select 1\0"), "08P01")] {
        let mut wire = Wire::connect(proxy.address).await;
        wire.send(&startup(&[("user", "anybody"), ("database", "demo")])).await;
        let asked = wire.next().await.unwrap();
        assert_eq!((asked.kind, &asked.body[..]), (b'R', &b"\0\0\0\x0aSCRAM-SHA-256\0\0"[..]));
        wire.send(&answer).await;
        let messages = wire.until_closed().await;
        assert_eq!(kinds(&messages), "E");
        assert_eq!(messages[0].sqlstate(), sqlstate);
    }
    proxy.stop().await;
}
