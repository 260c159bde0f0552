//! The `dbt` key of an entry: for which of dbt's statements the entry is.

use super::AccessRequest;
use super::cover::all;
use super::document::DbtRule;
use super::entry::Miss;
use super::pattern::{Dotted, Glob};
use crate::dbt::manifest::verify::Standing;

/// A compiled `dbt` key.
#[derive(Debug)]
pub(super) struct Attributed {
    nodes: Option<Vec<Dotted>>,
    targets: Option<Vec<Glob>>,
    verified: bool,
}

impl Attributed {
    /// Compiles the key; each problem comes with its place within it.
    ///
    /// # Errors
    /// Every problem.
    pub(super) fn compile(written: &DbtRule) -> Result<Self, Vec<(String, String)>> {
        let mut problems = Vec::new();
        if written.nodes.is_none() && written.targets.is_none() && !written.without_node && !written.verified {
            problems.push((String::new(), "an empty `dbt` asks for nothing; leave it out".to_owned()));
        }
        if written.without_node && (written.nodes.is_some() || written.verified) {
            let message = "is for statements that name no node, and the other keys are for those that do; write two entries";
            problems.push((".withoutNode".to_owned(), message.to_owned()));
        }
        let mut keep = |key: &str, index: usize, why: String| problems.push((format!(".{key}[{index}]"), why));
        let mut nodes = Vec::new();
        for (index, text) in written.nodes.iter().flatten().enumerate() {
            match Dotted::parse(text) {
                Ok(glob) => nodes.push(glob),
                Err(why) => keep("nodes", index, why),
            }
        }
        let mut targets = Vec::new();
        for (index, text) in written.targets.iter().flatten().enumerate() {
            match Glob::parse(text) {
                Ok(glob) => targets.push(glob),
                Err(why) => keep("targets", index, why),
            }
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        // Without a node: no glob is left that a node could match.
        let nodes = if written.without_node { Some(Vec::new()) } else { written.nodes.as_ref().map(|_| nodes) };
        Ok(Self { nodes, targets: written.targets.as_ref().map(|_| targets), verified: written.verified })
    }

    /// Is the request for a statement that the key is about?
    ///
    /// # Errors
    /// The first reason why not.
    pub(super) fn matches(&self, request: &AccessRequest<'_>) -> Result<(), Miss> {
        let said = request.dbt.map(|claim| claim.attribution);
        let node = said.and_then(|said| said.node.as_deref());
        let fits_node = match (self.nodes.as_deref(), node) {
            (None, _) | (Some([]), None) => true,
            (Some([]), Some(_)) | (Some(_), None) => false,
            (Some(globs), Some(node)) => globs.iter().any(|glob| glob.matches(node)),
        };
        if !fits_node {
            return Err(Miss::Key("dbt.nodes"));
        }
        let target = said.and_then(|said| said.target.as_deref());
        if let Some(targets) = &self.targets
            && !target.is_some_and(|target| targets.iter().any(|glob| glob.matches(target)))
        {
            return Err(Miss::Key("dbt.targets"));
        }
        let is_verified = request.dbt.is_some_and(|claim| *claim.standing == Standing::Verified);
        if self.verified && !is_verified { Err(Miss::Unverified) } else { Ok(()) }
    }

    /// Is it about every statement that the other is about?
    pub(super) fn covers(&self, other: &Self) -> bool {
        let nodes = match (self.nodes.as_deref(), other.nodes.as_deref()) {
            // No node is not one of some nodes.
            (Some([]), Some(some)) => some.is_empty(),
            (Some(_), Some([])) => false,
            (one, other) => all(one, other, Dotted::covers),
        };
        nodes && all(self.targets.as_deref(), other.targets.as_deref(), Glob::covers) && (!self.verified || other.verified)
    }

    /// The nodes, where each is named in full.
    pub(super) fn exact_nodes(&self) -> Option<Vec<String>> {
        self.nodes.as_ref().filter(|nodes| !nodes.is_empty())?.iter().map(Dotted::exact).collect()
    }
}
