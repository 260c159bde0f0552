//! A session that breaks down ends alone.

use std::fmt;

use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::registry;

use crate::support::eventually;
use crate::support::http::metric;
use crate::support::proxy::{ALLOW_ALL, Proxy};
use crate::support::warehouse::warehouse;
use crate::support::wire::{kinds, query};

/// What a session logs in the midst of its work when a statement is over the limit.
const LOGGED: &str = "a statement was refused";

/// Panics where a session logs that: in the session's own task, while it holds an execution that runs.
struct Panicking;

impl<S: Subscriber> Layer<S> for Panicking {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut said = Said(false);
        event.record(&mut said);
        assert!(!said.0, "a panic in the midst of a session, for a test");
    }
}

struct Said(bool);

impl Visit for Said {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.0 |= field.name() == "message" && format!("{value:?}") == LOGGED;
    }
}

#[tokio::test]
async fn a_session_that_panics_ends_alone_and_its_query_is_recorded_as_abandoned() {
    let _panicking = tracing::subscriber::set_default(registry().with(Panicking));
    let proxy = Proxy::with(ALLOW_ALL, |config| config["limits"]["statement_size"] = "4KiB".into()).await;
    let (mut wire, mut witness) = (proxy.wire().await, proxy.wire().await);
    let running = "select pg_sleep(5) /* of a session that panics */";
    wire.send(&query(running)).await;
    warehouse().until_running(running).await;
    wire.send(&query(&format!("select '{}'", "x".repeat(5000)))).await;
    // Nobody is left who could say why.
    assert_eq!(wire.until_closed().await, []);

    assert_eq!(kinds(&witness.ask(&query("select 'unharmed'")).await), "TDC");
    assert_eq!(kinds(&proxy.wire().await.ask(&query("select 'a newcomer'")).await), "TDC");
    eventually(|| async {
        let ended = metric(proxy.pod_admin, "tollhouse_connections_total", &["outcome=\"internal\""]).await;
        (ended == 1.0).then_some(())
    })
    .await;
    let evidence = proxy.stop().await;
    assert_eq!(evidence.execution(running).status, "abandoned");
    assert_eq!(evidence.execution("select 'unharmed'").status, "completed");
}
