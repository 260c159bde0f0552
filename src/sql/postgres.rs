//! PostgreSQL's own grammar: from a text to the effects of its statements.
//!
//! Assumed of the session, and checked by whoever tracks it: UTF-8, `standard_conforming_strings` on, and `pg_catalog`
//! searched first. A statement that would change one of these has an [`Effect::Set`].
//!
//! What a text cannot show, and is therefore not in its effects: what the objects that it names carry inside (bodies of
//! views, triggers, rules, defaults, domain checks, foreign keys that cascade), what falls with an object that is dropped
//! with `CASCADE`, and code behind an operator, a cast, a field (`row.function`) or an overload of a built-in function's
//! name. All of these have to be defined first, and every definition of code is [`OpaqueClass::RoutineDefinition`].
//!
//! The grammar is PostgreSQL 18's. An older server refuses what is new in it, or calls a function of the same name, where
//! somebody has defined one (`json_value` before 17, `any_value` before 16).

mod catalog;
mod definition;
mod expression;
mod json;
pub(super) mod kin;
mod modify;
mod name;
mod opaque;
mod privilege;
mod query;
mod session;
pub(super) mod stack;
mod statement;
mod table;
mod verb;
mod walk;

use kin::Kin;

use super::{Analysis, Effect, Limits, Object, OpaqueClass, Session, Statement};

/// What [`super::analyze`] promises, for PostgreSQL or a relative that reads `text` alike.
pub(super) fn analyze(text: &str, limits: &Limits, kin: &'static Kin) -> Analysis {
    if text.len() > limits.statement_bytes_max {
        return opaque(OpaqueClass::TooLong, "the text is longer than limits.statement_bytes_max");
    }
    if text.contains('\0') {
        return opaque(OpaqueClass::Unparseable, "the text contains a NUL byte");
    }
    stack::with_room_for(text, || judge(text, limits, kin))
        .unwrap_or_else(|| opaque(OpaqueClass::Unparseable, "the parser broke down on the text"))
}

/// What [`super::set_parameter`] promises, for PostgreSQL and its kin.
pub(super) fn set_parameter(name: &str, value: &str, kin: &'static Kin) -> Vec<Effect> {
    let mut walk = walk::Walk::new(&Limits::default(), kin);
    walk.set_one(name.to_ascii_lowercase(), &[value]);
    walk.effects
}

/// May a call of `function` change the search path of the session?
pub(super) fn may_change_search_path(function: &Object) -> bool {
    expression::may_change_search_path(function)
}

fn judge(text: &str, limits: &Limits, kin: &'static Kin) -> Analysis {
    match pg_query::parse(text, 0) {
        Ok(parsed) => {
            let nodes = parsed.protobuf.stmts.iter().map(|raw| raw.stmt.as_deref().and_then(|stmt| stmt.node.as_ref()));
            match nodes.collect::<Option<Vec<_>>>() {
                Some(nodes) => Analysis { statements: nodes.into_iter().map(|node| statement::judge(node, limits, kin)).collect() },
                None => opaque(OpaqueClass::Unsupported, "a statement of an unknown kind"),
            }
        }
        Err(pg_query::Error::Parse(message)) if is_about_depth(&message) => {
            opaque(OpaqueClass::TooDeep, "the text is nested deeper than the parser allows")
        }
        Err(_) => opaque(OpaqueClass::Unparseable, "the parser does not accept the text"),
    }
}

/// The library's words for its three limits: its C stack, the depth of its encoder, and the stack of the grammar.
fn is_about_depth(message: &str) -> bool {
    ["stack depth limit exceeded", "nested too deeply", "memory exhausted"].iter().any(|words| message.contains(words))
}

/// The analysis of a text that is judged as a whole.
pub(super) fn opaque(class: OpaqueClass, detail: &str) -> Analysis {
    let effects = vec![Effect::Opaque { class, detail: detail.to_owned() }];
    Analysis { statements: vec![Statement { verb: "UNKNOWN", effects, session: Session::SearchPathUnknown }] }
}
