//! The sessions that clients have opened at the warehouse: whose they are, where names in them lead, and their secrets.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::executions::Owner;
use crate::fault::Reason;
use crate::secret::Secret;
use crate::warehouse::http::{News, SessionState, Sessions};

/// Sessions of one listener. For one more, the one that was used least recently is forgotten: its client has to log in again.
const SESSIONS_MAX: usize = 4096;
/// For how long one is kept that nobody uses: Snowflake's own sessions last four hours without use.
const IDLE_TIME_MAX: Duration = Duration::from_secs(4 * 3600);

/// The sessions of one listener.
pub(super) struct OpenSessions {
    known: Mutex<HashMap<String, Known>>,
    age_max: Option<Duration>,
}

struct Known {
    owner: Owner,
    room: Arc<Mutex<Room>>,
    secrets: Arc<Vec<Secret<String>>>,
    begun: Instant,
    touched: Instant,
}

/// What a session's executions share.
#[derive(Default)]
struct Room {
    state: SessionState,
    /// Executions that have not been carried out.
    running: usize,
    /// Whether one of them moves the session, alone.
    is_moving: bool,
    /// Whether one may have moved it, and no reply has said where to.
    is_unsettled: bool,
}

/// An execution's place in a session: while one moves it, no other has any, since nobody knows which the warehouse reads first.
pub(super) struct Place {
    room: Arc<Mutex<Room>>,
    moves: bool,
    /// Where it moves to, until that has been settled.
    leads: Leads,
    is_sent: bool,
    /// Whether the session was unsettled when it was sent.
    was_unsettled: bool,
}

/// Where names lead in a session once an execution has been carried out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Leads {
    /// Where they led before.
    Nowhere,
    /// There.
    To(SessionState),
    /// Where its reply says.
    Told {
        /// Whether it leads nowhere if it fails.
        is_atomic: bool,
    },
}

impl Place {
    /// The execution is sent on: whether the session has moved then, only its outcome tells.
    pub(super) fn sent(mut self) -> Self {
        self.is_sent = true;
        if matches!(self.leads, Leads::Told { .. }) {
            self.was_unsettled = std::mem::replace(&mut lock(&self.room).is_unsettled, true);
        }
        self
    }

    /// The execution was not begun.
    pub(super) fn take_back(mut self) {
        if let Leads::Told { .. } = std::mem::replace(&mut self.leads, Leads::Nowhere) {
            lock(&self.room).is_unsettled = self.was_unsettled;
        }
    }

    /// Whether no other execution has one.
    pub(super) fn is_alone(&self) -> bool {
        self.moves
    }

    /// Whether nobody knows where names lead in the session.
    pub(super) fn is_unsettled(&self) -> bool {
        lock(&self.room).is_unsettled
    }

    /// The execution has been carried out, or has failed and changed nothing.
    pub(super) fn leave(mut self, was_carried_out: bool) {
        let mut room = lock(&self.room);
        match std::mem::replace(&mut self.leads, Leads::Nowhere) {
            Leads::To(to) if was_carried_out => room.state = to,
            Leads::Told { is_atomic: true } if !was_carried_out => room.is_unsettled = self.was_unsettled,
            Leads::Nowhere | Leads::To(_) | Leads::Told { .. } => {}
        }
    }
}

/// Without an outcome, names in the session lead nowhere that is known.
impl Drop for Place {
    fn drop(&mut self) {
        let mut room = lock(&self.room);
        room.running = room.running.saturating_sub(1);
        room.is_moving &= !self.moves;
        if self.is_sent && matches!(self.leads, Leads::To(_)) {
            room.state = SessionState { role: room.state.role.take(), ..SessionState::default() };
        }
    }
}

fn lock(room: &Mutex<Room>) -> MutexGuard<'_, Room> {
    room.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A session as a request finds it.
#[derive(Clone, Default)]
pub(super) struct Open {
    /// Where names in it lead.
    pub(super) state: SessionState,
    /// What the warehouse gave for it.
    pub(super) secrets: Arc<Vec<Secret<String>>>,
}

/// The sessions as one principal sees them.
pub(super) struct View<'a> {
    /// All of them.
    pub(super) sessions: &'a OpenSessions,
    /// The principal.
    pub(super) owner: &'a Owner,
    /// What was shown last.
    pub(super) seen: Mutex<Option<SessionState>>,
}

impl Sessions for View<'_> {
    fn find(&self, id: &str) -> Option<SessionState> {
        let state = self.sessions.find(id, self.owner).ok()?.state;
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = Some(state.clone());
        Some(state)
    }
}

impl OpenSessions {
    /// None yet; none will be used for longer than `age_max`.
    pub(super) fn new(age_max: Option<Duration>) -> Self {
        Self { known: Mutex::default(), age_max }
    }

    /// The session of that name, if it is the principal's.
    ///
    /// # Errors
    /// `SessionUnknown`, `SessionForeign`, `SessionAge`.
    pub(super) fn find(&self, id: &str, asks: &Owner) -> Result<Open, Reason> {
        let mut known = self.lock();
        let found = known.get_mut(id).ok_or(Reason::SessionUnknown)?;
        if found.owner != *asks {
            return Err(Reason::SessionForeign);
        }
        if self.age_max.is_some_and(|age_max| found.begun.elapsed() > age_max) {
            known.remove(id);
            return Err(Reason::SessionAge);
        }
        found.touched = Instant::now();
        let state = lock(&found.room).state.clone();
        Ok(Open { state, secrets: Arc::clone(&found.secrets) })
    }

