//! What the log records: the kinds, and the body of each as JSON.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::SystemTime;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use time::OffsetDateTime;
use time::format_description::BorrowedFormatItem;
use time::macros::format_description;

use super::frame::{hex, sha256};
use super::{ClientFacts, ClientProcess, SessionFacts};
use crate::identity::Principal;
use crate::identity::actor::Actor;
use crate::target::Target;

pub(super) mod attempt;
pub(super) mod note;

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
    /// A policy set is in force from here on.
    PolicyLoaded = "policy-loaded",
    /// A policy set was rejected; the one before stays in force.
    PolicyRejected = "policy-rejected",
    /// A dbt manifest is in force from here on.
    ManifestLoaded = "manifest-loaded",
    /// A dbt manifest was rejected; the one before stays in force.
    ManifestRejected = "manifest-rejected",
    /// The program takes no new sessions.
    Draining = "draining",
    /// The chain so far, signed.
    Checkpoint = "checkpoint",
    /// The boot ended in order.
    Closed = "closed",
}

/// A name for a boot of the program: 8 hexadecimal digits.
pub(super) type BootId = Arc<str>;

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

/// What the log keeps of the facts of a session, made once.
#[derive(Debug, Clone, Default)]
pub struct RecordedSession(OnceLock<Arc<SessionDefinition>>);

/// Facts of a session, serialized.
#[derive(Debug)]
pub(super) struct SessionDefinition {
    /// The digest of the facts, so that changed facts are written again.
    key: [u8; 32],
    /// The fields.
    fields: String,
}

/// A record that others refer to, written before the first of them in each segment.
pub(super) enum Definition {
    /// Facts of a session.
    Session(Arc<SessionDefinition>),
    /// A statement's text.
    Statement {
        /// The digest of the text.
        key: [u8; 32],
        /// The text.
        text: Box<[u8]>,
    },
}

impl Definition {
    /// The session's facts.
    pub(super) fn session(facts: &SessionFacts) -> Self {
        let define = || {
            let fields = inside(&SessionFields::new(facts));
            Arc::new(SessionDefinition { key: sha256(fields.as_bytes()), fields })
        };
        Self::Session(Arc::clone(facts.recorded.0.get_or_init(define)))
    }

    /// The text of a statement.
    pub(super) fn statement(text: &[u8]) -> Self {
        Self::Statement { key: sha256(text), text: text.into() }
    }

    /// What tells it from others.
    pub(super) fn key(&self) -> &[u8; 32] {
        match self {
            Self::Session(session) => &session.key,
            Self::Statement { key, .. } => key,
        }
    }

    /// The record that says it.
    pub(super) fn record(&self, time: SystemTime) -> Record {
        match self {
            Self::Session(session) => Record { kind: Kind::Session, time, fields: session.fields.clone() },
            Self::Statement { key, text } => {
                let text_base64 = std::str::from_utf8(text).is_err().then(|| STANDARD.encode(text));
                let fields = inside(&StatementFields { digest: &hex(key), text: &String::from_utf8_lossy(text), text_base64 });
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
    /// The bytes of a text that is not UTF-8, of which `text` is only a likeness.
    #[serde(skip_serializing_if = "Option::is_none")]
    text_base64: Option<String>,
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
    #[serde(flatten)]
    client: ClientFields<'a>,
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
            client: ClientFields::new(&facts.client),
            server_process_id: facts.server_process_id,
            credential: &facts.credential,
        }
    }
}

#[derive(Serialize)]
struct ClientFields<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    client_address: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_process: Option<ClientProcess>,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_certificate: Option<&'a str>,
}

impl<'a> ClientFields<'a> {
    fn new(facts: &'a ClientFacts) -> Self {
        Self {
            client_address: facts.address.map(|address| address.to_string()),
            client_process: facts.process,
            client_certificate: facts.certificate.as_deref(),
        }
    }
}

#[derive(Serialize)]
struct PrincipalFields<'a> {
    issuer: &'a str,
    subject: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    token_id: Option<&'a str>,
    /// Who acts for the subject, the one that acts now first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    actors: Vec<ActorFields<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    namespace: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    service_account: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pod: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pod_uid: Option<&'a str>,
    /// What policies select by.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    labels: &'a BTreeMap<String, String>,
    proven_by: &'a str,
    expires_at: String,
}

impl<'a> PrincipalFields<'a> {
    fn new(principal: &'a Principal) -> Self {
        Self {
            issuer: &principal.issuer,
            subject: &principal.subject,
            token_id: principal.token_id.as_deref(),
            actors: principal.actors.iter().map(|Actor { issuer, subject }| ActorFields { issuer: issuer.as_deref(), subject }).collect(),
            namespace: principal.namespace.as_deref(),
            service_account: principal.service_account.as_deref(),
            pod: principal.pod.as_deref(),
            pod_uid: principal.pod_uid.as_deref(),
            labels: &principal.labels,
            proven_by: principal.proven_by,
            expires_at: rfc3339(principal.expires_at),
        }
    }
}

#[derive(Serialize)]
struct ActorFields<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    issuer: Option<&'a str>,
    subject: &'a str,
}

#[derive(Serialize)]
struct TargetFields<'a> {
    name: &'a str,
    kind: &'a str,
    host: &'a str,
    port: u16,
    opening: &'static str,
}

impl<'a> TargetFields<'a> {
    fn new(target: &'a Target) -> Self {
        Self { name: &target.name, kind: target.kind, host: &target.host, port: target.port, opening: target.opening.as_str() }
    }
}
