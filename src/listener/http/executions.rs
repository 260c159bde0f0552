//! What was begun and is not over: whose it is, and the permit that waits for its end.
//!
//! An HTTP warehouse answers a statement with a name for it, and the client asks again and again under that name. A name belongs
//! to the principal who began it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use aws_lc_rs::digest;
use tokio::sync::Notify;

use super::opened::Place;
use super::session::Connection;
use crate::audit::{Outcome, Status};
use crate::credential::cache::Lease;
use crate::fault::Reason;
use crate::gate::Permit;
use crate::identity::Principal;
use crate::identity::actor::Actor;
use crate::warehouse::http::{End, Handle, Outgoing, Progress};

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

    /// Tells it from others in names that clients choose: 16 hexadecimal digits of a digest.
    pub(super) fn tag(&self) -> String {
        let whole = format!("{:?}", (&self.issuer, &self.subject, &self.actors));
        let digest = digest::digest(&digest::SHA256, whole.as_bytes());
        digest.as_ref().iter().take(8).map(|byte| format!("{byte:02x}")).collect()
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
    /// Names that the client has chosen for it.
    pub(super) names: Vec<String>,
    /// The session that it is part of, by its name.
    pub(super) session: Option<String>,
    /// What it is sent with.
    pub(super) lease: Lease,
    /// Its place in the session.
    pub(super) place: Option<Place>,
}

/// One execution.
pub(super) struct Execution {
    owner: Owner,
    connection: Weak<Connection>,
    session: Option<String>,
    lease: Lease,
    state: Mutex<State>,
}

struct State {
    /// Gone when it has ended.
    permit: Option<Permit>,
    /// The names that it is known by.
    names: Vec<String>,
    /// Whether a reply has said that it was begun. Before that the names are only what the client has said.
    is_begun: bool,
    /// The warehouse's name for it.
    id: Option<String>,
    rows: u64,
    are_rows_uncounted: bool,
    changed: Option<u64>,
    reply_bytes: u64,
    out_of_band: Option<&'static str>,
    /// Whether it has been carried out, though its result may still be asked for.
    is_done: bool,
    /// Given back when it has.
    place: Option<Place>,
    cancel: Option<Box<Outgoing>>,
    touched: Instant,
}

impl State {
    /// The rows that it changed or that came of it, where that is known.
    fn rows(&self) -> Option<u64> {
        self.changed.or((!self.are_rows_uncounted).then_some(self.rows))
    }
}

/// What runs at the end, to be cancelled.
pub(super) struct Running {
    /// The warehouse's name for it.
    pub(super) id: String,
    /// The session that it is part of.
    pub(super) session: Option<String>,
    /// Who began it.
    pub(super) owner: Owner,
    /// What it was sent with.
    pub(super) lease: Lease,
    /// It itself.
    pub(super) execution: Arc<Execution>,
    /// The request that ends it, where a reply has shown it.
    pub(super) cancel: Option<Box<Outgoing>>,
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

    /// The execution of that name, if it is the principal's. One that no reply has confirmed can only be ended.
    ///
    /// # Errors
    /// `HandleUnknown`, `HandleForeign`.
    pub(super) fn find(&self, handle: &Handle, asks: &Owner) -> Result<Arc<Execution>, Reason> {
        let execution = self.lock().get(&handle.id).cloned().ok_or(Reason::HandleUnknown)?;
        if execution.owner != *asks {
            return Err(Reason::HandleForeign);
        }
        let mut state = execution.state();
        if !state.is_begun && !handle.ends {
            return Err(Reason::HandleUnknown);
        }
        state.touched = Instant::now();
        drop(state);
        Ok(execution)
    }

    /// Begins one, before anything of it is sent. Cancel safe: dropped, it is recorded as abandoned.
    ///
    /// # Errors
    /// `HandleForeign`: a name that the client has chosen is that of somebody else's execution.
    pub(super) fn begin(&self, beginning: Beginning) -> Result<Arc<Execution>, Reason> {
        let Beginning { permit, owner, connection, names, session, lease, place } = beginning;
        let mut known = self.lock();
        if names.iter().filter_map(|name| known.get(name)).any(|before| before.owner != owner) {
            return Err(Reason::HandleForeign);
        }
        let state = State {
            permit: Some(permit),
            names: names.clone(),
            is_begun: false,
            id: None,
            rows: 0,
            are_rows_uncounted: false,
            changed: None,
            reply_bytes: 0,
            out_of_band: None,
            is_done: false,
            place,
            cancel: None,
            touched: Instant::now(),
        };
        let execution = Arc::new(Execution { owner, connection, session, lease, state: Mutex::new(state) });
        for name in names {
            // A client that repeats a request goes on with what it began.
            known.entry(name).or_insert_with(|| Arc::clone(&execution));
        }
        Ok(execution)
    }

