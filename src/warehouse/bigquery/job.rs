//! What a job would do, by its configuration.
//!
//! The types here are the list of what is passed on: a key that is not in them, or that stands twice, makes the request one that is
//! refused, since nobody knows what it would change. Source: BigQuery's REST reference, v2, "Job" and "jobs.query".

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::address;
use super::effect::{self, DatasetReference, Destination, TableReference};
use crate::sql::{Action, Effect, OpaqueClass};

/// A job as far as policy is about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Job {
    /// What it is.
    pub(super) kind: Kind,
    /// What it does besides its text.
    pub(super) effects: Vec<Effect>,
    /// The dataset of tables that are named without one.
    pub(super) dataset: Option<String>,
    /// The name that the client has chosen for the execution.
    pub(super) name: Option<String>,
    /// dbt's invocation.
    pub(super) invocation: Option<String>,
    /// Whether it is only asked what the job would do.
    pub(super) is_dry: bool,
}

/// A kind of job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kind {
    /// A text.
    Query(String),
    /// Rows from a location, or from an upload.
    Load,
    /// Rows of tables, into another.
    Copy,
    /// Rows of a table, to a location.
    Extract,
}

const UNREADABLE: &str = "the body is not the JSON of such a request, or has a key that is not known, or one twice";

impl Job {
    /// The job of `jobs.insert`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn inserted(body: &[u8], project: &str) -> Result<Self, &'static str> {
        let Insert { job_reference, configuration, .. } = serde_json::from_slice(body).map_err(|_| UNREADABLE)?;
        let Configuration { query, load, copy, extract, dry_run, labels, .. } = configuration;
        let mut job = match (query, load, copy, extract) {
            (Some(query), None, None, None) => query.job(project)?,
            (None, Some(load), None, None) => Self::new(Kind::Load, load.effects()?),
            (None, None, Some(copy), None) => Self::new(Kind::Copy, copy.effects()?),
            (None, None, None, Some(extract)) => Self::new(Kind::Extract, extract.effects()?),
            _ => return Err("a job is either a query, a load, a copy or an extract"),
        };
        let name = job_reference.map(|reference| reference.name(project)).transpose()?.flatten();
        job.is_dry = dry_run.unwrap_or(false);
        // A job that is not made must not lend its name to whoever asks for another that has it.
        job.name = name.filter(|_| !job.is_dry);
        job.invocation = labels.and_then(|labels| labels.dbt_invocation_id);
        Ok(job)
    }

    /// The job of `jobs.query`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn queried(body: &[u8], project: &str) -> Result<Self, &'static str> {
        let request: QueryRequest = serde_json::from_slice(body).map_err(|_| UNREADABLE)?;
        let mut job = Self::query(request.query, request.use_legacy_sql, request.default_dataset, project)?;
        job.effects.extend(connection(request.create_session, request.connection_properties)?);
        job.is_dry = request.dry_run.unwrap_or(false);
        job.invocation = request.labels.and_then(|labels| labels.dbt_invocation_id);
        Ok(job)
    }

    /// The load job that an upload begins with.
    ///
    /// # Errors
    /// It is another job, or what is wrong with it.
    pub(super) fn uploaded(body: &[u8], project: &str) -> Result<Self, &'static str> {
        let job = Self::inserted(body, project)?;
        if job.kind == Kind::Load && !job.is_dry { Ok(job) } else { Err("only a load job can be uploaded to") }
    }

    fn new(kind: Kind, effects: Vec<Effect>) -> Self {
        Self { kind, effects, dataset: None, name: None, invocation: None, is_dry: false }
    }

    fn query(sql: String, legacy: Option<bool>, dataset: Option<DatasetReference>, project: &str) -> Result<Self, &'static str> {
        let mut effects = Vec::new();
        // What is not said is `true`; and a text can say it of itself.
        if legacy != Some(false) || sql.to_ascii_lowercase().contains("#legacysql") {
            effects.push(effect::opaque(OpaqueClass::Unparseable, "legacy SQL"));
        }
        let dataset = dataset.map(|dataset| dataset.in_project(project)).transpose()?;
        Ok(Self { dataset, ..Self::new(Kind::Query(sql), effects) })
    }
}

/// What is passed on and means nothing to policy.
type Passed = Option<IgnoredAny>;

