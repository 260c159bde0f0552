//! One entry of `rules.sql`: which effects it speaks about, and whether it matches one.
//!
//! The keys of an entry choose the kind of effect; every key given must match, and an entry without keys matches
//! every effect.
//!
//! | keys                                          | effects                                   |
//! |-----------------------------------------------|-------------------------------------------|
//! | none                                          | all, but to allow replication             |
//! | `actions`, `databases`, `schemas`             | accesses to objects of every kind         |
//! | `tables`, with any of these                   | accesses to relations                     |
//! | `columns`, with `actions` and any of these    | inserts and updates of relations          |
//! | `locations`, with `actions`                   | export and import                         |
//! | `functions`                                   | calls                                     |
//! | `functions` and `actions`                     | accesses to functions (drop, grant, ...)  |
//! | `functions` and `schemas`                     | calls of functions in those schemas       |
//! | `opaque`                                      | statements that cannot be seen into       |
//! | `roles`                                       | changes of the acting role                |
//! | `parameters`                                  | session parameters that are set           |
//! | `builtin`                                     | those of a named class                    |
//!
//! `dbt` goes with each of them: it asks what dbt says about the statement. `databases` goes with each of them too. Of an
//! object that names no database, of a call, a role, a parameter and an opaque statement it asks for the database of the session. An object's own database is compared where the statement
//! names one. A schema is matched by `schemas`, never by `tables`; a database by `databases` alone.
//!
//! A statement says which columns it writes, if it does so at all, in the list of an `INSERT` or `COPY ... FROM` and in the
//! assignments of an `UPDATE`; what it reads it may name in many ways, and `*` is one. So `columns` is about writing alone. A
//! list of columns is whole where there is one. Without one it may be any: that allows nothing and denies.
//!
//! A location is matched by `locations`, where `*` stands for any run of characters, slashes too. Warehouses read a location
//! as the start of the names of objects in a store: to allow, the text of the statement has to match; to deny, it is enough
//! that an object below it could.

use crate::sql::{Action, Effect, Object, ObjectKind, OpaqueClass};

use super::AccessRequest;
use super::attribution::Attributed;
use super::builtin::Builtin;
use super::pattern::{Dotted, FunctionGlob, Glob, TableGlob};

/// A compiled entry. `None` is a key that was left out.
#[derive(Debug, Default)]
pub(super) struct Entry {
    pub(super) subject: Subject,
    pub(super) actions: Option<Vec<Action>>,
    pub(super) databases: Option<Vec<Glob>>,
    pub(super) schemas: Option<Vec<Glob>>,
    pub(super) tables: Option<Vec<TableGlob>>,
    /// Only beside actions that say which columns they are about.
    pub(super) columns: Option<Vec<Glob>>,
    pub(super) locations: Option<Vec<Glob>>,
    pub(super) functions: Option<Vec<FunctionGlob>>,
    pub(super) opaque: Option<Vec<OpaqueClass>>,
    pub(super) roles: Option<Vec<Glob>>,
    pub(super) parameters: Option<Vec<Dotted>>,
    pub(super) builtin: Option<Vec<Builtin>>,
    pub(super) dbt: Option<Attributed>,
}

/// Which effects an entry speaks about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Subject {
    /// All.
    #[default]
    Everything,
    /// [`Effect::Access`].
    Accesses,
    /// [`Effect::Call`].
    Calls,
    /// [`Effect::Opaque`].
    Opaque,
    /// [`Effect::Role`].
    Roles,
    /// [`Effect::Set`].
    Parameters,
    /// Those of named classes.
    Builtin,
}

/// How an unresolved schema is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reading {
    /// To allow: it matches only a pattern for any schema.
    Certain,
    /// To deny: it may be any schema, so it matches every pattern.
    Possible,
}

