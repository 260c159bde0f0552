//! Names in the parse tree, as objects.

use pg_query::NodeEnum;
use pg_query::protobuf::{Node, RangeVar};

use super::catalog;
use crate::sql::{Object, ObjectKind};

/// The schema of temporary objects, by the name that every session knows it.
const TEMPORARY: &str = "pg_temp";

/// A relation that has to exist: an unqualified catalog name is the catalog's, for the server looks there first.
pub(super) fn existing(relation: &RangeVar) -> Object {
    in_catalog(made(relation))
}

/// A relation that is being made: unqualified, it goes to the first schema of the search path, or is temporary.
pub(super) fn made(relation: &RangeVar) -> Object {
    let schema = match (written(&relation.schemaname), relation.relpersistence.as_str()) {
        (None, "t") => Some(TEMPORARY.to_owned()),
        (schema, _) => schema,
    };
    Object { kind: ObjectKind::Relation, database: written(&relation.catalogname), schema, name: relation.relname.clone() }
}

/// The object at a dotted path of strings; `None` if it is not one.
pub(super) fn at_path(kind: ObjectKind, path: &[Node]) -> Option<Object> {
    let mut parts = path.iter().rev().map(string);
    let name = parts.next()??.to_owned();
    let schema = parts.next().map(|part| part.map(str::to_owned));
    let database = parts.next().map(|part| part.map(str::to_owned));
    // The grammar allows more dots; a path that the server would refuse is not worth guessing about.
    if parts.next().is_some() || schema == Some(None) || database == Some(None) {
        return None;
    }
    Some(Object { kind, database: database.flatten(), schema: schema.flatten(), name })
}

/// Like [`at_path`], for a relation that has to exist.
pub(super) fn existing_at_path(path: &[Node]) -> Option<Object> {
    at_path(ObjectKind::Relation, path).map(in_catalog)
}

/// A schema by its own name.
pub(super) fn schema(name: &str) -> Object {
    Object { kind: ObjectKind::Schema, database: None, schema: Some(name.to_owned()), name: name.to_owned() }
}

/// A database by its own name.
pub(super) fn database(name: &str) -> Object {
    Object { kind: ObjectKind::Database, database: Some(name.to_owned()), schema: None, name: name.to_owned() }
}

/// The text of a string node.
pub(super) fn string(node: &Node) -> Option<&str> {
    match &node.node {
        Some(NodeEnum::String(string)) => Some(&string.sval),
        _ => None,
    }
}

/// The strings of a list node, as in `DROP TABLE a.b`.
pub(super) fn list(node: &Node) -> Option<&[Node]> {
    match &node.node {
        Some(NodeEnum::List(list)) => Some(&list.items),
        _ => None,
    }
}

/// The names of result targets: the columns of an `INSERT` or `UPDATE`.
pub(super) fn columns(targets: &[Node]) -> Vec<String> {
    let names = targets.iter().filter_map(|target| match &target.node {
        Some(NodeEnum::ResTarget(target)) => Some(target.name.clone()),
        _ => None,
    });
    names.collect()
}

fn in_catalog(object: Object) -> Object {
    match object.schema {
        None if catalog::has_relation(&object.name) => Object { schema: Some("pg_catalog".to_owned()), ..object },
        _ => object,
    }
}

fn written(part: &str) -> Option<String> {
    (!part.is_empty()).then(|| part.to_owned())
}
