//! The whole way to a decision, for the reader: which policies select, which rules reach, which key fails.

use std::fmt;

use crate::sql::{Effect, Signals};

use super::compile::{Policy, Reach, SqlEntry};
use super::decide::{Unreached, Unselected, connection};
use super::entry::{Miss, Reading};
use super::network::NetworkDecision;
use super::peer::Peer;
use super::phrase::Phrase;
use super::remedy::Remedy;
use super::{AccessRequest, Decision, PolicySet, Verdict};

/// A decision and how it came about; `Display` is the report.
#[derive(Debug)]
pub struct Explanation<'a> {
    policies: &'a [Policy],
    network: Option<NetworkDecision>,
    request: AccessRequest<'a>,
    decision: Decision,
}

impl<'a> Explanation<'a> {
    /// Explains a decision over the policies that made it.
    pub(super) fn new(set: &'a PolicySet, request: AccessRequest<'a>, decision: Decision) -> Self {
        let AccessRequest { principal, target, .. } = request;
        let network = set.network.summaries().next().is_some();
        let network = network.then(|| set.network.decide(&connection(principal, target, Peer::of_host(&target.host))));
        Self { policies: &set.policies, network, request, decision }
    }

    /// What was decided.
    pub fn decision(&self) -> &Decision {
        &self.decision
    }

    /// What it would take to allow the request.
    pub(super) fn remedy(&self) -> Remedy<'a> {
        let network = self.network.as_ref().is_some_and(NetworkDecision::is_denied);
        Remedy::new(self.policies, network, self.request)
    }

    fn write_question(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let AccessRequest { principal, target, database, role, unqualified_schema, effects: _, dbt: _ } = &self.request;
        writeln!(f, "principal  {}", principal.subject)?;
        writeln!(f, "           namespace {}", principal.namespace.as_deref().unwrap_or("not proven"))?;
        writeln!(f, "           service account {}", principal.service_account.as_deref().unwrap_or("not proven"))?;
        for (key, value) in &principal.labels {
            writeln!(f, "           label {key}={value}")?;
        }
        writeln!(f, "target     {} at {}:{}", target.name, target.host, target.port)?;
        writeln!(f, "session    database {database}, role {role}")?;
        match unqualified_schema {
            Some(schema) => writeln!(f, "           unqualified names are in schema {schema}")?,
            None => writeln!(f, "           unqualified names are not resolved; to allow them, a rule must say any schema")?,
        }
        writeln!(f, "policies   {} in force, {}", self.policies.len(), self.decision.revision)?;
        match &self.network {
            Some(network) => writeln!(f, "cilium     {network} {}", Phrase::Connection(target)),
            None => Ok(()),
        }
    }

    fn write_policy(&self, f: &mut fmt::Formatter<'_>, policy: &Policy) -> fmt::Result {
        let (name, mode) = (&policy.name, policy.mode.as_str());
        match policy.selects(self.request.principal) {
            Err(Unselected::Namespace(namespace)) => {
                writeln!(f, "policy {name} ({mode}) does not select the workload: it is for namespace {namespace}")
            }
            Err(Unselected::Label(key)) => writeln!(f, "policy {name} ({mode}) does not select the workload: label {key} does not match"),
            Ok(()) => {
                writeln!(f, "policy {name} ({mode}) selects the workload")?;
                policy.allow.iter().chain(&policy.deny).try_for_each(|reach| self.write_reach(f, reach))
            }
        }
    }

    fn write_reach(&self, f: &mut fmt::Formatter<'_>, reach: &Reach) -> fmt::Result {
        write!(f, "  {} ", reach.rule.path)?;
        match reach.reaches(self.request.target) {
            Err(Unreached::Host) => writeln!(f, "does not reach the target: its hosts do not match"),
            Err(Unreached::Port) => writeln!(f, "does not reach the target: ports does not match"),
            Err(Unreached::ServerName) => writeln!(f, "does not reach the target: serverNames does not match the host"),
            Ok(()) => writeln!(f, "reaches the target"),
        }
    }

    fn write_effect(&self, f: &mut fmt::Formatter<'_>, effect: &Effect) -> fmt::Result {
        writeln!(f, "{}", Phrase::Effect(effect, &self.request))?;
        let selecting = || self.policies.iter().filter(|policy| policy.selects(self.request.principal).is_ok());
        let reaching = |reach: &&Reach| reach.reaches(self.request.target).is_ok();
        for reach in selecting().flat_map(|policy| &policy.deny).filter(reaching) {
            match &reach.sql {
                None => writeln!(f, "  denied by {}, which denies every statement", reach.rule)?,
                Some(entries) => self.write_entries(f, entries, effect, Reading::Possible)?,
            }
        }
        for reach in selecting().flat_map(|policy| &policy.allow).filter(reaching) {
            match &reach.sql {
                None => writeln!(f, "  not allowed by {}: it has no rules.sql, and so allows no statement", reach.rule)?,
                Some(entries) => self.write_entries(f, entries, effect, Reading::Certain)?,
            }
        }
        match effect {
            Effect::Call { signals: Signals::Process(_), .. } => {
                writeln!(f, "  allowed by built-in own-session, if a live session of this principal has that process")
            }
            Effect::Call { signals: Signals::Unsaid | Signals::OwnSession(_), .. }
            | Effect::Access { .. }
            | Effect::Role { .. }
            | Effect::Set { .. }
            | Effect::Opaque { .. } => Ok(()),
        }
    }

    fn write_entries(&self, f: &mut fmt::Formatter<'_>, entries: &[SqlEntry], effect: &Effect, reading: Reading) -> fmt::Result {
        let word = match reading {
            Reading::Certain => "allowed",
            Reading::Possible => "denied",
        };
        for entry in entries {
            match entry.matches(effect, &self.request, reading) {
                Ok(()) => writeln!(f, "  {word} by {}", entry.rule)?,
                Err(Miss::Subject) => writeln!(f, "  not {word} by {}: it speaks about other effects", entry.rule)?,
                Err(Miss::Key(key)) => writeln!(f, "  not {word} by {}: {key} does not match", entry.rule)?,
                Err(Miss::Unnamed) => writeln!(f, "  not {word} by {}: columns asks for names, and the statement gives none", entry.rule)?,
                Err(Miss::Unverified) => writeln!(f, "  not {word} by {}: dbt.verified does not match", entry.rule)?,
                Err(Miss::Unresolved(key)) => {
                    writeln!(f, "  not {word} by {}: {key} asks for a schema, and the name is not resolved", entry.rule)?;
                }
            }
        }
        Ok(())
    }

    fn write_verdict(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = match self.decision.verdict {
            Verdict::Allowed => "allowed",
            Verdict::Observed => "observed (it passes, because every policy that forbids it is in observe mode)",
            Verdict::Denied => "denied",
        };
        writeln!(f, "verdict    {word}")?;
        if let Some(rule) = &self.decision.rule {
            writeln!(f, "rule       {rule}")?;
        }
        let Some(denial) = &self.decision.denial else { return Ok(()) };
        writeln!(f, "because    {} ({})", denial.sentence, denial.reason.row().code)?;
        write!(f, "{}", self.remedy())
    }
}

impl fmt::Display for Explanation<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write_question(f)?;
        writeln!(f)?;
        self.policies.iter().try_for_each(|policy| self.write_policy(f, policy))?;
        for effect in self.request.effects {
            writeln!(f)?;
            self.write_effect(f, effect)?;
        }
        writeln!(f)?;
        self.write_verdict(f)
    }
}
