//! What every PostgreSQL server has in `pg_catalog`, as far as judging a text needs it.
//!
//! The lists were read from a PostgreSQL 15 server and completed with the names that 16 to 18 added.

use std::collections::HashSet;
use std::sync::LazyLock;

/// Tables and views of `pg_catalog`, which the server searches before the schemas of the search path.
static RELATIONS: LazyLock<HashSet<&str>> = LazyLock::new(|| include_str!("catalog_relations.txt").lines().collect());

/// Functions, aggregates and window functions of which every overload only computes: immutable or stable ones, without
/// those that read files, tables or other sessions or run a query given as text, and with a few harmless volatile ones.
static PURE: LazyLock<HashSet<&str>> = LazyLock::new(|| include_str!("functions_pure.txt").lines().collect());

/// Every other function of `pg_catalog`.
static IMPURE: LazyLock<HashSet<&str>> = LazyLock::new(|| include_str!("functions_impure.txt").lines().collect());

/// Functions of well-known extensions that reach out of the database or run a text; in whatever schema they were put.
static EXTENSION: LazyLock<HashSet<&str>> = LazyLock::new(|| include_str!("functions_of_extensions.txt").lines().collect());

/// Is `name` a table or view of `pg_catalog`?
pub(super) fn has_relation(name: &str) -> bool {
    RELATIONS.contains(name)
}

/// Does the built-in function `name` only compute?
pub(super) fn is_pure(name: &str) -> bool {
    PURE.contains(name)
}

/// Does the built-in function `name` do more than compute?
pub(super) fn is_impure(name: &str) -> bool {
    IMPURE.contains(name)
}

/// Is `name` a function of an extension that reaches out of the database?
pub(super) fn is_of_extension(name: &str) -> bool {
    EXTENSION.contains(name)
}

/// Does the built-in function `name` signal the server process whose number is its first argument?
pub(super) fn signals(name: &str) -> bool {
    matches!(name, "pg_cancel_backend" | "pg_terminate_backend")
}

/// May the built-in function `name` set a parameter of the session? Few do, but those that run a text or read views run code.
pub(super) fn may_set_parameters(name: &str) -> bool {
    matches!(name, "set_config" | "pg_reload_conf" | "ts_stat" | "ts_rewrite") || name.contains("_to_xml")
}

#[cfg(test)]
mod tests {
    use super::{IMPURE, PURE, RELATIONS, is_impure, is_of_extension, is_pure};

    #[test]
    fn what_reads_files_or_runs_text_is_not_pure() {
        for name in ["pg_read_file", "query_to_xml", "table_to_xml", "set_config", "lo_import", "pg_sleep", "nextval", "ts_stat"] {
            assert!(is_impure(name) && !is_pure(name), "{name}");
        }
        assert!(is_of_extension("dblink_exec") && !is_pure("dblink_exec"));
    }

    #[test]
    fn no_function_is_on_both_lists_and_no_list_is_empty() {
        assert_eq!(PURE.intersection(&IMPURE).collect::<Vec<_>>(), Vec::<&&str>::new());
        assert!(PURE.len() > 1500 && IMPURE.len() > 1000 && RELATIONS.len() > 140);
    }
}