/// Why an entry does not match an effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Miss {
    /// It speaks about other effects.
    Subject,
    /// The key does not match.
    Key(&'static str),
    /// The key asks for a schema, and the search path leaves the object's schema open.
    Unresolved(&'static str),
    /// `columns` asks for names, and the statement does not say which columns it writes.
    Unnamed,
    /// Everything before it matches, and the statement is not verified to be of the node that it names.
    Unverified,
}

impl Entry {
    /// Does the entry match the effect?
    ///
    /// # Errors
    /// The first reason why not.
    pub(super) fn matches(&self, effect: &Effect, request: &AccessRequest<'_>, reading: Reading) -> Result<(), Miss> {
        let unverified = match self.dbt.as_ref().map_or(Ok(()), |dbt| dbt.matches(request)) {
            Err(Miss::Unverified) => true,
            attributed => attributed.map(|()| false)?,
        };
        self.matches_effect(effect, request, reading)?;
        if unverified { Err(Miss::Unverified) } else { Ok(()) }
    }

    fn matches_effect(&self, effect: &Effect, request: &AccessRequest<'_>, reading: Reading) -> Result<(), Miss> {
        match (self.subject, effect) {
            (Subject::Everything, Effect::Opaque { class: OpaqueClass::Replication, detail: _ }) => {
                check("opaque", reading == Reading::Possible)
            }
            (Subject::Everything, _) => Ok(()),
            (Subject::Builtin, _) => {
                self.matches_database(database_of(effect), request)?;
                check("builtin", self.builtin.as_ref().is_none_or(|classes| classes.iter().any(|class| class.holds(effect))))
            }
            (Subject::Accesses, Effect::Access { action, object, columns }) => {
                check("actions", self.actions.as_ref().is_none_or(|actions| actions.contains(action)))?;
                if reading == Reading::Possible && self.tables.is_some() && holds_rows(*action, object.kind) {
                    return self.matches_some_table_in(object, request);
                }
                self.matches_object(object, request, reading)?;
                self.matches_columns(columns, reading)
            }
            (Subject::Calls, Effect::Call { function, signals: _ }) => {
                self.matches_database(function.database.as_deref(), request)?;
                // A function of pg_catalog may stand before the one of the search path, so that does not resolve it.
                self.matches_function(function, function.schema.as_deref(), reading)
            }
            (Subject::Opaque, Effect::Opaque { class, detail: _ }) => {
                self.matches_database(None, request)?;
                check("opaque", self.opaque.as_ref().is_none_or(|classes| classes.contains(class)))
            }
            (Subject::Roles, Effect::Role { role }) => {
                self.matches_database(None, request)?;
                let role = role.as_deref().unwrap_or(request.role);
                check("roles", self.roles.as_ref().is_none_or(|globs| any(globs, role)))
            }
            (Subject::Parameters, Effect::Set { parameter }) => {
                self.matches_database(None, request)?;
                check("parameters", self.parameters.as_ref().is_none_or(|globs| globs.iter().any(|glob| glob.matches(parameter))))
            }
            (
                Subject::Accesses | Subject::Calls | Subject::Opaque | Subject::Roles | Subject::Parameters,
                Effect::Access { .. } | Effect::Call { .. } | Effect::Role { .. } | Effect::Set { .. } | Effect::Opaque { .. },
            ) => Err(Miss::Subject),
        }
    }

    fn matches_object(&self, object: &Object, request: &AccessRequest<'_>, reading: Reading) -> Result<(), Miss> {
        let schema = schema_of(object, request);
        match object.kind {
            ObjectKind::Database => {
                self.matches_database(Some(&object.name), request)?;
                check("schemas", self.schemas.is_none())?;
                check("tables", self.tables.is_none())?;
                check("locations", self.locations.is_none())?;
                check("functions", self.functions.is_none())
            }
            ObjectKind::Location => {
                self.matches_database(None, request)?;
                check("schemas", self.schemas.is_none())?;
                check("tables", self.tables.is_none())?;
                check("functions", self.functions.is_none())?;
                self.matches_location(&object.name, reading)
            }
            ObjectKind::Schema | ObjectKind::Type => {
                self.matches_database(object.database.as_deref(), request)?;
                check("tables", self.tables.is_none())?;
                check("locations", self.locations.is_none())?;
                check("functions", self.functions.is_none())?;
                self.matches_schema(schema, reading)
            }
            ObjectKind::Relation => {
                self.matches_database(object.database.as_deref(), request)?;
                check("locations", self.locations.is_none())?;
                check("functions", self.functions.is_none())?;
                self.matches_schema(schema, reading)?;
                self.matches_table(object, schema, request, reading)
            }
            ObjectKind::Function => {
                self.matches_database(object.database.as_deref(), request)?;
                check("tables", self.tables.is_none())?;
                check("locations", self.locations.is_none())?;
                self.matches_function(object, schema, reading)
            }
        }
    }

    fn matches_database(&self, named: Option<&str>, request: &AccessRequest<'_>) -> Result<(), Miss> {
        let database = named.unwrap_or(request.database);
        check("databases", self.databases.as_ref().is_none_or(|globs| any(globs, database)))
    }

    fn matches_location(&self, location: &str, reading: Reading) -> Result<(), Miss> {
        let fits = |glob: &Glob| match reading {
            Reading::Certain => glob.matches(location),
            Reading::Possible => glob.may_match_below(location),
        };
        check("locations", self.locations.as_ref().is_none_or(|globs| globs.iter().any(fits)))
    }

    fn matches_schema(&self, schema: Option<&str>, reading: Reading) -> Result<(), Miss> {
        match &self.schemas {
            None => Ok(()),
            Some(globs) => best("schemas", globs.iter().map(|glob| fits(glob, schema, reading))),
        }
    }

    fn matches_table(&self, object: &Object, schema: Option<&str>, request: &AccessRequest<'_>, reading: Reading) -> Result<(), Miss> {
        let Some(globs) = &self.tables else { return Ok(()) };
        let database = object.database.as_deref().unwrap_or(request.database);
        let fit = |glob: &TableGlob| {
            let rest = glob.table.matches(&object.name) && glob.database.matches(database);
            if rest { fits(&glob.schema, schema, reading) } else { Fit::No }
        };
        best("tables", globs.iter().map(fit))
    }

    /// Whoever takes the rows of a whole schema or database (a clone, a wildcard table) takes those of the tables in it.
    fn matches_some_table_in(&self, object: &Object, request: &AccessRequest<'_>) -> Result<(), Miss> {
        let (database, schema) = match object.kind {
            ObjectKind::Database => (object.name.as_str(), None),
            ObjectKind::Schema | ObjectKind::Type | ObjectKind::Relation | ObjectKind::Function | ObjectKind::Location => {
                (object.database.as_deref().unwrap_or(request.database), Some(object.name.as_str()))
            }
        };
        self.matches_database(Some(database), request)?;
        let is_in = |glob: &TableGlob| glob.database.matches(database) && schema.is_none_or(|schema| glob.schema.matches(schema));
        check("schemas", self.schemas.as_ref().is_none_or(|globs| schema.is_none_or(|schema| any(globs, schema))))?;
        check("tables", self.tables.as_ref().is_none_or(|globs| globs.iter().any(is_in)))
    }

    fn matches_columns(&self, columns: &[String], reading: Reading) -> Result<(), Miss> {
        let Some(globs) = &self.columns else { return Ok(()) };
        match (columns, reading) {
            ([], Reading::Certain) => Err(Miss::Unnamed),
            ([], Reading::Possible) => Ok(()),
            (named, Reading::Certain) => check("columns", named.iter().all(|column| any(globs, column))),
            (named, Reading::Possible) => check("columns", named.iter().any(|column| any(globs, column))),
        }
    }

    fn matches_function(&self, function: &Object, schema: Option<&str>, reading: Reading) -> Result<(), Miss> {
        self.matches_schema(schema, reading)?;
        let Some(globs) = &self.functions else { return Ok(()) };
        let fit = |glob: &FunctionGlob| if glob.name.matches(&function.name) { fits(&glob.schema, schema, reading) } else { Fit::No };
        best("functions", globs.iter().map(fit))
    }
}

/// Is this about the rows of everything in a schema or database?
pub(super) fn holds_rows(action: Action, kind: ObjectKind) -> bool {
    let is_whole = match kind {
        ObjectKind::Schema | ObjectKind::Database => true,
        ObjectKind::Relation | ObjectKind::Function | ObjectKind::Type | ObjectKind::Location => false,
    };
    is_whole && matches!(action, Action::Select | Action::Insert | Action::Update | Action::Delete | Action::Truncate)
}

/// The schema of an object as far as it is certain: its own, or the only one of the search path.
pub(super) fn schema_of<'a>(object: &'a Object, request: &AccessRequest<'a>) -> Option<&'a str> {
    match object.kind {
        ObjectKind::Database | ObjectKind::Location => None,
        ObjectKind::Schema => Some(object.schema.as_deref().unwrap_or(&object.name)),
        ObjectKind::Relation | ObjectKind::Function | ObjectKind::Type => object.schema.as_deref().or(request.unqualified_schema),
    }
}

/// The database that an effect names.
fn database_of(effect: &Effect) -> Option<&str> {
    match effect {
        Effect::Access { object, .. } | Effect::Call { function: object, signals: _ } => object.database.as_deref(),
        Effect::Role { .. } | Effect::Set { .. } | Effect::Opaque { .. } => None,
    }
}

/// How far a pattern fits a schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Fit {
    No,
    /// It might, if the schema were known.
    Unresolved,
    Yes,
}

fn fits(glob: &Glob, schema: Option<&str>, reading: Reading) -> Fit {
    match (schema, reading) {
        (Some(schema), Reading::Certain | Reading::Possible) => {
            if glob.matches(schema) {
                Fit::Yes
            } else {
                Fit::No
            }
        }
        (None, Reading::Possible) => Fit::Yes,
        (None, Reading::Certain) => {
            if *glob == Glob::Any {
                Fit::Yes
            } else {
                Fit::Unresolved
            }
        }
    }
}

fn best(key: &'static str, fits: impl Iterator<Item = Fit>) -> Result<(), Miss> {
    let mut best = Fit::No;
    for fit in fits {
        if fit == Fit::Yes {
            return Ok(());
        }
        best = best.max(fit);
    }
    Err(if best == Fit::Unresolved { Miss::Unresolved(key) } else { Miss::Key(key) })
}

fn any(globs: &[Glob], name: &str) -> bool {
    globs.iter().any(|glob| glob.matches(name))
}

fn check(key: &'static str, holds: bool) -> Result<(), Miss> {
    if holds { Ok(()) } else { Err(Miss::Key(key)) }
}
