//! What was asked for, as a phrase behind "allows" and "forbids".

use std::fmt;

use crate::dbt::Claim;
use crate::fault::Reason;
use crate::sql::{Action, Effect, Object, ObjectKind};
use crate::target::Target;

use super::AccessRequest;
use super::entry::schema_of;
use super::http::HttpRequest;

/// A connection or an effect, with every name as it was resolved.
#[derive(Debug, Clone, Copy)]
pub(super) enum Phrase<'a> {
    Connection(&'a Target),
    Effect(&'a Effect, &'a AccessRequest<'a>),
    Request(&'a HttpRequest<'a>, &'a Target),
}

impl Phrase<'_> {
    /// The reason to give when no rule allows it.
    pub(super) fn reason_without_rule(&self) -> Reason {
        match self {
            Self::Effect(Effect::Opaque { .. }, _) => Reason::StatementOpaque,
            Self::Connection(_)
            | Self::Request(..)
            | Self::Effect(Effect::Access { .. } | Effect::Call { .. } | Effect::Role { .. } | Effect::Set { .. }, _) => {
                Reason::PolicyDenied
            }
        }
    }
}

impl<'a> Phrase<'a> {
    /// That a node of dbt's project asks, and what its author can do about it.
    pub(super) fn for_node(&self) -> impl fmt::Display {
        let is_read = matches!(self, Self::Effect(Effect::Access { action: Action::Select, .. }, _));
        let remedy = if is_read { ", which declares no dependency on it: use ref() or source(), and derive the policy anew" } else { "" };
        let node = self.claim().and_then(|claim| claim.attribution.node.as_deref()).unwrap_or_default();
        fmt::from_fn(move |f| write!(f, "for dbt node {}{remedy}", Name(node)))
    }

    /// That the node would have to be verified, and why it is not.
    pub(super) fn if_verified(&self) -> impl fmt::Display {
        let claim = self.claim();
        let node = claim.and_then(|claim| claim.attribution.node.as_deref()).unwrap_or_default();
        fmt::from_fn(move |f| {
            write!(f, "where dbt node {} is verified: ", Name(node))?;
            match claim.and_then(|claim| claim.standing.mismatch()) {
                Some(mismatch) => write!(f, "{mismatch}"),
                None => f.write_str("no manifest is loaded"),
            }
        })
    }

    fn claim(&self) -> Option<Claim<'a>> {
        match self {
            Self::Connection(_) | Self::Request(..) => None,
            Self::Effect(_, request) => request.dbt,
        }
    }
}

impl fmt::Display for Phrase<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connection(target) => write!(f, "a connection to {}:{}", target.host, target.port),
            // A path can hold what nobody else should read.
            Self::Request(request, target) => write!(f, "a {} request to {}:{}", Name(request.method), target.host, target.port),
            Self::Effect(Effect::Access { action, object, columns }, request) => {
                write!(f, "{} on ", action.as_str())?;
                write_object(f, object, schema_of(object, request), request)?;
                write_columns(f, columns)
            }
            Self::Effect(Effect::Call { function, signals }, request) => {
                f.write_str("a call of ")?;
                write_object(f, function, function.schema.as_deref(), request)?;
                write!(f, "{signals}")
            }
            Self::Effect(Effect::Role { role: Some(role) }, _) => write!(f, "the role {}", Name(role)),
            Self::Effect(Effect::Role { role: None }, request) => write!(f, "a reset to the role {}", Name(request.role)),
            Self::Effect(Effect::Set { parameter }, _) => write!(f, "a change of the parameter {}", Name(parameter)),
            Self::Effect(Effect::Opaque { class, detail }, _) => {
                write!(f, "the opaque class {}", class.as_str())?;
                if detail.is_empty() { Ok(()) } else { write!(f, " ({detail})") }
            }
        }
    }
}

/// A name as the statement's author wrote it, made fit for a sentence: shortened, and without control characters.
pub(super) struct Name<'a>(pub(super) &'a str);

/// Longest name shown, in characters; PostgreSQL's own limit is 63 bytes (docs, section 4.1.1).
const NAME_CHARS_MAX: usize = 128;

impl fmt::Display for Name<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.0.chars().take(NAME_CHARS_MAX) {
            if c.is_control() { write!(f, "{}", c.escape_default())? } else { write!(f, "{c}")? }
        }
        if self.0.chars().nth(NAME_CHARS_MAX).is_some() { f.write_str("...") } else { Ok(()) }
    }
}

/// Most columns shown; an entry that asks for them is written by somebody who knows the table.
const COLUMNS_SHOWN_MAX: usize = 8;

/// The columns that the statement names, in its own order.
fn write_columns(f: &mut fmt::Formatter<'_>, columns: &[String]) -> fmt::Result {
    for (index, column) in columns.iter().take(COLUMNS_SHOWN_MAX).enumerate() {
        write!(f, "{}{}", if index == 0 { " (" } else { ", " }, Name(column))?;
    }
    match columns.len() {
        0 => Ok(()),
        1..=COLUMNS_SHOWN_MAX => f.write_str(")"),
        _ => f.write_str(", ...)"),
    }
}

/// A name with `?` where the schema is not certain.
fn write_object(f: &mut fmt::Formatter<'_>, object: &Object, schema: Option<&str>, request: &AccessRequest<'_>) -> fmt::Result {
    let database = Name(object.database.as_deref().unwrap_or(request.database));
    let name = &Name(&object.name);
    match object.kind {
        ObjectKind::Database => write!(f, "database {name}"),
        ObjectKind::Location => write!(f, "location {name}"),
        ObjectKind::Schema => write!(f, "schema {database}.{name}"),
        ObjectKind::Relation => write_in_schema(f, &format_args!("{database}."), schema, name),
        ObjectKind::Function => write_in_schema(f, &"function ", schema, name),
        ObjectKind::Type => write_in_schema(f, &"type ", schema, name),
    }
}

fn write_in_schema(f: &mut fmt::Formatter<'_>, before: &dyn fmt::Display, schema: Option<&str>, name: &Name<'_>) -> fmt::Result {
    match schema {
        Some(schema) => write!(f, "{before}{}.{name}", Name(schema)),
        None => write!(f, "{before}?.{name}, whose schema is not certain"),
    }
}

#[cfg(test)]
mod tests {
    use super::Name;

    #[test]
    fn a_name_cannot_break_or_flood_a_sentence() {
        assert_eq!(Name("a\nb\u{1b}[31m").to_string(), "a\\nb\\u{1b}[31m");
        assert_eq!(Name(&"x".repeat(1000)).to_string(), "x".repeat(128) + "...");
        assert_eq!(Name(&"x".repeat(128)).to_string(), "x".repeat(128));
    }
}
