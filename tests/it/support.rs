//! What every test stands on: the shared warehouse, a proxy of its own, a client that speaks bytes, and the evidence.

use std::future::Future;
use std::time::Duration;

pub(crate) mod evidence;
pub(crate) mod http;
pub(crate) mod program;
pub(crate) mod proxy;
pub(crate) mod psql;
pub(crate) mod script;
pub(crate) mod splitter;
pub(crate) mod warehouse;
pub(crate) mod wire;

/// How long anything may take before it counts as hanging.
const PATIENCE: Duration = Duration::from_secs(20);

/// The future's value, or a failed test where it hangs.
pub(crate) async fn within<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(PATIENCE, future).await.expect("this hangs")
}

/// Asks again until there is an answer, or a failed test where none comes.
pub(crate) async fn eventually<T, F: Future<Output = Option<T>>>(mut ask: impl FnMut() -> F) -> T {
    within(async {
        loop {
            if let Some(answer) = ask().await {
                return answer;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await
}
