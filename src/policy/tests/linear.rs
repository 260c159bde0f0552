//! The oracle of the index: decides by trying every entry of every policy in order, and must name the same rule.

use proptest::collection::vec;
use proptest::prelude::{Just, ProptestConfig, Strategy, prop_oneof};
use proptest::sample::select;
use proptest::{proptest, test_runner::TestCaseError};

use crate::dbt::manifest::verify::{Mismatch, Standing};
use crate::dbt::{Attribution, Claim};
use crate::policy::attribution::Attributed;
use crate::policy::compile::{Policy, Reach, SqlEntry};
use crate::policy::decide::Refusal;
use crate::policy::entry::Reading;
use crate::policy::phrase::Phrase;
use crate::policy::{AccessRequest, Mode, PolicySet, RuleRef, Verdict};
use crate::sql::Effect;

use super::{Case, HostAndPort, Session, Workload, minimal, parse};

/// A verdict, the rule that gave it, and what is told.
type Expected = (Verdict, Option<RuleRef>, Option<String>);

/// Policies that select the principal, and each of their rules that reach the target.
struct Linear<'p> {
    selecting: Vec<&'p Policy>,
    request: &'p AccessRequest<'p>,
}

impl<'p> Linear<'p> {
    fn decide(set: &'p PolicySet, request: &'p AccessRequest<'p>) -> Expected {
        let selecting = set.policies.iter().filter(|policy| policy.selects(request.principal).is_ok()).collect();
        let linear = Self { selecting, request };
        let mut worst = linear.answer(None);
        for effect in request.effects {
            let answer = linear.answer(Some(effect));
            if worst.0 == Verdict::Allowed || (worst.0 == Verdict::Observed && answer.0 == Verdict::Denied) {
                worst = answer;
            }
        }
        worst
    }

