//! What a statement may do to the session that it runs in, in the words of its effects.
//!
//! A statement is judged by where its session is. If another one could move it meanwhile, the warehouse might find other tables than
//! those that policy was asked about.

use crate::sql::{Action, Effect, ObjectKind};

/// Where names may lead in the session after a statement, as far as its text tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Moves {
    /// Where they led before.
    Never,
    /// Elsewhere, if it succeeds.
    Succeeding,
    /// Elsewhere, whatever becomes of it.
    Anyhow,
}

impl Moves {
    /// What so many statements with these effects may do.
    pub(super) fn of(effects: &[Effect], statements: usize) -> Self {
        let moves = |effect: &Effect| match effect {
            Effect::Opaque { .. } | Effect::Role { .. } => true,
            Effect::Set { parameter } => ["catalog", "database", "namespace", "schema"].contains(&parameter.as_str()),
            // To make a schema or a database is to go there (Snowflake, `CREATE SCHEMA`), and none can stay where there is none.
            Effect::Access { action, object, .. } => {
                matches!(object.kind, ObjectKind::Schema | ObjectKind::Database)
                    && matches!(action, Action::Create | Action::Alter | Action::Drop)
            }
            Effect::Call { .. } => false,
        };
        let is_opaque = effects.iter().any(|effect| matches!(effect, Effect::Opaque { .. }));
        match effects.iter().any(moves) {
            false => Self::Never,
            true if is_opaque || statements > 1 => Self::Anyhow,
            true => Self::Succeeding,
        }
    }
}

/// Whether an effect is on something that is looked for where the session is.
pub(super) fn follows_session(effect: &Effect) -> bool {
    match effect {
        Effect::Access { object, .. } => object.database.is_none() && object.kind != ObjectKind::Location,
        Effect::Call { function, .. } => function.database.is_none(),
        Effect::Role { .. } | Effect::Set { .. } | Effect::Opaque { .. } => false,
    }
}

#[cfg(test)]
mod tests {
    use super::{Moves, follows_session};
    use crate::sql::dialect::SNOWFLAKE;
    use crate::sql::{Dialect, Effect, Limits, analyze};

    fn effects(text: &str) -> (Vec<Effect>, usize) {
        let analysis = analyze(Dialect::Other(&SNOWFLAKE), text, &Limits::default());
        let effects = analysis.statements.iter().flat_map(|statement| statement.effects.clone()).collect();
        (effects, analysis.statements.len())
    }

    #[test]
    fn what_a_text_may_do_to_its_session_is_seen_from_its_effects() {
        for (text, expected) in [
            ("select f(a) from t", Moves::Never),
            ("insert into t values (1)", Moves::Never),
            ("alter session set query_tag = 'x'", Moves::Never),
            ("use warehouse w", Moves::Never),
            ("use schema s", Moves::Succeeding),
            ("use database d", Moves::Succeeding),
            ("use role r", Moves::Succeeding),
            ("create schema if not exists d.s", Moves::Succeeding),
            ("drop database d", Moves::Succeeding),
            ("use schema s; select 1", Moves::Anyhow),
            ("call p()", Moves::Anyhow),
            ("execute immediate $x", Moves::Anyhow),
            ("not sql", Moves::Anyhow),
        ] {
            let (effects, statements) = effects(text);
            assert_eq!(Moves::of(&effects, statements), expected, "{text}");
        }
    }

    #[test]
    fn names_without_a_database_are_looked_for_where_the_session_is() {
        for (text, expected) in [
            ("select * from t", true),
            ("select * from s.t", true),
            ("select * from d.s.t", false),
            ("select f(1)", true),
            ("use schema s", false),
        ] {
            assert_eq!(effects(text).0.iter().any(follows_session), expected, "{text}");
        }
    }
}
