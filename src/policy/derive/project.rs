//! The entries of a project: what dbt does beside its nodes, then each node by its id.

use std::collections::{BTreeMap, BTreeSet};

use super::DeriveError;
use super::writer::{For, Writer, exact};
use crate::dbt::manifest::relation::Relation;
use crate::dbt::manifest::rights::{INDEX_DIGITS, Place, Rights, is_known};
use crate::dbt::manifest::{Hook, Manifest, Node, NodeKind};
use crate::sql::{self, Action, Dialect, Effect, Limits, Object, ObjectKind};

/// A project while its policy is written.
pub(super) struct Project<'m, 'w, 'o> {
    pub(super) manifest: &'m Manifest,
    pub(super) writer: &'w mut Writer<'o>,
}

impl Project<'_, '_, '_> {
    /// Writes every entry.
    ///
    /// # Errors
    /// A name cannot be said.
    pub(super) fn write(mut self) -> Result<(), DeriveError> {
        self.beside_nodes()?;
        let manifest = self.manifest;
        for (id, node) in &manifest.nodes {
            let rights = manifest.rights(id).cloned().unwrap_or_default();
            self.node(id, node, &rights)?;
        }
        Ok(())
    }

    fn beside_nodes(&mut self) -> Result<(), DeriveError> {
        let mut schemas: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        let own = |node: &&Node| node.kind != NodeKind::Source;
        for relation in self.manifest.nodes.values().filter(own).filter_map(|node| node.relation.as_ref()) {
            schemas.entry(&relation.database).or_default().insert(&relation.schema);
        }
        self.writer.comment("What dbt does beside its nodes: it reads the catalog and makes schemas. Transactions need no rule, nor does");
        self.writer.comment("the cancelling of its own sessions.");
        let databases = schemas.keys().map(|database| exact(database, "a database")).collect::<Result<Vec<_>, _>>()?;
        if !databases.is_empty() {
            let builtin = ("builtin", vec!["dbt-introspection".to_owned()]);
            self.writer.entry(For::Anybody, &[builtin, ("databases", databases)]);
        }
        for (database, schemas) in schemas {
            let schemas = schemas.into_iter().map(|schema| exact(schema, "a schema")).collect::<Result<Vec<_>, _>>()?;
            let keys = [words(&[Action::Create]), ("databases", vec![exact(database, "a database")?]), ("schemas", schemas)];
            self.writer.entry(For::WithoutNode, &keys);
        }
        Ok(())
    }

    fn node(&mut self, id: &str, node: &Node, rights: &Rights) -> Result<(), DeriveError> {
        let freshness = node.kind == NodeKind::Source && node.freshness;
        let runs = match node.kind {
            NodeKind::Source => freshness,
            NodeKind::Model => node.materialized != "ephemeral",
            NodeKind::Seed | NodeKind::Snapshot | NodeKind::Test | NodeKind::UnitTest | NodeKind::Operation | NodeKind::Function => true,
            NodeKind::Other => false,
        };
        if !runs {
            return Ok(());
        }
        let what = match node.kind {
            NodeKind::Model => node.materialized.replace('_', " "),
            NodeKind::Seed => "seed".to_owned(),
            NodeKind::Snapshot => "snapshot".to_owned(),
            NodeKind::Test => "test".to_owned(),
            NodeKind::UnitTest => "unit test".to_owned(),
            NodeKind::Operation => "hook of the project".to_owned(),
            NodeKind::Source => "freshness of a source".to_owned(),
            NodeKind::Function => "function".to_owned(),
            NodeKind::Other => String::new(),
        };
        self.writer.comment(&format!("{id}: {what}, {}", node.path));
        for part in id.split('.') {
            exact(part, "a node's id")?;
        }
        if !is_known(node) {
            self.writer
                .comment("  A person must decide: what this is built with is not the adapter's own, so its statements are not known.");
        }
        let who = if node.kind == NodeKind::Operation { For::WithoutNode } else { For::Node(id) };
        if !rights.reads.is_empty() && node.kind != NodeKind::Operation {
            let tables = rights.reads.iter().map(|relation| relation_pattern(relation, id)).collect::<Result<Vec<_>, _>>()?;
            self.writer.entry(who, &[words(&[Action::Select]), ("tables", tables)]);
        }
        for write in &rights.writes {
            let tables = write.places.iter().map(|place| place_pattern(place, id)).collect::<Result<Vec<_>, _>>()?;
            self.writer.entry(who, &[words(&write.actions), ("tables", tables)]);
        }
        self.hooks(id, node, rights)
    }

    fn hooks(&mut self, id: &str, node: &Node, rights: &Rights) -> Result<(), DeriveError> {
        for hook in &node.hooks {
            match hook {
                Hook::Template(template) => {
                    self.writer.comment("  A person must decide: what this hook does is known only when its template is filled in:");
                    self.writer.comment(&format!("    {template}"));
                }
                Hook::Plain(sql) => self.hook(id, node, rights, sql)?,
            }
        }
        Ok(())
    }

    /// The effects of a hook that the node's own rights do not cover.
    fn hook(&mut self, id: &str, node: &Node, rights: &Rights, sql: &str) -> Result<(), DeriveError> {
        let analysis = sql::analyze(Dialect::Postgres, sql, &Limits::default());
        let who = if node.kind == NodeKind::Operation { For::WithoutNode } else { For::Node(id) };
        let mut database = node.relation.as_ref().map(|relation| relation.database.as_str());
        let mut others = self.manifest.nodes.values().filter_map(|other| other.relation.as_ref());
        database = database.or_else(|| others.next().map(|relation| relation.database.as_str()));
        let mut open = Vec::new();
        for effect in analysis.statements.iter().flat_map(|statement| &statement.effects) {
            match rule(effect, database, rights)? {
                Rule::Covered => {}
                Rule::Keys(keys) => {
                    self.writer.comment(&format!("  hook: {sql}"));
                    self.writer.entry(who, &keys);
                }
                Rule::Open => open.push(effect.to_string()),
            }
        }
        if !open.is_empty() {
            self.writer.comment(&format!("  A person must decide about a hook that does this: {}", open.join("; ")));
            self.writer.comment(&format!("    {sql}"));
        }
        Ok(())
    }
}

