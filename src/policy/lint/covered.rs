//! Entries of `rules.sql` that decide nothing, because others match whatever they match.

use std::collections::BTreeMap;

use crate::policy::attribution::Attributed;
use crate::policy::compile::{Policy, Reach, SqlEntry};
use crate::policy::entry::{Entry, Reading};
use crate::policy::{Mode, RuleRef};

use super::{FORBIDDEN, Linter, SHADOWED};

/// Looks at the entries of all policies together.
pub(super) fn entries(linter: &mut Linter) {
    let policies = std::mem::take(&mut linter.policies);
    let (allow, deny) = (Entries::of(&policies, |policy| &policy.allow), Entries::of(&policies, |policy| &policy.deny));
    allow.shadowed(linter, Reading::Certain);
    deny.shadowed(linter, Reading::Possible);
    let whole = |reach: &&Reach| reach.sql.is_none();
    let denials: Vec<(&Policy, &Reach)> =
        policies.iter().flat_map(|policy| policy.deny.iter().filter(whole).map(move |reach| (policy, reach))).collect();
    for (_, place) in &allow.all {
        let forbids = |(policy, reach): &&(&Policy, &Reach)| place.is_within(policy, reach);
        let whole = denials.iter().find(forbids).map(|(_, reach)| &reach.rule);
        let rule = whole.or_else(|| deny.covering(place, Reading::Possible).next().map(|(_, other)| &other.entry.rule));
        if let Some(rule) = rule {
            linter.add_at(FORBIDDEN, &place.entry.rule, format!("{} denies whatever this one allows", named(rule, place)));
        }
    }
}

/// The entries of one side, in order, and where to look for those that could cover another.
struct Entries<'p> {
    all: Vec<(usize, Place<'p>)>,
    /// Positions of those that are for no node by its exact name.
    general: Vec<usize>,
    /// Positions of the rest, by the first node that they name.
    by_node: BTreeMap<String, Vec<usize>>,
}

/// An entry, and who may use it where.
struct Place<'p> {
    policy: &'p Policy,
    reach: &'p Reach,
    entry: &'p SqlEntry,
    /// The first node that it names, where it is for nodes by their exact names.
    node: Option<String>,
}

impl<'p> Entries<'p> {
    fn of(policies: &'p [Policy], side: fn(&Policy) -> &Vec<Reach>) -> Self {
        let reaches = policies.iter().flat_map(move |policy| side(policy).iter().map(move |reach| (policy, reach)));
        let entries = reaches.flat_map(|(policy, reach)| reach.sql.iter().flatten().map(move |entry| (policy, reach, entry)));
        let mut found = Self { all: Vec::new(), general: Vec::new(), by_node: BTreeMap::new() };
        for (position, (policy, reach, entry)) in entries.enumerate() {
            let node = first_node(&entry.entry);
            match &node {
                Some(node) => found.by_node.entry(node.clone()).or_default().push(position),
                None => found.general.push(position),
            }
            found.all.push((position, Place { policy, reach, entry, node }));
        }
        found
    }

    fn shadowed(&self, linter: &mut Linter, reading: Reading) {
        for (position, place) in &self.all {
            // Of two that match the same, the first counts.
            let counts = |(at, other): &(usize, &Place<'_>)| at != position && (at < position || !place.covers(other, reading));
            if let Some((_, other)) = self.covering(place, reading).find(counts) {
                let message = format!("{} matches whatever this one matches", named(&other.entry.rule, place));
                linter.add_at(SHADOWED, &place.entry.rule, message);
            }
        }
    }

    /// Entries that match whatever this one matches, itself among them.
    fn covering<'s>(&'s self, place: &'s Place<'_>, reading: Reading) -> impl Iterator<Item = (usize, &'s Place<'p>)> {
        let of_node = place.node.as_ref().and_then(|node| self.by_node.get(node)).into_iter().flatten();
        let places = self.general.iter().chain(of_node).filter_map(|position| self.all.get(*position));
        places.filter(move |(_, other)| other.covers(place, reading)).map(|(position, other)| (*position, other))
    }
}

impl Place<'_> {
    fn covers(&self, other: &Place<'_>, reading: Reading) -> bool {
        self.entry.entry.covers(&other.entry.entry, reading) && other.is_within(self.policy, self.reach)
    }

    /// Is it for workloads and targets that these are about, and do they enforce where it does?
    fn is_within(&self, policy: &Policy, reach: &Reach) -> bool {
        let binds = match (policy.mode, self.policy.mode) {
            (Mode::Enforce, _) | (Mode::Observe, Mode::Observe) => true,
            (Mode::Observe, Mode::Enforce) => false,
        };
        binds && policy.covers(self.policy) && reach.covers(self.reach)
    }
}

fn first_node(entry: &Entry) -> Option<String> {
    entry.dbt.as_ref().and_then(Attributed::exact_nodes)?.into_iter().next()
}

/// The rule, by its policy too where that is another one.
fn named(rule: &RuleRef, place: &Place<'_>) -> String {
    if rule.policy == place.policy.name { rule.path.to_string() } else { rule.to_string() }
}
