//! What a relative of PostgreSQL has besides what PostgreSQL has, as data.

use super::catalog;
use crate::sql::{Action, Effect, Object, ObjectKind};

/// The built-in things of a relative that PostgreSQL does not have.
#[derive(Debug)]
pub(in crate::sql) struct Kin {
    /// Is this a table or view of its `pg_catalog`, which it searches before the schemas of the search path?
    pub(in crate::sql) has_relation: fn(&str) -> bool,
    /// Does the built-in function of this name only compute?
    pub(in crate::sql) is_pure: fn(&str) -> bool,
    /// Does the session parameter of this name change neither what a text means nor what it may do?
    pub(in crate::sql) is_harmless: fn(&str) -> bool,
}

/// PostgreSQL itself.
pub(in crate::sql) const POSTGRESQL: Kin = Kin { has_relation: |_| false, is_pure: |_| false, is_harmless: |_| false };

impl Kin {
    /// The effect, with an unqualified relation that has to exist put where the relative finds it.
    pub(in crate::sql) fn in_catalog(&self, effect: Effect) -> Effect {
        match effect {
            Effect::Access { action, object, columns }
                if action != Action::Create && object.schema.is_none() && self.is_called_like_one_of_the_catalog(&object) =>
            {
                Effect::Access { action, object: Object { schema: Some("pg_catalog".to_owned()), ..object }, columns }
            }
            Effect::Access { .. } | Effect::Call { .. } | Effect::Role { .. } | Effect::Set { .. } | Effect::Opaque { .. } => effect,
        }
    }

    /// Might the effect make a relation that the server finds before the catalog's of the same name? A temporary one is, and
    /// a name without a schema may be that of a temporary one.
    pub(in crate::sql) fn hides_the_catalog(&self, effect: &Effect) -> bool {
        match effect {
            Effect::Access { action: Action::Create, object, columns: _ } => {
                object.schema.as_deref().is_none_or(|schema| schema.starts_with("pg_temp"))
                    && self.is_called_like_one_of_the_catalog(object)
            }
            Effect::Access { .. } | Effect::Call { .. } | Effect::Role { .. } | Effect::Set { .. } | Effect::Opaque { .. } => false,
        }
    }

    fn is_called_like_one_of_the_catalog(&self, object: &Object) -> bool {
        object.kind == ObjectKind::Relation && (catalog::has_relation(&object.name) || (self.has_relation)(&object.name))
    }
}