    fn answer(&self, asked: Option<&'p Effect>) -> Expected {
        let told = |refusal: Refusal<'_>| {
            let phrase = asked.map_or(Phrase::Connection(self.request.target), |effect| Phrase::Effect(effect, self.request));
            Some(refusal.denial(&phrase).sentence)
        };
        let denied = |mode| self.rules(mode, |policy| &policy.deny).find_map(|reach| self.denies(reach, asked));
        let allowed = [Mode::Enforce, Mode::Observe].map(|mode| self.rules(mode, |policy| &policy.allow));
        // Both modes allow alike, so the first by name is the first in the order of the policies.
        let allowed = allowed.into_iter().flatten().filter_map(|reach| self.allows(reach, asked)).min_by_key(|rule| self.rank(rule));
        match (denied(Mode::Enforce), allowed, denied(Mode::Observe)) {
            (Some(rule), _, _) => (Verdict::Denied, Some(rule.clone()), told(Refusal::Rule(rule))),
            (None, None, _) if self.selecting.is_empty() => (Verdict::Denied, None, told(Refusal::NoneSelects)),
            (None, None, _) if self.selecting.iter().any(|policy| policy.mode == Mode::Enforce) => {
                (Verdict::Denied, None, told(self.none_allows(asked)))
            }
            (None, None, None) => (Verdict::Observed, None, told(self.none_allows(asked))),
            (None, None | Some(_), Some(rule)) => (Verdict::Observed, Some(rule.clone()), told(Refusal::Rule(rule))),
            (None, Some(rule), None) => (Verdict::Allowed, Some(rule.clone()), None),
        }
    }

    /// Which refusal it is where nothing allows: an entry may lack nothing but proof of the node, or be for other effects of it.
    fn none_allows(&self, asked: Option<&Effect>) -> Refusal<'static> {
        let (Some(effect), Some(claim)) = (asked, self.request.dbt) else { return Refusal::NoneAllows };
        let proven = AccessRequest { dbt: Some(Claim { standing: &Standing::Verified, ..claim }), ..*self.request };
        let reaches = [Mode::Enforce, Mode::Observe].into_iter().flat_map(|mode| self.rules(mode, |policy| &policy.allow));
        let entries: Vec<_> = reaches.filter_map(|reach| reach.sql.as_ref()).flatten().collect();
        if entries.iter().any(|entry| entry.matches(effect, &proven, Reading::Certain).is_ok()) {
            return Refusal::Unverified;
        }
        let mut named = entries.iter().filter_map(|entry| entry.entry.dbt.as_ref().and_then(Attributed::exact_nodes)).flatten();
        match &claim.attribution.node {
            Some(node) if named.any(|name| name == *node) => Refusal::NoneAllowsNode,
            Some(_) | None => Refusal::NoneAllows,
        }
    }

    fn rules(&self, mode: Mode, side: fn(&Policy) -> &Vec<Reach>) -> impl Iterator<Item = &'p Reach> {
        let of_mode = self.selecting.iter().filter(move |policy| policy.mode == mode);
        of_mode.flat_map(move |policy| side(policy)).filter(|reach| reach.reaches(self.request.target).is_ok())
    }

    fn denies(&self, reach: &'p Reach, asked: Option<&Effect>) -> Option<&'p RuleRef> {
        match (&reach.sql, asked) {
            (None, _) => Some(&reach.rule),
            (Some(_), None) => None,
            (Some(_), Some(effect)) => self.first(reach, effect, Reading::Possible),
        }
    }

    fn allows(&self, reach: &'p Reach, asked: Option<&Effect>) -> Option<&'p RuleRef> {
        match asked {
            None => Some(&reach.rule),
            Some(effect) => self.first(reach, effect, Reading::Certain),
        }
    }

    fn first(&self, reach: &'p Reach, effect: &Effect, reading: Reading) -> Option<&'p RuleRef> {
        let mut entries = reach.sql.iter().flatten();
        entries.find(|entry| entry.matches(effect, self.request, reading).is_ok()).map(|entry| &entry.rule)
    }

    /// Where a rule stands among all rules that are tried.
    fn rank(&self, rule: &RuleRef) -> Option<usize> {
        let all = self.selecting.iter().flat_map(|policy| &policy.allow);
        let rules = all.flat_map(|reach| std::iter::once(&reach.rule).chain(reach.sql.iter().flatten().map(|entry| &entry.rule)));
        rules.into_iter().position(|other| other == rule)
    }
}

/// A part of a name: few enough that entries and effects meet often.
fn part() -> impl Strategy<Value = &'static str> {
    select(vec!["a", "b", "c"])
}

fn glob() -> impl Strategy<Value = &'static str> {
    select(vec!["a", "b", "c", "a", "b", "c", "*", "a*"])
}

fn quoted(items: Vec<String>) -> String {
    format!("[{}]", items.iter().map(|item| format!("{item:?}")).collect::<Vec<_>>().join(", "))
}

fn globs() -> impl Strategy<Value = String> {
    vec(glob(), 1..3).prop_map(|globs| quoted(globs.into_iter().map(str::to_owned).collect()))
}

/// Globs on names of up to `parts` parts.
fn dotted(parts: std::ops::RangeInclusive<usize>) -> impl Strategy<Value = String> {
    vec(vec(glob(), parts).prop_map(|parts| parts.join(".")), 1..3).prop_map(quoted)
}

fn key(name: &'static str, values: impl Strategy<Value = String> + 'static) -> impl Strategy<Value = String> {
    prop_oneof![values.prop_map(move |values| format!("{name}: {values}, ")), Just(String::new())]
}

fn actions() -> impl Strategy<Value = String> {
    vec(select(vec!["select", "insert", "drop"]), 1..3).prop_map(|actions| format!("[{}]", actions.join(", ")))
}

/// For whom an entry of an allow rule is.
fn dbt() -> impl Strategy<Value = String> {
    let nodes = || select(vec!["[model.a]", "[model.b]", "[model.a, model.b]", "['model.*']"]);
    prop_oneof![
        6 => Just(String::new()),
        3 => nodes().prop_map(|nodes| format!("dbt: {{nodes: {nodes}}}, ")),
        1 => nodes().prop_map(|nodes| format!("dbt: {{nodes: {nodes}, targets: [dev], verified: true}}, ")),
        1 => select(vec!["dbt: {withoutNode: true}, ", "dbt: {targets: [dev]}, ", "dbt: {verified: true}, "]).prop_map(str::to_owned),
    ]
}

