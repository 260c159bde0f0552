//! The least that would have to change so that a request is allowed: the deny rules in its way, and the entries that are missing.
//!
//! An entry names what was asked for exactly, in the database that it was asked in. Where the grammar has no narrower words, the
//! entry says what else it allows; where a name cannot be written in it at all, that is said instead.

mod proposal;
#[cfg(test)]
mod tests;

use std::{fmt, mem};

use crate::sql::Effect;

use super::compile::{Policy, Reach, SqlEntry};
use super::decide::built_in;
use super::entry::{Miss, Reading};
use super::flow::Flow;
use super::phrase::Phrase;
use super::{AccessRequest, Mode, RuleRef};

use proposal::{Proposal, propose};

/// What it would take; `Display` is the report.
#[derive(Debug)]
pub(super) struct Remedy<'a> {
    request: AccessRequest<'a>,
    /// Deny rules that match. No rule can allow what they forbid.
    forbidden_by: Vec<&'a RuleRef>,
    /// Is it denied by Cilium's documents?
    network: bool,
    place: Place,
    proposal: Proposal<'a>,
    /// Some entry would allow an effect if the node that dbt names were verified.
    unverified: bool,
    /// Something is missing: entries, or a rule that reaches the target.
    missing: bool,
}

/// Where entries would have to stand.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Place {
    /// Under `rules.sql` of this rule, which reaches the target already.
    Under(RuleRef),
    /// In a policy of their own.
    New(Mode),
}

impl<'a> Remedy<'a> {
    /// What a request lacks under `policies`; `network` says whether Cilium's documents deny its connection.
    pub(super) fn new(policies: &'a [Policy], network: bool, request: AccessRequest<'a>) -> Self {
        let selecting: Vec<&Policy> = policies.iter().filter(|policy| policy.selects(request.principal).is_ok()).collect();
        let reaching = |reach: &&'a Reach| reach.reaches(request.target).is_ok();
        let allow: Vec<&Reach> = selecting.iter().flat_map(|policy| &policy.allow).filter(reaching).collect();
        let deny: Vec<&Reach> = selecting.iter().flat_map(|policy| &policy.deny).filter(reaching).collect();
        let lacking: Vec<&Effect> = request.effects.iter().filter(|effect| !is_allowed(&allow, effect, &request)).collect();
        Self {
            request,
            forbidden_by: forbidding(&deny, &request),
            network,
            place: place(&selecting, &allow),
            unverified: lacking.iter().any(|effect| wants_proof(&allow, effect, &request)),
            missing: !lacking.is_empty() || allow.is_empty(),
            proposal: propose(&lacking, &request),
        }
    }

    /// A policy that holds the missing entries alone, and selects this workload and this target alone.
    fn document(&self) -> String {
        let AccessRequest { principal, target, .. } = &self.request;
        let (kind, place) = match &principal.namespace {
            Some(namespace) => ("WarehousePolicy", format!(", namespace: {}", Flow::text(namespace))),
            None => ("ClusterWarehousePolicy", String::new()),
        };
        let mode = match &self.place {
            Place::New(Mode::Observe) => "\n  mode: observe",
            Place::New(Mode::Enforce) | Place::Under(_) => "",
        };
        let labels: Vec<String> = match &principal.service_account {
            Some(account) => vec![format!("{}: {}", super::selector::SERVICE_ACCOUNT, Flow::text(account))],
            None => principal.labels.iter().map(|(key, value)| format!("{}: {}", Flow::text(key), Flow::text(value))).collect(),
        };
        let (host, port) = (Flow::text(&target.host), target.port);
        let mut text = format!(
            "apiVersion: tollhouse.dev/v1alpha1\nkind: {kind}\nmetadata: {{ name: proposed{place} }}\nspec:{mode}\n  endpointSelector: {{ \
             matchLabels: {{ {} }} }}\n  egress:\n    - toFQDNs: [{{ matchName: {host} }}]\n      toPorts:\n        - ports: [{{ port: \
             \"{port}\", protocol: TCP }}]\n          rules:\n            sql:",
            labels.join(", ")
        );
        if self.proposal.entries.is_empty() {
            text.push_str(" []");
        }
        for entry in &self.proposal.entries {
            text.push_str(&format!("\n              - {entry}"));
        }
        text
    }

