//! What the references of BigQuery's API are to policy.

use serde::Deserialize;

use super::address;
use crate::sql::{Action, Effect, Object, ObjectKind, OpaqueClass};

/// A dataset, as a request names it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct DatasetReference {
    project_id: Option<String>,
    dataset_id: String,
}

impl DatasetReference {
    /// Its name.
    ///
    /// # Errors
    /// It is in another project than `project`. Names with a dataset and without a project would be in the one, names without a dataset
    /// in the other.
    pub(super) fn in_project(&self, project: &str) -> Result<String, &'static str> {
        if self.project_id.as_deref().is_some_and(|named| named != project) {
            return Err("the dataset is in another project than the request");
        }
        address::dataset(&self.dataset_id)
    }
}

/// A table, as a request names it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct TableReference {
    project_id: String,
    dataset_id: String,
    table_id: String,
}

impl TableReference {
    /// It as an object.
    ///
    /// # Errors
    /// A name in it is none.
    pub(super) fn object(&self) -> Result<Object, &'static str> {
        let (project, dataset) = (address::project(&self.project_id)?, address::dataset(&self.dataset_id)?);
        Ok(table(&project, &dataset, address::table(&self.table_id)?))
    }
}

/// Where a job writes.
#[derive(Debug)]
pub(super) struct Destination {
    /// The table.
    pub(super) table: TableReference,
    /// `writeDisposition`.
    pub(super) write: Option<String>,
    /// `createDisposition`.
    pub(super) create: Option<String>,
    /// Whether the job may add columns, or relax them.
    pub(super) changes_schema: bool,
}

impl Destination {
    /// What the job does there.
    ///
    /// # Errors
    /// A disposition that is not known, or a dataset that is hidden: in those lie the results of queries, which belong to who asked.
    pub(super) fn effects(&self) -> Result<Vec<Effect>, &'static str> {
        let object = self.table.object()?;
        if self.table.dataset_id.starts_with('_') {
            return Err("no job writes into a hidden dataset");
        }
        let mut actions = vec![Action::Insert];
        match self.create.as_deref() {
            None | Some("CREATE_IF_NEEDED") => actions.push(Action::Create),
            Some("CREATE_NEVER") => {}
            Some(_) => return Err("a createDisposition that is not known"),
        }
        match self.write.as_deref() {
            None | Some("WRITE_EMPTY" | "WRITE_APPEND") => {}
            Some("WRITE_TRUNCATE_DATA") => actions.push(Action::Truncate),
            // It replaces the schema as well.
            Some("WRITE_TRUNCATE") => actions.extend([Action::Truncate, Action::Alter]),
            Some(_) => return Err("a writeDisposition that is not known"),
        }
        if self.changes_schema && !actions.contains(&Action::Alter) {
            actions.push(Action::Alter);
        }
        Ok(actions.into_iter().map(|action| on(action, object.clone())).collect())
    }
}

/// An action on all of an object.
pub(super) fn on(action: Action, object: Object) -> Effect {
    Effect::Access { action, object, columns: Vec::new() }
}

/// A table or view.
pub(super) fn table(project: &str, dataset: &str, name: &str) -> Object {
    Object { kind: ObjectKind::Relation, database: Some(project.to_owned()), schema: Some(dataset.to_owned()), name: name.to_owned() }
}

/// A dataset.
pub(super) fn dataset(project: &str, name: &str) -> Object {
    Object { kind: ObjectKind::Schema, database: Some(project.to_owned()), schema: Some(name.to_owned()), name: name.to_owned() }
}

/// An action on a place outside of the warehouse.
pub(super) fn location(action: Action, uri: String) -> Effect {
    on(action, Object { kind: ObjectKind::Location, database: None, schema: None, name: uri })
}

/// Something that cannot be seen into.
pub(super) fn opaque(class: OpaqueClass, detail: &str) -> Effect {
    Effect::Opaque { class, detail: detail.to_owned() }
}
