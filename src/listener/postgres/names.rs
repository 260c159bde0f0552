//! The prepared statements and portals of a session, and what stands behind each name.
//!
//! A name is followed one-sidedly: while it is not certain which of several statements the server has behind it
//! (a Parse or Bind may have failed), all of them count.

use std::collections::HashMap;
use std::sync::Arc;

use crate::dbt::manifest::verify::Standing;
use crate::dbt::{Attribution, Claim};
use crate::sql::{Analysis, Effect, Session};

/// Longest name that PostgreSQL tells apart (`NAMEDATALEN` - 1); it cuts longer ones, and so do we.
const NAME_BYTES_MAX: usize = 63;

/// A statement that was prepared, by Parse or by `PREPARE`.
#[derive(Debug)]
pub(super) struct Prepared {
    /// Its text, as the client sent it.
    pub(super) sql: Arc<[u8]>,
    /// What it would do.
    pub(super) analysis: Arc<Analysis>,
    /// What dbt claims about it.
    pub(super) dbt: Option<Arc<Attribution>>,
    /// What that is worth.
    pub(super) standing: Standing,
}

impl Prepared {
    /// Whether running it prepares a statement (`PREPARE`).
    pub(super) fn prepares(&self) -> bool {
        self.analysis.statements.iter().any(|statement| matches!(statement.session, Session::Prepares { .. }))
    }

    /// What dbt claims about it, and what that is worth.
    pub(super) fn claim(&self) -> Option<Claim<'_>> {
        self.dbt.as_deref().map(|attribution| Claim { attribution, standing: &self.standing })
    }

    /// Every effect of it.
    pub(super) fn effects(&self) -> impl Iterator<Item = &Effect> {
        self.analysis.statements.iter().flat_map(|statement| &statement.effects)
    }
}

/// A name as the server compares it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Name(Box<[u8]>);

impl Name {
    /// The name, cut as the server cuts it.
    pub(super) fn new(bytes: &[u8]) -> Self {
        Self(bytes.get(..NAME_BYTES_MAX).unwrap_or(bytes).into())
    }
}

/// Marks one binding of a name, so that its confirmation can be told from those of others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Binding(u64);

struct Candidate {
    binding: Binding,
    /// How many boundaries had been passed when this was sent.
    boundaries: u64,
    prepared: Arc<Prepared>,
}

/// Names of one kind (statements or portals) and what may stand behind them.
#[derive(Default)]
pub(super) struct Names {
    entries: HashMap<Name, Vec<Candidate>>,
    /// Candidates of all names together.
    held: usize,
    next: u64,
}

impl Names {
    /// How many bindings are held, over all names.
    pub(super) fn held(&self) -> usize {
        self.held
    }

    /// The newest binding there is, of whichever name.
    pub(super) fn newest(&self) -> Binding {
        Binding(self.next)
    }

    /// Notes that the client asked for `prepared` behind `name`, `boundaries` boundaries after its start.
    pub(super) fn bind(&mut self, name: Name, prepared: Arc<Prepared>, boundaries: u64) -> Binding {
        self.next += 1;
        let binding = Binding(self.next);
        self.entries.entry(name).or_default().push(Candidate { binding, boundaries, prepared });
        self.held += 1;
        binding
    }

    /// The server has confirmed a binding: what stood behind the name before is gone.
    pub(super) fn confirm(&mut self, name: &Name, binding: Binding) {
        self.keep(name, |candidate| candidate >= binding);
    }

    /// The server has refused or skipped a binding: what stood behind the name before stays.
    pub(super) fn reject(&mut self, name: &Name, binding: Binding) {
        self.keep(name, |candidate| candidate != binding);
    }

    /// The server has closed a name; what was bound after `through` came behind that.
    pub(super) fn close(&mut self, name: &Name, through: Binding) {
        self.keep(name, |candidate| candidate > through);
    }

    /// The server has closed all names; what was bound after `through` came behind that.
    pub(super) fn close_all(&mut self, through: Binding) {
        self.entries.retain(|_, candidates| {
            candidates.retain(|candidate| candidate.binding > through);
            !candidates.is_empty()
        });
        self.held = self.entries.values().map(Vec::len).sum();
    }

