//! Entries that allow given effects, and as little else as the grammar can say.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::dbt::manifest::verify::Standing;
use crate::sql::{Action, Effect, Object, ObjectKind};

use super::super::AccessRequest;
use super::super::compile::compile_entry;
use super::super::document::{ActionWord, DbtRule, OpaqueWord, SqlRule};
use super::super::entry::{Reading, schema_of};
use super::super::flow::Flow;
use super::super::pattern::{Dotted, Glob, naming};

/// What to add.
#[derive(Debug, Default)]
pub(super) struct Proposal<'e> {
    /// Entries of `rules.sql`, as YAML on one line each.
    pub(super) entries: Vec<String>,
    /// What they allow besides, for want of narrower words.
    pub(super) caveats: Vec<String>,
    /// Effects that no entry can name exactly.
    pub(super) unnameable: Vec<&'e Effect>,
}

/// Proposes entries for effects that are not allowed.
pub(super) fn propose<'e>(lacking: &[&'e Effect], request: &AccessRequest<'_>) -> Proposal<'e> {
    let mut proposal = Proposal::default();
    let dbt = for_node(request);
    let mut parts = Parts { dbt: dbt.clone(), ..Parts::default() };
    if dbt.is_none() && request.dbt.is_some_and(|claim| claim.attribution.node.is_some()) {
        parts.caveats.insert("for every node, since patterns cannot hold the name of the one that asks".to_owned());
    }
    for effect in lacking {
        let named = rule(effect, request).map(|rule| SqlRule { dbt: dbt.clone(), ..rule });
        let named = named.filter(|rule| allows(rule, effect, request));
        match named {
            Some(rule) => parts.add(effect, rule),
            None => proposal.unnameable.push(effect),
        }
    }
    proposal.entries = parts.merged().iter().map(written).collect();
    proposal.caveats = parts.caveats.into_iter().collect();
    proposal
}

/// Rules for single effects, on their way to be merged.
#[derive(Default)]
struct Parts {
    /// The node that all of them are for.
    dbt: Option<DbtRule>,
    /// Actions by table, and the columns that they write where the statement says so.
    tables: BTreeMap<(String, BTreeSet<String>), BTreeSet<Action>>,
    /// Everything else, by what the entry says but for its one list that can grow.
    others: Vec<SqlRule>,
    caveats: BTreeSet<String>,
}

impl Parts {
    fn add(&mut self, effect: &Effect, rule: SqlRule) {
        self.caveats.extend(caveat(effect));
        match (effect, &rule.tables) {
            (Effect::Access { action, .. }, Some(tables)) => {
                let columns: BTreeSet<String> = rule.columns.iter().flatten().cloned().collect();
                for table in tables {
                    self.tables.entry((table.clone(), columns.clone())).or_default().insert(*action);
                }
            }
            (Effect::Access { .. } | Effect::Call { .. } | Effect::Role { .. } | Effect::Set { .. } | Effect::Opaque { .. }, _) => {
                if !self.others.iter_mut().any(|other| absorb(other, &rule)) {
                    self.others.push(rule);
                }
            }
        }
    }

    /// One entry for each set of actions and columns, with every table that it is for: together they allow no action on a table
    /// or column that was not asked for.
    fn merged(&mut self) -> Vec<SqlRule> {
        let mut by_actions: BTreeMap<(BTreeSet<Action>, BTreeSet<String>), Vec<String>> = BTreeMap::new();
        for ((table, columns), actions) in std::mem::take(&mut self.tables) {
            by_actions.entry((actions, columns)).or_default().push(table);
        }
        let tables = by_actions.into_iter().map(|((actions, columns), tables)| SqlRule {
            actions: Some(actions.into_iter().map(ActionWord).collect()),
            tables: Some(tables),
            columns: (!columns.is_empty()).then(|| columns.into_iter().collect()),
            dbt: self.dbt.clone(),
            ..SqlRule::default()
        });
        tables.chain(std::mem::take(&mut self.others)).collect()
    }
}

/// The key that makes an entry for the node alone that dbt names: proven, where it was.
fn for_node(request: &AccessRequest<'_>) -> Option<DbtRule> {
    let claim = request.dbt?;
    let node = claim.attribution.node.as_ref()?;
    let exact = Dotted::parse(node).ok()?.exact().filter(|exact| exact == node)?;
    Some(DbtRule { nodes: Some(vec![exact]), verified: *claim.standing == Standing::Verified, ..DbtRule::default() })
}

