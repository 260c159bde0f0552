//! Whether one rule matches all that another matches, as far as that is plain from what they say; where it is not, no.

use crate::sql::OpaqueClass;

use super::compile::{Policy, Reach};
use super::entry::{Entry, Reading, Subject};
use super::pattern::{FunctionGlob, Glob, Host, TableGlob};
use super::peer::{Entity, PeerSelector, Peers};

impl Policy {
    /// Does it select whatever the other selects?
    pub(super) fn covers(&self, other: &Self) -> bool {
        (self.namespace.is_none() || self.namespace == other.namespace) && self.selector.covers(&other.selector)
    }
}

impl Reach {
    /// Does it reach whatever the other reaches?
    pub(super) fn covers(&self, other: &Self) -> bool {
        self.peers.covers(&other.peers)
            && all(self.ports.as_deref(), other.ports.as_deref(), |one, other| one.covers(other))
            && all(self.server_names.as_deref(), other.server_names.as_deref(), Host::covers)
    }
}

impl Peers {
    /// Does it hold all peers of the other?
    pub(super) fn covers(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Anyone, _) => true,
            (Self::Each(covering), _) if covering.contains(&PeerSelector::Entity(Entity::All)) => true,
            (Self::Each(_), Self::Anyone) => false,
            (Self::Each(covering), Self::Each(covered)) => covered.iter().all(|other| covering.iter().any(|one| one.covers(other))),
        }
    }
}

impl PeerSelector {
    fn covers(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Entity(Entity::World), Self::Fqdn(_) | Self::Cidr(_)) => true,
            (Self::Fqdn(one), Self::Fqdn(other)) => one.covers(other),
            (one, other) => one == other,
        }
    }
}

impl Host {
    fn covers(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Every, _) => true,
            (pattern, Self::Name(name)) => pattern.matches(name),
            (one, other) => one == other,
        }
    }
}

impl Entry {
    /// Does it match every effect that the other matches, for whatever request?
    pub(super) fn covers(&self, other: &Self, reading: Reading) -> bool {
        let attributed = match (&self.dbt, &other.dbt) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(one), Some(other)) => one.covers(other),
        };
        attributed && self.covers_subject(other, reading) && self.covers_objects(other) && self.covers_words(other)
    }

    fn covers_subject(&self, other: &Self, reading: Reading) -> bool {
        let names = |class| other.opaque.as_ref().is_some_and(|classes| classes.contains(&class));
        match (self.subject, other.subject) {
            // What replicates has to be named to be allowed.
            (Subject::Everything, Subject::Opaque) => reading == Reading::Possible || !names(OpaqueClass::Replication),
            (Subject::Everything, _) => true,
            (one, other) => one == other,
        }
    }

    /// The keys that are about objects. What a table's pattern says of database and schema counts as if their keys said it.
    fn covers_objects(&self, other: &Self) -> bool {
        let tables = other.tables.as_deref();
        let within = |one: &Option<Vec<Glob>>, said: &Option<Vec<Glob>>, of: fn(&TableGlob) -> &Glob| {
            all(one.as_deref(), said.as_deref(), Glob::covers)
                || tables.is_some_and(|tables| tables.iter().all(|table| one.iter().flatten().any(|glob| glob.covers(of(table)))))
        };
        within(&self.databases, &other.databases, |table| &table.database)
            && within(&self.schemas, &other.schemas, |table| &table.schema)
            && all(self.tables.as_deref(), tables, TableGlob::covers)
            && all(self.columns.as_deref(), other.columns.as_deref(), Glob::covers)
            && all(self.locations.as_deref(), other.locations.as_deref(), Glob::covers)
            && all(self.functions.as_deref(), other.functions.as_deref(), FunctionGlob::covers)
    }

    fn covers_words(&self, other: &Self) -> bool {
        all(self.actions.as_deref(), other.actions.as_deref(), PartialEq::eq)
            && all(self.opaque.as_deref(), other.opaque.as_deref(), PartialEq::eq)
            && all(self.roles.as_deref(), other.roles.as_deref(), Glob::covers)
            && all(self.parameters.as_deref(), other.parameters.as_deref(), |one, other| one.covers(other))
            && all(self.builtin.as_deref(), other.builtin.as_deref(), PartialEq::eq)
    }
}

impl Glob {
    /// Does it match every name that the other matches?
    pub(super) fn covers(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Any, _) => true,
            (glob, Self::Exact(name)) => glob.matches(name),
            // Names of the other are at least as long as its own ends, and so as these.
            (
                Self::Pieces { prefix, middle, suffix },
                Self::Pieces { prefix: begin, suffix: end, middle: _ } | Self::Counted { prefix: begin, suffix: end, .. },
            ) if middle.is_empty() => begin.starts_with(prefix.as_str()) && end.ends_with(suffix.as_str()),
            (one, other) => one == other,
        }
    }
}

impl TableGlob {
    fn covers(&self, other: &Self) -> bool {
        self.database.covers(&other.database) && self.schema.covers(&other.schema) && self.table.covers(&other.table)
    }
}

impl FunctionGlob {
    fn covers(&self, other: &Self) -> bool {
        self.schema.covers(&other.schema) && self.name.covers(&other.name)
    }
}

/// Is the one list left out, or is each item of the other one, which is given, covered by one of it?
pub(super) fn all<T>(one: Option<&[T]>, other: Option<&[T]>, covers: impl Fn(&T, &T) -> bool) -> bool {
    match (one, other) {
        (None, _) => true,
        (Some(_), None) => false,
        (Some(ones), Some(others)) => others.iter().all(|other| ones.iter().any(|one| covers(one, other))),
    }
}
