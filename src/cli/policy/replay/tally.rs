//! Counts decisions by group, in bounded memory.

use std::collections::BTreeMap;

use crate::audit::recorded::{RecordedDecision, RecordedExecution};
use crate::policy::{AccessRequest, Decision, PolicySet, Verdict};
use crate::sql::cache::Cache;
use crate::sql::{self, Effect, OpaqueClass, Signals};
use crate::warehouse;

use super::report::{Change, Counts, FORMAT, Group, Node, Reanalysis, Report, Said, Unreadable, UnreadableRecord};

/// Most groups, and most nodes, that are kept apart.
const GROUPS_MAX: usize = 10_000;

/// Most records that are named of each group.
const EXAMPLES_MAX: usize = 3;

/// Longest excerpt of a statement, in characters.
const EXCERPT_CHARS_MAX: usize = 400;

/// Longest name of a node, in characters: a client may claim any.
const NODE_CHARS_MAX: usize = 200;

/// The replay of a log so far.
pub(super) struct Tally<'s> {
    set: &'s PolicySet,
    analyses: Cache,
    from: Option<String>,
    until: Option<String>,
    totals: Counts,
    nodes: BTreeMap<Option<String>, Counts>,
    groups: BTreeMap<Key, Members>,
    ungrouped: u64,
    unreadable: Unreadable,
    sessions_refused: u64,
    reanalysis: Reanalysis,
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    change: Change,
    node: Option<String>,
    before: Said,
    after: Said,
}

#[derive(Debug, Default)]
struct Members {
    count: u64,
    records: Vec<String>,
    statement: Option<String>,
}

impl<'s> Tally<'s> {
    /// Nothing yet, to be decided by `set`.
    pub(super) fn new(set: &'s PolicySet) -> Self {
        Self {
            set,
            analyses: Cache::new(4096, 16 * 1024 * 1024),
            from: None,
            until: None,
            totals: Counts::default(),
            nodes: BTreeMap::new(),
            groups: BTreeMap::new(),
            ungrouped: 0,
            unreadable: Unreadable::default(),
            sessions_refused: 0,
            reanalysis: Reanalysis::default(),
        }
    }

    /// Decides about one more execution.
    pub(super) fn add(&mut self, execution: &RecordedExecution) {
        let decision = self.set.decide(&execution.request());
        self.reanalyze(execution, decision.verdict);
        let change = change(&execution.decision, &decision);
        self.totals.add(change);
        self.from.get_or_insert_with(|| execution.time.clone());
        self.until = Some(execution.time.clone());
        let node = node(execution);
        if let Some(counts) = slot(&mut self.nodes, node.clone()) {
            counts.add(change);
        }
        let key = Key { change, node, before: Said::recorded(&execution.decision), after: Said::decided(&decision) };
        let Some(members) = slot(&mut self.groups, key) else {
            self.ungrouped += 1;
            return;
        };
        members.count += 1;
        if members.records.len() < EXAMPLES_MAX {
            members.records.push(execution.id.clone());
        }
        if members.statement.is_none() {
            members.statement = execution.statement.as_deref().map(excerpt);
        }
    }

    /// Counts an execution that cannot be judged.
    pub(super) fn add_unreadable(&mut self, record: String, why: String) {
        self.unreadable.count += 1;
        if self.unreadable.examples.len() < EXAMPLES_MAX {
            self.unreadable.examples.push(UnreadableRecord { record, why });
        }
    }

    /// Counts a session that never was.
    pub(super) fn add_refused_session(&mut self) {
        self.sessions_refused += 1;
    }

    /// Notes where today's analysis of the text finds other effects than were judged then.
    fn reanalyze(&mut self, execution: &RecordedExecution, decided: Verdict) {
        let Some(kind) = warehouse::kind(execution.session.target.kind) else { return };
        let Some(text) = execution.statement.as_deref().filter(|_| says_what_it_does(execution)) else { return };
        let analysis = self.analyses.analyze(kind.dialect, text, &sql::Limits::default());
        let effects: Vec<Effect> = analysis.statements.iter().flat_map(|statement| statement.effects.clone()).collect();
        self.reanalysis.executions += 1;
        if same_effects(&effects, &execution.effects) {
            return;
        }
        self.reanalysis.differ += 1;
        let again = self.set.decide(&AccessRequest { effects: &effects, ..execution.request() });
        if again.verdict != decided {
            self.reanalysis.decided_otherwise += 1;
        }
        if self.reanalysis.records.len() < EXAMPLES_MAX {
            self.reanalysis.records.push(execution.id.clone());
        }
    }

