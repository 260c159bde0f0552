//! What came of a replay. The JSON form is stable: fields may be added under the same `format`.

use serde::Serialize;

/// The version of the JSON form.
pub(super) const FORMAT: &str = "tollhouse-replay/1";

/// What another set of policies would have decided.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    /// [`FORMAT`].
    pub(super) format: &'static str,
    /// Digest of the set that was tried.
    pub(super) revision: String,
    /// Policies in the set.
    pub(super) policies: usize,
    /// Every policy was taken as enforcing.
    pub(super) enforced: bool,
    /// The time of the first execution, as RFC 3339.
    pub(super) from: Option<String>,
    /// The time of the last one.
    pub(super) until: Option<String>,
    /// Over all executions that could be judged.
    pub(super) totals: Counts,
    /// By dbt node, those with most denials first.
    pub(super) nodes: Vec<Node>,
    /// By node, change and what decided; in the order of [`Change`], the most frequent first.
    pub(super) groups: Vec<Group>,
    /// Executions whose group is not listed, because there are too many groups.
    pub(super) ungrouped: u64,
    /// Executions that could not be judged.
    pub(super) unreadable: Unreadable,
    /// Sessions that were refused; nothing is known of what they would have run.
    pub(super) sessions_refused: u64,
    /// Texts that today's analysis reads in another way than was recorded.
    pub(super) reanalysis: Reanalysis,
}

impl Report {
    /// Does everything that passed still pass, as far as the log could be read?
    pub(super) fn is_harmless(&self) -> bool {
        self.totals.newly_denied == 0 && self.unreadable.count == 0
    }

    /// The groups of one change.
    pub(super) fn groups_of(&self, change: Change) -> impl Iterator<Item = &Group> {
        self.groups.iter().filter(move |group| group.change == change)
    }
}

/// How a decision would differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Change {
    /// It passed and would be denied.
    NewlyDenied,
    /// It was denied and would pass.
    NewlyAllowed,
    /// It would end the same by another rule, for another reason, or as observed instead of allowed.
    OtherRule,
    /// Nothing would differ.
    Same,
}

impl Change {
    /// In the order of reports.
    pub(super) const ALL: &'static [Self] = &[Self::NewlyDenied, Self::NewlyAllowed, Self::OtherRule, Self::Same];

    /// As a heading.
    pub(super) fn heading(self) -> &'static str {
        match self {
            Self::NewlyDenied => "newly denied",
            Self::NewlyAllowed => "newly allowed",
            Self::OtherRule => "decided by another rule",
            Self::Same => "decided the same",
        }
    }
}

/// Executions by change.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub(super) struct Counts {
    pub(super) executions: u64,
    pub(super) newly_denied: u64,
    pub(super) newly_allowed: u64,
    pub(super) other_rule: u64,
    pub(super) same: u64,
}

impl Counts {
    /// Counts one more.
    pub(super) fn add(&mut self, change: Change) {
        self.executions += 1;
        *match change {
            Change::NewlyDenied => &mut self.newly_denied,
            Change::NewlyAllowed => &mut self.newly_allowed,
            Change::OtherRule => &mut self.other_rule,
            Change::Same => &mut self.same,
        } += 1;
    }

    /// How many of one change.
    pub(super) fn of(&self, change: Change) -> u64 {
        match change {
            Change::NewlyDenied => self.newly_denied,
            Change::NewlyAllowed => self.newly_allowed,
            Change::OtherRule => self.other_rule,
            Change::Same => self.same,
        }
    }
}

/// One dbt node, by dbt's account.
#[derive(Debug, Serialize)]
pub(super) struct Node {
    /// Its id, or dbt's name of the connection; `None` where dbt said nothing.
    pub(super) node: Option<String>,
    #[serde(flatten)]
    pub(super) counts: Counts,
}

/// Executions that share node, change and what decided.
#[derive(Debug, Serialize)]
pub(super) struct Group {
    pub(super) node: Option<String>,
    pub(super) change: Change,
    pub(super) count: u64,
    /// As recorded.
    pub(super) before: Said,
    /// As it would be.
    pub(super) after: Said,
    /// The first records.
    pub(super) records: Vec<String>,
    /// The beginning of the first one's text, where the log has it.
    pub(super) statement: Option<String>,
}

/// A decision as far as it groups.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(super) struct Said {
    pub(super) verdict: &'static str,
    /// `policy path` of the rule that decided, where one did.
    pub(super) rule: Option<String>,
    /// The reason code of a denial, real or observed.
    pub(super) reason: Option<String>,
    /// Its sentence.
    pub(super) sentence: Option<String>,
}

impl Said {
    /// The sentence, or else the rule.
    pub(super) fn because(&self) -> &str {
        self.sentence.as_deref().or(self.rule.as_deref()).unwrap_or("the connection")
    }
}

/// Executions that this version cannot judge.
#[derive(Debug, Default, Serialize)]
pub(super) struct Unreadable {
    pub(super) count: u64,
    /// The first ones.
    pub(super) examples: Vec<UnreadableRecord>,
}

/// One of them.
#[derive(Debug, Serialize)]
pub(super) struct UnreadableRecord {
    pub(super) record: String,
    pub(super) why: String,
}

/// What analyzing the recorded texts again showed. Executions of names that SQL prepared are left out, for their text does not
/// say what they do; and so are texts over the limits that held then.
#[derive(Debug, Default, Serialize)]
pub(super) struct Reanalysis {
    /// Texts that were analyzed again, counted by execution.
    pub(super) executions: u64,
    /// Those with other effects than recorded.
    pub(super) differ: u64,
    /// Those of them that would be decided otherwise for it.
    pub(super) decided_otherwise: u64,
    /// The first records that differ.
    pub(super) records: Vec<String>,
}