/// The body of `jobs.insert`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[expect(dead_code, reason = "what is only passed on is not read")]
struct Insert {
    job_reference: Option<JobReference>,
    configuration: Configuration,
    kind: Passed,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct JobReference {
    project_id: Option<String>,
    job_id: Option<String>,
    location: Option<String>,
}

impl JobReference {
    /// The execution's name. Where the client leaves the location to the warehouse, only the reply can say it.
    fn name(&self, project: &str) -> Result<Option<String>, &'static str> {
        if self.project_id.as_deref().is_some_and(|named| named != project) {
            return Err("the job is to run in another project than the one that it is sent to");
        }
        match (&self.job_id, &self.location) {
            (Some(id), Some(location)) => address::job(project, Some(location), id).map(Some),
            (Some(_) | None, _) => Ok(None),
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[expect(dead_code, reason = "what is only passed on is not read")]
struct Configuration {
    query: Option<Query>,
    load: Option<Load>,
    copy: Option<Copy>,
    extract: Option<Extract>,
    dry_run: Option<bool>,
    labels: Option<Labels>,
    job_timeout_ms: Passed,
    job_type: Passed,
    max_slots: Passed,
    reservation: Passed,
}

/// Labels of a job. dbt-bigquery puts the invocation into every query's.
#[derive(Deserialize)]
struct Labels {
    dbt_invocation_id: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[expect(dead_code, reason = "what is only passed on is not read")]
struct Query {
    query: String,
    use_legacy_sql: Option<bool>,
    default_dataset: Option<DatasetReference>,
    destination_table: Option<TableReference>,
    write_disposition: Option<String>,
    create_disposition: Option<String>,
    schema_update_options: Option<Vec<String>>,
    create_session: Option<bool>,
    connection_properties: Option<Vec<ConnectionProperty>>,
    table_definitions: Passed,
    user_defined_function_resources: Option<Vec<IgnoredAny>>,
    allow_large_results: Passed,
    clustering: Passed,
    destination_encryption_configuration: Passed,
    flatten_results: Passed,
    maximum_billing_tier: Passed,
    maximum_bytes_billed: Passed,
    parameter_mode: Passed,
    preserve_nulls: Passed,
    priority: Passed,
    query_parameters: Passed,
    range_partitioning: Passed,
    script_options: Passed,
    time_partitioning: Passed,
    use_query_cache: Passed,
    write_incremental_results: Passed,
}

impl Query {
    fn job(self, project: &str) -> Result<Job, &'static str> {
        if self.table_definitions.is_some() {
            return Err("tables outside of the warehouse must be made before they are queried: tableDefinitions");
        }
        if self.user_defined_function_resources.is_some_and(|resources| !resources.is_empty()) {
            return Err("functions must be in the text of the query: userDefinedFunctionResources");
        }
        let mut job = Job::query(self.query, self.use_legacy_sql, self.default_dataset, project)?;
        job.effects.extend(connection(self.create_session, self.connection_properties)?);
        if let Some(table) = self.destination_table {
            let changes_schema = self.schema_update_options.is_some_and(|options| !options.is_empty());
            let (write, create) = (self.write_disposition, self.create_disposition);
            job.effects.extend(Destination { table, write, create, changes_schema }.effects()?);
        }
        Ok(job)
    }
}

/// The body of `jobs.query`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[expect(dead_code, reason = "what is only passed on is not read")]
struct QueryRequest {
    query: String,
    use_legacy_sql: Option<bool>,
    default_dataset: Option<DatasetReference>,
    dry_run: Option<bool>,
    labels: Option<Labels>,
    create_session: Option<bool>,
    connection_properties: Option<Vec<ConnectionProperty>>,
    destination_encryption_configuration: Passed,
    format_options: Passed,
    job_creation_mode: Passed,
    job_timeout_ms: Passed,
    kind: Passed,
    location: Passed,
    max_results: Passed,
    max_slots: Passed,
    maximum_bytes_billed: Passed,
    parameter_mode: Passed,
    preserve_nulls: Passed,
    query_parameters: Passed,
    request_id: Passed,
    reservation: Passed,
    timeout_ms: Passed,
    use_query_cache: Passed,
    write_incremental_results: Passed,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ConnectionProperty {
    key: String,
    value: String,
}

/// What properties of the connection do. Sessions are not served: a setting in one can change what names mean, and it would have to be
/// known to judge the next statement.
fn connection(creates_session: Option<bool>, properties: Option<Vec<ConnectionProperty>>) -> Result<Vec<Effect>, &'static str> {
    if creates_session == Some(true) {
        return Err("sessions are not served: createSession");
    }
    let mut effects = Vec::new();
    for ConnectionProperty { key, value } in properties.unwrap_or_default() {
        match key.as_str() {
            "time_zone" | "query_label" => {}
            "service_account" => effects.push(Effect::Role { role: Some(value) }),
            "session_id" => return Err("sessions are not served: session_id"),
            _ => return Err("a property of the connection is not known"),
        }
    }
    Ok(effects)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[expect(dead_code, reason = "what is only passed on is not read")]
struct Load {
    destination_table: TableReference,
    source_uris: Option<Vec<String>>,
    reference_file_schema_uri: Option<String>,
    write_disposition: Option<String>,
    create_disposition: Option<String>,
    schema_update_options: Option<Vec<String>>,
    create_session: Option<bool>,
    connection_properties: Option<Vec<ConnectionProperty>>,
    allow_jagged_rows: Passed,
    allow_quoted_newlines: Passed,
    autodetect: Passed,
    clustering: Passed,
    column_name_character_map: Passed,
    copy_files_only: Passed,
    date_format: Passed,
    datetime_format: Passed,
    decimal_target_types: Passed,
    destination_encryption_configuration: Passed,
    destination_table_properties: Passed,
    encoding: Passed,
    field_delimiter: Passed,
    file_set_spec_type: Passed,
    hive_partitioning_options: Passed,
    ignore_unknown_values: Passed,
    json_extension: Passed,
    max_bad_records: Passed,
    null_marker: Passed,
    null_markers: Passed,
    parquet_options: Passed,
    preserve_ascii_control_characters: Passed,
    projection_fields: Passed,
    quote: Passed,
    range_partitioning: Passed,
    schema: Passed,
    schema_inline: Passed,
    schema_inline_format: Passed,
    skip_leading_rows: Passed,
    source_column_match: Passed,
    source_format: Passed,
    time_format: Passed,
    time_partitioning: Passed,
    time_zone: Passed,
    timestamp_format: Passed,
    timestamp_target_precision: Passed,
    use_avro_logical_types: Passed,
}

impl Load {
    fn effects(self) -> Result<Vec<Effect>, &'static str> {
        let mut effects = connection(self.create_session, self.connection_properties)?;
        let sources = self.source_uris.unwrap_or_default().into_iter().chain(self.reference_file_schema_uri);
        effects.extend(sources.map(|uri| effect::location(Action::Import, uri)));
        let changes_schema = self.schema_update_options.is_some_and(|options| !options.is_empty());
        let (table, write, create) = (self.destination_table, self.write_disposition, self.create_disposition);
        effects.extend(Destination { table, write, create, changes_schema }.effects()?);
        Ok(effects)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[expect(dead_code, reason = "what is only passed on is not read")]
struct Copy {
    destination_table: TableReference,
    source_table: Option<TableReference>,
    source_tables: Option<Vec<TableReference>>,
    write_disposition: Option<String>,
    create_disposition: Option<String>,
    destination_encryption_configuration: Passed,
    destination_expiration_time: Passed,
    operation_type: Passed,
}

impl Copy {
    fn effects(self) -> Result<Vec<Effect>, &'static str> {
        let sources = self.source_tables.unwrap_or_default().into_iter().chain(self.source_table);
        let reads = sources.map(|table| table.object().map(|object| effect::on(Action::Select, object)));
        let mut effects = reads.collect::<Result<Vec<_>, _>>()?;
        if effects.is_empty() {
            return Err("a copy has no source");
        }
        let (table, write, create) = (self.destination_table, self.write_disposition, self.create_disposition);
        effects.extend(Destination { table, write, create, changes_schema: false }.effects()?);
        Ok(effects)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[expect(dead_code, reason = "what is only passed on is not read")]
struct Extract {
    source_table: TableReference,
    destination_uri: Option<String>,
    destination_uris: Option<Vec<String>>,
    compression: Passed,
    destination_format: Passed,
    field_delimiter: Passed,
    print_header: Passed,
    use_avro_logical_types: Passed,
}

impl Extract {
    fn effects(self) -> Result<Vec<Effect>, &'static str> {
        let mut effects = vec![effect::on(Action::Select, self.source_table.object()?)];
        let destinations = self.destination_uris.unwrap_or_default().into_iter().chain(self.destination_uri);
        effects.extend(destinations.map(|uri| effect::location(Action::Export, uri)));
        if effects.len() > 1 { Ok(effects) } else { Err("an extract has no destination") }
    }
}