fn entry(dbt: impl Strategy<Value = String>) -> impl Strategy<Value = String> {
    let databases = || key("databases", globs());
    let about = prop_oneof![
        (key("actions", actions()), key("schemas", globs()), key("tables", dotted(2..=3))).prop_map(|(a, b, c)| a + &b + &c),
        (key("actions", actions()), key("schemas", globs()), key("functions", dotted(1..=2))).prop_map(|(a, b, c)| a + &b + &c),
        select(vec!["locations: ['*'], ", "locations: ['s3://a/*'], ", "actions: [export], locations: ['s3://b/c', 's3://a/b*'], "])
            .prop_map(str::to_owned),
        (select(vec!["insert", "update", "insert, update"]), globs(), key("schemas", globs()), key("tables", dotted(2..=3)))
            .prop_map(|(actions, columns, b, c)| format!("actions: [{actions}], columns: {columns}, {b}{c}")),
        Just("builtin: [dbt-introspection], ".to_owned()),
        globs().prop_map(|roles| format!("roles: {roles}, ")),
        dotted(1..=2).prop_map(|parameters| format!("parameters: {parameters}, ")),
        select(vec!["opaque: [do], ", "opaque: [do, call], ", "opaque: [call, replication], "]).prop_map(str::to_owned),
    ];
    (databases(), about, dbt).prop_map(|(databases, about, dbt)| format!("{{{databases}{about}{dbt}}}"))
}

/// A rule, or the connection alone.
fn rule(dbt: impl Strategy<Value = String>) -> impl Strategy<Value = String> {
    let host = select(vec!["", "toFQDNs: [{matchName: here}], ", "toFQDNs: [{matchName: there}], "]);
    let rules = prop_oneof![8 => vec(entry(dbt), 1..6).prop_map(|e| format!("rules: {{sql: [{}]}}", e.join(", "))), 1 => Just("ports: [{port: 1}]".to_owned())];
    (host, rules).prop_map(|(host, rules)| format!("{{{host}toPorts: [{{{rules}}}]}}"))
}

fn policy() -> impl Strategy<Value = String> {
    let selector = select(vec!["", "matchLabels: {app: dbt}", "matchLabels: {app: other}"]);
    let mode = select(vec!["enforce", "enforce", "observe"]);
    (mode, selector, vec(rule(dbt()), 0..4), vec(rule(Just(String::new())), 0..2)).prop_map(|(mode, selector, egress, deny)| {
        format!("{{mode: {mode}, endpointSelector: {{{selector}}}, egress: [{}], egressDeny: [{}]}}", egress.join(", "), deny.join(", "))
    })
}

fn policies() -> impl Strategy<Value = String> {
    vec(policy(), 0..5).prop_map(|specs| {
        let head = "apiVersion: tollhouse.dev/v1alpha1\nkind: ClusterWarehousePolicy\n";
        let document = |(index, spec)| format!("---\n{head}metadata: {{name: p{index}}}\nspec: {spec}\n");
        specs.iter().enumerate().map(document).collect()
    })
}

/// An effect as the case files write it.
fn asked() -> impl Strategy<Value = String> {
    let name = |parts| vec(part(), parts).prop_map(|parts| parts.join("."));
    let action = || select(vec!["select", "insert", "drop"]);
    prop_oneof![
        3 => (action(), name(1..=3)).prop_map(|(action, name)| format!("{action} {name}")),
        1 => (action(), select(vec!["schema", "function", "type"]), name(1..=2)).prop_map(|(a, k, n)| format!("{a} {k} {n}")),
        2 => (select(vec!["insert", "update"]), name(1..=3), vec(part(), 1..3))
            .prop_map(|(action, name, columns)| format!("{action} {name} columns {}", columns.join(","))),
        1 => select(vec!["select pg_catalog.pg_class", "select information_schema.columns", "select pg_catalog.pg_authid"])
            .prop_map(str::to_owned),
        1 => part().prop_map(|name| format!("drop database {name}")),
        1 => select(vec!["export location s3://a/b", "import location s3://b/c", "export location s3://b/"]).prop_map(str::to_owned),
        1 => name(1..=2).prop_map(|name| format!("call {name}")),
        1 => part().prop_map(|role| format!("role {role}")),
        1 => Just("role".to_owned()),
        1 => name(1..=2).prop_map(|name| format!("set {name}")),
        1 => select(vec!["opaque do", "opaque call", "opaque replication"]).prop_map(str::to_owned),
    ]
}

