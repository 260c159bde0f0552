//! What a node's statements read and write on PostgreSQL, by what the node is and how the adapter builds it.
//!
//! The names of helpers and the statements are those of dbt-adapters' and dbt-postgres' macros
//! (`materializations/**`, `adapters.sql`): a view or table is built as `X__dbt_tmp`, the one before it is renamed to
//! `X__dbt_backup` and dropped; incremental models, snapshots and unit tests stage rows in `create temporary table
//! "X__dbt_tmp<HHMMSSffffff>"`, without a schema.

use std::collections::{BTreeMap, BTreeSet};

use super::relation::{Relation, with_suffix};
use super::{ManifestError, Node, NodeKind};
use crate::sql::{Action, Object, ObjectKind};

/// Digits of the time of day that the adapter puts behind a temporary table's name (`%H%M%S%f`).
const STAMP_DIGITS: usize = 12;

/// The name of an hour's batch, as `%Y%m%dT%H` writes it.
const HOUR_BYTES: usize = "YYYYmmddTHH".len();

/// Hexadecimal digits of an index's name, which is an MD5 digest.
pub const INDEX_DIGITS: usize = 32;

/// What a node's own statements may do; hooks come on top.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Rights {
    /// Relations that it reads: its parents, and those of parents that are only text (ephemeral models).
    pub reads: BTreeSet<Relation>,
    /// What it does to relations that are its own.
    pub writes: Vec<Write>,
}

/// Actions on relations of a node's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Write {
    /// What is done.
    pub actions: Vec<Action>,
    /// To which relations.
    pub places: Vec<Place>,
}

/// Relations that belong to a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// This one.
    Exact(Relation),
    /// A temporary one: the prefix and so many digits, in no schema that the statement would name.
    Stamped {
        /// The database.
        database: String,
        /// Everything before the digits.
        prefix: String,
        /// How many: those of the time of day, and those of a batch's day, month or year.
        digits: usize,
    },
    /// A temporary one of the batch of an hour: as `Stamped`, with `YYYYmmddTHH` before the digits of the time of day.
    Hourly {
        /// The database.
        database: String,
        /// Everything before the batch's name.
        prefix: String,
    },
    /// An index, named by [`INDEX_DIGITS`] hexadecimal digits.
    Index {
        /// The database.
        database: String,
        /// The schema.
        schema: String,
    },
}

impl Rights {
    /// The rights of `node`, called `id`, in a project.
    ///
    /// # Errors
    /// [`ManifestError::Parent`].
    pub(super) fn of(id: &str, node: &Node, nodes: &BTreeMap<String, Node>) -> Result<Self, ManifestError> {
        let mut reads = BTreeSet::new();
        match node.kind {
            NodeKind::Source => reads.extend(node.relation.clone()),
            // Only the rows that it was given: the model's text stands on them in place of the model's parents.
            NodeKind::UnitTest => {}
            NodeKind::Model | NodeKind::Seed | NodeKind::Snapshot | NodeKind::Test | NodeKind::Operation => {
                read_parents(id, node, nodes, &mut reads)?;
            }
            NodeKind::Function | NodeKind::Other => {}
        }
        Ok(Self { reads, writes: writes(node, nodes) })
    }

    /// Is this done to a relation of the node's own? A schema that is not certain is none that a statement names.
    pub fn owns(&self, action: Action, object: &Object, (database, schema): (&str, Option<&str>)) -> bool {
        object.kind == ObjectKind::Relation
            && self.writes.iter().any(|write| {
                write.actions.contains(&action) && write.places.iter().any(|place| place.holds(&object.name, database, schema))
            })
    }
}

/// The relations behind `depends_on`; an ephemeral model stands as text in its child, so its parents are read in its place.
fn read_parents(id: &str, node: &Node, nodes: &BTreeMap<String, Node>, reads: &mut BTreeSet<Relation>) -> Result<(), ManifestError> {
    let (mut waiting, mut seen): (Vec<&str>, BTreeSet<&str>) = (node.parents.iter().map(String::as_str).collect(), BTreeSet::new());
    while let Some(parent) = waiting.pop() {
        if !seen.insert(parent) {
            continue;
        }
        let wrong = |why| ManifestError::Parent { node: id.to_owned(), parent: parent.to_owned(), why };
        if parent == id {
            return Err(wrong("is itself"));
        }
        match nodes.get(parent) {
            Some(Node { relation: Some(relation), .. }) => _ = reads.insert(relation.clone()),
            Some(ephemeral) => waiting.extend(ephemeral.parents.iter().map(String::as_str)),
            // Metrics, semantic models and the like have no relation and run nothing.
            None if ["metric.", "semantic_model.", "saved_query.", "exposure."].iter().any(|kind| parent.starts_with(kind)) => {}
            None => return Err(wrong("is not in the manifest")),
        }
    }
    Ok(())
}

const VIEW: &[Action] = &[Action::Select, Action::Create, Action::Alter, Action::Drop];
const MATERIALIZED_VIEW: &[Action] = &[Action::Select, Action::Create, Action::Alter, Action::Drop, Action::Maintain];
const TABLE: &[Action] = &[Action::Select, Action::Insert, Action::Create, Action::Alter, Action::Drop];
const INCREMENTAL: &[Action] =
    &[Action::Select, Action::Insert, Action::Update, Action::Delete, Action::Create, Action::Alter, Action::Drop];
