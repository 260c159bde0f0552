//! Statements that only Redshift has, or that mean something else there.

mod external;
mod found;
mod transfer;

use super::reader::Reader;
use super::token::Token;
use crate::sql::{Action, Effect, Limits, Object, ObjectKind, OpaqueClass, Session, Signals, Statement};
use found::Found;

/// A statement that PostgreSQL's grammar might accept and read as something else.
pub(super) fn of_other_meaning(piece: &[Token<'_>], limits: &Limits) -> Option<Statement> {
    let mut reader = Reader::new(piece);
    if reader.eat(&["unload"]) {
        return Some(statement("UNLOAD", transfer::unload(reader, limits)));
    }
    if reader.eat(&["copy"]) {
        return transfer::copy(reader).map(|found| statement("COPY", found));
    }
    // To PostgreSQL's grammar, `SHOW DATABASES` is a parameter and `ANALYZE COMPRESSION` a table.
    show(reader).map(|found| ("SHOW", found)).or_else(|| maintenance(reader)).map(|(verb, found)| statement(verb, found))
}

/// A statement that PostgreSQL's grammar does not accept.
pub(super) fn of_its_own(piece: &[Token<'_>]) -> Option<Statement> {
    let reader = Reader::new(piece);
    external::judge(reader)
        .or_else(|| alter_table(reader).map(|found| ("ALTER TABLE", found)))
        .or_else(|| opaque(reader))
        .map(|(verb, found)| statement(verb, found))
}

/// Whether code ran that may have set the search path cannot be said of what is opaque.
fn statement(verb: &'static str, found: Found) -> Statement {
    let effects = found.effects;
    let is_opaque = effects.iter().any(|effect| matches!(effect, Effect::Opaque { .. }));
    let session = if is_opaque { Session::SearchPathUnknown } else { Session::Unchanged };
    Statement { verb, effects, session }
}

/// `ALTER TABLE` with what only Redshift has; forms in which an expression could stand are not read here.
fn alter_table(mut reader: Reader<'_, '_>) -> Option<Found> {
    if !reader.eat(&["alter", "table"]) {
        return None;
    }
    let table = reader.relation()?;
    let mut found = Found::default();
    found.access(Action::Alter, table.clone());
    if reader.eat(&["append", "from"]) {
        // The rows move: they are gone from the source (ALTER TABLE APPEND).
        let source = reader.relation()?;
        found.access(Action::Insert, table);
        found.access(Action::Select, source.clone());
        found.access(Action::Delete, source);
        reader.eat_one_of(&["fillstarget", "filltarget", "ignoreextra"]);
        return reader.is_done().then_some(found);
    }
    if reader.eat(&["row", "level", "security"]) {
        found.opaque(OpaqueClass::Authorization, "row security is enabled or disabled");
        return Some(found);
    }
    (alters_storage(reader) || external::alters(reader, &mut found)).then_some(found)
}

/// How a table is distributed, sorted and encoded.
fn alters_storage(mut reader: Reader<'_, '_>) -> bool {
    loop {
        if !reader.eat(&["alter"]) {
            return false;
        }
        reader.eat_one_of(&["compound", "interleaved"]);
        let is_known = if reader.eat(&["column"]) {
            reader.name().is_some() && reader.eat(&["encode"]) && reader.name().is_some()
        } else if reader.eat(&["sortkey"]) {
            reader.names().is_some() || reader.eat_one_of(&["auto", "none"])
        } else if reader.eat(&["diststyle"]) {
            // `ALTER DISTSTYLE KEY DISTKEY column`.
            reader.name().is_some() && (!reader.eat(&["distkey"]) || reader.name().is_some())
        } else {
            reader.eat_one_of(&["distkey", "encode"]) && reader.name().is_some()
        };
        if !is_known {
            return false;
        }
        if reader.is_done() {
            return true;
        }
        reader.eat(&[","]);
    }
}

/// `SHOW` of what the catalog holds: a definition is read like its table, lists are read like the views that have them.
fn show(mut reader: Reader<'_, '_>) -> Option<Found> {
    if !reader.eat(&["show"]) {
        return None;
    }
    let mut found = Found::default();
    let of_table = [&["columns", "from", "table"][..], &["external", "table"], &["materialized", "view"], &["table"], &["view"]];
    if of_table.iter().any(|words| reader.eat(words)) {
        found.access(Action::Select, reader.relation()?);
        return Some(found);
    }
    const LISTS: &[(&str, &str)] = &[
        ("databases", "svv_redshift_databases"),
        ("datashares", "svv_datashares"),
        ("grants", "svv_relation_privileges"),
        ("model", "stv_ml_model_info"),
        ("procedure", "pg_proc_info"),
        ("schemas", "svv_all_schemas"),
        ("tables", "svv_all_tables"),
    ];
    let (_, view) = LISTS.iter().find(|(word, _)| reader.eat(&[word]))?;
    found.access(Action::Select, in_catalog(ObjectKind::Relation, view));
    Some(found)
}

fn maintenance(mut reader: Reader<'_, '_>) -> Option<(&'static str, Found)> {
    let mut found = Found::default();
    let verb = if reader.eat(&["vacuum"]) {
        reader.eat(&["sort", "only"]);
        reader.eat(&["delete", "only"]);
        reader.eat_one_of(&["full", "recluster", "reindex"]);
        "VACUUM"
    } else if reader.eat(&["analyze"]) || reader.eat(&["analyse"]) {
        reader.eat_one_of(&["compression", "verbose"]);
        "ANALYZE"
    } else if reader.eat(&["cancel"]) {
        found.effects.push(Effect::Call { function: in_catalog(ObjectKind::Function, "pg_cancel_backend"), signals: Signals::Unsaid });
        return Some(("CANCEL", found));
    } else {
        return None;
    };
    const OPTIONS: &[&str] = &["all", "boost", "columns", "comprows", "percent", "predicate", "to"];
    match reader.is_done() || OPTIONS.iter().any(|option| reader.sees(&[option])) {
        true => found.opaque(OpaqueClass::System, "maintenance of every table of a schema or database"),
        false => found.access(Action::Maintain, reader.relation()?),
    }
    reader.names();
    while !reader.is_done() {
        if !reader.eat_one_of(OPTIONS) && !reader.next().is_some_and(Token::is_integer) {
            return None;
        }
    }
    Some((verb, found))
}

/// What cannot be seen into, by the words that it begins with.
fn opaque(reader: Reader<'_, '_>) -> Option<(&'static str, Found)> {
    use OpaqueClass as O;
    const HEADS: &[(&[&str], &str, OpaqueClass)] = &[
        (&["use"], "USE", O::Unsupported),
        (&["call"], "CALL", O::Call),
        (&["create", "function"], "CREATE FUNCTION", O::RoutineDefinition),
        (&["create", "or", "replace", "function"], "CREATE FUNCTION", O::RoutineDefinition),
        (&["create", "external", "function"], "CREATE EXTERNAL FUNCTION", O::RoutineDefinition),
        (&["create", "or", "replace", "external", "function"], "CREATE EXTERNAL FUNCTION", O::RoutineDefinition),
        (&["create", "procedure"], "CREATE PROCEDURE", O::RoutineDefinition),
        (&["create", "or", "replace", "procedure"], "CREATE PROCEDURE", O::RoutineDefinition),
        (&["create", "library"], "CREATE LIBRARY", O::RoutineDefinition),
        (&["create", "or", "replace", "library"], "CREATE LIBRARY", O::RoutineDefinition),
        (&["drop", "library"], "DROP LIBRARY", O::RoutineDefinition),
        (&["create", "model"], "CREATE MODEL", O::RoutineDefinition),
        (&["create", "external", "model"], "CREATE EXTERNAL MODEL", O::RoutineDefinition),
        (&["drop", "model"], "DROP MODEL", O::RoutineDefinition),
        (&["create", "database"], "CREATE DATABASE", O::ForeignData),
        (&["alter", "database"], "ALTER DATABASE", O::System),
        (&["create", "datashare"], "CREATE DATASHARE", O::Authorization),
        (&["alter", "datashare"], "ALTER DATASHARE", O::Authorization),
        (&["drop", "datashare"], "DROP DATASHARE", O::Authorization),
        (&["desc", "datashare"], "DESC DATASHARE", O::Authorization),
        (&["grant"], "GRANT", O::Authorization),
        (&["revoke"], "REVOKE", O::Authorization),
        (&["attach"], "ATTACH", O::Authorization),
        (&["detach"], "DETACH", O::Authorization),
        (&["create", "masking"], "CREATE MASKING POLICY", O::Authorization),
        (&["alter", "masking"], "ALTER MASKING POLICY", O::Authorization),
        (&["drop", "masking"], "DROP MASKING POLICY", O::Authorization),
        (&["create", "rls"], "CREATE RLS POLICY", O::Authorization),
        (&["alter", "rls"], "ALTER RLS POLICY", O::Authorization),
        (&["drop", "rls"], "DROP RLS POLICY", O::Authorization),
        (&["create", "identity"], "CREATE IDENTITY PROVIDER", O::Authorization),
        (&["alter", "identity"], "ALTER IDENTITY PROVIDER", O::Authorization),
        (&["drop", "identity"], "DROP IDENTITY PROVIDER", O::Authorization),
        (&["create", "role"], "CREATE ROLE", O::Authorization),
        (&["create", "user"], "CREATE ROLE", O::Authorization),
        (&["alter", "role"], "ALTER ROLE", O::Authorization),
        (&["alter", "user"], "ALTER ROLE", O::Authorization),
        (&["alter", "default", "privileges"], "ALTER DEFAULT PRIVILEGES", O::Authorization),
        (&["alter", "external", "schema"], "ALTER EXTERNAL SCHEMA", O::ForeignData),
    ];
    let (_, verb, class) = HEADS.iter().find(|(head, _, _)| reader.sees(head))?;
    let mut found = Found::default();
    found.opaque(*class, verb);
    Some((verb, found))
}

fn in_catalog(kind: ObjectKind, name: &str) -> Object {
    Object { kind, database: None, schema: Some("pg_catalog".to_owned()), name: name.to_owned() }
}
