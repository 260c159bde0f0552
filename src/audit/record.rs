//! What the log records: the kinds, and the body of each as JSON.

use std::borrow::Cow;
use std::fmt;
use std::time::SystemTime;

use serde::Serialize;
use time::OffsetDateTime;
use time::format_description::BorrowedFormatItem;
use time::macros::format_description;

use super::frame::{hex, sha256};
use super::log::Note;
use super::{Attempt, Outcome, SessionFacts};
use crate::dbt::Attribution;
use crate::fault::Reason;
use crate::identity::Principal;
use crate::policy::{Decision, Verdict};
use crate::sql::{Effect, Object, ObjectKind};
use crate::target::Target;

macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident = $word:literal,)*) => {
        /// What a record is about. The words are part of the format.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub(super) enum Kind { $($(#[$doc])* $name,)* }

        impl Kind {
            /// The word in records and metrics.
            pub(super) fn as_str(self) -> &'static str {
                match self { $(Self::$name => $word,)* }
            }

            /// Reads what `as_str` gives.
            pub(super) fn parse(word: &str) -> Option<Self> {
                match word { $($word => Some(Self::$name),)* _ => None }
            }
        }
    };
}

kinds! {
    /// The first record of a segment.
    Segment = "segment",
    /// A boot of the program begins.
    Opened = "opened",
    /// The boot before did not close the log: what it left.
    Recovered = "recovered",
    /// What is true of every record of a session; before the first one in each segment.
    Session = "session",
    /// The text of a statement; before the first record in each segment that names its digest.
    Statement = "statement",
    /// An execution was admitted.
    Attempt = "attempt",
    /// An execution was refused.
    Denied = "denied",
    /// What came of an attempt.
    Outcome = "outcome",
    /// A client logged in and the warehouse accepted the login.
    SessionStarted = "session-started",
    /// A session ended.
    SessionEnded = "session-ended",
    /// A client got no session.
    SessionRefused = "session-refused",
    /// A credential was issued.
    CredentialExchanged = "credential-exchanged",
    /// No credential was issued.
    CredentialRefused = "credential-refused",
    /// The workload's identity could not be proven.
    IdentityFailed = "identity-failed",
    /// A policy set is in force from here on.
    PolicyLoaded = "policy-loaded",
    /// A policy set was rejected; the one before stays in force.
    PolicyRejected = "policy-rejected",
    /// The program takes no new sessions.
    Draining = "draining",
    /// The chain so far, signed.
    Checkpoint = "checkpoint",
    /// The boot ended in order.
    Closed = "closed",
}

/// A name for a boot of the program: 8 hexadecimal digits.
pub(super) type BootId = std::sync::Arc<str>;

/// The name of one record: `<boot id>-<sequence number>`. The number alone is unique within a log.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RecordId {
    pub(super) boot: BootId,
    pub(super) seq: u64,
}

impl fmt::Display for RecordId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.boot, self.seq)
    }
}

impl Serialize for RecordId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A record that has no sequence number yet: it gets one when it is written.
pub(super) struct Record {
    pub(super) kind: Kind,
    pub(super) time: SystemTime,
    /// The fields, as the inside of a JSON object.
    pub(super) fields: String,
}

impl Record {
    /// A record of now.
    pub(super) fn new(kind: Kind, fields: &impl Serialize) -> Self {
        Self::at(SystemTime::now(), kind, fields)
    }

    /// A record of some moment.
    pub(super) fn at(time: SystemTime, kind: Kind, fields: &impl Serialize) -> Self {
        Self { kind, time, fields: inside(fields) }
    }

    /// The payload of its frame.
    pub(super) fn payload(&self, id: &RecordId) -> String {
        let comma = if self.fields.is_empty() { "" } else { "," };
        format!(
            r#"{{"seq":{},"boot":"{}","kind":"{}","time":"{}"{comma}{}}}"#,
            id.seq,
            id.boot,
            self.kind.as_str(),
            rfc3339(self.time),
            self.fields
        )
    }
}

/// A record that others refer to, written before the first of them in each segment.
pub(super) enum Definition {
    /// Facts of a session, serialized.
    Session {
        /// The digest of the facts, so that changed facts are written again.
        key: [u8; 32],
        /// The fields.
        fields: String,
    },
    /// A statement's text.
    Statement {
        /// The digest of the text.
        key: [u8; 32],
        /// The text.
        text: Box<str>,
    },
}

impl Definition {
    /// The session's facts.
    pub(super) fn session(facts: &SessionFacts) -> Self {
        let fields = inside(&SessionFields::new(facts));
        Self::Session { key: sha256(fields.as_bytes()), fields }
    }

