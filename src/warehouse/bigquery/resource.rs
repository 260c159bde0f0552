//! What requests about datasets, tables and routines would do, and those that read and write rows without a job.
//!
//! What a request reads of metadata is named as the view of `INFORMATION_SCHEMA` that has it, so that a policy speaks of both in one
//! way. Source: BigQuery's REST reference, v2, "Dataset", "Table" and "tabledata.insertAll".

use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer};

use super::address::{Kind, Resource, Verb};
use super::effect::{self, DatasetReference, TableReference};
use crate::sql::{Action, Effect, Object, ObjectKind, OpaqueClass};

/// What a request would do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Deed {
    /// To what: `PROJECT.DATASET.TABLE`, as far as that is said.
    pub(super) subject: String,
    /// The query of a view that it defines.
    pub(super) sql: Option<String>,
    /// Its effects, besides those of the query.
    pub(super) effects: Vec<Effect>,
}

const UNREADABLE: &str = "the body is not the JSON of such a request, or has a key that is not known, or one twice";

impl Deed {
    /// What the request would do.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn of(resource: &Resource, project: &str, body: &[u8]) -> Result<Self, &'static str> {
        let Resource { verb, kind, dataset, name } = resource;
        let is_bodiless = matches!(verb, Verb::List | Verb::Get | Verb::Delete | Verb::ListRows);
        if is_bodiless && !body.is_empty() {
            return Err("a request of this method has no body");
        }
        let Some(dataset) = dataset else { return of_project(*verb, project, body) };
        let subject = format!("{project}.{dataset}");
        let Some(name) = name else {
            return Self { subject, sql: None, effects: Vec::new() }.of_dataset(resource, [project, dataset], body);
        };
        let deed = Self { subject: format!("{subject}.{name}"), sql: None, effects: Vec::new() };
        match kind {
            Kind::Table => deed.of_table(*verb, [project, dataset, name], body),
            Kind::Routine | Kind::Dataset => Ok(deed.of_routine(*verb, [project, dataset, name])),
        }
    }

    fn of_dataset(mut self, resource: &Resource, [project, dataset]: [&str; 2], body: &[u8]) -> Result<Self, &'static str> {
        let alter = |this: &mut Self| -> Result<(), &'static str> {
            let changed = DatasetBody::read(body, project)?;
            if changed.dataset_reference.is_some_and(|reference| reference.in_project(project).as_deref() != Ok(dataset)) {
                return Err("the body names another dataset than the path");
            }
            this.effects = changed.access.effects(&effect::dataset(project, dataset));
            this.effects.push(effect::on(Action::Alter, effect::dataset(project, dataset)));
            Ok(())
        };
        match (resource.kind, resource.verb) {
            (Kind::Dataset, Verb::Get | Verb::List) => self.effects = vec![known(project, Some(dataset), "SCHEMATA")],
            (Kind::Dataset, Verb::Patch | Verb::Update) => alter(&mut self)?,
            (Kind::Dataset, Verb::Delete) => self.effects = vec![effect::on(Action::Drop, effect::dataset(project, dataset))],
            (Kind::Table, Verb::List) => self.effects = vec![known(project, Some(dataset), "TABLES")],
            (Kind::Table, Verb::Insert) => {
                let made = TableBody::read(body)?;
                let object = made.object(project, dataset)?.ok_or("the table that is to be made has no name")?;
                self.subject = format!("{}.{}", self.subject, object.name);
                self.effects = vec![effect::on(Action::Create, object)];
                self.defined(made);
            }
            (Kind::Routine, Verb::List) => self.effects = vec![known(project, Some(dataset), "ROUTINES")],
            (Kind::Routine, Verb::Insert) => self.effects = vec![effect::opaque(OpaqueClass::RoutineDefinition, "routines.insert")],
            (Kind::Dataset | Kind::Table | Kind::Routine, _) => return Err("no such request is known"),
        }
        Ok(self)
    }

    fn of_table(mut self, verb: Verb, [project, dataset, name]: [&str; 3], body: &[u8]) -> Result<Self, &'static str> {
        let table = effect::table(project, dataset, name);
        match verb {
            Verb::Get | Verb::List => self.effects = vec![known(project, Some(dataset), "COLUMNS")],
            Verb::Delete => self.effects = vec![effect::on(Action::Drop, table)],
            Verb::ListRows => self.effects = vec![effect::on(Action::Select, table)],
            Verb::InsertRows => {
                let Rows { .. } = serde_json::from_slice(body).map_err(|_| UNREADABLE)?;
                self.effects = vec![effect::on(Action::Insert, table)];
            }
            Verb::Insert | Verb::Patch | Verb::Update => {
                let changed = TableBody::read(body)?;
                if changed.object(project, dataset)?.is_some_and(|named| named != table) {
                    return Err("the body names another table than the path");
                }
                self.effects = vec![effect::on(Action::Alter, table)];
                self.defined(changed);
            }
        }
        Ok(self)
    }

    /// Notes what a definition of a table carries inside.
    fn defined(&mut self, body: TableBody) {
        let query = body.view.map(|view| {
            if view.use_legacy_sql != Some(false) {
                self.effects.push(effect::opaque(OpaqueClass::Unparseable, "legacy SQL"));
            }
            view.query
        });
        self.sql = query.or(body.materialized_view.map(|view| view.query));
        if let Some(external) = body.external_data_configuration {
            self.effects.push(effect::opaque(OpaqueClass::ForeignData, "externalDataConfiguration"));
            self.effects.extend(external.source_uris.into_iter().map(|uri| effect::location(Action::Import, uri)));
        }
        if body.resource_tags.is_given {
            self.effects.push(effect::opaque(OpaqueClass::Authorization, "resourceTags"));
        }
    }

    fn of_routine(mut self, verb: Verb, [project, dataset, name]: [&str; 3]) -> Self {
        self.effects = match verb {
            Verb::Get | Verb::List | Verb::ListRows => vec![known(project, Some(dataset), "ROUTINES")],
            Verb::Delete => {
                let kind = ObjectKind::Function;
                vec![effect::on(Action::Drop, Object { kind, ..effect::table(project, dataset, name) })]
            }
            Verb::Insert | Verb::Patch | Verb::Update | Verb::InsertRows => {
                vec![effect::opaque(OpaqueClass::RoutineDefinition, "routines.update")]
            }
        };
        self
    }
}

