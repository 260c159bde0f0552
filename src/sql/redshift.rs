//! Amazon Redshift's SQL, judged by PostgreSQL's grammar where both read a text alike.
//!
//! A text is cut into statements. One that only Redshift has (`UNLOAD`, `COPY` from a location, external schemas, ...) is read
//! in [`vendor`]; of any other, PostgreSQL's grammar judges what is left without the [`clause`]s that only Redshift has. Text
//! that Redshift may cut into other words than PostgreSQL is opaque as a whole: see [`token`].
//!
//! Locations and cloud roles stand in the effects as written. What is left out: data that a statement reaches because an
//! external schema, an external table or a datashare was defined before; that definition has effects of its own.

mod clause;
mod reader;
mod token;
mod vendor;

use std::collections::HashSet;
use std::sync::LazyLock;

use super::postgres::kin::Kin;
use super::postgres::{self, opaque};
use super::{Analysis, Effect, Limits, OpaqueClass, Statement};
use token::Token;

/// What Redshift has besides what PostgreSQL has.
pub(super) const KIN: Kin = Kin {
    has_relation: |name| RELATIONS.contains(name),
    is_pure: |name| PURE.contains(name),
    is_harmless: |name| HARMLESS.contains(&name),
};

/// System tables and views (Database Developer Guide, "System tables and views reference").
static RELATIONS: LazyLock<HashSet<&str>> = LazyLock::new(|| include_str!("redshift/catalog_relations.txt").lines().collect());

/// Built-in functions that only compute, or tell about the session and the catalog (Database Developer Guide, "SQL functions
/// reference"); those that call a model, another account or a user's code are not here.
static PURE: LazyLock<HashSet<&str>> = LazyLock::new(|| include_str!("redshift/functions_pure.txt").lines().collect());

/// Session parameters that change how fast or in which form results come (Database Developer Guide, "Configuration reference").
const HARMLESS: &[&str] = &[
    "analyze_threshold_percent",
    "describe_field_name_in_uppercase",
    "json_serialization_enable",
    "json_serialization_parse_nested_strings",
    "max_concurrency_scaling_clusters",
    "max_cursor_result_set_size",
    "mv_enable_aqmv_for_session",
    "navigate_super_null_on_error",
    "parse_super_null_on_error",
    "query_group",
    "spectrum_enable_pseudo_columns",
    "stored_proc_log_min_messages",
    "wlm_query_slot_count",
];

/// What [`super::analyze`] promises, for Redshift.
pub(super) fn analyze(text: &str, limits: &Limits) -> Analysis {
    if text.len() > limits.statement_bytes_max {
        return opaque(OpaqueClass::TooLong, "the text is longer than limits.statement_bytes_max");
    }
    let Some(tokens) = token::tokens(text) else {
        return opaque(OpaqueClass::Unparseable, "words that Redshift and PostgreSQL read differently");
    };
    let pieces = token::statements(&tokens).into_iter().filter(|piece| !piece.is_empty());
    Analysis { statements: pieces.flat_map(|piece| judge(text, piece, limits)).collect() }
}

/// What one statement does. PostgreSQL's grammar goes first, but for what it would read as something else.
fn judge(text: &str, piece: &[Token<'_>], limits: &Limits) -> Vec<Statement> {
    if let Some(statement) = vendor::of_other_meaning(piece, limits) {
        return vec![statement];
    }
    let read = postgres::analyze(token::source(text, piece), limits, &KIN).statements;
    if !is_unparseable(&read) {
        return read;
    }
    if let Some(statement) = vendor::of_its_own(piece) {
        return vec![statement];
    }
    rewritten(piece, limits).unwrap_or(read)
}

/// The effects of a text that is to be one query. Statements that only Redshift has are none, so this never calls itself.
fn query(text: &str, limits: &Limits) -> Option<Vec<Effect>> {
    let tokens = token::tokens(text)?;
    let read = postgres::analyze(text, limits, &KIN).statements;
    let read = if is_unparseable(&read) { rewritten(&tokens, limits)? } else { read };
    match <[Statement; 1]>::try_from(read) {
        Ok([Statement { verb: "SELECT", effects, session: _ }]) => Some(effects),
        Ok([_]) | Err(_) => None,
    }
}

/// What PostgreSQL's grammar says without the clauses that only Redshift has.
fn rewritten(piece: &[Token<'_>], limits: &Limits) -> Option<Vec<Statement>> {
    let rest = clause::without(piece)?;
    Some(postgres::analyze(&rest, limits, &KIN).statements)
}

fn is_unparseable(statements: &[Statement]) -> bool {
    let unparseable = |effect: &Effect| matches!(effect, Effect::Opaque { class: OpaqueClass::Unparseable, .. });
    statements.iter().flat_map(|statement| &statement.effects).any(unparseable)
}

#[cfg(test)]
mod tests {
    use super::{HARMLESS, PURE, RELATIONS};
    use crate::sql::{Dialect, Limits, analyze};

    fn is_judged_alike(text: &str) -> bool {
        analyze(Dialect::Redshift, text, &Limits::default()) == analyze(Dialect::Postgres, text, &Limits::default())
    }

    #[test]
    fn names_that_both_read_alike_are_judged_as_postgresql_does() {
        for text in [
            r#"create table "dev"."public"."orders" as (SELECT 'A "Quoted" String' as Note from Sales)"#,
            "select 1 /* a \"Comment\" */; select 2",
            "select $$ \"Dollar\" $$ from pg_class",
            &format!("select {}", "a".repeat(63)),
            &format!("select '{}'", "a".repeat(200)),
            "",
        ] {
            assert!(is_judged_alike(text), "{text}");
        }
    }

    #[test]
    fn the_lists_are_sorted_and_hold_no_code_that_a_user_defines() {
        assert!(HARMLESS.is_sorted());
        assert!(PURE.contains("getdate") && !PURE.contains("explain_model") && !PURE.contains("pg_terminate_backend"));
        assert!(RELATIONS.contains("svv_table_info") && !RELATIONS.contains("sales"));
    }
}