    /// The text of a statement.
    pub(super) fn statement(text: &str) -> Self {
        Self::Statement { key: sha256(text.as_bytes()), text: text.into() }
    }

    /// What tells it from others.
    pub(super) fn key(&self) -> &[u8; 32] {
        match self {
            Self::Session { key, .. } | Self::Statement { key, .. } => key,
        }
    }

    /// The record that says it.
    pub(super) fn record(&self, time: SystemTime) -> Record {
        match self {
            Self::Session { fields, .. } => Record { kind: Kind::Session, time, fields: fields.clone() },
            Self::Statement { key, text } => {
                let fields = inside(&StatementFields { digest: &hex(key), text });
                Record { kind: Kind::Statement, time, fields }
            }
        }
    }
}

/// A moment as RFC 3339, in UTC, to the nanosecond.
pub(super) fn rfc3339(time: SystemTime) -> String {
    const FORMAT: &[BorrowedFormatItem<'_>] = format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:9]Z");
    // A clock beyond the year 9999 cannot be written; the record still can.
    OffsetDateTime::from(time).format(FORMAT).unwrap_or_else(|_| "9999-12-31T23:59:59.999999999Z".into())
}

/// The inside of the object that a struct serializes to.
fn inside(fields: &impl Serialize) -> String {
    // Our own structs of strings and numbers always serialize; an empty body is the honest rest.
    let object = serde_json::to_string(fields).unwrap_or_default();
    object.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')).unwrap_or_default().to_owned()
}

#[derive(Serialize)]
struct StatementFields<'a> {
    digest: &'a str,
    text: &'a str,
}

#[derive(Serialize)]
struct SessionFields<'a> {
    session: &'a str,
    principal: PrincipalFields<'a>,
    target: TargetFields<'a>,
    database: &'a str,
    role: &'a str,
    client_user: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    application_name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_address: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    server_process_id: Option<i32>,
    credential: &'a str,
}

impl<'a> SessionFields<'a> {
    fn new(facts: &'a SessionFacts) -> Self {
        Self {
            session: &facts.id,
            principal: PrincipalFields::new(&facts.principal),
            target: TargetFields::new(&facts.target),
            database: &facts.database,
            role: &facts.role,
            client_user: &facts.client_user,
            application_name: facts.application_name.as_deref(),
            client_address: facts.client_address.map(|address| address.to_string()),
            server_process_id: facts.server_process_id,
            credential: &facts.credential,
        }
    }
}

#[derive(Serialize)]
struct PrincipalFields<'a> {
    issuer: &'a str,
    subject: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    token_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    namespace: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    service_account: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pod: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pod_uid: Option<&'a str>,
    proven_by: &'a str,
    expires_at: String,
}

impl<'a> PrincipalFields<'a> {
    fn new(principal: &'a Principal) -> Self {
        Self {
            issuer: &principal.issuer,
            subject: &principal.subject,
            token_id: principal.token_id.as_deref(),
            namespace: principal.namespace.as_deref(),
            service_account: principal.service_account.as_deref(),
            pod: principal.pod.as_deref(),
            pod_uid: principal.pod_uid.as_deref(),
            proven_by: principal.proven_by,
            expires_at: rfc3339(principal.expires_at),
        }
    }
}

#[derive(Serialize)]
struct TargetFields<'a> {
    name: &'a str,
    kind: &'a str,
    host: &'a str,
    port: u16,
}

impl<'a> TargetFields<'a> {
    fn new(target: &'a Target) -> Self {
        Self { name: &target.name, kind: target.kind, host: &target.host, port: target.port }
    }
}

/// The fields of `attempt` and `denied`.
#[derive(Serialize)]
pub(super) struct AttemptFields<'a> {
    session: &'a str,
    protocol: &'static str,
    sql: SqlFields,
    verbs: Vec<&'static str>,
    effects: Vec<EffectFields<'a>>,
    tables: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    unqualified_schema: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dbt: Option<DbtFields<'a>>,
    decision: DecisionFields<'a>,
}

impl<'a> AttemptFields<'a> {
    /// `digest` is the statement's, which the caller has computed.
    pub(super) fn new(attempt: &Attempt<'a>, digest: &[u8; 32]) -> Self {
        Self {
            session: &attempt.session.id,
            protocol: attempt.protocol.as_str(),
            sql: SqlFields { digest: hex(digest), bytes: attempt.sql.len() },
            verbs: attempt.analysis.statements.iter().map(|statement| statement.verb).collect(),
            effects: attempt.effects.iter().map(EffectFields::new).collect(),
            tables: tables(attempt),
            unqualified_schema: attempt.unqualified_schema,
            dbt: attempt.dbt.map(DbtFields::new),
            decision: DecisionFields::new(attempt.decision),
        }
    }
}

