//! Names in the syntax tree, as objects.

use sqlparser::ast::{Ident, ObjectName, ObjectNamePart};

use super::{Fold, Vendor};
use crate::sql::{Object, ObjectKind};

/// What stands where a relation may.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Named {
    Object(Object),
    /// A stage, a path or a URL, as written.
    Location(String),
    /// BigQuery: all tables of this dataset whose names begin with what stands before the `*`.
    Wildcard(Object),
    Unknown,
}

/// What a name means in the place of a relation.
pub(super) fn named(vendor: &Vendor, name: &ObjectName) -> Named {
    let written: Option<Vec<&Ident>> = name.0.iter().map(ObjectNamePart::as_ident).collect();
    let Some(written) = written else { return Named::Unknown };
    if let [first, ..] = written.as_slice()
        && first.quote_style.is_none()
        && first.value.starts_with('@')
    {
        return Named::Location(written.iter().map(|part| part.value.as_str()).collect::<Vec<_>>().join("."));
    }
    if let Some(path) = written.iter().find(|part| part.value.contains('/')) {
        return Named::Location(path.value.clone());
    }
    if vendor.quotes_paths
        && let Some(dataset) = dataset_of_wildcard(vendor, name)
    {
        return Named::Wildcard(dataset);
    }
    object(vendor, ObjectKind::Relation, name).map_or(Named::Unknown, Named::Object)
}

/// The dataset of a path that ends with a `*`, which stands in backticks.
fn dataset_of_wildcard(vendor: &Vendor, name: &ObjectName) -> Option<Object> {
    let (last, before) = name.0.split_last()?;
    let last = last.as_ident().filter(|last| last.quote_style == Some('`'))?;
    let whole = last.value.strip_suffix('*').filter(|whole| !whole.contains('*'))?;
    let mut path = before.to_vec();
    if let Some((dataset, _)) = whole.rsplit_once('.') {
        path.push(ObjectNamePart::Identifier(Ident::with_quote('`', dataset)));
    }
    object(vendor, ObjectKind::Schema, &ObjectName(path))
}

/// The object of that name; `None` if it is not one that is certain.
pub(super) fn object(vendor: &Vendor, kind: ObjectKind, name: &ObjectName) -> Option<Object> {
    let mut parts = parts(vendor, name)?;
    if kind == ObjectKind::Database {
        let name = parts.pop().filter(|_| parts.is_empty())?;
        return Some(Object { kind, database: Some(name.clone()), schema: None, name });
    }
    // BigQuery: `project.dataset.INFORMATION_SCHEMA.VIEW`.
    if let [_, _, schema, _] = parts.as_slice()
        && schema.eq_ignore_ascii_case("information_schema")
    {
        let schema = format!("{}.{schema}", parts.get(1)?);
        parts.splice(1..3, [schema]);
    }
    let mut from_the_right = parts.into_iter().rev();
    let (name, schema, database) = (from_the_right.next()?, from_the_right.next(), from_the_right.next());
    if from_the_right.next().is_some() {
        return None;
    }
    match kind {
        ObjectKind::Schema if database.is_some() => None,
        ObjectKind::Schema => Some(Object { kind, database: schema, schema: Some(name.clone()), name }),
        ObjectKind::Relation | ObjectKind::Function | ObjectKind::Type | ObjectKind::Database | ObjectKind::Location => {
            Some(Object { kind, database, schema, name })
        }
    }
}

/// A single name in the form of the vendor.
pub(super) fn folded(vendor: &Vendor, ident: &Ident) -> String {
    match (vendor.fold, ident.quote_style) {
        (Fold::UnquotedUpper, None) => ident.value.to_ascii_uppercase(),
        (Fold::Lower, None | Some(_)) => ident.value.to_lowercase(),
        (Fold::UnquotedUpper, Some(_)) | (Fold::Kept, None | Some(_)) => ident.value.clone(),
    }
}

fn parts(vendor: &Vendor, name: &ObjectName) -> Option<Vec<String>> {
    let mut parts = Vec::new();
    for part in &name.0 {
        let ident = part.as_ident()?;
        let is_variable = ident.quote_style.is_none() && ident.value.starts_with(['$', '@', ':', '?', '{', '&', '%']);
        if is_variable || matches!(ident.quote_style, Some('\'' | '[')) || ident.value.contains('*') {
            return None;
        }
        let folded = folded(vendor, ident);
        match ident.quote_style {
            Some('`') if vendor.quotes_paths => parts.extend(folded.split('.').map(str::to_owned)),
            _ => parts.push(folded),
        }
    }
    let is_whole = !parts.is_empty() && parts.iter().all(|part| !part.is_empty());
    is_whole.then_some(parts)
}
