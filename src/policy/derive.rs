//! Writes the WarehousePolicy that a dbt project needs, from its manifest or from what was observed of it.
//!
//! What comes out is for a person to review: one group of entries for each node, in a stable order, and a comment wherever
//! a rule would have to guess.

pub mod observed;
mod project;
#[cfg(test)]
mod tests;
mod writer;

use std::collections::BTreeMap;

use crate::dbt::manifest::Manifest;

use project::Project;
use writer::Writer;

/// The adapter whose statements and helper relations are known.
const ADAPTER: &str = "postgres";

/// Whom the policy is for, and how much it demands.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Options {
    /// `metadata.name`.
    pub name: String,
    /// `metadata.namespace`; the default one where absent.
    pub namespace: Option<String>,
    /// `endpointSelector.matchLabels`.
    pub selector: BTreeMap<String, String>,
    /// `toFQDNs`, as names or as patterns where a `*` is in them; any host where empty.
    pub hosts: Vec<String>,
    /// The name of dbt's target that each statement of a node must claim.
    pub target: Option<String>,
    /// Whether the nodes must be verified.
    pub verified: bool,
}

/// Why no policy can be derived.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum DeriveError {
    /// What the adapter sends is not known.
    #[error("the manifest is of the adapter `{0}`; what is known so far is what `{ADAPTER}` sends")]
    Adapter(String),
    /// A name has characters that no pattern can say.
    #[error("`{name}`, of {of}, cannot be said in a policy: {why}")]
    Name {
        /// The name.
        name: String,
        /// What has it.
        of: String,
        /// What is wrong with it.
        why: String,
    },
}

/// Writes the policy under which a project's nodes read what they depend on, write what is theirs, and nothing else.
///
/// The same project gives the same text, whatever run of dbt wrote the manifest.
///
/// # Errors
/// [`DeriveError`]: nothing is left out silently.
pub fn derive(manifest: &Manifest, options: &Options) -> Result<String, DeriveError> {
    if manifest.adapter != ADAPTER {
        return Err(DeriveError::Adapter(manifest.adapter.clone()));
    }
    let mut writer = Writer::new(options);
    let project = manifest.project.as_deref().unwrap_or("without a name");
    writer.head(&[
        "Derived from the manifest of a dbt project by `tollhouse policy derive`. To change it, change the project and derive".to_owned(),
        "it anew; `tollhouse policy derive --check` tells whether it still fits.".to_owned(),
        format!("Project {project}, adapter {}, {} nodes.", manifest.adapter, manifest.nodes.len()),
    ]);
    Project { manifest, writer: &mut writer }.write()?;
    Ok(writer.finish())
}
