//! A dbt project as its `target/manifest.json` describes it: what each node is, what it depends on, and where it lives.
//!
//! The keys are those of <https://schemas.getdbt.com/dbt/manifest/v12.json>; versions 10 to 12 agree on them.

mod file;
pub mod relation;
pub mod rights;
#[cfg(test)]
mod tests;
pub mod verify;

use std::collections::{BTreeMap, BTreeSet};

use aws_lc_rs::digest;

use relation::Relation;
use rights::Rights;

/// Longest manifest, in bytes, that is read. A project of ten thousand nodes has some 100 MB.
pub const BYTES_MAX: u64 = 512 * 1024 * 1024;

/// Oldest version of the schema that is read: the first whose keys are those of the versions after it.
const VERSION_MIN: u32 = 10;

/// A project, read once and immutable.
#[derive(Debug)]
pub struct Manifest {
    /// `sha256:` and 16 hexadecimal digits of the file.
    pub digest: String,
    /// `project_name`; absent before dbt 1.6.
    pub project: Option<String>,
    /// `adapter_type`: `postgres`, `snowflake`, ...
    pub adapter: String,
    /// The run of dbt that wrote the file.
    pub invocation: Option<String>,
    /// Everything that runs statements, and what those may depend on, by unique id.
    pub nodes: BTreeMap<String, Node>,
    rights: BTreeMap<String, Rights>,
}

/// A node, source, unit test or function of the project.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// What it is.
    pub kind: NodeKind,
    /// Its name, which a unit test's temporary tables carry.
    pub name: String,
    /// `original_file_path`, relative to its package.
    pub path: String,
    /// Where it lives; `None` for what has no relation of its own.
    pub relation: Option<Relation>,
    /// `config.materialized`; empty where it says none.
    pub materialized: String,
    /// `config.batch_size` of a model that is built in batches (`hour`, `day`, `month`, `year`).
    pub batch_size: Option<String>,
    /// The ids in `depends_on.nodes`, sorted.
    pub parents: BTreeSet<String>,
    /// Hooks around it, and its `sql_header`, in the order of their run.
    pub hooks: Vec<Hook>,
    /// Whether `config.grants` names any.
    pub grants: bool,
    /// Whether `config.indexes` names any.
    pub indexes: bool,
    /// Whether a source has anything that `dbt source freshness` would look at.
    pub freshness: bool,
    /// `compiled_code` with white space made even; absent after a mere `dbt parse`.
    pub compiled: Option<String>,
}

/// What a node is, by `resource_type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NodeKind {
    /// A model.
    Model,
    /// A table that is loaded from a file of the project.
    Seed,
    /// A table of past states of another one.
    Snapshot,
    /// A query that has to find nothing.
    Test,
    /// A model run on made-up rows.
    UnitTest,
    /// A hook of `on-run-start` or `on-run-end`; its statements name no node.
    Operation,
    /// A table that others fill.
    Source,
    /// A function of the warehouse.
    Function,
    /// Anything else; it runs no statement that this module knows of.
    Other,
}

/// SQL of the project that runs beside a node's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Hook {
    /// SQL as it will be sent, with white space made even.
    Plain(String),
    /// A template, whose SQL is known only when it runs; with white space made even.
    Template(String),
}

/// Why a manifest cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// It is longer than [`BYTES_MAX`].
    #[error("is longer than {} MiB", BYTES_MAX / 1024 / 1024)]
    TooLong,
    /// It is not the JSON of a manifest.
    #[error("is not a manifest of dbt")]
    Malformed(#[source] serde_json::Error),
    /// It is a manifest of a version whose keys may mean something else.
    #[error("has the schema `{0}`; versions from {VERSION_MIN} on are read: run a newer dbt")]
    Version(String),
    /// One node is not what the schema says.
    #[error("node `{node}` is not as the schema says")]
    Node {
        /// Its unique id.
        node: String,
        /// What is wrong.
        #[source]
        source: serde_json::Error,
    },
    /// A node's `relation_name` is not a name.
    #[error("node `{node}` has the relation name `{name}`, which cannot be read")]
    Relation {
        /// The node's unique id.
        node: String,
        /// As written.
        name: String,
    },
    /// A node depends on one that is not there, or on itself through ephemeral models.
    #[error("node `{node}` depends on `{parent}`, which {why}")]
    Parent {
        /// The node's unique id.
        node: String,
        /// The other's.
        parent: String,
        /// What is wrong with it.
        why: &'static str,
    },
}

impl Manifest {
    /// Reads a manifest. Keys that nothing here depends on are not looked at.
    ///
    /// # Errors
    /// [`ManifestError`]: whatever is used must be there and of its type, or the whole is refused.
    pub fn parse(content: &[u8]) -> Result<Self, ManifestError> {
        if u64::try_from(content.len()).unwrap_or(u64::MAX) > BYTES_MAX {
            return Err(ManifestError::TooLong);
        }
        let read = file::read(content)?;
        let mut rights = BTreeMap::new();
        for (id, node) in &read.nodes {
            rights.insert(id.clone(), Rights::of(id, node, &read.nodes)?);
        }
        let hash = digest::digest(&digest::SHA256, content);
        let hex: String = hash.as_ref().iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        let file::Read { project, adapter, invocation, nodes } = read;
        Ok(Self { digest: format!("sha256:{hex}"), project, adapter, invocation, nodes, rights })
    }

    /// What a node's statements may read and write; `None` for an id that is not of this project.
    pub fn rights(&self, id: &str) -> Option<&Rights> {
        self.rights.get(id)
    }
}

/// A text with each run of white space made one space, and without semicolons at its end.
pub(crate) fn even(text: &str) -> String {
    let mut even = String::with_capacity(text.len());
    for word in text.trim_end_matches(|c: char| c.is_whitespace() || c == ';').split_whitespace() {
        if !even.is_empty() {
            even.push(' ');
        }
        even.push_str(word);
    }
    even
}
