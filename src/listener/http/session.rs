//! The sessions of one client connection: as long as the same principal asks in the same database, one.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use crate::audit::log::Note;
use crate::audit::record::RecordedSession;
use crate::audit::{ClientFacts, SessionFacts};
use crate::credential::cache::Lease;
use crate::fault::Fault;
use crate::gate::Gate;
use crate::metrics::Metrics;
use crate::policy::AccessRequest;
use crate::target::Target;
use crate::warehouse::http::Statement;

/// A client's connection.
pub(super) struct Connection {
    /// The client, as the connection shows it.
    pub(super) client: ClientFacts,
    /// Whether it is behind TLS.
    pub(super) is_encrypted: bool,
    session: Mutex<Option<Arc<Session>>>,
}

/// A session, for the records.
pub(super) struct Session {
    /// What is true of all its records.
    pub(super) facts: SessionFacts,
    /// What it has done so far.
    pub(super) tally: Tally,
    begun: Instant,
}

/// What a session has done so far.
#[derive(Default)]
pub(super) struct Tally {
    executions: AtomicU64,
    denied: AtomicU64,
    bytes_to_client: AtomicU64,
}

/// Where requests go, and as whom.
#[derive(Clone, Copy)]
pub(super) struct There<'a> {
    /// The warehouse.
    pub(super) target: &'a Arc<Target>,
    /// The role that they take there.
    pub(super) role: &'a str,
}

/// What a request says about the session that it belongs to.
#[derive(Default, Clone, Copy)]
pub(super) struct Asks<'a> {
    /// The database; empty where the request says none.
    pub(super) database: &'a str,
    /// The user that the client names; it decides nothing.
    pub(super) client_user: &'a str,
    /// What the client calls itself.
    pub(super) application_name: Option<&'a str>,
}

impl<'a> Asks<'a> {
    /// What a statement's request says.
    pub(super) fn of(statement: &'a Statement<'_>) -> Self {
        Self { database: &statement.database, client_user: &statement.client_user, application_name: statement.application_name.as_deref() }
    }

    fn is_of(&self, facts: &SessionFacts) -> bool {
        facts.database == self.database
            && facts.client_user == self.client_user
            && facts.application_name.as_deref() == self.application_name
    }
}

impl Connection {
    /// A connection without a session yet.
    pub(super) fn new(client: ClientFacts, is_encrypted: bool) -> Self {
        Self { client, is_encrypted, session: Mutex::default() }
    }

    /// The session, if a request belongs to it.
    pub(super) fn session(&self, lease: &Lease, asks: &Asks<'_>) -> Option<Arc<Session>> {
        let session = self.lock();
        let is_of =
            |facts: &SessionFacts| facts.credential == lease.credential.id && facts.principal == lease.principal && asks.is_of(facts);
        session.as_ref().filter(|session| is_of(&session.facts)).cloned()
    }

    /// Puts a session in the place of the one before, which is given back.
    pub(super) fn begin(&self, session: Arc<Session>) -> Option<Arc<Session>> {
        self.lock().replace(session)
    }

    /// Takes the session at the connection's end.
    pub(super) fn end(&self) -> Option<Arc<Session>> {
        self.lock().take()
    }

    fn lock(&self) -> MutexGuard<'_, Option<Arc<Session>>> {
        self.session.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Session {
    /// A session that begins.
    pub(super) fn new(id: String, lease: &Lease, there: There<'_>, client: &ClientFacts, asks: &Asks<'_>) -> Self {
        let There { target, role } = there;
        let facts = SessionFacts {
            id,
            principal: Arc::clone(&lease.principal),
            target: Arc::clone(target),
            database: asks.database.to_owned(),
            role: role.to_owned(),
            client_user: asks.client_user.to_owned(),
            application_name: asks.application_name.map(str::to_owned),
            client: client.clone(),
            server_process_id: None,
            credential: lease.credential.id.clone(),
            recorded: RecordedSession::default(),
        };
        Self { facts, tally: Tally::default(), begun: Instant::now() }
    }

    /// The record of its end.
    pub(super) fn ended<'a>(&'a self, end: &'a str, metrics: &Metrics) -> Note<'a> {
        let [executions, denied, bytes_to_client] =
            [&self.tally.executions, &self.tally.denied, &self.tally.bytes_to_client].map(|number| number.load(Ordering::Relaxed));
        metrics.relayed_bytes.with_label_values(&["to_client"]).inc_by(bytes_to_client);
        Note::SessionEnded {
            session: &self.facts.id,
            end,
            executions,
            denied,
            bytes_to_target: 0,
            bytes_to_client,
            duration: self.begun.elapsed(),
        }
    }
}

impl Tally {
    /// An execution was asked for.
    pub(super) fn executed(&self) {
        self.executions.fetch_add(1, Ordering::Relaxed);
    }

    /// One was refused.
    pub(super) fn denied(&self) {
        self.denied.fetch_add(1, Ordering::Relaxed);
    }

    /// Bytes of replies were relayed.
    pub(super) fn relayed(&self, bytes: u64) {
        self.bytes_to_client.fetch_add(bytes, Ordering::Relaxed);
    }
}

/// Whether policy lets the session's principal reach the target at all.
///
/// # Errors
/// The denial.
pub(super) fn admitted(gate: &Gate, session: &Session) -> Result<(), Fault> {
    gate.admit_session(&AccessRequest {
        principal: &session.facts.principal,
        target: &session.facts.target,
        database: &session.facts.database,
        role: &session.facts.role,
        unqualified_schema: None,
        effects: &[],
        dbt: None,
    })
}
