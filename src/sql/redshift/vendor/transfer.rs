//! `UNLOAD` and `COPY`: data that leaves for a location or comes from one.
//!
//! Source: Amazon Redshift Database Developer Guide, "UNLOAD" and "COPY".

use super::found::Found;
use crate::sql::redshift::reader::Reader;
use crate::sql::redshift::{self, token};
use crate::sql::{Action, Effect, Limits, OpaqueClass};

/// Options of both that say how data is written or read, and never what or where. The values of options are words that
/// stand here as well, numbers, and strings.
#[rustfmt::skip]
const OPTIONS: &[&str] = &[
    "acceptanydate", "acceptinvchars", "addquotes", "allowoverwrite", "as", "auto", "avro", "blanksasnull", "bzip2", "compupdate", "comprows", "csv",
    "dateformat", "default", "delimiter", "emptyasnull", "encoding", "encrypted", "escape", "explicit_ids", "extension", "false", "fillrecord",
    "fixedwidth", "format", "gb", "gzip", "header", "ignoreallerrors", "ignoreblanklines", "ignoreheader", "include", "json", "lzop",
    "maxerror", "maxfilesize", "mb", "noload", "null", "off", "on", "orc", "parallel", "parquet", "preset", "quote", "readratio",
    "region", "removequotes", "roundec", "rowgroupsize", "shapefile", "simplify", "statupdate", "timeformat", "trimblanks", "true", "truncatecolumns",
    "utf16", "utf16be", "utf16le", "utf8", "verbose", "with", "zstd",
];

/// Behind `UNLOAD`: what the query does, which is a text within the text, and an export.
pub(super) fn unload(mut reader: Reader<'_, '_>, limits: &Limits) -> Found {
    let mut found = Found::default();
    let Some((query, location)) = query_and_location(&mut reader) else {
        found.opaque(OpaqueClass::Unsupported, "UNLOAD with a query or a location that is not beyond doubt");
        return found;
    };
    match redshift::query(&query, limits) {
        Some(effects) => effects.into_iter().for_each(|effect| found.effect(effect)),
        None => found.opaque(OpaqueClass::Unsupported, "UNLOAD of what is not one query"),
    }
    found.location(Action::Export, location.clone());
    while !reader.is_done() {
        if reader.eat(&["cleanpath"]) {
            found.location(Action::Delete, location.clone());
        } else if reader.eat(&["partition", "by"]) {
            if reader.names().is_none() {
                found.opaque(OpaqueClass::Unsupported, "an option of UNLOAD");
            }
        } else if !reader.eat(&["manifest"]) {
            option(&mut reader, &mut found);
        }
    }
    found
}

fn query_and_location(reader: &mut Reader<'_, '_>) -> Option<(String, String)> {
    let [query] = reader.group()? else { return None };
    let query = query.string()?;
    if !reader.eat(&["to"]) {
        return None;
    }
    Some((query, reader.string()?))
}

/// Behind `COPY`: rows are added, and an import. `None` without a location, as in `COPY ... FROM STDIN`.
pub(super) fn copy(mut reader: Reader<'_, '_>) -> Option<Found> {
    let table = reader.relation()?;
    let columns = reader.names().unwrap_or_default();
    if !reader.eat(&["from"]) || !reader.peek().is_some_and(token::Token::is_string) {
        return None;
    }
    let mut found = Found::default();
    found.effect(Effect::Access { action: Action::Insert, object: table.clone(), columns });
    match reader.string() {
        Some(location) => found.location(Action::Import, location),
        None => {
            reader.next();
            found.opaque(OpaqueClass::Unsupported, "COPY with a location that is not beyond doubt");
        }
    }
    while !reader.is_done() {
        if reader.eat(&["manifest"]) {
            found.opaque(OpaqueClass::CopyFile, "COPY of files that a manifest names");
        } else if reader.eat(&["ssh"]) {
            found.opaque(OpaqueClass::CopyProgram, "COPY of what commands on other hosts print");
        } else if reader.eat(&["job"]) {
            found.opaque(OpaqueClass::RoutineDefinition, "a job that copies whatever arrives");
            return Some(found);
        } else {
            option(&mut reader, &mut found);
        }
    }
    Some(found)
}

/// One option, or a word or value of one; always reads on.
fn option(reader: &mut Reader<'_, '_>, found: &mut Found) {
    if reader.eat(&["iam_role"]) {
        return role(reader, found);
    }
    if reader.eat_one_of(&["credentials", "access_key_id", "secret_access_key", "session_token"]) {
        reader.eat(&["as"]);
        reader.next();
        return found.opaque(OpaqueClass::Authorization, "credentials in the statement");
    }
    if reader.eat_one_of(&["kms_key_id", "master_symmetric_key"]) {
        reader.next();
        return;
    }
    let Some(token) = reader.next() else { return };
    match token.string() {
        // Files that say how to read the others (JSONPaths, Avro schemas).
        Some(value) if value.contains("://") => found.location(Action::Import, value),
        Some(_) => {}
        None if token.is_string() && !token.text.contains("//") => {}
        None => {
            if !token.is_integer() && !token.word().is_some_and(|word| OPTIONS.contains(&word.as_str())) {
                found.opaque(OpaqueClass::Unsupported, "an option that is not known");
            }
        }
    }
}

/// The roles that the warehouse takes on, one after the other.
pub(super) fn role(reader: &mut Reader<'_, '_>, found: &mut Found) {
    if reader.eat(&["default"]) {
        return found.effect(Effect::Role { role: Some("default".to_owned()) });
    }
    match reader.string() {
        Some(chain) => {
            for role in chain.split(',') {
                found.effect(Effect::Role { role: Some(role.trim().to_owned()) });
            }
        }
        None => found.opaque(OpaqueClass::Authorization, "a role that is not beyond doubt"),
    }
}