const SNAPSHOT: &[Action] = &[Action::Select, Action::Insert, Action::Update, Action::Create, Action::Alter];
const SEED: &[Action] = &[Action::Select, Action::Insert, Action::Truncate, Action::Create, Action::Alter, Action::Drop];
const FAILURES: &[Action] = &[Action::Select, Action::Create, Action::Drop];
const STAGING: &[Action] = &[Action::Select, Action::Create, Action::Drop];
const GRANTS: &[Action] = &[Action::Grant, Action::Revoke];
const INDEX: &[Action] = &[Action::Create, Action::Drop];

/// Whether the adapter defines how the node is built; statements of other materializations cannot be known.
pub fn is_known(node: &Node) -> bool {
    match node.kind {
        NodeKind::Model => matches!(node.materialized.as_str(), "view" | "table" | "incremental" | "materialized_view" | "ephemeral"),
        NodeKind::Seed | NodeKind::Snapshot | NodeKind::Test | NodeKind::UnitTest | NodeKind::Operation | NodeKind::Source => true,
        NodeKind::Function => false,
        NodeKind::Other => true,
    }
}

fn writes(node: &Node, nodes: &BTreeMap<String, Node>) -> Vec<Write> {
    let Some(relation) = &node.relation else {
        return match node.kind {
            NodeKind::UnitTest => vec![unit_test_staging(node, nodes)].into_iter().flatten().collect(),
            NodeKind::Model
            | NodeKind::Seed
            | NodeKind::Snapshot
            | NodeKind::Test
            | NodeKind::Operation
            | NodeKind::Source
            | NodeKind::Function
            | NodeKind::Other => Vec::new(),
        };
    };
    let own = || vec![Place::Exact(relation.clone())];
    let family = || {
        let helper = |suffix| Place::Exact(relation.beside(with_suffix(&relation.name, suffix, 0)));
        vec![Place::Exact(relation.clone()), helper("__dbt_tmp"), helper("__dbt_backup")]
    };
    let (actions, places, staged) = match (node.kind, node.materialized.as_str()) {
        (NodeKind::Model, "view") => (VIEW, family(), false),
        (NodeKind::Model, "materialized_view") => (MATERIALIZED_VIEW, family(), false),
        (NodeKind::Model, "table") => (TABLE, family(), false),
        (NodeKind::Model, "incremental") => (INCREMENTAL, family(), true),
        (NodeKind::Snapshot, _) => (SNAPSHOT, own(), true),
        (NodeKind::Seed, _) => (SEED, own(), false),
        (NodeKind::Test, _) => (FAILURES, own(), false),
        (NodeKind::Model | NodeKind::UnitTest | NodeKind::Operation | NodeKind::Source | NodeKind::Function | NodeKind::Other, _) => {
            return Vec::new();
        }
    };
    let mut writes = vec![Write { actions: actions.to_vec(), places }];
    if staged {
        writes.push(staging(&relation.database, &relation.name, node.batch_size.as_deref()));
    }
    if node.indexes {
        let (database, schema) = (relation.database.clone(), relation.schema.clone());
        writes.push(Write { actions: INDEX.to_vec(), places: vec![Place::Index { database, schema }] });
    }
    if node.grants {
        writes.push(Write { actions: GRANTS.to_vec(), places: own() });
    }
    writes
}

/// Temporary tables; those of a batch have its name between an underscore and the time of day.
fn staging(database: &str, name: &str, batch_size: Option<&str>) -> Write {
    let stamped = |suffix, digits| Place::Stamped { database: database.to_owned(), prefix: with_suffix(name, suffix, digits), digits };
    let mut places = vec![stamped("__dbt_tmp", STAMP_DIGITS)];
    places.extend(batch_size.map(|size| match size {
        "year" => stamped("__dbt_tmp_", "YYYY".len() + STAMP_DIGITS),
        "month" => stamped("__dbt_tmp_", "YYYYmm".len() + STAMP_DIGITS),
        "day" => stamped("__dbt_tmp_", "YYYYmmdd".len() + STAMP_DIGITS),
        _ => Place::Hourly { database: database.to_owned(), prefix: with_suffix(name, "__dbt_tmp_", HOUR_BYTES + STAMP_DIGITS) },
    }));
    Write { actions: STAGING.to_vec(), places }
}

/// A unit test stages its rows under its own name, in the database of its model.
fn unit_test_staging(node: &Node, nodes: &BTreeMap<String, Node>) -> Option<Write> {
    // A model that is ephemeral has no database written; any other node of the project shares it, for PostgreSQL has one.
    let tested = node.parents.iter().find_map(|parent| nodes.get(parent)?.relation.as_ref());
    let database = tested.or_else(|| nodes.values().find_map(|node| node.relation.as_ref())).map(|relation| &relation.database)?;
    Some(staging(database, &node.name, None))
}

impl Place {
    /// Is a relation of this name, database and schema (`None` where it is not certain) in this place?
    fn holds(&self, name: &str, database: &str, schema: Option<&str>) -> bool {
        match self {
            Self::Exact(relation) => relation.name == name && relation.database == database && schema == Some(&relation.schema),
            Self::Stamped { database: own, prefix, digits } => {
                own == database && name.strip_prefix(prefix.as_str()).is_some_and(|rest| is_number(rest, *digits))
            }
            Self::Hourly { database: own, prefix } => {
                let parts = name.strip_prefix(prefix.as_str()).and_then(|rest| rest.split_once('T'));
                own == database
                    && parts.is_some_and(|(day, rest)| is_number(day, "YYYYmmdd".len()) && is_number(rest, "HH".len() + STAMP_DIGITS))
            }
            Self::Index { database: own, schema: within } => {
                own == database
                    && schema == Some(within)
                    && name.len() == INDEX_DIGITS
                    && name.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
            }
        }
    }
}

fn is_number(text: &str, digits: usize) -> bool {
    text.len() == digits && text.bytes().all(|b| b.is_ascii_digit())
}
