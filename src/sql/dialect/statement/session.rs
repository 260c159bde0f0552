//! Statements that change the session, or run a text.

use sqlparser::ast::{Expr, Set, Statement as Parsed, Use, Value};

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
        let Parsed::Execute { name: None, parameters, immediate: true, into, using, .. } = parsed else {
            // In a text within a text nobody would look behind the name.
            if let Parsed::Execute { name: Some(name), immediate: false, into, .. } = parsed
                && into.is_empty()
                && self.outer_texts == 0
                && let [part] = name.0.as_slice()
            {
                self.executes = part.as_ident().map(|name| name::folded(self.vendor, name));
            }
            if self.executes.is_none() {
                self.class("EXECUTE", OpaqueClass::Execute);
            }
            return self.reads("EXECUTE", parsed, &[]);
        };
        match (parameters.as_slice(), into.is_empty() && using.is_empty()) {
            ([Expr::Value(value)], true) if self.outer_texts == 0 => {
                if let Value::SingleQuotedString(text) = &value.value {
                    let analysis = self.vendor.judge_here(text, self.limits, 1);
                    analysis.statements.into_iter().flat_map(|statement| statement.effects).for_each(|effect| self.found.effect(effect));
                    self.found.names_change = true;
                    return "EXECUTE IMMEDIATE";
                }
            }
            _ => {}
        }
        self.class("EXECUTE IMMEDIATE", OpaqueClass::Script);
        self.reads("EXECUTE IMMEDIATE", parsed, &[])
    }
}
