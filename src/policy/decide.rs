//! The decision: which rules reach the target, and whether they allow every effect.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use crate::fault::Reason;
use crate::identity::Principal;
use crate::sql::{Effect, Signals};
use crate::target::Target;

use super::compile::{Policy, Reach, SqlEntry};
use super::entry::{Miss, Reading};
use super::index::Index;
use super::phrase::Phrase;
use super::{AccessRequest, Denial, Mode, RuleRef, Verdict};

/// The one rule that stands in no policy: a principal may cancel and end its own sessions. dbt does so on an interrupt, from
/// a connection of its own. Deny rules win over it as over every other.
static OWN_SESSION: LazyLock<RuleRef> = LazyLock::new(|| RuleRef { policy: "built-in".into(), path: "own-session".into() });

/// The policies that select a workload, and their rules that reach a target: all that a session's decisions need.
#[derive(Debug)]
pub(super) struct Scope {
    workload: Workload,
    host: String,
    port: u16,
    /// Some policy selects the workload.
    selected: bool,
    /// Some policy in enforce mode does.
    enforced: bool,
    /// The first rule that reaches the target, and the entries of all that do.
    allow: Rules,
    /// The same for `egressDeny` of policies that enforce; here the first rule is the first without entries.
    forbid: Rules,
    /// The same for `egressDeny` of policies that observe.
    would_forbid: Rules,
}

/// What selectors see of a principal.
#[derive(Debug, PartialEq, Eq)]
struct Workload {
    namespace: Option<String>,
    service_account: Option<String>,
    labels: BTreeMap<String, String>,
}

#[derive(Debug, Default)]
struct Rules {
    connection: Option<RuleRef>,
    effects: Index,
}

/// What became of one question: a connection or an effect.
#[derive(Debug)]
pub(super) struct Answer<'p> {
    pub(super) verdict: Verdict,
    pub(super) rule: Option<&'p RuleRef>,
    /// What forbids it.
    pub(super) refusal: Option<Refusal<'p>>,
}

/// What forbids a question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal<'p> {
    /// No policy selects the principal.
    NoneSelects,
    /// No rule allows it.
    NoneAllows,
    /// This deny rule.
    Rule(&'p RuleRef),
}

/// Why a policy does not select a principal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unselected<'p> {
    /// It belongs to this namespace.
    Namespace(&'p str),
    /// The label with this key does not match.
    Label(&'p str),
}

/// Why a rule does not reach a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unreached {
    /// No selector of `toFQDNs` matches the host.
    Host,
    /// No range of `ports` holds the port.
    Port,
}

impl Policy {
    /// Does the policy select the principal? A namespaced policy selects only in its own namespace.
    ///
    /// # Errors
    /// Why not.
    pub(super) fn selects(&self, principal: &Principal) -> Result<(), Unselected<'_>> {
        match &self.namespace {
            Some(namespace) if principal.namespace.as_ref() != Some(namespace) => Err(Unselected::Namespace(namespace)),
            Some(_) | None => self.selector.selects(principal).map_err(Unselected::Label),
        }
    }
}

impl Reach {
    /// Does the rule reach the target?
    ///
    /// # Errors
    /// Why not.
    pub(super) fn reaches(&self, target: &Target) -> Result<(), Unreached> {
        if !self.hosts.as_ref().is_none_or(|hosts| hosts.iter().any(|host| host.matches(&target.host))) {
            return Err(Unreached::Host);
        }
        match self.ports.as_ref().is_none_or(|ranges| ranges.iter().any(|(first, last)| (*first..=*last).contains(&target.port))) {
            true => Ok(()),
            false => Err(Unreached::Port),
        }
    }
}

impl Scope {
    /// One pass over all policies; every decision after it looks only at what was found.
    pub(super) fn new(policies: &[Policy], principal: &Principal, target: &Target) -> Self {
        let selecting: Vec<&Policy> = policies.iter().filter(|policy| policy.selects(principal).is_ok()).collect();
        let of = |mode| selecting.iter().copied().filter(move |policy| policy.mode == mode);
        let reaches = |reach: &&Reach| reach.reaches(target).is_ok();
        Self {
            workload: Workload {
                namespace: principal.namespace.clone(),
                service_account: principal.service_account.clone(),
                labels: principal.labels.clone(),
            },
            host: target.host.clone(),
            port: target.port,
            selected: !selecting.is_empty(),
            enforced: of(Mode::Enforce).next().is_some(),
            allow: Rules::allowing(selecting.iter().flat_map(|policy| &policy.allow).filter(reaches)),
            forbid: Rules::denying(of(Mode::Enforce).flat_map(|policy| &policy.deny).filter(reaches)),
            would_forbid: Rules::denying(of(Mode::Observe).flat_map(|policy| &policy.deny).filter(reaches)),
        }
    }

