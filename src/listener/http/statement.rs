//! What the statement of a request means, with the texts that the request carries under names.

use std::sync::Arc;

use super::moves::Moves;
use crate::sql::cache::Cache;
use crate::sql::{self, Analysis, Dialect, Effect, OpaqueClass, Session};
use crate::warehouse::http::{Statement, Text};

/// An analyzed statement.
pub(super) struct Read {
    /// What the text would do.
    pub(super) analysis: Arc<Analysis>,
    /// Every effect: of the text, of the names that it executes, and of the request's head.
    pub(super) effects: Vec<Effect>,
}

/// Analyzes a statement.
pub(super) fn read(statement: &Statement<'_>, cache: &Cache, dialect: Dialect, limits: sql::Limits) -> Read {
    let sql = match &statement.text {
        Text::Sql(sql) => sql,
        Text::Call(_) => return Read { analysis: Arc::default(), effects: statement.effects.clone() },
    };
    let Ok(text) = std::str::from_utf8(sql) else {
        let effect = Effect::Opaque { class: OpaqueClass::Unparseable, detail: "the text is not UTF-8".to_owned() };
        let unknown = sql::Statement { verb: "UNKNOWN", effects: vec![effect.clone()], session: Session::SearchPathUnknown };
        return Read { analysis: Arc::new(Analysis { statements: vec![unknown] }), effects: vec![effect] };
    };
    let analysis = cache.analyze(dialect, text, &limits);
    let mut effects = statement.effects.clone();
    for parsed in &analysis.statements {
        effects.extend_from_slice(&parsed.effects);
        let Session::Executes { name } = &parsed.session else { continue };
        // Names are folded as the vendor folds identifiers; the text says the folded one.
        let behind: Vec<&str> =
            statement.prepared.iter().filter(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, text)| text.as_str()).collect();
        if behind.is_empty() {
            let detail = "a name that the request does not define".to_owned();
            effects.push(Effect::Opaque { class: OpaqueClass::Execute, detail });
        }
        for text in behind {
            let analysis = cache.analyze(dialect, text, &limits);
            effects.extend(analysis.statements.iter().flat_map(|statement| statement.effects.iter().cloned()));
        }
    }
    // Names behind it would be looked for elsewhere than they are judged.
    if analysis.statements.len() > 1 && Moves::of(&effects, 1) != Moves::Never {
        let detail = "several statements of which one may move the session".to_owned();
        effects.push(Effect::Opaque { class: OpaqueClass::Script, detail });
    }
    Read { analysis, effects }
}