    /// Notes a reply.
    pub(super) fn proceed(&self, execution: &Arc<Execution>, progress: &mut Progress, reply_bytes: u64) {
        execution.proceed(progress, reply_bytes);
        let mut known = self.lock();
        let mut state = execution.state();
        for name in progress.id.iter().chain(&progress.names) {
            if known.get(name).is_none_or(|before| before.owner == execution.owner) && !state.names.contains(name) {
                state.names.push(name.clone());
                known.insert(name.clone(), Arc::clone(execution));
            }
        }
        // What never began has no name, and what has none and has not ended nobody can ask for again: dropped, it is abandoned.
        if !state.is_begun {
            for name in state.names.drain(..) {
                if known.get(&name).is_some_and(|named| Arc::ptr_eq(named, execution)) {
                    known.remove(&name);
                }
            }
        }
        drop((state, known));
        self.ended.notify_waiters();
    }

    /// Those that run and that the warehouse has named.
    pub(super) fn running(&self) -> Vec<Running> {
        let mut running: Vec<Running> = Vec::new();
        for execution in self.lock().values() {
            let state = execution.state();
            let (Some(_), Some(id)) = (&state.permit, &state.id) else { continue };
            if running.iter().all(|other| other.id != *id) {
                let (session, owner, lease) = (execution.session.clone(), execution.owner.clone(), execution.lease.clone());
                let cancel = state.cancel.clone();
                running.push(Running { id: id.clone(), session, owner, lease, execution: Arc::clone(execution), cancel });
            }
        }
        running
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
    fn proceed(&self, progress: &mut Progress, reply_bytes: u64) {
        let mut state = self.state();
        state.touched = Instant::now();
        state.is_begun |= progress.id.is_some() || matches!(progress.end, Some(End::Completed));
        state.id = progress.id.clone().or(state.id.take());
        state.out_of_band = progress.out_of_band.or(state.out_of_band);
        state.rows += progress.rows;
        state.are_rows_uncounted |= progress.are_rows_uncounted;
        state.changed = progress.changed.or(state.changed);
        state.reply_bytes += reply_bytes;
        state.cancel = progress.cancel.take().or(state.cancel.take());
        state.is_done |= progress.is_done || matches!(progress.end, Some(End::Completed));
        let has_failed = matches!(progress.end, Some(End::Failed(_)));
        if state.is_done || progress.end.is_some() {
            match state.place.take() {
                Some(place) if progress.declined => place.take_back(),
                Some(place) if state.is_done || has_failed => place.leave(state.is_done),
                // What a cancel has left undone nobody says.
                place => drop(place),
            }
        }
        let end = match &progress.end {
            None => return,
            Some(End::Cancelled) if state.is_done => &End::Completed,
            Some(end) => end,
        };
        let rows = state.rows();
        if let Some(permit) = state.permit.take() {
            let (reply_bytes, query_id, out_of_band) = (state.reply_bytes, state.id.clone(), state.out_of_band);
            permit.finish(Outcome { rows, reply_bytes, query_id, out_of_band, ..outcome(end) });
        }
    }

    /// Whether no other execution has a place in its session.
    pub(super) fn is_alone(&self) -> bool {
        self.state().place.as_ref().is_some_and(Place::is_alone)
    }

    /// Gives back its place in the session: nobody knows whether it was carried out.
    pub(super) fn give_place(&self) {
        let place = self.state().place.take();
        drop(place);
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
            let (rows, query_id, out_of_band) = (state.rows(), state.id.take(), state.out_of_band);
            let status = if state.is_done { Status::Completed } else { Status::Abandoned };
            permit.finish(Outcome { rows, reply_bytes: state.reply_bytes, query_id, out_of_band, ..Outcome::new(status) });
        }
    }
}

/// The outcome that an end is.
pub(super) fn outcome(end: &End) -> Outcome {
    let (status, error) = match end {
        End::Completed => (Status::Completed, None),
        End::Failed(error) => (Status::Failed, error.clone()),
        End::Cancelled => (Status::Cancelled, None),
    };
    Outcome { error, ..Outcome::new(status) }
}

#[cfg(test)]
pub(super) mod tests {
    use super::Owner;

    /// Somebody of that name.
    pub(in crate::listener::http) fn owner(subject: &str) -> Owner {
        Owner { issuer: "https://issuer.example".to_owned(), subject: subject.to_owned(), actors: Vec::new() }
    }

    #[test]
    fn the_tag_of_an_owner_is_the_same_at_all_times_and_another_for_another() {
        assert_eq!(owner("ada").tag(), owner("ada").tag());
        assert_ne!(owner("ada").tag(), owner("bob").tag());
        assert_eq!(owner("ada").tag().len(), 16);
    }
}
