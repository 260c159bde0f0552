//! Do effects cover what really happened?

use std::fmt::Write;

use tollhouse::sql::{Action, Effect, ObjectKind, Statement};

use super::server::{Deed, Relation, Truth};

impl Truth {
    /// What the effects do not cover; empty if they cover everything.
    pub(super) fn missing_in(&self, statements: &[Statement], effects: &[Effect]) -> String {
        let mut missing = String::new();
        for (relation, deed) in &self.touched {
            if !is_covered(statements, effects, relation, *deed) {
                write!(missing, " {deed:?} of {}.{}", relation.0, relation.1).unwrap();
            }
        }
        for (kind, identity) in &self.definitions {
            if !is_defined(effects, kind, identity) {
                write!(missing, " definition of {kind} {identity}").unwrap();
            }
        }
        for setting in &self.changed {
            if !is_announced(statements, effects, setting) {
                write!(missing, " change of {setting}").unwrap();
            }
        }
        missing
    }
}

/// Relations that are touched because another one is: what the analysis does not see, and says so.
fn beneath(schema: &str, name: &str) -> &'static [(&'static str, &'static str)] {
    match (schema, name) {
        ("app", "secret_view" | "mv") => &[("fin", "secret")],
        ("app", "part") => &[("app", "part_1"), ("app", "part_2"), ("app", "part_3")],
        ("app", "part_1" | "part_2") => &[("app", "part")],
        ("app", "t1") => &[("app", "t2")],
        ("app", "t2") => &[("app", "t1")],
        // The sequence goes where its table goes.
        ("app" | "public", "u") => &[("app", "u_id_seq"), ("public", "u_id_seq")],
        ("app" | "public", "only_public") => &[("app", "heir")],
        ("app", "parent") => &[("app", "child")],
        ("app", "plain_view") => &[("app", "u"), ("app", "u_id_seq")],
        ("app", "ruled" | "triggered") => &[("fin", "log")],
        _ => &[],
    }
}

/// Does an action on a relation cover what was done to it?
fn covers(action: Action, deed: Deed) -> bool {
    use Action as A;
    match deed {
        // Whoever may do anything to a relation has its definition read.
        Deed::Read => true,
        Deed::Lock => !matches!(action, A::Select | A::Grant | A::Revoke),
        Deed::Write => matches!(action, A::Insert | A::Update | A::Delete | A::Create | A::Alter | A::Lock | A::Truncate | A::Drop),
        Deed::Insert => matches!(action, A::Insert | A::Create | A::Alter | A::Maintain),
        Deed::Update => matches!(action, A::Update | A::Alter),
        Deed::Delete => matches!(action, A::Delete | A::Truncate | A::Alter),
        Deed::Define => !matches!(action, A::Select | A::Insert | A::Update | A::Delete),
    }
}

/// Could the effect's object be this relation, whatever the search path finds first?
fn names(effect: &Effect, (schema, name): &Relation) -> Option<Action> {
    let Effect::Access { action, object, columns: _ } = effect else { return None };
    let fits = object.database.as_ref().is_none_or(|database| database == "oracle")
        && object.schema.as_ref().is_none_or(|named| named == schema)
        && object.name == *name;
    fits.then_some(*action)
}

fn is_covered(statements: &[Statement], effects: &[Effect], relation: &Relation, deed: Deed) -> bool {
    // What a view reads that the text itself makes, it locks and changes as well when somebody does that to the view.
    let through_a_view = deed != Deed::Define && statements.iter().any(|statement| statement.verb == "CREATE VIEW");
    let directly = effects.iter().filter_map(|effect| names(effect, relation)).any(|action| through_a_view || covers(action, deed));
    let below = || {
        effects.iter().any(|effect| match effect {
            Effect::Access { object, .. } => {
                let schemas = object.schema.as_deref().map_or(vec!["app", "public"], |schema| vec![schema]);
                schemas.iter().flat_map(|schema| beneath(schema, &object.name)).any(|(s, n)| (*s, *n) == (&*relation.0, &*relation.1))
            }
            // What a function does is its own affair; that it is called is said.
            Effect::Call { function, signals: _ } => {
                !matches!(function.schema.as_deref(), Some("pg_catalog")) || function.name.contains("val")
            }
            Effect::Role { .. } | Effect::Set { .. } | Effect::Opaque { .. } => false,
        })
    };
    directly || below()
}

fn is_defined(effects: &[Effect], kind: &str, identity: &str) -> bool {
    let last = identity.split('(').next().unwrap_or_default().rsplit('.').next().unwrap_or_default().trim_matches('"');
    let wanted = match kind {
        "schema" => ObjectKind::Schema,
        "type" | "domain constraint" => ObjectKind::Type,
        // Locks tell about all that are or belong to relations.
        _ => return true,
    };
    effects.iter().any(|effect| match effect {
        Effect::Access { object, .. } => object.name == last && (object.kind == wanted || object.kind == ObjectKind::Relation),
        Effect::Call { .. } | Effect::Role { .. } | Effect::Set { .. } | Effect::Opaque { .. } => false,
    })
}

fn is_announced(statements: &[Statement], effects: &[Effect], setting: &str) -> bool {
    match setting {
        "search_path" => statements.iter().any(Statement::may_change_search_path),
        "role" => effects.iter().any(|effect| matches!(effect, Effect::Role { .. })),
        other => effects.iter().any(|effect| match effect {
            Effect::Set { parameter } => parameter == other,
            Effect::Call { .. } => true,
            Effect::Access { .. } | Effect::Role { .. } | Effect::Opaque { .. } => false,
        }),
    }
}
