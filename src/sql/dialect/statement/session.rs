//! Statements that change the session, or run a text.

use sqlparser::ast::{Expr, Set, Statement as Parsed, Use, Value, ValueWithSpan};

use super::Reader;
use crate::sql::dialect::name;
use crate::sql::{Action, Effect, OpaqueClass};

impl Reader<'_> {
    #[expect(clippy::wildcard_enum_match_arm, reason = "whatever is not listed is opaque")]
    pub(super) fn set(&mut self, parsed: &Parsed, set: &Set) -> &'static str {
        match set {
            Set::SetRole { role_name, .. } => {
                let role = role_name.as_ref().map(|role| name::folded(self.vendor, role));
                self.found.effect(Effect::Role { role });
            }
            Set::SingleAssignment { variable, .. } => self.found.set(&variable.to_string()),
            Set::ParenthesizedAssignments { variables, .. } => variables.iter().for_each(|variable| self.found.set(&variable.to_string())),
            _ => self.opaque("a form of SET that is not known"),
        }
        self.reads("SET", parsed, &[])
    }

    /// Unqualified names mean other objects from now on: the parameter stands for what is set.
    pub(super) fn use_(&mut self, target: &Use) -> &'static str {
        match target {
            Use::Role(role) => match role.0.as_slice() {
                [part] => {
                    let role = part.as_ident().map(|role| name::folded(self.vendor, role));
                    self.found.effect(Effect::Role { role });
                }
                _ => self.found.access(Action::Select, None),
            },
            Use::Warehouse(_) => self.found.set("warehouse"),
            Use::Schema(_) => self.found.set("schema"),
            Use::Database(_) | Use::Catalog(_) | Use::Object(_) | Use::Default => self.found.set("database"),
            Use::SecondaryRoles(_) => {
                self.class("USE", OpaqueClass::Authorization);
            }
        }
        self.found.names_change = true;
        "USE"
    }

    /// A text that stands in the statement is judged like the statement itself, once. What stands behind a name is for whoever
    /// tracks the session.
    pub(super) fn execute(&mut self, parsed: &Parsed) -> &'static str {
        let Parsed::Execute { name, parameters, immediate, into, .. } = parsed else {
            return self.class("EXECUTE", OpaqueClass::Execute);
        };
        let part = match name.as_ref().map(|name| name.0.as_slice()) {
            Some([part]) => part.as_ident(),
            Some(_) | None => None,
        };
        // Where the parser does not know the word, it takes it for the name.
        let is_immediate =
            *immediate || part.is_some_and(|name| name.quote_style.is_none() && name.value.eq_ignore_ascii_case("immediate"));
        let is_looked_at = into.is_empty() && self.outer_texts == 0;
        match (is_immediate, part, parameters.as_slice()) {
            (true, _, [Expr::Value(ValueWithSpan { value: Value::SingleQuotedString(text), .. })]) if is_looked_at => {
                let analysis = self.vendor.judge_here(text, self.limits, 1);
                analysis.statements.into_iter().flat_map(|statement| statement.effects).for_each(|effect| self.found.effect(effect));
                self.found.names_change = true;
                self.reads("EXECUTE IMMEDIATE", parsed, &[])
            }
            (true, _, _) => {
                self.class("EXECUTE IMMEDIATE", OpaqueClass::Script);
                self.reads("EXECUTE IMMEDIATE", parsed, &[])
            }
            // In a text within a text nobody would look behind the name.
            (false, Some(name), _) if is_looked_at => {
                self.executes = Some(name::folded(self.vendor, name));
                self.reads("EXECUTE", parsed, &[])
            }
            (false, _, _) => {
                self.class("EXECUTE", OpaqueClass::Execute);
                self.reads("EXECUTE", parsed, &[])
            }
        }
    }
}
