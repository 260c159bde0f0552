//! The evidence: an append-only log of what was attempted, decided and came of it.

mod appender;
mod batch;
mod frame;
pub mod key;
pub mod log;
mod queue;
pub mod read;
pub mod record;
pub mod recorded;
mod recover;
mod storage;
#[cfg(test)]
pub(crate) mod tests;
pub mod verify;
mod walk;
mod writer;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::dbt::Claim;
use crate::document::{Size, Span};
use crate::identity::Principal;
use crate::policy::Decision;
use crate::sql::{Analysis, Effect};
use crate::target::Target;

/// Where the log is kept and what it promises.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The directory of the log; made with mode 0700 when absent. One process at a time may write to it.
    pub directory: PathBuf,
    /// When a record counts as kept.
    #[serde(default)]
    pub durability: Durability,
    /// A segment file at or over this size is followed by a new one. A segment can exceed it by one commit.
    #[serde(default = "Settings::default_segment_size")]
    pub segment_size: Size,
    /// Queries that may be admitted and not yet finished; further ones wait for `wait_max`, then are refused.
    #[serde(default = "Settings::default_queries_in_flight_max")]
    pub queries_in_flight_max: usize,
    /// Records that may wait for the writer; further ones wait for `wait_max`, then are refused.
    #[serde(default = "Settings::default_queue_max")]
    pub queue_max: usize,
    /// Memory that waiting records may hold; further ones wait for `wait_max`, then are refused.
    #[serde(default = "Settings::default_queue_size")]
    pub queue_size: Size,
    /// A signed checkpoint is written after this many records, and with every new segment.
    #[serde(default = "Settings::default_checkpoint_records")]
    pub checkpoint_records: u64,
    /// A signed checkpoint is written this long after the first record that none covers.
    #[serde(default = "Settings::default_checkpoint_interval")]
    pub checkpoint_interval: Span,
    /// The Ed25519 key that signs checkpoints: PKCS#8, PEM or DER. Without it a key is made at the first start and
    /// kept in the directory.
    #[serde(default)]
    pub signing_key_file: Option<PathBuf>,
    /// How long an admission waits for its durable record before the query is refused.
    #[serde(default = "Settings::default_wait_max")]
    pub wait_max: Span,
}

impl Settings {
    /// The defaults, for a log in `directory`.
    pub fn at(directory: impl Into<PathBuf>) -> Self {
        Self {
            directory: directory.into(),
            durability: Durability::default(),
            segment_size: Self::default_segment_size(),
            queries_in_flight_max: Self::default_queries_in_flight_max(),
            queue_max: Self::default_queue_max(),
            queue_size: Self::default_queue_size(),
            checkpoint_records: Self::default_checkpoint_records(),
            checkpoint_interval: Self::default_checkpoint_interval(),
            signing_key_file: None,
            wait_max: Self::default_wait_max(),
        }
    }

    const fn default_segment_size() -> Size {
        Size::mebibytes(64)
    }

    const fn default_queries_in_flight_max() -> usize {
        1024
    }

    const fn default_queue_max() -> usize {
        4096
    }

    const fn default_queue_size() -> Size {
        Size::mebibytes(128)
    }

    const fn default_checkpoint_records() -> u64 {
        10_000
    }

    const fn default_checkpoint_interval() -> Span {
        Span::seconds(10)
    }

    const fn default_wait_max() -> Span {
        Span::seconds(5)
    }
}

/// When a record counts as kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Durability {
    /// When the disk has it: survives the loss of power.
    #[default]
    Fsync,
    /// When the kernel has it: survives the end of this process, not of the machine. Synced at every checkpoint.
    Write,
}

impl Durability {
    /// The word in settings and records.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Fsync => "fsync",
            Self::Write => "write",
        }
    }
}

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
    /// The client, as its connection shows it.
    pub client: ClientFacts,
    /// The process id of the server behind the session, as in BackendKeyData.
    pub server_process_id: Option<i32>,
    /// Which credential logged in ([`crate::credential::Credential::id`]).
    pub credential: String,
    /// The same as the log keeps it, once it had to be recorded; empty before.
    pub recorded: record::RecordedSession,
}

/// A client, as its connection shows it: what it says of itself comes later and proves nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClientFacts {
    /// Its address; `None` on a Unix-domain socket.
    pub address: Option<SocketAddr>,
    /// Its process, where the connection is a Unix-domain socket.
    pub process: Option<ClientProcess>,
    /// The subject of its certificate, where it showed one that was verified.
    pub certificate: Option<String>,
}

/// The process at the other end of a Unix-domain socket when it connected, as the kernel says (`SO_PEERCRED`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct ClientProcess {
    /// Its user.
    pub user_id: u32,
    /// Its group.
    pub group_id: u32,
    /// Its id; `None` where the kernel cannot say, as across some process namespaces.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub process_id: Option<i32>,
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
    /// An HTTP request.
    Http,
}

impl Protocol {
    /// The word in records.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Simple => "simple",
            Self::Extended => "extended",
            Self::FunctionCall => "function-call",
            Self::Http => "http",
        }
    }
}

/// One execution that a client asks for.
#[derive(Debug, Clone, Copy)]
pub struct Execution<'a> {
    /// The session it belongs to.
    pub session: &'a SessionFacts,
    /// The text, exactly as the client sent it.
    pub sql: &'a [u8],
    /// How it was asked for.
    pub protocol: Protocol,
    /// What the text would do.
    pub analysis: &'a Analysis,
    /// Every effect to be judged: of the text, and of prepared names behind it.
    pub effects: &'a [Effect],
    /// The schema of unqualified names, where known.
    pub unqualified_schema: Option<&'a str>,
    /// What dbt claims about it, and what that is worth.
    pub dbt: Option<Claim<'a>>,
}

/// An execution and what policy said of it.
#[derive(Debug, Clone, Copy)]
pub struct Attempt<'a> {
    /// What was asked for.
    pub execution: Execution<'a>,
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
    /// The name of the error, where the warehouse has names instead.
    pub error: Option<String>,
    /// The warehouse's own name for the execution.
    pub query_id: Option<String>,
    /// Where results lie that the client fetches without passing here, if any do.
    pub out_of_band: Option<&'static str>,
}

impl Outcome {
    /// An end of which nothing more is known.
    pub fn new(status: Status) -> Self {
        Self { status, rows: None, reply_bytes: 0, sqlstate: None, error: None, query_id: None, out_of_band: None }
    }
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

impl Status {
    /// The word in records.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::Skipped => "skipped",
            Self::Abandoned => "abandoned",
        }
    }
}
