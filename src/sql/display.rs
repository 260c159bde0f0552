//! Effects in the words of policies, for explanations, refusals and records.

use std::fmt::{self, Display, Formatter, Write};

use super::{Effect, Object, ObjectKind, Signals};

impl Display for Effect {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Access { action, object, columns } => {
                write!(f, "{} {object}", action.as_str())?;
                write_columns(f, columns)
            }
            Self::Call { function, signals } => {
                f.write_str("call ")?;
                write_path(f, function)?;
                write!(f, "{signals}")
            }
            Self::Role { role: Some(role) } => {
                f.write_str("role ")?;
                write_identifier(f, role)
            }
            Self::Role { role: None } => f.write_str("role none"),
            Self::Set { parameter } => {
                f.write_str("set ")?;
                write_identifier(f, parameter)
            }
            Self::Opaque { class, detail } if detail.is_empty() => write!(f, "opaque {}", class.as_str()),
            Self::Opaque { class, detail } => write!(f, "opaque {} ({detail})", class.as_str()),
        }
    }
}

/// What follows the name of a function; nothing where it is not said whom it signals.
impl Display for Signals {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unsaid => Ok(()),
            Self::Process(id) => write!(f, " for process {id}"),
            Self::OwnSession(id) => write!(f, " for process {id} of an own session"),
        }
    }
}

/// A relation stands alone (`demo.analytics.orders`); every other kind says its name first (`schema analytics`).
impl Display for Object {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.kind {
            ObjectKind::Relation => {}
            ObjectKind::Schema => f.write_str("schema ")?,
            ObjectKind::Database => f.write_str("database ")?,
            ObjectKind::Function => f.write_str("function ")?,
            ObjectKind::Type => f.write_str("type ")?,
            ObjectKind::Location => f.write_str("location ")?,
        }
        write_path(f, self)
    }
}

fn write_path(f: &mut Formatter<'_>, object: &Object) -> fmt::Result {
    let (database, schema) = match object.kind {
        ObjectKind::Relation | ObjectKind::Function | ObjectKind::Type => (&object.database, &object.schema),
        ObjectKind::Schema => (&object.database, &None),
        ObjectKind::Database | ObjectKind::Location => (&None, &None),
    };
    for part in [database, schema].into_iter().flatten() {
        write_identifier(f, part)?;
        f.write_char('.')?;
    }
    write_identifier(f, &object.name)
}

fn write_columns(f: &mut Formatter<'_>, columns: &[String]) -> fmt::Result {
    let Some((first, rest)) = columns.split_first() else { return Ok(()) };
    f.write_str(" (")?;
    write_identifier(f, first)?;
    for column in rest {
        f.write_str(", ")?;
        write_identifier(f, column)?;
    }
    f.write_char(')')
}

/// Writes a name so that it cannot be mistaken for another one, nor break a line: quoted unless it is plain.
fn write_identifier(f: &mut Formatter<'_>, name: &str) -> fmt::Result {
    let plain = !name.is_empty() && name.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '$'));
    if plain {
        return f.write_str(name);
    }
    f.write_char('"')?;
    for c in name.chars() {
        match c {
            '"' => f.write_str("\"\"")?,
            c if c.is_control() => write!(f, "{}", c.escape_default())?,
            c => f.write_char(c)?,
        }
    }
    f.write_char('"')
}

#[cfg(test)]
mod tests {
    use crate::sql::{Action, Effect, Object, ObjectKind, OpaqueClass, Signals};

    fn object(kind: ObjectKind, path: &[&str]) -> Object {
        let mut parts = path.iter().rev().map(|part| (*part).to_owned());
        let name = parts.next().unwrap();
        Object { kind, name, schema: parts.next(), database: parts.next() }
    }

    #[test]
    fn effects_read_like_policies() {
        let orders = object(ObjectKind::Relation, &["demo", "analytics", "orders"]);
        let access = |action, object, columns: &[&str]| Effect::Access {
            action,
            object,
            columns: columns.iter().map(|c| (*c).to_owned()).collect(),
        };
        let call = |name, signals| Effect::Call { function: object(ObjectKind::Function, &[name]), signals };
        let cases = [
            (access(Action::Select, orders.clone(), &[]), "select demo.analytics.orders"),
            (access(Action::Update, orders, &["a", "B c"]), "update demo.analytics.orders (a, \"B c\")"),
            (access(Action::Create, object(ObjectKind::Schema, &["s", "s"]), &[]), "create schema s"),
            (access(Action::Drop, object(ObjectKind::Database, &["d"]), &[]), "drop database d"),
            (access(Action::Export, object(ObjectKind::Location, &["s3://b/a"]), &[]), "export location \"s3://b/a\""),
            (access(Action::Grant, object(ObjectKind::Function, &["s", "f"]), &[]), "grant function s.f"),
            (call("dblink", Signals::Unsaid), "call dblink"),
            (call("pg_cancel_backend", Signals::Process(7)), "call pg_cancel_backend for process 7"),
            (call("pg_cancel_backend", Signals::OwnSession(7)), "call pg_cancel_backend for process 7 of an own session"),
            (Effect::Role { role: Some("loader".into()) }, "role loader"),
            (Effect::Role { role: None }, "role none"),
            (Effect::Set { parameter: "session_replication_role".into() }, "set session_replication_role"),
            (Effect::Opaque { class: OpaqueClass::Do, detail: String::new() }, "opaque do"),
            (Effect::Opaque { class: OpaqueClass::Unsupported, detail: "ListenStmt".into() }, "opaque unsupported (ListenStmt)"),
        ];
        for (effect, shown) in cases {
            assert_eq!(effect.to_string(), shown);
        }
    }

    #[test]
    fn a_name_can_neither_break_a_line_nor_pass_for_another() {
        let odd = object(ObjectKind::Relation, &["a.b", "c\"d\ne"]);
        assert_eq!(odd.to_string(), "\"a.b\".\"c\"\"d\\ne\"");
    }
}
