//! A policy proposed from what was observed: for each node of dbt's, and for statements without one, what was done to what.

use std::collections::{BTreeMap, BTreeSet};

use super::writer::{For, Writer, exact};
use super::{DeriveError, Options};
use crate::sql::{Action, Effect, ObjectKind, Signals};

/// One execution that was recorded and not denied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observed {
    /// The node that dbt named.
    pub node: Option<String>,
    /// The database of the session.
    pub database: String,
    /// The schema of unqualified names, where it was known.
    pub unqualified_schema: Option<String>,
    /// What it did.
    pub effects: Vec<Effect>,
}

/// What was seen of one node.
#[derive(Default)]
struct Seen {
    executions: usize,
    tables: BTreeMap<String, BTreeSet<Action>>,
    schemas: BTreeMap<(String, String), BTreeSet<Action>>,
    functions: BTreeSet<String>,
    parameters: BTreeSet<String>,
    roles: BTreeSet<String>,
    /// What no rule could name narrowly, as it is called in records.
    open: BTreeSet<String>,
}

/// The narrowest policy that allows what was observed, while it is gathered. Holds the names of nodes and of what they used,
/// whatever the number of executions.
#[derive(Default)]
pub struct Proposal {
    executions: usize,
    /// By node; `None` are statements that name none.
    nodes: BTreeMap<Option<String>, Seen>,
}

impl Proposal {
    /// Takes one more execution.
    ///
    /// # Errors
    /// [`DeriveError::Name`].
    pub fn take(&mut self, observed: &Observed) -> Result<(), DeriveError> {
        self.executions += 1;
        let seen = self.nodes.entry(observed.node.clone()).or_default();
        seen.executions += 1;
        observed.effects.iter().try_for_each(|effect| seen.take(effect, observed))
    }

    /// Writes the policy. What was opaque or unresolved becomes a comment.
    pub fn write(&self, options: &Options) -> String {
        let mut writer = Writer::new(options);
        writer.head(&[
            "Proposed from an audit log by `tollhouse policy derive --from-audit`: what was done, not what should be. Review it."
                .to_owned(),
            format!("{} executions that were not denied.", self.executions),
        ]);
        for (node, seen) in &self.nodes {
            seen.write(node.as_deref(), &mut writer);
        }
        writer.finish()
    }
}

impl Seen {
    fn take(&mut self, effect: &Effect, execution: &Observed) -> Result<(), DeriveError> {
        const OF: &str = "an observed statement";
        match effect {
            Effect::Access { action, object, columns: _ } => {
                let database = exact(object.database.as_deref().unwrap_or(&execution.database), OF)?;
                let schema = object.schema.as_ref().or(execution.unqualified_schema.as_ref());
                match (object.kind, schema) {
                    (ObjectKind::Relation, schema) => {
                        let name = anew(&object.name).map_or_else(|| exact(&object.name, OF), Ok)?;
                        let Some(schema) = schema.filter(|schema| *schema != "pg_temp" || name == object.name) else {
                            if name == object.name {
                                _ = self.open.insert(format!("{effect}, whose schema was not certain"));
                            } else {
                                _ = self.tables.entry(format!("{database}.*.{name}")).or_default().insert(*action);
                            }
                            return Ok(());
                        };
                        _ = self.tables.entry(format!("{database}.{}.{name}", exact(schema, OF)?)).or_default().insert(*action);
                    }
                    (ObjectKind::Schema, _) => {
                        let key = (database, exact(&object.name, OF)?);
                        _ = self.schemas.entry(key).or_default().insert(*action);
                    }
                    (ObjectKind::Database | ObjectKind::Function | ObjectKind::Type | ObjectKind::Location, _) => {
                        _ = self.open.insert(effect.to_string())
                    }
                }
            }
            // Needs no rule.
            Effect::Call { function: _, signals: Signals::OwnSession(_) } => {}
            Effect::Call { function, signals: Signals::Unsaid | Signals::Process(_) } => match &function.schema {
                Some(schema) => _ = self.functions.insert(format!("{}.{}", exact(schema, OF)?, exact(&function.name, OF)?)),
                None => _ = self.open.insert(format!("{effect}, whose schema was not certain")),
            },
            Effect::Role { role: Some(role) } => _ = self.roles.insert(exact(role, OF)?),
            Effect::Set { parameter } => _ = self.parameters.insert(parameter.clone()),
            Effect::Role { role: None } | Effect::Opaque { .. } => _ = self.open.insert(effect.to_string()),
        }
        Ok(())
    }

    fn is_empty(&self) -> bool {
        let Self { executions: _, tables, schemas, functions, parameters, roles, open: _ } = self;
        tables.is_empty() && schemas.is_empty() && functions.is_empty() && parameters.is_empty() && roles.is_empty()
    }

    fn write(&self, node: Option<&str>, writer: &mut Writer<'_>) {
        if self.is_empty() && self.open.is_empty() {
            return;
        }
        writer.comment(&format!("{}: {} executions", node.unwrap_or("no node"), self.executions));
        let who = node.map_or(For::WithoutNode, For::Node);
        // Tables that the same is done to make one entry.
        let mut alike: BTreeMap<&BTreeSet<Action>, Vec<String>> = BTreeMap::new();
        for (table, actions) in &self.tables {
            alike.entry(actions).or_default().push(table.clone());
        }
        for (actions, tables) in alike {
            writer.entry(who, &[words(actions), ("tables", tables)]);
        }
        for ((database, schema), actions) in &self.schemas {
            writer.entry(who, &[words(actions), ("databases", vec![database.clone()]), ("schemas", vec![schema.clone()])]);
        }
        for (key, values) in [("functions", &self.functions), ("parameters", &self.parameters), ("roles", &self.roles)] {
            if !values.is_empty() {
                writer.entry(who, &[(key, values.iter().cloned().collect())]);
            }
        }
        for effect in &self.open {
            writer.comment(&format!("  A person must decide: {effect}"));
        }
    }
}

fn words(actions: &BTreeSet<Action>) -> (&'static str, Vec<String>) {
    ("actions", actions.iter().map(|action| action.as_str().to_owned()).collect())
}

/// The pattern of a name that dbt makes anew each time: a temporary table's, or an index's.
fn anew(name: &str) -> Option<String> {
    if name.len() == 32 && name.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
        return Some("{hex:32}".to_owned());
    }
    let (base, digits) = name.split_at_checked(name.len().checked_sub(12)?)?;
    let is_stamped = base.ends_with("__dbt_tmp") && digits.bytes().all(|b| b.is_ascii_digit());
    let is_sayable = exact(base, "").is_ok();
    (is_stamped && is_sayable).then(|| format!("{base}{{digits:12}}"))
}