/// The tables of an attempt for people: once each, as `database.schema.name`, sorted.
fn tables(attempt: &Attempt<'_>) -> Vec<String> {
    let mut names: Vec<String> = attempt
        .effects
        .iter()
        .filter_map(|effect| match effect {
            Effect::Access { object, .. } if object.kind == ObjectKind::Relation => Some(object),
            Effect::Access { .. } | Effect::Call { .. } | Effect::Role { .. } | Effect::Set { .. } | Effect::Opaque { .. } => None,
        })
        .map(|object| qualified(object, &attempt.session.database, attempt.unqualified_schema))
        .collect();
    names.sort_unstable();
    names.dedup();
    names
}

/// The full name, with `?` for a schema that is not known.
fn qualified(object: &Object, database: &str, unqualified_schema: Option<&str>) -> String {
    let database = object.database.as_deref().unwrap_or(database);
    let schema = object.schema.as_deref().or(unqualified_schema).unwrap_or("?");
    format!("{database}.{schema}.{}", object.name)
}

/// An object as far as the statement says it, in parts: a name may hold any character.
#[derive(Serialize)]
struct ObjectFields<'a> {
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    database: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    schema: Option<&'a str>,
    name: &'a str,
}

impl<'a> ObjectFields<'a> {
    fn new(object: &'a Object) -> Self {
        let kind = match object.kind {
            ObjectKind::Relation => "relation",
            ObjectKind::Schema => "schema",
            ObjectKind::Database => "database",
            ObjectKind::Function => "function",
            ObjectKind::Type => "type",
        };
        Self { kind, database: object.database.as_deref(), schema: object.schema.as_deref(), name: &object.name }
    }
}

#[derive(Serialize)]
struct SqlFields {
    digest: String,
    bytes: usize,
}

#[derive(Serialize)]
#[serde(untagged)]
enum EffectFields<'a> {
    Access {
        action: &'static str,
        object: ObjectFields<'a>,
        #[serde(skip_serializing_if = "<[_]>::is_empty")]
        columns: &'a [String],
    },
    Call {
        call: ObjectFields<'a>,
    },
    Role {
        role: Option<&'a str>,
    },
    Set {
        set: &'a str,
    },
    Opaque {
        opaque: &'static str,
        detail: &'a str,
    },
}

impl<'a> EffectFields<'a> {
    fn new(effect: &'a Effect) -> Self {
        match effect {
            Effect::Access { action, object, columns } => {
                Self::Access { action: action.as_str(), object: ObjectFields::new(object), columns }
            }
            Effect::Call { function } => Self::Call { call: ObjectFields::new(function) },
            Effect::Role { role } => Self::Role { role: role.as_deref() },
            Effect::Set { parameter } => Self::Set { set: parameter },
            Effect::Opaque { class, detail } => Self::Opaque { opaque: class.as_str(), detail },
        }
    }
}

#[derive(Serialize)]
struct DbtFields<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    node: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    connection: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    invocation: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    profile: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<&'a str>,
    /// Always true: it comes from a comment that the client wrote.
    claimed: bool,
}

impl<'a> DbtFields<'a> {
    fn new(attribution: &'a Attribution) -> Self {
        Self {
            node: attribution.node.as_deref(),
            connection: attribution.connection.as_deref(),
            invocation: attribution.invocation.as_deref(),
            target: attribution.target.as_deref(),
            profile: attribution.profile.as_deref(),
            version: attribution.version.as_deref(),
            claimed: true,
        }
    }
}

#[derive(Serialize)]
struct DecisionFields<'a> {
    verdict: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    policy: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rule: Option<&'a str>,
    revision: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    denial: Option<DenialFields<'a>>,
}

impl<'a> DecisionFields<'a> {
    fn new(decision: &'a Decision) -> Self {
        let rule = decision.rule.as_ref();
        Self {
            verdict: match decision.verdict {
                Verdict::Allowed => "allowed",
                Verdict::Observed => "observed",
                Verdict::Denied => "denied",
            },
            policy: rule.map(|rule| &*rule.policy),
            rule: rule.map(|rule| &*rule.path),
            revision: &decision.revision,
            denial: decision.denial.as_ref().map(|denial| DenialFields { reason: denial.reason.code(), sentence: &denial.sentence }),
        }
    }
}

#[derive(Serialize)]
struct DenialFields<'a> {
    reason: &'static str,
    sentence: &'a str,
}