/// The narrowest rule for one effect; `None` where a name cannot be written.
fn rule(effect: &Effect, request: &AccessRequest<'_>) -> Option<SqlRule> {
    let here = |rule: SqlRule| -> Option<SqlRule> { Some(SqlRule { databases: Some(vec![exact(request.database)?]), ..rule }) };
    match effect {
        Effect::Access { action, object, columns } => {
            let columns = written_columns(*action, columns);
            object_rule(*action, object, request).map(|rule| SqlRule { columns, ..rule })
        }
        Effect::Call { function, signals: _ } => {
            // The search path does not resolve a call, so neither does the rule.
            let name = dotted(function.schema.as_deref(), &function.name)?;
            let database = exact(function.database.as_deref().unwrap_or(request.database))?;
            Some(SqlRule { functions: Some(vec![name]), databases: Some(vec![database]), ..SqlRule::default() })
        }
        Effect::Role { role } => here(SqlRule { roles: Some(vec![exact(role.as_deref().unwrap_or(request.role))?]), ..SqlRule::default() }),
        Effect::Set { parameter } => {
            let whole = Dotted::parse(parameter).ok()?.exact().filter(|exact| exact == parameter)?;
            here(SqlRule { parameters: Some(vec![whole]), ..SqlRule::default() })
        }
        Effect::Opaque { class, detail: _ } => here(SqlRule { opaque: Some(vec![OpaqueWord(*class)]), ..SqlRule::default() }),
    }
}

/// The columns of an insert or update, where each can be written as a pattern; else any.
fn written_columns(action: Action, columns: &[String]) -> Option<Vec<String>> {
    let names_columns = matches!(action, Action::Insert | Action::Update) && !columns.is_empty();
    if names_columns { columns.iter().map(|column| exact(column)).collect() } else { None }
}

fn object_rule(action: Action, object: &Object, request: &AccessRequest<'_>) -> Option<SqlRule> {
    let schema = schema_of(object, request);
    let database = exact(object.database.as_deref().unwrap_or(request.database))?;
    let actions = Some(vec![ActionWord(action)]);
    let databases = Some(vec![database.clone()]);
    let rule = SqlRule { actions, ..SqlRule::default() };
    Some(match object.kind {
        ObjectKind::Relation => {
            let path = [Some(database), Some(schema.map_or_else(|| Some("*".to_owned()), exact)?), exact(&object.name)];
            SqlRule { tables: Some(vec![path.into_iter().collect::<Option<Vec<_>>>()?.join(".")]), ..rule }
        }
        ObjectKind::Schema | ObjectKind::Type => {
            let schema = schema.map_or_else(|| Some("*".to_owned()), exact)?;
            SqlRule { schemas: Some(vec![schema]), databases, ..rule }
        }
        ObjectKind::Database => SqlRule { databases: Some(vec![exact(&object.name)?]), ..rule },
        ObjectKind::Function => SqlRule { functions: Some(vec![dotted(schema, &object.name)?]), databases, ..rule },
        ObjectKind::Location => {
            let here = Some(vec![exact(request.database)?]);
            let location = Glob::location(&object.name).ok()?.exact()?.to_owned();
            SqlRule { locations: Some(vec![location]), databases: here, ..rule }
        }
    })
}

/// The name as a pattern that matches nothing else, if there is one.
fn exact(name: &str) -> Option<String> {
    naming(name).ok()
}

fn dotted(schema: Option<&str>, name: &str) -> Option<String> {
    match schema {
        Some(schema) => Some(format!("{}.{}", exact(schema)?, exact(name)?)),
        None => exact(name),
    }
}

/// What an entry for the effect allows besides it.
fn caveat(effect: &Effect) -> Option<String> {
    match effect {
        Effect::Access { action, object, columns } => match object.kind {
            ObjectKind::Relation if !columns.is_empty() && written_columns(*action, columns).is_none() => {
                Some("also allows the other columns, since patterns cannot hold the names of these".to_owned())
            }
            ObjectKind::Schema | ObjectKind::Type => Some(format!("also allows {} on whatever lies in that schema", action.as_str())),
            ObjectKind::Database => Some(format!("also allows {} on whatever lies in that database", action.as_str())),
            ObjectKind::Relation | ObjectKind::Function | ObjectKind::Location => None,
        },
        Effect::Opaque { class, detail: _ } => Some(format!("also allows every other statement of the class {}", class.as_str())),
        Effect::Call { .. } | Effect::Role { .. } | Effect::Set { .. } => None,
    }
}

/// Takes the names of `rule` into `entry`, if both say the same but for one list of names: functions that are called, roles,
/// parameters, or classes. Says whether it did.
fn absorb(entry: &mut SqlRule, rule: &SqlRule) -> bool {
    if entry.databases != rule.databases || entry.actions.is_some() || rule.actions.is_some() {
        return false;
    }
    take(&mut entry.functions, &rule.functions)
        || take(&mut entry.roles, &rule.roles)
        || take(&mut entry.parameters, &rule.parameters)
        || take(&mut entry.opaque, &rule.opaque)
}

fn take<T: Clone + PartialEq>(into: &mut Option<Vec<T>>, from: &Option<Vec<T>>) -> bool {
    let (Some(into), Some(from)) = (into, from) else { return false };
    for name in from {
        if !into.contains(name) {
            into.push(name.clone());
        }
    }
    true
}

/// Is the rule valid, and does it allow the effect?
fn allows(rule: &SqlRule, effect: &Effect, request: &AccessRequest<'_>) -> bool {
    compile_entry(rule).is_ok_and(|entry| entry.matches(effect, request, Reading::Certain).is_ok())
}

fn written(rule: &SqlRule) -> String {
    // A struct of words always serializes; nothing at all is the honest rest.
    Flow(&serde_json::to_value(rule).unwrap_or(Value::Null)).to_string()
}
