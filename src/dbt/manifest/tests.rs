//! Reads the manifest in `tests/data/manifest`, which dbt wrote, and changed copies of it.

use std::sync::LazyLock;

use serde_json::{Value, json};

use super::verify::{Asked, Mismatch, Standing};
use super::{Hook, Manifest, ManifestError};
use crate::dbt::Attribution;
use crate::sql::{self, Dialect, Limits};

static WRITTEN: LazyLock<Value> = LazyLock::new(|| {
    let file = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/manifest/jaffle.json");
    serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap()
});

fn changed(change: impl FnOnce(&mut Value)) -> Result<Manifest, ManifestError> {
    let mut value = WRITTEN.clone();
    change(&mut value);
    Manifest::parse(value.to_string().as_bytes())
}

fn manifest() -> Manifest {
    changed(|_| {}).unwrap()
}

fn message(change: impl FnOnce(&mut Value)) -> String {
    changed(change).unwrap_err().to_string()
}

fn reads(manifest: &Manifest, node: &str) -> Vec<String> {
    manifest.rights(node).unwrap().reads.iter().map(ToString::to_string).collect()
}

fn node<'v>(value: &'v mut Value, id: &str) -> &'v mut Value {
    &mut value["nodes"][id]
}

fn standing(manifest: &Manifest, node: &str, sql: &str) -> Standing {
    let analysis = sql::analyze(Dialect::Postgres, sql, &Limits::default());
    let said = Attribution { node: Some(node.to_owned()), ..Attribution::default() };
    manifest.verify(&said, &Asked { text: sql, statements: &analysis.statements, database: "jaffle", unqualified_schema: None })
}

fn mismatch(node: &str, sql: &str) -> String {
    match standing(&manifest(), node, sql) {
        Standing::Mismatch(mismatch) => format!("{}: {mismatch}", mismatch.as_str()),
        other @ (Standing::Claimed | Standing::Verified) => panic!("{other:?}: {sql}"),
    }
}

