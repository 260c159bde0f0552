//! The evidence: an append-only log of what was attempted, decided and came of it.

use std::net::SocketAddr;
use std::sync::Arc;

use crate::dbt::Attribution;
use crate::identity::Principal;
use crate::policy::Decision;
use crate::sql::{Analysis, Effect};
use crate::target::Target;

/// What stays the same for every record of one session.
#[derive(Debug, Clone)]
pub struct SessionFacts {
    /// Unique within the log: the boot id and a counter.
    pub id: String,
    /// Who.
    pub principal: Arc<Principal>,
    /// Where to.
    pub target: Arc<Target>,
    /// The database asked for.
    pub database: String,
    /// The role logged in as.
    pub role: String,
    /// The user name that the client wrote; it decides nothing.
    pub client_user: String,
    /// `application_name` of the client.
    pub application_name: Option<String>,
    /// The client's address; `None` on a Unix-domain socket.
    pub client_address: Option<SocketAddr>,
    /// The process id of the server behind the session, as in BackendKeyData.
    pub server_process_id: Option<i32>,
    /// Which credential logged in ([`crate::credential::Credential::id`]).
    pub credential: String,
}

/// How an execution was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// Simple query protocol.
    Simple,
    /// Extended query protocol.
    Extended,
    /// FunctionCall message.
    FunctionCall,
}

/// One execution, as known at admission.
#[derive(Debug, Clone, Copy)]
pub struct Attempt<'a> {
    /// The session it belongs to.
    pub session: &'a SessionFacts,
    /// The text, exactly as the client sent it.
    pub sql: &'a str,
    /// How it was asked for.
    pub protocol: Protocol,
    /// What the text would do.
    pub analysis: &'a Analysis,
    /// Every effect that was judged: of the text, and of prepared names behind it.
    pub effects: &'a [Effect],
    /// The schema of unqualified names, where known.
    pub unqualified_schema: Option<&'a str>,
    /// What dbt claims.
    pub dbt: Option<&'a Attribution>,
    /// What policy said.
    pub decision: &'a Decision,
}

/// How an execution ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// Which end.
    pub status: Status,
    /// Rows that the command tags report, where they do.
    pub rows: Option<u64>,
    /// Bytes of the reply.
    pub reply_bytes: u64,
    /// SQLSTATE of the error, for `Failed` and `Cancelled`.
    pub sqlstate: Option<String>,
}

/// Which end an execution came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// The server finished it.
    Completed,
    /// The server answered with an error.
    Failed,
    /// The server answered with `query_canceled` (57014).
    Cancelled,
    /// The server never ran it: an earlier message of the pipeline failed.
    Skipped,
    /// The session ended before the reply did; whether it ran is unknown.
    Abandoned,
}