    /// A place for an execution in the session of that name, where names led as in `seen` when it was asked for.
    ///
    /// # Errors
    /// `SessionUnknown`; `SessionBusy`: it is being moved, has been since, or is to be moved while something runs in it.
    pub(super) fn enter(&self, id: &str, seen: &SessionState, leads: Leads) -> Result<Place, Reason> {
        let known = self.lock();
        let found = known.get(id).ok_or(Reason::SessionUnknown)?;
        let mut room = lock(&found.room);
        let moves = leads != Leads::Nowhere;
        if room.is_moving || (moves && room.running > 0) || room.state != *seen {
            return Err(Reason::SessionBusy);
        }
        room.running += 1;
        room.is_moving = moves;
        Ok(Place { room: Arc::clone(&found.room), moves, leads, is_sent: false, was_unsettled: false })
    }

    /// Notes what a reply says of a session: of the one that the request was part of, or of a new one.
    pub(super) fn note(&self, id: Option<&str>, owner: &Owner, news: News) {
        let mut known = self.lock();
        let now = Instant::now();
        match (news, id) {
            (News::Opened { id, state, secrets }, _) => {
                make_room(&mut known, now);
                // A warehouse does not give one name twice; whoever had it keeps it.
                if known.get(&id).is_none_or(|known| known.owner == *owner) {
                    let room = Arc::new(Mutex::new(Room { state, ..Room::default() }));
                    let secrets = Arc::new(secrets);
                    known.insert(id, Known { owner: owner.clone(), room, secrets, begun: now, touched: now });
                }
            }
            (News::Changed(state), Some(id)) => {
                if let Some(found) = known.get_mut(id) {
                    let mut room = lock(&found.room);
                    room.state = state;
                    room.is_unsettled = false;
                }
            }
            (News::Renewed(secrets), Some(id)) => {
                if let Some(found) = known.get_mut(id) {
                    found.secrets = Arc::new(secrets);
                }
            }
            (News::Closed, Some(id)) => drop(known.remove(id)),
            (News::Changed(_) | News::Renewed(_) | News::Closed, None) => {}
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn make_room(known: &mut HashMap<String, Known>, now: Instant) {
    if known.len() < SESSIONS_MAX {
        return;
    }
    known.retain(|_, known| now.duration_since(known.touched) < IDLE_TIME_MAX);
    if known.len() >= SESSIONS_MAX {
        let oldest = known.iter().min_by_key(|(_, known)| known.touched).map(|(id, _)| id.clone());
        oldest.and_then(|id| known.remove(&id));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::time::Duration;

    use super::{OpenSessions, SESSIONS_MAX, View};
    use crate::fault::Reason;
    use crate::listener::http::executions::tests::owner;
    use crate::secret::Secret;
    use crate::warehouse::http::{News, SessionState, Sessions};

    fn opened(id: &str) -> News {
        let state = SessionState { database: "SHOP".to_owned(), ..SessionState::default() };
        News::Opened { id: id.to_owned(), state, secrets: vec![Secret::from("real")] }
    }

    #[test]
    fn a_session_is_its_owners_and_nobody_elses() {
        let sessions = OpenSessions::new(None);
        let (ada, bob) = (owner("ada"), owner("bob"));
        sessions.note(None, &ada, opened("s"));
        assert_eq!(sessions.find("s", &ada).unwrap().secrets[0].expose(), "real");
        assert_eq!(sessions.find("s", &bob).err(), Some(Reason::SessionForeign));
        assert_eq!(View { sessions: &sessions, owner: &bob, seen: Mutex::default() }.find("s"), None);
        sessions.note(None, &bob, opened("s"));
        assert!(sessions.find("s", &ada).is_ok(), "a second of that name takes nothing from the first");
        sessions.note(Some("s"), &ada, News::Renewed(vec![Secret::from("newer")]));
        assert_eq!(sessions.find("s", &ada).unwrap().secrets[0].expose(), "newer");
        sessions.note(Some("s"), &ada, News::Closed);
        assert_eq!(sessions.find("s", &ada).err(), Some(Reason::SessionUnknown));
    }

    #[tokio::test]
    async fn a_session_over_its_age_is_over() {
        let sessions = OpenSessions::new(Some(Duration::ZERO));
        sessions.note(None, &owner("ada"), opened("s"));
        tokio::time::sleep(Duration::from_millis(2)).await;
        assert_eq!(sessions.find("s", &owner("ada")).err(), Some(Reason::SessionAge));
        assert_eq!(sessions.find("s", &owner("ada")).err(), Some(Reason::SessionUnknown));
    }

    #[test]
    fn at_the_bound_the_least_recently_used_one_goes() {
        let sessions = OpenSessions::new(None);
        for number in 0..SESSIONS_MAX {
            sessions.note(None, &owner("ada"), opened(&number.to_string()));
        }
        assert!(sessions.find("0", &owner("ada")).is_ok());
        sessions.note(None, &owner("ada"), opened("one more"));
        assert!(sessions.find("0", &owner("ada")).is_ok() && sessions.find("one more", &owner("ada")).is_ok());
        assert_eq!(sessions.find("1", &owner("ada")).err(), Some(Reason::SessionUnknown));
    }
}
