//! What an execution was, and what came of it, as fields of its records.

use std::time::Duration;

use serde::Serialize;

use super::RecordId;
use crate::audit::frame::hex;
use crate::audit::{Attempt, Execution, Outcome};
use crate::dbt::Claim;
use crate::dbt::manifest::verify::Mismatch;
use crate::policy::Decision;
use crate::sql::{Effect, Object, ObjectKind, Signals};

/// The fields of `attempt` and `denied`.
#[derive(Serialize)]
pub(in crate::audit) struct AttemptFields<'a> {
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
    pub(in crate::audit) fn new(attempt: &Attempt<'a>, digest: &[u8; 32]) -> Self {
        let Attempt { execution, decision } = *attempt;
        Self {
            session: &execution.session.id,
            protocol: execution.protocol.as_str(),
            sql: SqlFields { digest: hex(digest), bytes: execution.sql.len() },
            verbs: execution.analysis.statements.iter().map(|statement| statement.verb).collect(),
            effects: execution.effects.iter().map(EffectFields::new).collect(),
            tables: tables(&execution),
            unqualified_schema: execution.unqualified_schema,
            dbt: execution.dbt.map(DbtFields::new),
            decision: DecisionFields::new(decision),
        }
    }
}

/// The tables of an execution for people: once each, as `database.schema.name`, sorted.
fn tables(execution: &Execution<'_>) -> Vec<String> {
    let mut names: Vec<String> = execution
        .effects
        .iter()
        .filter_map(|effect| match effect {
            Effect::Access { object, .. } if object.kind == ObjectKind::Relation => Some(object),
            Effect::Access { .. } | Effect::Call { .. } | Effect::Role { .. } | Effect::Set { .. } | Effect::Opaque { .. } => None,
        })
        .map(|object| qualified(object, &execution.session.database, execution.unqualified_schema))
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
        Self { kind: object.kind.as_str(), database: object.database.as_deref(), schema: object.schema.as_deref(), name: &object.name }
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
        /// The server process that it signals, where the text says it.
        #[serde(skip_serializing_if = "Option::is_none")]
        process_id: Option<i32>,
        /// Present, and true, where that process serves a live session of the same principal.
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        own_session: bool,
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
            Effect::Call { function, signals } => {
                let (process_id, own_session) = match *signals {
                    Signals::Unsaid => (None, false),
                    Signals::Process(id) => (Some(id), false),
                    Signals::OwnSession(id) => (Some(id), true),
                };
                Self::Call { call: ObjectFields::new(function), process_id, own_session }
            }
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
    /// What all that is worth: it comes from a comment that the client wrote, and a manifest may bear it out.
    standing: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    mismatch: Option<MismatchFields<'a>>,
}

impl<'a> DbtFields<'a> {
    fn new(claim: Claim<'a>) -> Self {
        let Claim { attribution, standing } = claim;
        Self {
            node: attribution.node.as_deref(),
            connection: attribution.connection.as_deref(),
            invocation: attribution.invocation.as_deref(),
            target: attribution.target.as_deref(),
            profile: attribution.profile.as_deref(),
            version: attribution.version.as_deref(),
            standing: standing.as_str(),
            mismatch: standing.mismatch().map(MismatchFields::new),
        }
    }
}

#[derive(Serialize)]
struct MismatchFields<'a> {
    reason: &'static str,
    sentence: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    action: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    object: Option<ObjectFields<'a>>,
}

impl<'a> MismatchFields<'a> {
    fn new(mismatch: &'a Mismatch) -> Self {
        let (action, object) = match mismatch {
            Mismatch::ForeignWrite(action, object) => (Some(action.as_str()), Some(ObjectFields::new(object))),
            Mismatch::UndeclaredRead(object) => (None, Some(ObjectFields::new(object))),
            Mismatch::UnknownNode | Mismatch::OtherText | Mismatch::Unseen => (None, None),
        };
        Self { reason: mismatch.as_str(), sentence: mismatch.to_string(), action, object }
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
            verdict: decision.verdict.as_str(),
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
pub(in crate::audit) struct OutcomeFields<'a> {
    pub(in crate::audit) attempt: &'a RecordId,
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    rows: Option<u64>,
    reply_bytes: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    sqlstate: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    query_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    out_of_band: Option<&'static str>,
    duration_us: u64,
}

impl<'a> OutcomeFields<'a> {
    pub(in crate::audit) fn new(attempt: &'a RecordId, outcome: &'a Outcome, duration: Duration) -> Self {
        Self {
            attempt,
            status: outcome.status.as_str(),
            rows: outcome.rows,
            reply_bytes: outcome.reply_bytes,
            // A server may send anything here; a SQLSTATE has five letters or digits (PostgreSQL docs, appendix A).
            sqlstate: outcome.sqlstate.as_deref().filter(|code| code.len() == 5 && code.bytes().all(|b| b.is_ascii_alphanumeric())),
            error: outcome.error.as_deref().filter(|name| is_plain(name)),
            query_id: outcome.query_id.as_deref().filter(|id| is_plain(id)),
            out_of_band: outcome.out_of_band,
            duration_us: u64::try_from(duration.as_micros()).unwrap_or(u64::MAX),
        }
    }
}

/// Whether a word of the warehouse's is fit for a record: names of errors and executions are short and of these characters.
fn is_plain(word: &str) -> bool {
    (1..=200).contains(&word.len()) && word.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.:/".contains(&byte))
}
