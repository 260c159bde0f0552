//! One session: what both of its directions share, who watches over it, and how it ends.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncWriteExt, WriteHalf};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::cancel::{self, Key, Owner, Sessions};
use super::flow::Flow;
use super::from_client::FromClient;
use super::from_server::FromServer;
use super::message::{Severity, write_error};
use super::refuse::Probe;
use super::wire::Reader;
use crate::audit::SessionFacts;
use crate::drain::{Drain, Stage};
use crate::fault::{Fault, Reason};
use crate::gate::Gate;
use crate::listener::Limits;
use crate::metrics::Metrics;
use crate::sql::{self, Dialect};
use crate::tls::stream::Stream;

/// How long a session may still take after its query was cancelled at shutdown.
const CANCEL_GRACE: Duration = Duration::from_secs(2);

/// What a session needs from the rest of the program.
pub(super) struct Surroundings {
    /// Decides and records.
    pub(super) gate: Arc<Gate>,
    /// Analyses of texts that came before.
    pub(super) analyses: Arc<sql::cache::Cache>,
    /// The SQL of the warehouse.
    pub(super) dialect: Dialect,
    /// What stands in for a refused message.
    pub(super) probe: Probe,
    /// Bounds.
    pub(super) limits: Limits,
    /// Counters.
    pub(super) metrics: Arc<Metrics>,
    /// The shutdown.
    pub(super) drain: Drain,
    /// Whether a query whose client is gone is cancelled.
    pub(super) cancel_on_disconnect: bool,
}

/// What is known of the session for all its life.
pub(super) struct Session {
    /// For the records.
    pub(super) facts: SessionFacts,
    /// For cancelling at shutdown.
    pub(super) key: Option<Key>,
    /// Whose it is, and where it goes.
    pub(super) owner: Owner,
    /// All sessions of the program.
    pub(super) sessions: Arc<Sessions>,
    /// The one schema of its search path, where the startup parameters fixed it.
    pub(super) search_path: Option<String>,
    /// Whether it is a replication connection.
    pub(super) replication: bool,
    /// What it has done so far.
    pub(super) tally: Tally,
}

/// What a session has done so far, for the record of its end.
#[derive(Default)]
pub(super) struct Tally {
    /// Executions that were asked for.
    pub(super) executions: AtomicU64,
    /// Those of them, and statements to prepare, that were refused.
    pub(super) denied: AtomicU64,
    /// Bytes relayed to the server.
    pub(super) bytes_to_target: AtomicU64,
    /// Bytes relayed to the client.
    pub(super) bytes_to_client: AtomicU64,
}

impl Tally {
    /// Adds to one of the numbers.
    pub(super) fn add(number: &AtomicU64, count: usize) {
        number.fetch_add(u64::try_from(count).unwrap_or(u64::MAX), Ordering::Relaxed);
    }
}

/// What both directions look at.
pub(super) struct Shared {
    flow: Mutex<Flow>,
    /// Signalled when the server has settled something.
    pub(super) settled: Notify,
    touched: Mutex<Instant>,
}

impl Shared {
    fn new(flow: Flow) -> Self {
        Self { flow: Mutex::new(flow), settled: Notify::new(), touched: Mutex::new(Instant::now()) }
    }

    /// The flow; never hold it across an await.
    pub(super) fn flow(&self) -> MutexGuard<'_, Flow> {
        self.flow.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that the session is in use.
    pub(super) fn touch(&self) {
        *self.touched.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    fn touched(&self) -> Instant {
        *self.touched.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Relays until one side ends, and returns why. The client is told the fault, if it can be.
pub(super) async fn run(
    client: Reader<Stream>,
    server: Reader<Stream>,
    flow: Flow,
    session: &Session,
    around: &Surroundings,
) -> Result<(), Fault> {
    let shared = Shared::new(flow);
    let (client, mut to_client) = client.split();
    let (server, to_server) = server.split();
    let mut from_client = FromClient::new(client, to_server, &shared, session, around);
    let mut from_server = FromServer::new(server, &mut to_client, &shared, &session.tally, around);
    let ended = tokio::select! {
        // The server first: what it has sent is relayed before the client's next request is looked at.
        biased;
        ended = from_server.run() => ended,
        ended = from_client.run() => ended,
        fault = supervise(&shared, session, around) => Err(fault),
    };
    // Behind the server's own last word, ours would be one too many.
    let tellable = !from_server.is_inside_message() && shared.flow().farewell().is_none();
    drop(from_client);
    if let Err(fault) = &ended
        && tellable
        && fault.reason != Reason::ClientClosed
    {
        tell(&mut to_client, fault).await;
    }
    // Errors here mean that the client is gone already.
    let _gone = to_client.shutdown().await;
    if around.cancel_on_disconnect && matches!(&ended, Err(fault) if fault.reason == Reason::ClientClosed) {
        cancel(&shared, session).await;
    }
    ended
}

async fn tell(to_client: &mut WriteHalf<Stream>, fault: &Fault) {
    let mut out = BytesMut::new();
    write_error(&mut out, Severity::Fatal, fault, None);
    // A client that does not read its last message is not waited for.
    let _told = timeout(Duration::from_secs(1), to_client.write_all(&out)).await;
}

/// Ends the session when it was idle for too long, when it is too old, or when the program shuts down.
async fn supervise(shared: &Shared, session: &Session, around: &Surroundings) -> Fault {
    tokio::select! {
        () = idle_too_long(shared, around.limits.idle_timeout.0) => Fault::new(Reason::IdleTimeout).about("limits.idle_timeout"),
        () = too_old(shared, around.limits.session_age_max.map(|age| age.0)) => Fault::new(Reason::SessionAge).about("limits.session_age_max"),
        () = drained(shared, session, &around.drain) => Fault::new(Reason::Draining),
    }
}

async fn idle_too_long(shared: &Shared, limit: Duration) {
    loop {
        let deadline = shared.touched() + limit;
        sleep_until(deadline).await;
        if shared.touched() + limit <= Instant::now() {
            if shared.flow().is_quiet() {
                return;
            }
            // The server is at work: the time begins when it is done.
            shared.touch();
        }
    }
}

/// Ends between two queries, never within one.
async fn too_old(shared: &Shared, limit: Option<Duration>) {
    let Some(limit) = limit else { return std::future::pending().await };
    sleep(limit).await;
    until(shared, Flow::is_quiet).await;
}

async fn drained(shared: &Shared, session: &Session, drain: &Drain) {
    drain.reached(Stage::Draining).await;
    tokio::select! {
        () = until(shared, Flow::is_idle) => return,
        () = drain.reached(Stage::Ending) => {}
    }
    if cancel(shared, session).await {
        let _finished = timeout(CANCEL_GRACE, until(shared, Flow::is_quiet)).await;
    }
}

/// Cancels what the session runs, if it runs something and has a key; says whether that was so.
async fn cancel(shared: &Shared, session: &Session) -> bool {
    let Some(key) = session.key.as_ref().filter(|_| !shared.flow().is_quiet()) else { return false };
    if let Err(fault) = cancel::forward(key, &session.owner.upstream).await {
        tracing::warn!(session = session.facts.id, fault = fault.chain(), "a running query could not be cancelled");
    }
    true
}

/// Waits until the flow is as asked.
async fn until(shared: &Shared, asked: fn(&Flow) -> bool) {
    loop {
        let settled = shared.settled.notified();
        if asked(&shared.flow()) {
            return;
        }
        settled.await;
    }
}
