//! The decision: which rules reach the target, and whether they allow every effect.

use std::sync::LazyLock;

use crate::fault::Reason;
use crate::identity::Principal;
use crate::sql::{Effect, Signals};
use crate::target::Target;

use super::compile::{Policy, Reach, SqlEntry};
use super::entry::{Miss, Reading};
use super::phrase::Phrase;
use super::{AccessRequest, Denial, Mode, RuleRef, Verdict};

/// The one rule that stands in no policy: a principal may cancel and end its own sessions. dbt does so on an interrupt, from
/// a connection of its own. Deny rules win over it as over every other.
static OWN_SESSION: LazyLock<RuleRef> = LazyLock::new(|| RuleRef { policy: "built-in".into(), path: "own-session".into() });

/// The policies that select a principal, and their rules that reach a target.
#[derive(Debug, Default)]
pub(super) struct Scope<'p> {
    /// Some policy selects the principal.
    selected: bool,
    /// Some policy in enforce mode does.
    enforced: bool,
    allow: Vec<&'p Reach>,
    deny: Vec<(&'p Policy, &'p Reach)>,
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

impl<'p> Scope<'p> {
    /// One pass over all policies; everything after it looks only at what was found.
    pub(super) fn new(policies: &'p [Policy], principal: &Principal, target: &Target) -> Self {
        let mut scope = Self::default();
        for policy in policies.iter().filter(|policy| policy.selects(principal).is_ok()) {
            scope.selected = true;
            scope.enforced |= policy.mode == Mode::Enforce;
            let reaching = |reach: &&'p Reach| reach.reaches(target).is_ok();
            scope.allow.extend(policy.allow.iter().filter(reaching));
            scope.deny.extend(policy.deny.iter().filter(reaching).map(|reach| (policy, reach)));
        }
        scope
    }

    /// May the connection itself be made? Only deny rules without `rules` forbid it.
    pub(super) fn connection(&self) -> Answer<'p> {
        self.answer(
            |reach| match &reach.sql {
                None => Some(&reach.rule),
                Some(_) => None,
            },
            self.allow.first().map(|reach| &reach.rule),
        )
    }

    /// May the effect be had?
    pub(super) fn effect(&self, effect: &Effect, request: &AccessRequest<'_>) -> Answer<'p> {
        let denies = |reach: &'p Reach| match &reach.sql {
            None => Some(&reach.rule),
            Some(entries) => first_match(entries, effect, request, Reading::Possible),
        };
        let entries = self.allow.iter().filter_map(|reach| reach.sql.as_deref());
        let allowed = entries.filter_map(|entries| first_match(entries, effect, request, Reading::Certain)).next();
        self.answer(denies, allowed.or_else(|| built_in(effect)))
    }

    /// A deny rule of an enforcing policy wins over everything; one of an observing policy only where the rest allows.
    fn answer(&self, denies: impl Fn(&'p Reach) -> Option<&'p RuleRef>, allowed: Option<&'p RuleRef>) -> Answer<'p> {
        let forbids = |mode| {
            let of_mode = self.deny.iter().filter(move |(policy, _)| policy.mode == mode);
            of_mode.filter_map(|(_, reach)| denies(reach)).next()
        };
        if let Some(rule) = forbids(Mode::Enforce) {
            return Answer { verdict: Verdict::Denied, rule: Some(rule), refusal: Some(Refusal::Rule(rule)) };
        }
        if allowed.is_none() {
            let refusal = Some(if self.selected { Refusal::NoneAllows } else { Refusal::NoneSelects });
            let verdict = if self.selected && !self.enforced { Verdict::Observed } else { Verdict::Denied };
            return Answer { verdict, rule: None, refusal };
        }
        match forbids(Mode::Observe) {
            Some(rule) => Answer { verdict: Verdict::Observed, rule: Some(rule), refusal: Some(Refusal::Rule(rule)) },
            None => Answer { verdict: Verdict::Allowed, rule: allowed, refusal: None },
        }
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

/// The entry that matches first.
fn first_match<'p>(entries: &'p [SqlEntry], effect: &Effect, request: &AccessRequest<'_>, reading: Reading) -> Option<&'p RuleRef> {
    entries.iter().find(|entry| entry.matches(effect, request, reading).is_ok()).map(|entry| &entry.rule)
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
