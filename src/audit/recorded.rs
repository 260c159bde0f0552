//! Reads executions back as policy was asked about them, so that the same can be asked again.
//!
//! Streams over the log. The facts and texts that records refer to stand before them in each segment, so no more than those of
//! one segment are held, and a segment is bounded by `audit.segment_size`.

mod claim;
mod effect;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use serde::Deserialize;
use serde_json::Value;

use super::read::{Line, Lines, ReadError};
use crate::dbt::manifest::verify::Standing;
use crate::dbt::{Attribution, Claim};
use crate::identity::Principal;
use crate::identity::actor::Actor;
use crate::policy::{AccessRequest, RuleRef, Verdict};
use crate::sql::Effect;
use crate::target::{Opening, Target};

use claim::ClaimLine;

/// One execution: what policy was asked, and what it said.
#[derive(Debug, Clone)]
pub struct RecordedExecution {
    /// The record of the attempt or refusal.
    pub id: String,
    /// When it was asked for, as RFC 3339 in UTC.
    pub time: String,
    /// Who asked, and where.
    pub session: Arc<SessionRecord>,
    /// How it was asked for, in the words of [`super::Protocol`].
    pub protocol: String,
    /// The statements' verbs.
    pub verbs: Vec<String>,
    /// Every effect that was judged.
    pub effects: Vec<Effect>,
    /// The schema of unqualified names, where it was known.
    pub unqualified_schema: Option<String>,
    /// What dbt claimed, and what that was worth.
    pub dbt: Option<(Attribution, Standing)>,
    /// What was decided.
    pub decision: RecordedDecision,
    /// The text, where the log holds it and it is UTF-8.
    pub statement: Option<Arc<str>>,
}

impl RecordedExecution {
    /// The question that was put to policy.
    pub fn request(&self) -> AccessRequest<'_> {
        AccessRequest {
            principal: &self.session.principal,
            target: &self.session.target,
            database: &self.session.database,
            role: &self.session.role,
            unqualified_schema: self.unqualified_schema.as_deref(),
            effects: &self.effects,
            dbt: self.dbt.as_ref().map(|(attribution, standing)| Claim { attribution, standing }),
        }
    }
}

/// The facts of a session that a decision depends on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionRecord {
    /// Who.
    pub principal: Principal,
    /// Where to.
    pub target: Target,
    /// The database asked for.
    pub database: String,
    /// The role logged in as.
    pub role: String,
}

/// What was decided, as it was recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordedDecision {
    /// Did it pass?
    pub verdict: Verdict,
    /// The rule that decided, where one did.
    pub rule: Option<RuleRef>,
    /// Digest of the policy set that decided.
    pub revision: String,
    /// The reason code and the sentence, where it was not allowed.
    pub denial: Option<RecordedDenial>,
}

/// Why an execution was not allowed.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct RecordedDenial {
    /// The reason code, which may be one of another version.
    pub reason: String,
    /// The sentence that the client was told.
    pub sentence: String,
}

/// Something in a log that was asked of policy.
#[derive(Debug)]
pub enum Recorded {
    /// An execution.
    Execution(Box<RecordedExecution>),
    /// An execution whose record says something that this version cannot read.
    Unreadable {
        /// The record.
        id: String,
        /// What it lacks, or what is not known here.
        why: String,
    },
    /// A client that got no session, whatever the reason; what it would have run is not known.
    SessionRefused {
        /// The reason code.
        reason: String,
    },
}

/// Reads a log's executions in the order in which they were asked for.
pub struct RecordedExecutions {
    lines: Lines,
    kind_of: fn(&str) -> Option<&'static str>,
    sessions: HashMap<String, Arc<SessionRecord>>,
    texts: HashMap<String, Arc<str>>,
}