/// A request about the datasets of a project: their list, or one that is made.
fn of_project(verb: Verb, project: &str, body: &[u8]) -> Result<Deed, &'static str> {
    if verb == Verb::List {
        return Ok(Deed { subject: project.to_owned(), sql: None, effects: vec![known(project, None, "SCHEMATA")] });
    }
    let made = DatasetBody::read(body, project)?;
    let name = made.dataset_reference.ok_or("the dataset that is to be made has no name")?.in_project(project)?;
    let mut effects = vec![effect::on(Action::Create, effect::dataset(project, &name))];
    effects.extend(made.access.effects(&effect::dataset(project, &name)));
    Ok(Deed { subject: format!("{project}.{name}"), sql: None, effects })
}

/// Something is read that a view of the information schema tells as well; its name is as SQL's are.
fn known(project: &str, dataset: Option<&str>, view: &str) -> Effect {
    let schema = dataset.map_or("INFORMATION_SCHEMA".to_owned(), |dataset| format!("{dataset}.INFORMATION_SCHEMA"));
    effect::on(Action::Select, effect::table(project, &schema, view))
}

/// What is passed on and means nothing to policy.
type Passed = Option<IgnoredAny>;

/// Whether a key is there, with whatever value: `null` takes away what was there.
#[derive(Debug, Default, Clone, Copy)]
struct Given {
    is_given: bool,
}

impl<'de> Deserialize<'de> for Given {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        IgnoredAny::deserialize(deserializer).map(|_| Self { is_given: true })
    }
}

