//! Named classes of what dbt does beside its nodes, so that a policy need not list catalog relations.
//!
//! Transactions have no class: `BEGIN`, `COMMIT` and the like have no effect that would need a rule. Nor has the making of
//! schemas: `actions: [create]` with `schemas` says which; nor has the cancelling of one's own sessions, which needs no rule.

use crate::sql::{Action, Effect, ObjectKind};

/// A class of effects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Builtin {
    /// Reads of the catalog relations by which the adapter learns what exists: schemas, relations and what they depend on,
    /// columns, indexes, grants, and the catalog of `dbt docs generate`.
    DbtIntrospection,
}

/// What dbt-postgres reads in `pg_catalog` (its `macros/adapters.sql`, `catalog.sql`, `relations.sql` and
/// `relations/materialized_view/describe.sql`).
const PG_CATALOG: &[&str] = &[
    "pg_am",
    "pg_attribute",
    "pg_class",
    "pg_depend",
    "pg_description",
    "pg_index",
    "pg_matviews",
    "pg_namespace",
    "pg_proc",
    "pg_tables",
    "pg_views",
];

/// And in `information_schema`.
const INFORMATION_SCHEMA: &[&str] = &["columns", "role_table_grants"];

impl Builtin {
    /// Every class, in the order of the docs.
    pub(super) const ALL: &'static [Builtin] = &[Self::DbtIntrospection];

    /// The word in policies.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::DbtIntrospection => "dbt-introspection",
        }
    }

    /// Is the effect in the class?
    pub(super) fn holds(self, effect: &Effect) -> bool {
        match (self, effect) {
            (Self::DbtIntrospection, Effect::Access { action: Action::Select, object, columns: _ }) => {
                let relations = match object.schema.as_deref() {
                    Some("pg_catalog") => PG_CATALOG,
                    Some("information_schema") => INFORMATION_SCHEMA,
                    Some(_) | None => &[],
                };
                object.kind == ObjectKind::Relation && relations.contains(&object.name.as_str())
            }
            (
                Self::DbtIntrospection,
                Effect::Access { .. } | Effect::Call { .. } | Effect::Role { .. } | Effect::Set { .. } | Effect::Opaque { .. },
            ) => false,
        }
    }
}