impl RecordedExecutions {
    /// Begins at the first segment. `kind_of` gives the known word for a kind of warehouse.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn open(directory: &Path, kind_of: fn(&str) -> Option<&'static str>) -> Result<Self, ReadError> {
        Ok(Self { lines: Lines::open(directory)?, kind_of, sessions: HashMap::new(), texts: HashMap::new() })
    }

    /// The next execution or refusal; `None` at the end, and at a torn or damaged frame.
    ///
    /// # Errors
    /// [`ReadError`]: the log itself cannot be read on.
    pub fn next_recorded(&mut self) -> Result<Option<Recorded>, ReadError> {
        while let Some(line) = self.lines.next_line()? {
            match line.kind.as_str() {
                "segment" => {
                    self.sessions.clear();
                    self.texts.clear();
                }
                "session" => self.take_session(&line),
                "statement" => self.take_text(&line),
                "attempt" | "denied" => return Ok(Some(self.execution(&line))),
                "session-refused" => {
                    let reason = line.fields.get("reason").and_then(Value::as_str).unwrap_or_default();
                    return Ok(Some(Recorded::SessionRefused { reason: reason.to_owned() }));
                }
                _ => {}
            }
        }
        Ok(None)
    }

    /// One that cannot be read is missed by the executions that refer to it.
    fn take_session(&mut self, line: &Line) {
        let Ok(read) = SessionLine::deserialize(Value::Object(line.fields.clone())) else { return };
        let kind = (self.kind_of)(&read.target.kind);
        let opening = Opening::ALL.iter().copied().find(|opening| opening.as_str() == read.target.opening);
        if let (Some(kind), Some(opening)) = (kind, opening) {
            let session = read.session.clone();
            self.sessions.insert(session, Arc::new(read.into_record(kind, opening)));
        }
    }

    fn take_text(&mut self, line: &Line) {
        let text = |field: &str| line.fields.get(field).and_then(Value::as_str);
        if let (Some(digest), Some(text), None) = (text("digest"), text("text"), text("text_base64")) {
            self.texts.insert(digest.to_owned(), text.into());
        }
    }

    fn execution(&self, line: &Line) -> Recorded {
        match self.read_execution(line) {
            Ok(execution) => Recorded::Execution(Box::new(execution)),
            Err(why) => Recorded::Unreadable { id: line.id(), why },
        }
    }

    fn read_execution(&self, line: &Line) -> Result<RecordedExecution, String> {
        let read = AttemptLine::deserialize(Value::Object(line.fields.clone())).map_err(|error| error.to_string())?;
        let session = self.sessions.get(&read.session).ok_or("the facts of its session cannot be read")?;
        Ok(RecordedExecution {
            id: line.id(),
            time: line.time.clone(),
            session: Arc::clone(session),
            protocol: read.protocol,
            verbs: read.verbs,
            effects: read.effects.iter().map(effect::read).collect::<Result<_, _>>()?,
            unqualified_schema: read.unqualified_schema,
            dbt: read.dbt.map(ClaimLine::into_claim).transpose()?,
            decision: read.decision.into_decision()?,
            statement: self.texts.get(&read.sql.digest).cloned(),
        })
    }
}

/// Finds the execution whose record is called `id` (`<boot id>-<number>`, or the number alone).
///
/// # Errors
/// [`ReadError`].
pub fn find(directory: &Path, id: &str, kind_of: fn(&str) -> Option<&'static str>) -> Result<Option<Recorded>, ReadError> {
    let mut recorded = RecordedExecutions::open(directory, kind_of)?;
    while let Some(found) = recorded.next_recorded()? {
        let is_it = |full: &str| full == id || full.rsplit_once('-').is_some_and(|(_, number)| number == id);
        match &found {
            Recorded::Execution(execution) if is_it(&execution.id) => return Ok(Some(found)),
            Recorded::Unreadable { id: full, .. } if is_it(full) => return Ok(Some(found)),
            Recorded::Execution(_) | Recorded::Unreadable { .. } | Recorded::SessionRefused { .. } => {}
        }
    }
    Ok(None)
}

#[derive(Deserialize)]
struct SessionLine {
    session: String,
    principal: PrincipalLine,
    target: TargetLine,
    database: String,
    role: String,
}

#[derive(Deserialize)]
struct PrincipalLine {
    issuer: String,
    subject: String,
    token_id: Option<String>,
    #[serde(default)]
    actors: Vec<ActorLine>,
    namespace: Option<String>,
    service_account: Option<String>,
    pod: Option<String>,
    pod_uid: Option<String>,
    #[serde(default)]
    labels: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct ActorLine {
    issuer: Option<String>,
    subject: String,
}

#[derive(Deserialize)]
struct TargetLine {
    name: String,
    kind: String,
    host: String,
    port: u16,
    opening: String,
}

impl SessionLine {
    fn into_record(self, kind: &'static str, opening: Opening) -> SessionRecord {
        let PrincipalLine { issuer, subject, token_id, actors, namespace, service_account, pod, pod_uid, labels } = self.principal;
        let actors = actors.into_iter().map(|ActorLine { issuer, subject }| Actor { issuer, subject }).collect();
        // How it was proven, and until when, decides nothing.
        let (proven_by, expires_at) = ("audit", SystemTime::UNIX_EPOCH);
        let TargetLine { name, kind: _, host, port, opening: _ } = self.target;
        SessionRecord {
            principal: Principal {
                issuer,
                subject,
                token_id,
                actors,
                namespace,
                service_account,
                pod,
                pod_uid,
                labels,
                proven_by,
                expires_at,
            },
            target: Target { name, kind, host, port, opening },
            database: self.database,
            role: self.role,
        }
    }
}

#[derive(Deserialize)]
struct AttemptLine {
    session: String,
    protocol: String,
    sql: SqlLine,
    verbs: Vec<String>,
    effects: Vec<Value>,
    unqualified_schema: Option<String>,
    dbt: Option<ClaimLine>,
    decision: DecisionLine,
}

#[derive(Deserialize)]
struct SqlLine {
    digest: String,
}

#[derive(Deserialize)]
struct DecisionLine {
    verdict: String,
    policy: Option<String>,
    rule: Option<String>,
    revision: String,
    denial: Option<RecordedDenial>,
}

impl DecisionLine {
    fn into_decision(self) -> Result<RecordedDecision, String> {
        let verdict = Verdict::ALL.iter().copied().find(|verdict| verdict.as_str() == self.verdict);
        let rule = self.policy.zip(self.rule).map(|(policy, path)| RuleRef { policy: policy.into(), path: path.into() });
        Ok(RecordedDecision {
            verdict: verdict.ok_or("its verdict is not known here")?,
            rule,
            revision: self.revision,
            denial: self.denial,
        })
    }
}