/// What dbt says, and what that is worth.
fn claimed() -> impl Strategy<Value = (Attribution, Standing)> {
    let node = select(vec![None, Some("model.a"), Some("model.b"), Some("model.c")]);
    let standing = select(vec![Standing::Claimed, Standing::Verified, Standing::Mismatch(Mismatch::OtherText)]);
    (node, select(vec![None, Some("dev"), Some("prod")]), standing).prop_map(|(node, target, standing)| {
        let (node, target) = (node.map(str::to_owned), target.map(str::to_owned));
        (Attribution { node, target, ..Attribution::default() }, standing)
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_index_names_the_rule_that_trying_every_entry_finds(
        policies in policies(),
        asked in vec((vec(asked(), 1..3), proptest::option::of(claimed())), 30),
        schema in proptest::option::of(part()),
        database in part(),
    ) {
        let set = parse("generated", &policies);
        for (effects, claimed) in asked {
            let session = Session { database: database.to_owned(), role: "a".to_owned(), unqualified_schema: schema.map(str::to_owned) };
            let target = HostAndPort { host: "here".to_owned(), port: 1 };
            let case = Case { principal: Workload::default(), target, session, effects, expect: String::new() };
            case.with_request(|request| {
                let dbt = claimed.as_ref().map(|(attribution, standing)| Claim { attribution, standing });
                let request = &AccessRequest { dbt, ..*request };
                let (decision, (verdict, rule, sentence)) = (set.decide(request), Linear::decide(&set, request));
                let told = decision.denial.map(|denial| denial.sentence);
                if (decision.verdict, &decision.rule, &told) == (verdict, &rule, &sentence) {
                    return Ok(());
                }
                Err(TestCaseError::fail(format!("{policies}\n{:?} {dbt:?}\nindex  {:?}\nlinear {rule:?}", case.effects, decision.rule)))
            })?;
        }
    }

    /// What `policy lint` says of entries that decide nothing rests on it.
    #[test]
    fn an_entry_that_covers_another_matches_whatever_that_one_matches(
        entries in vec(prop_oneof![8 => entry(dbt()), 1 => Just("{}".to_owned())], 2..10),
        asked in vec((asked(), proptest::option::of(claimed())), 40),
        schema in proptest::option::of(part()),
    ) {
        let rules = format!("rules: {{sql: [{}]}}", entries.join(", "));
        let set = parse("generated", &minimal("p", &rules));
        let entries: Vec<_> = set.policies.iter().flat_map(|policy| &policy.allow).flat_map(|reach| reach.sql.iter().flatten()).collect();
        for (effect, claimed) in asked {
            let session = Session { database: "a".to_owned(), role: "a".to_owned(), unqualified_schema: schema.map(str::to_owned) };
            let target = HostAndPort { host: "here".to_owned(), port: 1 };
            let case = Case { principal: Workload::default(), target, session, effects: vec![effect], expect: String::new() };
            case.with_request(|request| {
                let dbt = claimed.as_ref().map(|(attribution, standing)| Claim { attribution, standing });
                let request = &AccessRequest { dbt, ..*request };
                let matches = |entry: &SqlEntry, reading| request.effects.iter().all(|effect| entry.matches(effect, request, reading).is_ok());
                for (one, other, reading) in entries.iter().flat_map(|one| entries.iter().map(move |other| (one, other))).flat_map(|(one, other)| {
                    [Reading::Certain, Reading::Possible].map(|reading| (one, other, reading))
                }) {
                    if one.entry.covers(&other.entry, reading) && matches(other, reading) && !matches(one, reading) {
                        let told = format!("{rules}\n{:?} {dbt:?}\n{} does not cover {}", case.effects, one.rule, other.rule);
                        return Err(TestCaseError::fail(told));
                    }
                }
                Ok(())
            })?;
        }
    }
}
