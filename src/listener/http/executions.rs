//! What was begun and is not over: whose it is, and the permit that waits for its end.
//!
//! An HTTP warehouse answers a statement with a name for it, and the client asks again and again under that name. A name belongs
//! to the principal who began it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use super::session::Connection;
use crate::audit::{Outcome, Status};
use crate::fault::Reason;
use crate::gate::Permit;
use crate::identity::Principal;
use crate::identity::actor::Actor;
use crate::warehouse::http::{End, Progress};

/// Ended executions whose last reply a client may still ask for again.
const ENDED_MAX: usize = 1024;
/// How long they are kept for that.
const ENDED_TIME_MAX: Duration = Duration::from_secs(60);

/// For how long one is kept that nobody asks about: Trino gives up a query of which its client has not asked for five minutes.
const IDLE_TIME_MAX: Duration = Duration::from_secs(300);
/// The same where the connection that began it is gone: most often, so is the client.
const ORPHAN_TIME_MAX: Duration = Duration::from_secs(60);

/// The executions of one listener.
///
/// Those that run are bounded by `audit.queries_in_flight_max`, since each holds a permit.
pub(super) struct Executions {
    known: Mutex<HashMap<String, Arc<Execution>>>,
    ended: Notify,
}

/// Who began an execution.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Owner {
    issuer: String,
    subject: String,
    actors: Vec<Actor>,
}

impl Owner {
    /// The principal as an owner: tokens come and go, who it is and who acts for it stays.
    pub(super) fn of(principal: &Principal) -> Self {
        Self { issuer: principal.issuer.clone(), subject: principal.subject.clone(), actors: principal.actors.clone() }
    }
}

/// An execution that begins.
pub(super) struct Beginning {
    /// Its permit.
    pub(super) permit: Permit,
    /// Who begins it.
    pub(super) owner: Owner,
    /// The connection that it is asked for on.
    pub(super) connection: Weak<Connection>,
}

/// One execution.
pub(super) struct Execution {
    owner: Owner,
    connection: Weak<Connection>,
    state: Mutex<State>,
}

struct State {
    /// Gone when it has ended.
    permit: Option<Permit>,
    /// The warehouse's name for it.
    id: Option<String>,
    rows: u64,
    changed: Option<u64>,
    reply_bytes: u64,
    touched: Instant,
}

impl Executions {
    /// None yet.
    pub(super) fn new() -> Self {
        Self { known: Mutex::default(), ended: Notify::new() }
    }

    /// Gives back the room of those that nobody asks about any more; to be called before more is asked for.
    pub(super) fn sweep(&self) {
        forget(&mut self.lock());
    }

    /// The execution of that name, if it is the principal's.
    ///
    /// # Errors
    /// `HandleUnknown`, `HandleForeign`.
    pub(super) fn find(&self, id: &str, asks: &Owner) -> Result<Arc<Execution>, Reason> {
        let execution = self.lock().get(id).cloned().ok_or(Reason::HandleUnknown)?;
        if execution.owner != *asks {
            return Err(Reason::HandleForeign);
        }
        execution.state().touched = Instant::now();
        Ok(execution)
    }

    /// Notes the first reply to a statement.
    pub(super) fn begin(&self, beginning: Beginning, progress: &Progress, reply_bytes: u64) {
        let Beginning { permit, owner, connection } = beginning;
        let state =
            State { permit: Some(permit), id: progress.id.clone(), rows: 0, changed: None, reply_bytes: 0, touched: Instant::now() };
        let execution = Arc::new(Execution { owner, connection, state: Mutex::new(state) });
        execution.proceed(progress, reply_bytes);
        if let Some(id) = &progress.id {
            self.lock().insert(id.clone(), Arc::clone(&execution));
        }
        // Without a name and without an end nobody can ask again: dropped here, it is recorded as abandoned.
        self.ended.notify_waiters();
    }

    /// Notes a further reply.
    pub(super) fn proceed(&self, execution: &Execution, progress: &Progress, reply_bytes: u64) {
        execution.proceed(progress, reply_bytes);
        self.ended.notify_waiters();
    }

    /// Waits until none runs.
    pub(super) async fn all_ended(&self) {
        loop {
            let ended = self.ended.notified();
            let runs = {
                let mut known = self.lock();
                forget(&mut known);
                known.values().any(|execution| execution.state().permit.is_some())
            };
            if !runs {
                return;
            }
            // Those that nobody follows any more end by their idleness, which nobody signals.
            let _look_again = tokio::time::timeout(Duration::from_secs(1), ended).await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Arc<Execution>>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Forgets what ended a while ago, and what nobody asks about any more.
fn forget(known: &mut HashMap<String, Arc<Execution>>) {
    let now = Instant::now();
    let mut ended = 0;
    known.retain(|_, execution| {
        let state = execution.state();
        let limit = match (&state.permit, execution.connection.strong_count()) {
            (None, _) => ENDED_TIME_MAX,
            (Some(_), 0) => ORPHAN_TIME_MAX,
            (Some(_), _) => IDLE_TIME_MAX,
        };
        ended += usize::from(state.permit.is_none());
        now.duration_since(state.touched) < limit
    });
    if ended > ENDED_MAX {
        known.retain(|_, execution| execution.state().permit.is_some());
    }
}

impl Execution {
    fn proceed(&self, progress: &Progress, reply_bytes: u64) {
        let mut state = self.state();
        state.touched = Instant::now();
        state.rows += progress.rows;
        state.changed = progress.changed.or(state.changed);
        state.reply_bytes += reply_bytes;
        let Some(end) = &progress.end else { return };
        let rows = Some(state.changed.unwrap_or(state.rows));
        let reply_bytes = state.reply_bytes;
        if let Some(permit) = state.permit.take() {
            permit.finish(outcome(end, rows, reply_bytes, state.id.clone()));
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Nobody follows it to its end: what came of it is not known, but what was seen of it is.
impl Drop for Execution {
    fn drop(&mut self) {
        let state = self.state.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Some(permit) = state.permit.take() {
            let (rows, query_id) = (Some(state.rows), state.id.take());
            permit.finish(Outcome { rows, reply_bytes: state.reply_bytes, query_id, ..Outcome::new(Status::Abandoned) });
        }
    }
}

/// The outcome that an end is.
pub(super) fn outcome(end: &End, rows: Option<u64>, reply_bytes: u64, query_id: Option<String>) -> Outcome {
    let (status, error) = match end {
        End::Completed => (Status::Completed, None),
        End::Failed(error) => (Status::Failed, error.clone()),
        End::Cancelled => (Status::Cancelled, None),
    };
    Outcome { rows, reply_bytes, error, query_id, ..Outcome::new(status) }
}
