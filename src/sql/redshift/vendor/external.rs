//! External schemas and tables: names in the warehouse for what lies outside of it.
//!
//! What can be read through the name from now on is an import. A catalog has no URL of its own in these statements, so its
//! kind stands where the scheme does: `data-catalog://database`, `hive://uri/database`, `postgres://uri/database`.
//!
//! Source: Amazon Redshift Database Developer Guide, "CREATE EXTERNAL SCHEMA" and "CREATE EXTERNAL TABLE".

use super::found::Found;
use super::transfer;
use crate::sql::redshift::reader::Reader;
use crate::sql::{Action, Effect, Object, ObjectKind, OpaqueClass};

/// Reads the definition of an external schema or table.
pub(super) fn judge(mut reader: Reader<'_, '_>) -> Option<(&'static str, Found)> {
    if reader.eat(&["create", "external", "schema"]) {
        reader.eat(&["if", "not", "exists"]);
        return schema(reader).map(|found| ("CREATE EXTERNAL SCHEMA", found));
    }
    if reader.eat(&["create", "external", "table"]) {
        reader.eat(&["if", "not", "exists"]);
        return table(reader).map(|found| ("CREATE EXTERNAL TABLE", found));
    }
    None
}

fn schema(mut reader: Reader<'_, '_>) -> Option<Found> {
    let mut found = Found::default();
    let name = reader.name()?;
    found.access(Action::Create, Object { kind: ObjectKind::Schema, database: None, schema: Some(name.clone()), name });
    let kind = source(&mut reader)?;
    let (mut database, mut uri) = (None, None);
    while !reader.is_done() {
        if reader.eat(&["database"]) {
            database = Some(reader.string()?);
        } else if reader.eat(&["uri"]) {
            uri = Some(reader.string()?);
        } else if reader.eat_one_of(&["catalog_role", "iam_role"]) {
            transfer::role(&mut reader, &mut found);
        } else if reader.eat(&["create", "external", "database", "if", "not", "exists"]) {
            let created = Object { kind: ObjectKind::Database, database: database.clone(), schema: None, name: database.clone()? };
            found.access(Action::Create, created);
        } else {
            // Regions, ports, ARNs of secrets and the like: they stand beside what was named above.
            reader.next();
        }
    }
    if kind == "redshift" {
        let database = database?;
        found.access(Action::Select, Object { kind: ObjectKind::Database, database: Some(database.clone()), schema: None, name: database });
        return Some(found);
    }
    let parts: Vec<String> = [uri, database].into_iter().flatten().collect();
    found.location(Action::Import, format!("{kind}://{}", parts.join("/")));
    Some(found)
}

fn source(reader: &mut Reader<'_, '_>) -> Option<&'static str> {
    const SOURCES: &[(&[&str], &str)] = &[
        (&["data", "catalog"], "data-catalog"),
        (&["hive", "metastore"], "hive"),
        (&["postgres"], "postgres"),
        (&["mysql"], "mysql"),
        (&["kinesis"], "kinesis"),
        (&["kafka"], "kafka"),
        (&["msk"], "kafka"),
        (&["redshift"], "redshift"),
    ];
    reader.eat(&["from"]);
    SOURCES.iter().find(|(words, _)| reader.eat(words)).map(|(_, kind)| *kind)
}

/// `CREATE EXTERNAL TABLE ... AS` writes files and runs a query that is not judged here.
fn table(mut reader: Reader<'_, '_>) -> Option<Found> {
    let mut found = Found::default();
    found.access(Action::Create, reader.relation()?);
    let columns = reader.group()?;
    // Names and types of columns hold no query.
    if columns.iter().any(|token| ["select", "with"].iter().any(|word| token.text.eq_ignore_ascii_case(word))) {
        return None;
    }
    while !reader.is_done() {
        if reader.eat(&["location"]) {
            found.location(Action::Import, reader.string()?);
        } else if reader.eat(&["stored", "as"]) {
            reader.name();
        } else if reader.eat(&["as"]) {
            found.opaque(OpaqueClass::ForeignData, "CREATE EXTERNAL TABLE ... AS");
            return Some(found);
        } else if reader.group().is_none() {
            reader.next();
        }
    }
    Some(found)
}

/// Does `ALTER TABLE` change only where an external table's data lies?
pub(super) fn alters(mut reader: Reader<'_, '_>, found: &mut Found) -> bool {
    let heads = [&["add", "partition"][..], &["add", "if", "not", "exists", "partition"], &["drop", "partition"], &["partition"]];
    let is_partition = heads.iter().any(|head| reader.eat(head));
    if !is_partition && !["location", "file", "table"].iter().any(|word| reader.sees(&["set", word])) {
        return false;
    }
    while let Some(token) = reader.peek() {
        match token.string() {
            Some(value) if value.contains("://") => found.location(Action::Import, value),
            None if token.is_string() => return false,
            Some(_) | None => {}
        }
        reader.next();
    }
    found.effects.iter().all(|effect| !matches!(effect, Effect::Opaque { .. }))
}