    fn write_missing(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Place::Under(_) => self.proposal.entries.iter().try_for_each(|entry| writeln!(f, "           - {entry}"))?,
            Place::New(_) => self.document().lines().try_for_each(|line| writeln!(f, "           {line}"))?,
        }
        for caveat in &self.proposal.caveats {
            writeln!(f, "           # {caveat}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Remedy<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut label = "to allow  ";
        let mut item =
            |f: &mut fmt::Formatter<'_>, text: fmt::Arguments<'_>| writeln!(f, "{} {text}", mem::replace(&mut label, "          "));
        for rule in &self.forbidden_by {
            item(f, format_args!("change deny rule {rule}: while it matches, no rule can allow this"))?;
        }
        if self.network {
            item(f, format_args!("change the Cilium policies named above: no other policy can allow what they deny"))?;
        }
        if self.unverified {
            item(f, format_args!("mend what does not fit dbt's manifest: rules allow this to the node once it is verified"))?;
        }
        for effect in &self.proposal.unnameable {
            let asked = Phrase::Effect(effect, &self.request);
            item(f, format_args!("no entry can name this exactly, for patterns cannot hold its characters: {asked}"))?;
        }
        if !self.missing || (self.proposal.entries.is_empty() && !self.proposal.unnameable.is_empty()) {
            return Ok(());
        }
        match &self.place {
            Place::Under(rule) if self.unverified => item(f, format_args!("or take dbt's word for it, and add under {rule}.rules.sql:"))?,
            Place::Under(rule) => item(f, format_args!("add under {rule}.rules.sql:"))?,
            Place::New(_) => item(f, format_args!("add this policy, for no rule for this workload reaches the target with statements:"))?,
        }
        self.write_missing(f)
    }
}

/// Does an entry allow the effect, or a rule that stands in no policy?
fn is_allowed(allow: &[&Reach], effect: &Effect, request: &AccessRequest<'_>) -> bool {
    let allows = |entry: &SqlEntry| entry.matches(effect, request, Reading::Certain).is_ok();
    built_in(effect).is_some() || allow.iter().filter_map(|reach| reach.sql.as_deref()).flatten().any(allows)
}

/// Would an entry allow the effect to the node that dbt names, if that were proven?
fn wants_proof(allow: &[&Reach], effect: &Effect, request: &AccessRequest<'_>) -> bool {
    let wants = |entry: &SqlEntry| entry.matches(effect, request, Reading::Certain) == Err(Miss::Unverified);
    allow.iter().filter_map(|reach| reach.sql.as_deref()).flatten().any(wants)
}

/// Every deny rule that matches the connection or an effect, in observe mode or not, each once.
fn forbidding<'a>(deny: &[&'a Reach], request: &AccessRequest<'_>) -> Vec<&'a RuleRef> {
    let forbids = |entry: &SqlEntry| request.effects.iter().any(|effect| entry.matches(effect, request, Reading::Possible).is_ok());
    let mut rules = Vec::new();
    for reach in deny {
        match &reach.sql {
            None => rules.push(&reach.rule),
            Some(entries) => rules.extend(entries.iter().filter(|entry| forbids(entry)).map(|entry| &entry.rule)),
        }
    }
    rules
}

/// The first rule that reaches the target and has entries; else a new policy, which changes nothing about what is enforced.
fn place(selecting: &[&Policy], allow: &[&Reach]) -> Place {
    let observing = !selecting.is_empty() && selecting.iter().all(|policy| policy.mode == Mode::Observe);
    match allow.iter().find(|reach| reach.sql.is_some()) {
        Some(reach) => Place::Under(reach.rule.clone()),
        None => Place::New(if observing { Mode::Observe } else { Mode::Enforce }),
    }
}