#[test]
fn what_the_file_says_of_the_project_is_read() {
    let manifest = manifest();
    assert_eq!((manifest.project.as_deref(), manifest.adapter.as_str(), manifest.nodes.len()), (Some("jaffle"), "postgres", 22));
    assert!(manifest.digest.starts_with("sha256:") && manifest.digest.len() == 23);
    let customers = &manifest.nodes["model.jaffle.customers"];
    assert_eq!(customers.relation.as_ref().unwrap().to_string(), "jaffle.analytics_marts.customers");
    assert!(customers.grants && !customers.indexes);
    assert_eq!(customers.hooks, [Hook::Plain(r#"analyze "jaffle"."analytics_marts"."customers""#.to_owned())]);
    assert!(manifest.nodes["model.jaffle.orders_inc"].indexes);
}

#[test]
fn the_parents_of_an_ephemeral_model_are_read_by_its_child() {
    assert_eq!(reads(&manifest(), "model.jaffle.contracted"), ["jaffle.analytics.stg_customers"]);
    let deeper = changed(|value| {
        let mut second = node(value, "model.jaffle.eph").clone();
        second["depends_on"]["nodes"] = json!(["source.jaffle.src.raw_orders", "model.jaffle.eph"]);
        value["nodes"]["model.jaffle.eph2"] = second;
        node(value, "model.jaffle.contracted")["depends_on"]["nodes"] = json!(["model.jaffle.eph2"]);
    });
    assert_eq!(reads(&deeper.unwrap(), "model.jaffle.contracted"), ["jaffle.analytics.raw_orders", "jaffle.analytics.stg_customers"]);
}

#[test]
fn ephemeral_models_that_stand_on_each_other_are_refused() {
    let message = message(|value| node(value, "model.jaffle.eph")["depends_on"]["nodes"] = json!(["model.jaffle.eph"]));
    assert_eq!(message, "node `model.jaffle.eph` depends on `model.jaffle.eph`, which is itself");
}

#[test]
fn a_manifest_that_is_not_exactly_understood_is_refused_with_the_node() {
    let customers = "model.jaffle.customers";
    for (message, expected) in [
        (
            message(|value| value["metadata"]["dbt_schema_version"] = json!("https://schemas.getdbt.com/dbt/manifest/v9.json")),
            "v9.json`; versions",
        ),
        (message(|value| value["metadata"]["dbt_schema_version"] = json!("12")), "has the schema `12`"),
        (message(|value| *value = json!({"metadata": {}})), "is not a manifest of dbt"),
        (message(|value| *value = json!([])), "is not a manifest of dbt"),
        (message(|value| node(value, customers)["depends_on"]["nodes"] = json!("x")), "node `model.jaffle.customers` is not as"),
        (message(|value| node(value, customers)["config"]["post-hook"] = json!([7])), "node `model.jaffle.customers` is not as"),
        (message(|value| node(value, customers)["relation_name"] = json!("customers")), "has the relation name `customers`"),
        (
            message(|value| node(value, customers)["depends_on"]["nodes"] = json!(["model.jaffle.gone"])),
            "`model.jaffle.gone`, which is not in",
        ),
    ] {
        assert!(message.contains(expected), "{message}");
    }
    assert!(changed(|value| value["metadata"]["dbt_schema_version"] = json!("https://x/manifest/v10.json")).is_ok());
    assert!(changed(|value| _ = value.as_object_mut().unwrap().remove("unit_tests")).is_ok());
    assert!(changed(|value| node(value, customers)["depends_on"]["nodes"] = json!(["metric.jaffle.revenue"])).is_ok());
}

#[test]
fn a_hook_is_plain_only_without_a_template_beyond_this() {
    let hooks = |hook: &str| {
        let read = changed(|value| node(value, "model.jaffle.customers")["config"]["pre-hook"] = json!([{"sql": hook}]));
        read.unwrap().nodes["model.jaffle.customers"].hooks[0].clone()
    };
    let plain = |sql: &str| Hook::Plain(sql.to_owned());
    assert_eq!(hooks("select\n 1 ;"), plain("select 1"));
    assert_eq!(
        hooks("lock {{ this }}; lock {{this}}"),
        plain(r#"lock "jaffle"."analytics_marts"."customers"; lock "jaffle"."analytics_marts"."customers""#)
    );
    for template in
        ["{{ audit() }}", "lock {{ this }}; {{ audit() }}", "{% if x %} select 1 {% endif %}", "select 1 {# x #}", "{{ this.schema }}"]
    {
        assert!(matches!(hooks(template), Hook::Template(_)), "{template}");
    }
}

#[test]
fn batches_of_a_microbatch_model_stage_under_their_own_names() {
    let sized = |size: &str| {
        let config = json!({"materialized": "incremental", "incremental_strategy": "microbatch", "batch_size": size});
        changed(|value| node(value, "model.jaffle.orders_inc")["config"] = config).unwrap()
    };
    for (size, name, expected) in [
        ("day", "orders_inc__dbt_tmp091541123456", true),
        ("day", "orders_inc__dbt_tmp_20240101091541123456", true),
        ("day", "orders_inc__dbt_tmp_202401091541123456", false),
        ("month", "orders_inc__dbt_tmp_202401091541123456", true),
        ("year", "orders_inc__dbt_tmp_2024091541123456", true),
        ("hour", "orders_inc__dbt_tmp_20240101T09091541123456", true),
        ("hour", "orders_inc__dbt_tmp_20240101091541123456", false),
        ("hour", "orders_inc__dbt_tmp_20240101T09", false),
    ] {
        let sql = format!("create temporary table \"{name}\" as (select * from jaffle.analytics.stg_orders)");
        assert_eq!(standing(&sized(size), "model.jaffle.orders_inc", &sql) == Standing::Verified, expected, "{name}");
    }
}

#[test]
fn a_statement_that_does_not_fit_its_node_is_a_mismatch_of_its_kind() {
    let view = r#"create view "jaffle"."analytics"."stg_customers__dbt_tmp" as (select id as customer_id, first_name, last_name from "jaffle"."analytics"."raw_customers")"#;
    assert_eq!(standing(&manifest(), "model.jaffle.stg_customers", view), Standing::Verified);
    let stg_customers = "model.jaffle.stg_customers";
    for (node, sql, expected) in [
        ("model.jaffle.gone", view, "unknown-node: the manifest has no such node"),
        (
            stg_customers,
            &view.replace("__dbt_tmp", "_copy"),
            "foreign-write: create on jaffle.analytics.stg_customers_copy is not for this node",
        ),
        (
            stg_customers,
            &view.replace("raw_customers", "raw_orders"),
            "undeclared-read: the node does not depend on jaffle.analytics.raw_orders",
        ),
        (stg_customers, &view.replace("first_name, ", ""), "other-text: the statement does not contain the node's compiled SQL"),
        (
            stg_customers,
            "insert into jaffle.analytics.stg_customers values (1)",
            "foreign-write: insert on jaffle.analytics.stg_customers is not for this node",
        ),
        (stg_customers, "create schema analytics", "foreign-write: create on schema analytics is not for this node"),
        (stg_customers, "select * from raw_customers", "undeclared-read: the node does not depend on raw_customers"),
        (stg_customers, "do $$ begin end $$", "unseen: the statement does something that the manifest cannot vouch for"),
        (stg_customers, "set role postgres", "unseen: the statement does something that the manifest cannot vouch for"),
        (stg_customers, "execute plan", "unseen: the statement does something that the manifest cannot vouch for"),
        (stg_customers, "select pg_sleep(1)", "other-text: the statement does not contain the node's compiled SQL"),
        (
            "test.jaffle.unique_customers_customer_id.c5af1ff4b1",
            "truncate jaffle.analytics_marts.customers",
            "foreign-write: truncate on jaffle.analytics_marts.customers is not for this node",
        ),
        (
            "seed.jaffle.raw_orders",
            "update jaffle.analytics.raw_orders set id = 1",
            "foreign-write: update on jaffle.analytics.raw_orders is not for this node",
        ),
    ] {
        assert_eq!(mismatch(node, sql), expected, "{sql}");
    }
}

#[test]
fn a_hook_of_the_node_is_verified_by_its_very_text() {
    let hook = "insert into audit.runs select 1";
    let manifest = changed(|value| node(value, "model.jaffle.customers")["config"]["post-hook"] = json!([{"sql": hook}])).unwrap();
    let comment = r#"/* {"app": "dbt", "node_id": "model.jaffle.customers"} */"#;
    assert_eq!(standing(&manifest, "model.jaffle.customers", &format!("{comment}\n  {hook} ;")), Standing::Verified);
    assert_ne!(standing(&manifest, "model.jaffle.customers", &format!("{comment} {hook}; drop table audit.runs")), Standing::Verified);
    assert_ne!(standing(&manifest, "model.jaffle.stg_customers", &format!("{comment} {hook}")), Standing::Verified);
}

#[test]
fn without_compiled_code_only_what_is_done_is_held_against_the_node() {
    let parsed = changed(|value| node(value, "model.jaffle.stg_customers")["compiled_code"] = Value::Null).unwrap();
    let sql = |from: &str| format!("create view jaffle.analytics.stg_customers__dbt_tmp as (select 1 from jaffle.analytics.{from})");
    assert_eq!(standing(&parsed, "model.jaffle.stg_customers", &sql("raw_customers")), Standing::Verified);
    let other = standing(&parsed, "model.jaffle.stg_customers", &sql("raw_orders"));
    assert!(matches!(other, Standing::Mismatch(Mismatch::UndeclaredRead(_))));
}
