//! What a workload may do at a warehouse: WarehousePolicy documents, compiled and decided.
//!
//! Pure: no I/O, no clock, no `await`. Reading files is `serve`'s work; it hands texts in.

use std::sync::Arc;

use crate::dbt::Attribution;
use crate::fault::Reason;
use crate::identity::Principal;
use crate::sql::Effect;
use crate::target::Target;

/// Everything a decision depends on.
#[derive(Debug, Clone, Copy)]
pub struct AccessRequest<'a> {
    /// Who asks.
    pub principal: &'a Principal,
    /// At which warehouse.
    pub target: &'a Target,
    /// The database of the session.
    pub database: &'a str,
    /// The role that the session logged in as.
    pub role: &'a str,
    /// The schema of unqualified names, where the session's search path has just one; `None` leaves them unresolved.
    pub unqualified_schema: Option<&'a str>,
    /// Every effect of every statement; empty asks for nothing beyond the connection.
    pub effects: &'a [Effect],
    /// What dbt claims about the statement.
    pub dbt: Option<&'a Attribution>,
}

/// The answer, with the rule that gave it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// May it pass?
    pub verdict: Verdict,
    /// The rule that allowed the last effect, or the deny rule that forbade it.
    pub rule: Option<RuleRef>,
    /// Why not, where the verdict is `Denied` or `Observed`.
    pub denial: Option<Denial>,
    /// Digest of the policy set that decided.
    pub revision: Arc<str>,
}

/// Whether a request may pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Some rule allows every effect, and no deny rule forbids one.
    Allowed,
    /// It would be denied, but every policy that forbids it is in observe mode: it passes and is recorded as such.
    Observed,
    /// It must not pass.
    Denied,
}

/// Why a request is not allowed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Denial {
    /// One of the `Policy*` reasons or `StatementOpaque`.
    pub reason: Reason,
    /// The missing permission or the deny rule, as a sentence the client may see.
    pub sentence: String,
}

/// Where a rule stands.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct RuleRef {
    /// `namespace/name` of the policy, or `name` of a cluster-wide one.
    pub policy: Arc<str>,
    /// The rule's place in it: `spec.egress[0].toPorts[0].rules.sql[2]`.
    pub path: Arc<str>,
}

/// A set of policies in force together; immutable, swapped whole.
#[derive(Debug)]
pub struct PolicySet {
    revision: Arc<str>,
}

impl PolicySet {
    /// Decides. Total and deterministic.
    pub fn decide(&self, request: &AccessRequest<'_>) -> Decision {
        let _ = request;
        Decision { verdict: Verdict::Denied, rule: None, denial: None, revision: Arc::clone(&self.revision) }
    }
}