/// The fields of `outcome`.
#[derive(Serialize)]
pub(super) struct OutcomeFields<'a> {
    pub(super) attempt: &'a RecordId,
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    rows: Option<u64>,
    reply_bytes: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    sqlstate: Option<&'a str>,
    duration_us: u64,
}

impl<'a> OutcomeFields<'a> {
    pub(super) fn new(attempt: &'a RecordId, outcome: &'a Outcome, duration: std::time::Duration) -> Self {
        Self {
            attempt,
            status: outcome.status.as_str(),
            rows: outcome.rows,
            reply_bytes: outcome.reply_bytes,
            // A server may send anything here; a SQLSTATE has five letters or digits (PostgreSQL docs, appendix A).
            sqlstate: outcome.sqlstate.as_deref().filter(|code| code.len() == 5 && code.bytes().all(|b| b.is_ascii_alphanumeric())),
            duration_us: u64::try_from(duration.as_micros()).unwrap_or(u64::MAX),
        }
    }
}

/// The fields of every [`Note`].
#[derive(Serialize)]
#[serde(untagged)]
enum NoteFields<'a> {
    SessionStarted {
        session: &'a str,
    },
    SessionEnded {
        session: &'a str,
        end: &'a str,
        executions: u64,
        denied: u64,
        bytes_to_target: u64,
        bytes_to_client: u64,
        duration_us: u64,
    },
    SessionRefused {
        reason: &'static str,
        #[serde(skip_serializing_if = "Option::is_none")]
        about: Option<&'a str>,
        listener: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        client_address: Option<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        client_user: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        database: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        principal: Option<PrincipalFields<'a>>,
    },
    CredentialExchanged {
        exchange: &'a str,
        credential: &'a str,
        expires_at: String,
        target: &'a str,
        principal: PrincipalFields<'a>,
    },
    CredentialRefused {
        exchange: &'a str,
        reason: &'static str,
        target: &'a str,
        principal: PrincipalFields<'a>,
    },
    IdentityFailed {
        source: &'a str,
        reason: &'static str,
    },
    PolicyLoaded {
        revision: &'a str,
        policies: &'a [String],
    },
    PolicyRejected {
        in_force: &'a str,
        problems: Vec<Cow<'a, str>>,
    },
    Draining {
        sessions: u64,
    },
}

/// The record of a note, and the facts that must stand before it.
pub(super) fn note(note: &Note<'_>) -> (Record, Option<Definition>) {
    let mut definition = None;
    let code = |reason: Reason| reason.code();
    let (kind, fields) = match *note {
        Note::SessionStarted(facts) => {
            definition = Some(Definition::session(facts));
            (Kind::SessionStarted, NoteFields::SessionStarted { session: &facts.id })
        }
        Note::SessionEnded { session, end, executions, denied, bytes_to_target, bytes_to_client, duration } => {
            let duration_us = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
            let fields = NoteFields::SessionEnded { session, end, executions, denied, bytes_to_target, bytes_to_client, duration_us };
            (Kind::SessionEnded, fields)
        }
        Note::SessionRefused { reason, about, listener, client_address, client_user, database, principal } => {
            let client_address = client_address.map(|address| address.to_string());
            let principal = principal.map(PrincipalFields::new);
            let reason = code(reason);
            let fields = NoteFields::SessionRefused { reason, about, listener, client_address, client_user, database, principal };
            (Kind::SessionRefused, fields)
        }
        Note::CredentialExchanged { exchange, credential, expires_at, target, principal } => {
            let (expires_at, principal) = (rfc3339(expires_at), PrincipalFields::new(principal));
            let fields = NoteFields::CredentialExchanged { exchange, credential, expires_at, target: &target.name, principal };
            (Kind::CredentialExchanged, fields)
        }
        Note::CredentialRefused { exchange, reason, target, principal } => {
            let (reason, principal) = (code(reason), PrincipalFields::new(principal));
            (Kind::CredentialRefused, NoteFields::CredentialRefused { exchange, reason, target: &target.name, principal })
        }
        Note::IdentityFailed { source, reason } => (Kind::IdentityFailed, NoteFields::IdentityFailed { source, reason: code(reason) }),
        Note::PolicyLoaded { revision, policies } => (Kind::PolicyLoaded, NoteFields::PolicyLoaded { revision, policies }),
        Note::PolicyRejected { in_force, problems } => {
            let problems = problems.iter().map(|problem| Cow::Owned(problem.to_string())).collect();
            (Kind::PolicyRejected, NoteFields::PolicyRejected { in_force, problems })
        }
        Note::Draining { sessions } => (Kind::Draining, NoteFields::Draining { sessions }),
    };
    (Record::new(kind, &fields), definition)
}