    /// Is this the scope of the principal and the target?
    pub(super) fn is_of(&self, principal: &Principal, target: &Target) -> bool {
        let Workload { namespace, service_account, labels } = &self.workload;
        self.port == target.port
            && self.host == target.host
            && *namespace == principal.namespace
            && *service_account == principal.service_account
            && *labels == principal.labels
    }

    /// May the connection itself be made? Only deny rules without `rules` forbid it.
    pub(super) fn connection(&self) -> Answer<'_> {
        self.answer(|| self.allow.connection.as_ref(), |rules| rules.connection.as_ref())
    }

    /// May the effect be had?
    pub(super) fn effect(&self, effect: &Effect, request: &AccessRequest<'_>) -> Answer<'_> {
        let allowed = || self.allow.effects.first_match(effect, request, Reading::Certain).or_else(|| built_in(effect));
        self.answer(allowed, |rules| rules.effects.first_match(effect, request, Reading::Possible))
    }

    /// A deny rule of an enforcing policy wins over everything; one of an observing policy only where the rest allows.
    fn answer<'s>(
        &'s self,
        allowed: impl FnOnce() -> Option<&'s RuleRef>,
        denying: impl Fn(&'s Rules) -> Option<&'s RuleRef>,
    ) -> Answer<'s> {
        if let Some(rule) = denying(&self.forbid) {
            return Answer { verdict: Verdict::Denied, rule: Some(rule), refusal: Some(Refusal::Rule(rule)) };
        }
        let Some(allowed) = allowed() else {
            let refusal = Some(if self.selected { Refusal::NoneAllows } else { Refusal::NoneSelects });
            let verdict = if self.selected && !self.enforced { Verdict::Observed } else { Verdict::Denied };
            return Answer { verdict, rule: None, refusal };
        };
        match denying(&self.would_forbid) {
            Some(rule) => Answer { verdict: Verdict::Observed, rule: Some(rule), refusal: Some(Refusal::Rule(rule)) },
            None => Answer { verdict: Verdict::Allowed, rule: Some(allowed), refusal: None },
        }
    }
}

impl Rules {
    /// Rules of `egress`: each allows the connection, and the statements that its entries match.
    fn allowing<'p>(reaches: impl Iterator<Item = &'p Reach> + Clone) -> Self {
        let entries = reaches.clone().filter_map(|reach| reach.sql.as_deref()).flatten();
        Self {
            connection: reaches.map(|reach| reach.rule.clone()).next(),
            effects: Index::new(entries.map(|entry| (entry.rule.clone(), Arc::clone(&entry.entry))).collect()),
        }
    }

    /// Rules of `egressDeny`: one without entries forbids the connection and every statement.
    fn denying<'p>(reaches: impl Iterator<Item = &'p Reach> + Clone) -> Self {
        let mut entries = Vec::new();
        for reach in reaches.clone() {
            match &reach.sql {
                None => entries.push((reach.rule.clone(), Arc::default())),
                Some(sql) => entries.extend(sql.iter().map(|entry| (entry.rule.clone(), Arc::clone(&entry.entry)))),
            }
        }
        let mut whole = reaches.filter(|reach| reach.sql.is_none());
        Self { connection: whole.next().map(|reach| reach.rule.clone()), effects: Index::new(entries) }
    }
}

/// The rule that stands in no policy and allows the effect.
fn built_in(effect: &Effect) -> Option<&'static RuleRef> {
    match effect {
        Effect::Call { function: _, signals: Signals::OwnSession(_) } => Some(&OWN_SESSION),
        Effect::Call { function: _, signals: Signals::Unsaid | Signals::Process(_) } => None,
        Effect::Access { .. } | Effect::Role { .. } | Effect::Set { .. } | Effect::Opaque { .. } => None,
    }
}

impl SqlEntry {
    /// Does the entry match the effect?
    ///
    /// # Errors
    /// Why not.
    pub(super) fn matches(&self, effect: &Effect, request: &AccessRequest<'_>, reading: Reading) -> Result<(), Miss> {
        self.entry.matches(effect, request, reading)
    }
}

impl Refusal<'_> {
    /// The refusal as the client is told.
    pub(super) fn denial(self, asked: &Phrase<'_>) -> Denial {
        match self {
            Self::NoneSelects => {
                let sentence = format!("no policy selects this workload, so nothing allows {asked}");
                Denial { reason: Reason::PolicyNoneSelects, sentence }
            }
            Self::NoneAllows => Denial { reason: asked.reason_without_rule(), sentence: format!("no rule allows {asked}") },
            Self::Rule(rule) => Denial { reason: Reason::PolicyDenyRule, sentence: format!("deny rule {rule} forbids {asked}") },
        }
    }
}