    /// What came of it.
    pub(super) fn into_report(self, enforced: bool) -> Report {
        let mut nodes: Vec<Node> = self.nodes.into_iter().map(|(node, counts)| Node { node, counts }).collect();
        nodes.sort_by_key(|node| std::cmp::Reverse((node.counts.newly_denied, node.counts.executions)));
        let mut groups: Vec<Group> = self.groups.into_iter().map(|(key, members)| members.into_group(key)).collect();
        groups.sort_by_key(|group| (group.change, std::cmp::Reverse(group.count)));
        Report {
            format: FORMAT,
            revision: self.set.revision().to_string(),
            policies: self.set.summaries().len(),
            enforced,
            from: self.from,
            until: self.until,
            totals: self.totals,
            nodes,
            groups,
            ungrouped: self.ungrouped,
            unreadable: self.unreadable,
            sessions_refused: self.sessions_refused,
            reanalysis: self.reanalysis,
        }
    }
}

impl Members {
    fn into_group(self, key: Key) -> Group {
        let Key { change, node, before, after } = key;
        Group { node, change, count: self.count, before, after, records: self.records, statement: self.statement }
    }
}

/// The value of a key, if there is one or still room for one.
fn slot<K: Ord, V: Default>(map: &mut BTreeMap<K, V>, key: K) -> Option<&mut V> {
    (map.len() < GROUPS_MAX || map.contains_key(&key)).then(|| map.entry(key).or_default())
}

fn change(before: &RecordedDecision, after: &Decision) -> Change {
    let reasons =
        || (before.denial.as_ref().map(|denial| denial.reason.as_str()), after.denial.as_ref().map(|denial| denial.reason.code()));
    match (before.verdict.passes(), after.verdict.passes()) {
        (true, false) => Change::NewlyDenied,
        (false, true) => Change::NewlyAllowed,
        (true, true) | (false, false) => {
            let (was, is) = reasons();
            let same = before.verdict == after.verdict && before.rule == after.rule && was == is;
            if same { Change::Same } else { Change::OtherRule }
        }
    }
}

impl Said {
    fn recorded(decision: &RecordedDecision) -> Self {
        let denial = decision.denial.as_ref();
        Self {
            verdict: decision.verdict.as_str(),
            rule: decision.rule.as_ref().map(ToString::to_string),
            reason: denial.map(|denial| denial.reason.clone()),
            sentence: denial.map(|denial| denial.sentence.clone()),
        }
    }

    fn decided(decision: &Decision) -> Self {
        let denial = decision.denial.as_ref();
        Self {
            verdict: decision.verdict.as_str(),
            rule: decision.rule.as_ref().map(ToString::to_string),
            reason: denial.map(|denial| denial.reason.code().to_owned()),
            sentence: denial.map(|denial| denial.sentence.clone()),
        }
    }
}

fn node(execution: &RecordedExecution) -> Option<String> {
    let (dbt, _) = execution.dbt.as_ref()?;
    let name = dbt.node.as_ref().or(dbt.connection.as_ref())?;
    Some(name.chars().take(NODE_CHARS_MAX).collect())
}

/// Is the text all there is to know of the execution? Not behind a name that SQL prepared, nor where the session decided how
/// the text is read, nor over limits that are not known here.
fn says_what_it_does(execution: &RecordedExecution) -> bool {
    let by_name = execution.verbs.iter().any(|verb| verb == "EXECUTE" || verb == "FUNCTION CALL");
    let depends = |effect: &Effect| match effect {
        Effect::Opaque { class, detail: _ } => matches!(
            class,
            OpaqueClass::Unparseable
                | OpaqueClass::TooLong
                | OpaqueClass::TooDeep
                | OpaqueClass::Execute
                | OpaqueClass::FunctionCall
                | OpaqueClass::Replication
        ),
        Effect::Access { .. } | Effect::Call { .. } | Effect::Role { .. } | Effect::Set { .. } => false,
    };
    !by_name && !execution.effects.iter().any(depends)
}

/// The same effects, in any order; whose process a call signals is the session's knowledge.
fn same_effects(one: &[Effect], other: &[Effect]) -> bool {
    let bare = |effect: &Effect| match effect {
        Effect::Call { function, signals: _ } => Effect::Call { function: function.clone(), signals: Signals::Unsaid },
        Effect::Access { .. } | Effect::Role { .. } | Effect::Set { .. } | Effect::Opaque { .. } => effect.clone(),
    };
    let (one, other): (Vec<Effect>, Vec<Effect>) = (one.iter().map(bare).collect(), other.iter().map(bare).collect());
    one.iter().all(|effect| other.contains(effect)) && other.iter().all(|effect| one.contains(effect))
}

/// The beginning of a text on one line, behind a comment in front of it.
fn excerpt(text: &str) -> String {
    let text = text.trim_start();
    let body = text.strip_prefix("/*").and_then(|rest| rest.split_once("*/")).map_or(text, |(_, body)| body);
    let mut words = String::new();
    for word in body.split_whitespace() {
        if words.chars().count() > EXCERPT_CHARS_MAX {
            break;
        }
        if !words.is_empty() {
            words.push(' ');
        }
        words.extend(word.chars().take(EXCERPT_CHARS_MAX + 1));
    }
    match words.char_indices().nth(EXCERPT_CHARS_MAX) {
        Some((end, _)) => words.get(..end).unwrap_or_default().to_owned() + "...",
        None => words,
    }
}