/// What becomes of an effect of a hook.
enum Rule {
    /// The node may do it anyway.
    Covered,
    /// An entry with these keys allows it and nothing else.
    Keys(Vec<(&'static str, Vec<String>)>),
    /// No rule could name it narrowly.
    Open,
}

fn rule(effect: &Effect, database: Option<&str>, rights: &Rights) -> Result<Rule, DeriveError> {
    const OF: &str = "a hook";
    Ok(match effect {
        Effect::Access { action, object, columns: _ } => {
            let database = object.database.as_deref().or(database).unwrap_or_default();
            if rights.owns(*action, object, (database, object.schema.as_deref())) || reads(rights, *action, object, database) {
                return Ok(Rule::Covered);
            }
            let action = words(&[*action]);
            match (object.kind, &object.schema) {
                (ObjectKind::Relation, Some(schema)) => {
                    let table = format!("{}.{}.{}", exact(database, OF)?, exact(schema, OF)?, exact(&object.name, OF)?);
                    Rule::Keys(vec![action, ("tables", vec![table])])
                }
                (ObjectKind::Schema, _) => {
                    Rule::Keys(vec![action, ("databases", vec![exact(database, OF)?]), ("schemas", vec![exact(&object.name, OF)?])])
                }
                (ObjectKind::Function, Some(schema)) => {
                    Rule::Keys(vec![action, ("functions", vec![format!("{}.{}", exact(schema, OF)?, exact(&object.name, OF)?)])])
                }
                (ObjectKind::Relation | ObjectKind::Function | ObjectKind::Database | ObjectKind::Type | ObjectKind::Location, _) => {
                    Rule::Open
                }
            }
        }
        Effect::Call { function: Object { schema: Some(schema), name, .. }, signals: _ } => {
            Rule::Keys(vec![("functions", vec![format!("{}.{}", exact(schema, OF)?, exact(name, OF)?)])])
        }
        Effect::Role { role: Some(role) } => Rule::Keys(vec![("roles", vec![exact(role, OF)?])]),
        Effect::Set { parameter } => Rule::Keys(vec![("parameters", vec![parameter.clone()])]),
        Effect::Call { .. } | Effect::Role { role: None } | Effect::Opaque { .. } => Rule::Open,
    })
}

fn reads(rights: &Rights, action: Action, object: &Object, database: &str) -> bool {
    let is_it = |read: &Relation| read.name == object.name && read.database == database && Some(&read.schema) == object.schema.as_ref();
    action == Action::Select && object.kind == ObjectKind::Relation && rights.reads.iter().any(is_it)
}

/// `actions: [...]`.
fn words(actions: &[Action]) -> (&'static str, Vec<String>) {
    ("actions", actions.iter().map(|action| action.as_str().to_owned()).collect())
}

fn relation_pattern(relation: &Relation, of: &str) -> Result<String, DeriveError> {
    let Relation { database, schema, name } = relation;
    Ok(format!("{}.{}.{}", exact(database, of)?, exact(schema, of)?, exact(name, of)?))
}

fn place_pattern(place: &Place, of: &str) -> Result<String, DeriveError> {
    Ok(match place {
        Place::Exact(relation) => relation_pattern(relation, of)?,
        // A temporary table is named without a schema, and such a name needs a rule for any schema.
        Place::Stamped { database, prefix, digits } => {
            format!("{}.*.{}{{digits:{digits}}}", exact(database, of)?, exact(prefix, of)?)
        }
        Place::Hourly { database, prefix } => format!("{}.*.{}*", exact(database, of)?, exact(prefix, of)?),
        Place::Index { database, schema } => format!("{}.{}.{{hex:{INDEX_DIGITS}}}", exact(database, of)?, exact(schema, of)?),
    })
}
