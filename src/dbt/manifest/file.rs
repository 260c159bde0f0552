//! The JSON of a manifest, as far as it is used.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::relation::Relation;
use super::{Hook, ManifestError, Node, NodeKind, VERSION_MIN, even};

/// What was read.
pub(super) struct Read {
    pub(super) project: Option<String>,
    pub(super) adapter: String,
    pub(super) invocation: Option<String>,
    pub(super) nodes: BTreeMap<String, Node>,
}

#[derive(Deserialize)]
struct File<'a> {
    metadata: Metadata,
    #[serde(borrow)]
    nodes: BTreeMap<String, &'a RawValue>,
    #[serde(borrow)]
    sources: BTreeMap<String, &'a RawValue>,
    #[serde(borrow, default)]
    unit_tests: BTreeMap<String, &'a RawValue>,
    #[serde(borrow, default)]
    functions: BTreeMap<String, &'a RawValue>,
}

#[derive(Deserialize)]
struct Metadata {
    dbt_schema_version: String,
    adapter_type: String,
    project_name: Option<String>,
    invocation_id: Option<String>,
}

#[derive(Deserialize)]
struct NodeFile {
    resource_type: String,
    name: String,
    relation_name: Option<String>,
    original_file_path: Option<String>,
    #[serde(default, deserialize_with = "or_default")]
    config: ConfigFile,
    /// Seeds have one without `nodes`, sources none.
    #[serde(default, deserialize_with = "or_default")]
    depends_on: DependsOn,
    raw_code: Option<String>,
    compiled_code: Option<String>,
    freshness: Option<Freshness>,
}

#[derive(Deserialize, Default)]
struct ConfigFile {
    materialized: Option<String>,
    incremental_strategy: Option<String>,
    batch_size: Option<String>,
    #[serde(default, rename = "pre-hook", alias = "pre_hook", deserialize_with = "or_default")]
    pre_hook: Vec<HookFile>,
    #[serde(default, rename = "post-hook", alias = "post_hook", deserialize_with = "or_default")]
    post_hook: Vec<HookFile>,
    sql_header: Option<String>,
    #[serde(default, deserialize_with = "or_default")]
    grants: BTreeMap<String, serde_json::Value>,
    #[serde(default, deserialize_with = "or_default")]
    indexes: Vec<serde_json::Value>,
}

#[derive(Deserialize, Default)]
struct DependsOn {
    #[serde(default)]
    nodes: Vec<String>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum HookFile {
    Text(String),
    Object { sql: String },
}

#[derive(Deserialize)]
struct Freshness {
    warn_after: Option<Span>,
    error_after: Option<Span>,
}

#[derive(Deserialize)]
struct Span {
    count: Option<u64>,
}

/// dbt writes `null` where a key has no value.
fn or_default<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(deserializer: D) -> Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// Reads the file and each of its nodes.
///
/// # Errors
/// Each [`ManifestError`] but those about parents.
pub(super) fn read(content: &[u8]) -> Result<Read, ManifestError> {
    let file: File<'_> = serde_json::from_slice(content).map_err(ManifestError::Malformed)?;
    let schema = file.metadata.dbt_schema_version;
    if version(&schema).is_none_or(|version| version < VERSION_MIN) {
        return Err(ManifestError::Version(schema));
    }
    let mut nodes = BTreeMap::new();
    for (id, written) in [file.nodes, file.sources, file.unit_tests, file.functions].into_iter().flatten() {
        let written: NodeFile = serde_json::from_str(written.get()).map_err(|source| ManifestError::Node { node: id.clone(), source })?;
        let node = node(&id, written)?;
        nodes.insert(id, node);
    }
    let Metadata { adapter_type, project_name, invocation_id, .. } = file.metadata;
    Ok(Read { project: project_name, adapter: adapter_type, invocation: invocation_id, nodes })
}

/// `https://schemas.getdbt.com/dbt/manifest/v12.json` is 12.
fn version(schema: &str) -> Option<u32> {
    schema.rsplit_once("/manifest/v")?.1.strip_suffix(".json")?.parse().ok()
}

fn node(id: &str, written: NodeFile) -> Result<Node, ManifestError> {
    let kind = kind(&written.resource_type);
    let relation = relation(id, written.relation_name.as_ref())?;
    let config = written.config;
    let mut hooks: Vec<String> = config.pre_hook.into_iter().map(HookFile::sql).collect();
    hooks.extend(config.sql_header);
    hooks.extend(written.raw_code.filter(|_| kind == NodeKind::Operation));
    hooks.extend(config.post_hook.into_iter().map(HookFile::sql));
    let hooks = hooks.iter().map(|sql| Hook::read(sql, written.relation_name.as_deref())).collect();
    let is_set = |span: &Option<Span>| span.as_ref().is_some_and(|span| span.count.is_some());
    Ok(Node {
        kind,
        name: written.name,
        path: written.original_file_path.unwrap_or_default(),
        relation,
        materialized: config.materialized.unwrap_or_default(),
        batch_size: config.batch_size.filter(|_| config.incremental_strategy.as_deref() == Some("microbatch")),
        parents: written.depends_on.nodes.into_iter().collect(),
        hooks,
        grants: !config.grants.is_empty(),
        indexes: !config.indexes.is_empty(),
        freshness: written.freshness.is_some_and(|freshness| is_set(&freshness.warn_after) || is_set(&freshness.error_after)),
        compiled: written.compiled_code.as_deref().map(even).filter(|code| !code.is_empty()),
    })
}

fn kind(word: &str) -> NodeKind {
    match word {
        "model" => NodeKind::Model,
        "seed" => NodeKind::Seed,
        "snapshot" => NodeKind::Snapshot,
        "test" => NodeKind::Test,
        "unit_test" => NodeKind::UnitTest,
        "operation" => NodeKind::Operation,
        "source" => NodeKind::Source,
        "function" => NodeKind::Function,
        _ => NodeKind::Other,
    }
}

/// The relation by `relation_name`, which dbt writes as it will quote it. Ephemeral models have none, and of tests only those
/// that store their failures have one.
fn relation(id: &str, written: Option<&String>) -> Result<Option<Relation>, ManifestError> {
    let Some(name) = written else { return Ok(None) };
    let broken = || ManifestError::Relation { node: id.to_owned(), name: name.clone() };
    Relation::parse(name).ok_or_else(broken).map(Some)
}

impl HookFile {
    fn sql(self) -> String {
        match self {
            Self::Text(sql) | Self::Object { sql } => sql,
        }
    }
}

impl Hook {
    /// SQL with a Jinja tag in it is a template, unless `{{ this }}` is all that there is.
    fn read(sql: &str, this: Option<&str>) -> Self {
        let mut plain = String::new();
        let mut rest = sql;
        while let (Some((before, behind)), Some(this)) = (rest.split_once("{{"), this) {
            let Some((_, behind)) = behind.split_once("}}").filter(|(tag, _)| tag.trim() == "this") else { break };
            plain.push_str(before);
            plain.push_str(this);
            rest = behind;
        }
        plain.push_str(rest);
        let is_template = ["{{", "{%", "{#"].iter().any(|tag| plain.contains(tag));
        if is_template { Self::Template(even(sql)) } else { Self::Plain(even(&plain)) }
    }
}