    fn keep(&mut self, name: &Name, wanted: impl Fn(Binding) -> bool) {
        let Some(candidates) = self.entries.get_mut(name) else { return };
        let before = candidates.len();
        candidates.retain(|candidate| wanted(candidate.binding));
        self.held -= before - candidates.len();
        if candidates.is_empty() {
            self.entries.remove(name);
        }
    }

    /// What may stand behind a name, the newest last, `boundaries` boundaries after the start. Empty: unknown.
    ///
    /// Without a boundary since the newest binding it is that one alone: should it fail, the server skips its use too.
    /// Behind a boundary the server reads on, and runs what stood behind the name before, so that counts as well until
    /// the server confirms.
    pub(super) fn find(&self, name: &Name, boundaries: u64) -> Vec<Arc<Prepared>> {
        let Some(candidates) = self.entries.get(name) else { return Vec::new() };
        match candidates.last() {
            Some(last) if last.boundaries == boundaries => vec![Arc::clone(&last.prepared)],
            _ => candidates.iter().map(|candidate| Arc::clone(&candidate.prepared)).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::{Name, Names, Prepared};
    use crate::dbt::manifest::verify::Standing;
    use crate::sql::Analysis;

    fn prepared(sql: &str) -> Arc<Prepared> {
        let analysis = Arc::new(Analysis::default());
        Arc::new(Prepared { sql: sql.as_bytes().into(), analysis, dbt: None, standing: Standing::Claimed })
    }

    fn texts(names: &Names, boundaries: u64) -> Vec<String> {
        names.find(&Name::new(b"s"), boundaries).iter().map(|p| String::from_utf8(p.sql.to_vec()).unwrap()).collect()
    }

    #[test]
    fn behind_a_boundary_all_that_may_stand_behind_a_name_counts_until_the_server_confirms() {
        let mut names = Names::default();
        let first = names.bind(Name::new(b"s"), prepared("a"), 0);
        names.confirm(&Name::new(b"s"), first);
        names.bind(Name::new(b"s"), prepared("b"), 0);
        assert_eq!(texts(&names, 0), ["b"]);
        assert_eq!(texts(&names, 1), ["a", "b"]);
        let third = names.bind(Name::new(b"s"), prepared("c"), 1);
        names.confirm(&Name::new(b"s"), third);
        assert_eq!(texts(&names, 5), ["c"]);
    }

    #[test]
    fn a_confirmation_keeps_what_was_bound_after_it() {
        let mut names = Names::default();
        let first = names.bind(Name::new(b"s"), prepared("a"), 0);
        names.bind(Name::new(b"s"), prepared("b"), 0);
        names.confirm(&Name::new(b"s"), first);
        assert_eq!(texts(&names, 1), ["a", "b"]);
    }

    #[test]
    fn a_rejected_binding_leaves_what_was_there_before() {
        let mut names = Names::default();
        let first = names.bind(Name::new(b"s"), prepared("a"), 0);
        names.confirm(&Name::new(b"s"), first);
        let second = names.bind(Name::new(b"s"), prepared("b"), 0);
        names.reject(&Name::new(b"s"), second);
        assert_eq!((texts(&names, 0), texts(&names, 1)), (vec!["a".to_owned()], vec!["a".to_owned()]));
        names.reject(&Name::new(b"s"), first);
        assert_eq!(names.held(), 0);
    }

    #[test]
    fn names_are_cut_where_the_server_cuts_them() {
        let long = [b'x'; 80];
        assert_eq!(Name::new(&long), Name::new(&long[..63]));
    }

    #[test]
    fn a_closed_name_is_unknown() {
        let mut names = Names::default();
        names.bind(Name::new(b"s"), prepared("a"), 0);
        let newest = names.newest();
        names.close(&Name::new(b"s"), newest);
        assert!(texts(&names, 0).is_empty());
        assert_eq!(names.held(), 0);
    }
}