impl Given {
    /// Of `access`: the list of who may do what takes the place of the one before.
    fn effects(self, dataset: &Object) -> Vec<Effect> {
        let actions = if self.is_given { &[Action::Grant, Action::Revoke][..] } else { &[] };
        actions.iter().map(|action| effect::on(*action, dataset.clone())).collect()
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[expect(dead_code, reason = "what is only passed on is not read")]
struct DatasetBody {
    dataset_reference: Option<DatasetReference>,
    #[serde(default)]
    access: Given,
    is_case_insensitive: Option<bool>,
    default_collation: Passed,
    default_encryption_configuration: Passed,
    default_partition_expiration_ms: Passed,
    default_rounding_mode: Passed,
    default_table_expiration_ms: Passed,
    description: Passed,
    etag: Passed,
    friendly_name: Passed,
    id: Passed,
    kind: Passed,
    labels: Passed,
    location: Passed,
    max_time_travel_hours: Passed,
    self_link: Passed,
    storage_billing_model: Passed,
}

impl DatasetBody {
    fn read(body: &[u8], project: &str) -> Result<Self, &'static str> {
        let read: Self = serde_json::from_slice(body).map_err(|_| UNREADABLE)?;
        if read.is_case_insensitive == Some(true) {
            return Err("in a case-insensitive dataset a table would have more names than policy knows: isCaseInsensitive");
        }
        if let Some(reference) = &read.dataset_reference {
            reference.in_project(project)?;
        }
        Ok(read)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[expect(dead_code, reason = "what is only passed on is not read")]
struct TableBody {
    table_reference: Option<TableReference>,
    view: Option<View>,
    materialized_view: Option<MaterializedView>,
    external_data_configuration: Option<External>,
    #[serde(default)]
    resource_tags: Given,
    clustering: Passed,
    default_collation: Passed,
    default_rounding_mode: Passed,
    description: Passed,
    encryption_configuration: Passed,
    etag: Passed,
    expiration_time: Passed,
    friendly_name: Passed,
    id: Passed,
    kind: Passed,
    labels: Passed,
    location: Passed,
    max_staleness: Passed,
    range_partitioning: Passed,
    require_partition_filter: Passed,
    schema: Passed,
    self_link: Passed,
    table_constraints: Passed,
    time_partitioning: Passed,
    #[serde(rename = "type")]
    table_type: Passed,
}

impl TableBody {
    fn read(body: &[u8]) -> Result<Self, &'static str> {
        let read: Self = serde_json::from_slice(body).map_err(|_| UNREADABLE)?;
        if read.view.is_some() && read.materialized_view.is_some() {
            return Err("a table has two queries");
        }
        Ok(read)
    }

    /// The table that the body names.
    fn object(&self, project: &str, dataset: &str) -> Result<Option<Object>, &'static str> {
        let Some(object) = self.table_reference.as_ref().map(TableReference::object).transpose()? else { return Ok(None) };
        let is_here = object.database.as_deref() == Some(project) && object.schema.as_deref() == Some(dataset);
        if is_here { Ok(Some(object)) } else { Err("the body names another dataset than the path") }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[expect(dead_code, reason = "what is only passed on is not read")]
struct View {
    query: String,
    use_legacy_sql: Option<bool>,
    use_explicit_column_names: Passed,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[expect(dead_code, reason = "what is only passed on is not read")]
struct MaterializedView {
    query: String,
    allow_non_incremental_definition: Passed,
    enable_refresh: Passed,
    max_staleness: Passed,
    refresh_interval_ms: Passed,
}

/// Whatever else stands in it, it is foreign data.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct External {
    #[serde(default)]
    source_uris: Vec<String>,
}

/// The body of `tabledata.insertAll`. `templateSuffix` is not passed on: with it rows go to another table than the path says.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[expect(dead_code, reason = "what is only passed on is not read")]
struct Rows {
    rows: Passed,
    kind: Passed,
    ignore_unknown_values: Passed,
    skip_invalid_rows: Passed,
    trace_id: Passed,
}
