//! What was done, read back from records: the effects of each execution that was not denied.

use std::collections::HashMap;

use serde_json::{Map, Value};

use super::Line;
use crate::policy::derive::observed::Observed;
use crate::sql::{Action, Effect, Object, ObjectKind, OpaqueClass, Signals};

/// Joins executions with their sessions. Holds the database of each session of the log.
#[derive(Default)]
pub struct Observations {
    databases: HashMap<String, String>,
}

impl Observations {
    /// Takes one more record and gives the execution that it is, where it is one that was not denied.
    pub fn take(&mut self, line: &Line) -> Option<Observed> {
        match line.kind.as_str() {
            "session" => {
                self.databases.insert(line.text("session")?.to_owned(), line.text("database")?.to_owned());
                None
            }
            "attempt" => {
                let database = self.databases.get(line.text("session")?)?.clone();
                let effects = line.fields.get("effects").and_then(Value::as_array).into_iter().flatten();
                Some(Observed {
                    node: line.at(["dbt", "node"]).map(str::to_owned),
                    database,
                    unqualified_schema: line.text("unqualified_schema").map(str::to_owned),
                    effects: effects.map(|effect| read(effect).unwrap_or_else(unreadable)).collect(),
                })
            }
            _ => None,
        }
    }
}

/// An effect of a record that this version does not know is nothing that a rule could be made of.
fn unreadable() -> Effect {
    Effect::Opaque { class: OpaqueClass::Unsupported, detail: "an effect of a record that cannot be read".to_owned() }
}

fn read(effect: &Value) -> Option<Effect> {
    let fields = effect.as_object()?;
    let text = |key: &str| fields.get(key).and_then(Value::as_str);
    if let Some(word) = text("action") {
        let action = Action::ALL.iter().copied().find(|action| action.as_str() == word)?;
        return Some(Effect::Access { action, object: object(fields.get("object")?)?, columns: Vec::new() });
    }
    if let Some(function) = fields.get("call") {
        let process = fields.get("process_id").and_then(Value::as_i64).and_then(|id| i32::try_from(id).ok());
        let own = fields.get("own_session").and_then(Value::as_bool).unwrap_or_default();
        let signals = match process {
            Some(id) if own => Signals::OwnSession(id),
            Some(id) => Signals::Process(id),
            None => Signals::Unsaid,
        };
        return Some(Effect::Call { function: object(function)?, signals });
    }
    if let Some(parameter) = text("set") {
        return Some(Effect::Set { parameter: parameter.to_owned() });
    }
    if let Some(word) = text("opaque") {
        let class = OpaqueClass::ALL.iter().copied().find(|class| class.as_str() == word)?;
        return Some(Effect::Opaque { class, detail: text("detail").unwrap_or_default().to_owned() });
    }
    fields.get("role").map(|role| Effect::Role { role: role.as_str().map(str::to_owned) })
}

fn object(value: &Value) -> Option<Object> {
    let fields: &Map<String, Value> = value.as_object()?;
    let text = |key: &str| fields.get(key).and_then(Value::as_str).map(str::to_owned);
    let kind = match text("kind")?.as_str() {
        "relation" => ObjectKind::Relation,
        "schema" => ObjectKind::Schema,
        "database" => ObjectKind::Database,
        "function" => ObjectKind::Function,
        "type" => ObjectKind::Type,
        _ => return None,
    };
    Some(Object { kind, database: text("database"), schema: text("schema"), name: text("name")? })
}

#[cfg(test)]
mod tests {
    use super::Observations;
    use crate::audit::read::Lines;
    use crate::audit::tests::{Fixture, completed};

    #[tokio::test]
    async fn what_was_not_denied_is_read_back_with_its_node_and_effects() {
        let fixture = Fixture::new();
        let log = fixture.open();
        let attempt = fixture.attempt("select 1");
        log.attempt(&attempt).await.unwrap().finish(&completed(1));
        log.refuse(&fixture.attempt("select 2")).await.unwrap();
        log.close().await.unwrap();

        let (mut lines, mut observations, mut found) = (Lines::open(fixture.path()).unwrap(), Observations::default(), Vec::new());
        while let Some(line) = lines.next_line().unwrap() {
            found.extend(observations.take(&line));
        }
        let [observed] = found.as_slice() else { panic!("{found:?}") };
        assert_eq!(observed.node.as_deref(), Some("model.shop.orders"));
        assert_eq!(
            (observed.database.as_str(), observed.unqualified_schema.as_deref()),
            (attempt.execution.session.database.as_str(), Some("public"))
        );
        let said = |effects: &[crate::sql::Effect]| effects.iter().map(ToString::to_string).collect::<Vec<_>>();
        assert!(!observed.effects.is_empty());
        // Columns are left out: no rule speaks about them.
        let columns = |effect: &String| effect.split(" (").next().unwrap().to_owned();
        assert_eq!(said(&observed.effects), said(attempt.execution.effects).iter().map(columns).collect::<Vec<_>>());
    }
}
