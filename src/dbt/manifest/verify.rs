//! Holds what dbt claims about a statement against the manifest.
//!
//! What this proves is one-sided: a statement that is verified does no more than the node that it names may do, and
//! where the manifest has the node's compiled SQL and the statement reads what is not the node's own, it contains that
//! SQL. It does not prove that dbt sent it.

use std::fmt;

use super::rights::{Rights, is_known};
use super::{Hook, Manifest, Node, NodeKind, even};
use crate::dbt::{Attribution, comment};
use crate::sql::{Action, Effect, Object, ObjectKind, Session, Statement};

/// What an attribution is worth.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Standing {
    /// The client says so, and there is no manifest, or no node in what it says.
    #[default]
    Claimed,
    /// The statement fits the node that it names.
    Verified,
    /// It does not.
    Mismatch(Mismatch),
}

/// How a statement does not fit the node that it names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mismatch {
    /// The manifest has no such node.
    UnknownNode,
    /// It changes what is not the node's own, or in a way that is not for a node of its kind.
    ForeignWrite(Action, Object),
    /// It reads a relation that the node does not depend on.
    UndeclaredRead(Object),
    /// It does not contain the node's compiled SQL.
    OtherText,
    /// It does something that no node is known to do: it cannot be seen into, changes the role or a parameter, or the
    /// node's materialization is one that the adapter does not define.
    Unseen,
}

impl Standing {
    /// Every word there is, for the docs: those of [`Standing::as_str`].
    pub const WORDS: &'static [&'static str] = &["claimed", "verified", "mismatch"];

    /// The word in records and metrics.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Claimed => "claimed",
            Self::Verified => "verified",
            Self::Mismatch(_) => "mismatch",
        }
    }

    /// How it does not fit, where it does not.
    pub fn mismatch(&self) -> Option<&Mismatch> {
        match self {
            Self::Claimed | Self::Verified => None,
            Self::Mismatch(mismatch) => Some(mismatch),
        }
    }
}

impl Mismatch {
    /// The word in records and metrics.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::UnknownNode => "unknown-node",
            Self::ForeignWrite(..) => "foreign-write",
            Self::UndeclaredRead(_) => "undeclared-read",
            Self::OtherText => "other-text",
            Self::Unseen => "unseen",
        }
    }
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownNode => f.write_str("the manifest has no such node"),
            Self::ForeignWrite(action, object) => {
                write!(f, "{} on {object} is not for this node", action.as_str())
            }
            Self::UndeclaredRead(object) => write!(f, "the node does not depend on {object}"),
            Self::OtherText => f.write_str("the statement does not contain the node's compiled SQL"),
            Self::Unseen => f.write_str("the statement does something that the manifest cannot vouch for"),
        }
    }
}

/// A text, and what a verification depends on besides it.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// The text as the client sent it.
    pub text: &'a str,
    /// What it would do.
    pub statements: &'a [Statement],
    /// The database of the session.
    pub database: &'a str,
    /// The schema of unqualified names, where known.
    pub unqualified_schema: Option<&'a str>,
}

impl Manifest {
    /// Does what is asked fit the node that dbt names? Costs one pass over the text where it reads other relations
    /// than the node's own, else one over the effects.
    pub fn verify(&self, said: &Attribution, asked: &Asked<'_>) -> Standing {
        let Some(id) = &said.node else { return Standing::Claimed };
        let (Some(node), Some(rights)) = (self.nodes.get(id), self.rights(id)) else {
            return Standing::Mismatch(Mismatch::UnknownNode);
        };
        match asked.fits(node, rights) {
            Ok(()) => Standing::Verified,
            Err(_) if asked.is_hook(node) => Standing::Verified,
            Err(mismatch) => Standing::Mismatch(mismatch),
        }
    }
}

impl Asked<'_> {
    fn fits(&self, node: &Node, rights: &Rights) -> Result<(), Mismatch> {
        let mut only_own = true;
        for effect in self.statements.iter().flat_map(|statement| &statement.effects) {
            match effect {
                Effect::Access { action, object, columns: _ } => only_own &= self.is_own(*action, object, rights)?,
                Effect::Call { .. } => only_own = false,
                Effect::Role { .. } | Effect::Set { .. } | Effect::Opaque { .. } => return Err(Mismatch::Unseen),
            }
        }
        if self.statements.iter().any(|statement| matches!(statement.session, Session::Executes { .. })) {
            return Err(Mismatch::Unseen);
        }
        if !only_own && !is_known(node) {
            return Err(Mismatch::Unseen);
        }
        match &node.compiled {
            Some(compiled) if !only_own && is_fixed(node) && !even(self.text).contains(compiled.as_str()) => Err(Mismatch::OtherText),
            Some(_) | None => Ok(()),
        }
    }

    /// Whether an access is to the node's own relations or the catalog, and not just to what it depends on.
    fn is_own(&self, action: Action, object: &Object, rights: &Rights) -> Result<bool, Mismatch> {
        let database = object.database.as_deref().unwrap_or(self.database);
        let schema = object.schema.as_deref().or(self.unqualified_schema);
        if rights.owns(action, object, (database, schema)) {
            return Ok(true);
        }
        if action != Action::Select || object.kind != ObjectKind::Relation {
            return Err(Mismatch::ForeignWrite(action, object.clone()));
        }
        if matches!(object.schema.as_deref(), Some("pg_catalog" | "information_schema")) {
            return Ok(true);
        }
        let is_declared =
            rights.reads.iter().any(|read| read.name == object.name && read.database == database && Some(read.schema.as_str()) == schema);
        if is_declared { Ok(false) } else { Err(Mismatch::UndeclaredRead(object.clone())) }
    }

    /// Whether the text is just one of the node's hooks, which may do whatever the project says.
    fn is_hook(&self, node: &Node) -> bool {
        let mut plain = node.hooks.iter().filter_map(|hook| match hook {
            Hook::Plain(sql) => Some(sql),
            Hook::Template(_) => None,
        });
        let Some(first) = plain.next() else { return false };
        let text = even(comment::without_first(self.text));
        *first == text || plain.any(|sql| *sql == text)
    }
}

/// Whether the SQL of a node is the same in each run. An incremental model has one for its first run and another one for
/// those after it.
fn is_fixed(node: &Node) -> bool {
    match node.kind {
        NodeKind::Model => node.materialized != "incremental",
        NodeKind::Test | NodeKind::Snapshot => true,
        NodeKind::Seed | NodeKind::UnitTest | NodeKind::Operation | NodeKind::Source | NodeKind::Function | NodeKind::Other => false,
    }
}
