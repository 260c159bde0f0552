//! Derives the policy of the project whose statements are recorded in `tests/data/dbt-postgres`, and holds those against it.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::LazyLock;
use std::time::SystemTime;

use super::observed::{Observed, Proposal};
use super::{DeriveError, Options, derive};
use crate::dbt::manifest::Manifest;
use crate::dbt::manifest::verify::{Asked, Standing};
use crate::dbt::{self, Attribution, Claim};
use crate::fault::Reason;
use crate::golden::expect_file;
use crate::identity::Principal;
use crate::policy::{AccessRequest, Decision, PolicySet, Source, Verdict};
use crate::sql::{self, Dialect, Effect, Limits};
use crate::target::{Opening, Target};

static MANIFEST: LazyLock<String> = LazyLock::new(|| fs::read_to_string(data("manifest/jaffle.json")).unwrap());

fn data(path: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(path)
}

fn manifest() -> Manifest {
    Manifest::parse(MANIFEST.as_bytes()).unwrap()
}

fn options() -> Options {
    Options {
        name: "jaffle".to_owned(),
        namespace: Some("analytics".to_owned()),
        selector: BTreeMap::from([("app".to_owned(), "dbt".to_owned())]),
        hosts: vec!["warehouse.example.com".to_owned()],
        ..Options::default()
    }
}

fn set(text: &str) -> PolicySet {
    match PolicySet::parse(&[Source { file: "derived.yaml", text }]) {
        Ok(set) => set,
        Err(problems) => panic!("{problems:#?}"),
    }
}

/// What is decided about a statement, with what dbt says in it or said before it.
struct Session<'s> {
    set: &'s PolicySet,
    manifest: &'s Manifest,
    said: Option<Attribution>,
}

impl<'s> Session<'s> {
    fn new(set: &'s PolicySet, manifest: &'s Manifest) -> Self {
        Self { set, manifest, said: None }
    }

    fn of_node(set: &'s PolicySet, manifest: &'s Manifest, node: &str) -> Self {
        let said = Attribution { node: Some(node.to_owned()), target: Some("dev".to_owned()), ..Attribution::default() };
        Self { set, manifest, said: Some(said) }
    }

    fn ask(&mut self, sql: &str) -> (Decision, Standing) {
        if let Some(said) = dbt::attribute(sql) {
            self.said = Some(said);
        }
        let analysis = sql::analyze(Dialect::Postgres, sql, &Limits::default());
        let asked = Asked { text: sql, statements: &analysis.statements, database: "jaffle", unqualified_schema: None };
        let standing = self.said.as_ref().map_or(Standing::Claimed, |said| self.manifest.verify(said, &asked));
        let effects: Vec<Effect> = analysis.statements.iter().flat_map(|statement| statement.effects.clone()).collect();
        let dbt = self.said.as_ref().map(|attribution| Claim { attribution, standing: &standing });
        let request = AccessRequest {
            principal: &principal(),
            target: &target(),
            database: "jaffle",
            role: "dbt",
            unqualified_schema: None,
            effects: &effects,
            dbt,
        };
        (self.set.decide(&request), standing)
    }

    fn denied(&mut self, sql: &str) -> (Reason, String) {
        let (decision, _) = self.ask(sql);
        assert_eq!(decision.verdict, Verdict::Denied, "{sql}");
        let denial = decision.denial.unwrap();
        (denial.reason, denial.sentence)
    }
}

fn principal() -> Principal {
    Principal {
        issuer: "https://issuer.example".to_owned(),
        subject: "system:serviceaccount:analytics:dbt".to_owned(),
        token_id: None,
        actors: Vec::new(),
        namespace: Some("analytics".to_owned()),
        service_account: Some("dbt".to_owned()),
        pod: None,
        pod_uid: None,
        labels: BTreeMap::from([("app".to_owned(), "dbt".to_owned())]),
        proven_by: "test",
        expires_at: SystemTime::UNIX_EPOCH,
    }
}

fn target() -> Target {
    let (name, host) = ("w".to_owned(), "warehouse.example.com".to_owned());
    Target { name, kind: "postgresql", host, port: 5432, opening: Opening::Plain }
}

/// Statements of real runs of the project, each with the session that it came in.
fn recorded() -> Vec<(u64, u64, String)> {
    let text = fs::read_to_string(data("dbt-postgres/statements.jsonl")).unwrap();
    let read = |line: &str| {
        let sent: serde_json::Value = serde_json::from_str(line).unwrap();
        (sent["seq"].as_u64().unwrap(), sent["session"].as_u64().unwrap(), sent["sql"].as_str().unwrap().to_owned())
    };
    text.lines().map(read).collect()
}

/// A model that was there for one run, to be cancelled; the manifest does not have it.
const GONE: &str = "model.jaffle.slow";

#[test]
fn the_policy_of_a_project_is_the_one_that_was_reviewed() {
    expect_file("tests/data/manifest/jaffle.yaml", &derive(&manifest(), &options()).unwrap());
}

#[test]
fn every_statement_of_a_dbt_build_is_allowed_under_the_derived_policy_and_verified() {
    let (manifest, set) = (manifest(), set(&derive(&manifest(), &Options { verified: true, ..options() }).unwrap()));
    let mut sessions: BTreeMap<u64, Session<'_>> = BTreeMap::new();
    let (mut of_nodes, mut gone) = (0, 0);
    for (seq, session_id, sql) in recorded() {
        let session = sessions.entry(session_id).or_insert_with(|| Session::new(&set, &manifest));
        let (decision, standing) = session.ask(&sql);
        let node = session.said.as_ref().and_then(|said| said.node.as_deref());
        if node == Some(GONE) {
            gone += 1;
            assert_eq!(standing.mismatch().map(|it| it.as_str()), Some("unknown-node"), "{seq}");
            assert!(!sql.contains("create") || decision.verdict == Verdict::Denied, "{seq}");
            continue;
        }
        if sql.contains("pg_terminate_backend") {
            // Allowed in the proxy, which knows whose process that is.
            continue;
        }
        assert_eq!(decision.verdict, Verdict::Allowed, "{seq} {node:?}: {:?}\n{sql}", decision.denial);
        assert_eq!(standing, if node.is_some() { Standing::Verified } else { Standing::Claimed }, "{seq} {node:?}\n{sql}");
        of_nodes += usize::from(node.is_some());
    }
    assert!(of_nodes > 200 && gone >= 2, "{of_nodes} {gone}");
}

#[test]
fn a_node_that_reads_an_undeclared_table_is_denied_by_name() {
    let (manifest, set) = (manifest(), set(&derive(&manifest(), &options()).unwrap()));
    let mut nodes = 0;
    for id in manifest.nodes.keys().filter(|id| !id.starts_with("source.") && !id.starts_with("operation.")) {
        let mut session = Session::of_node(&set, &manifest, id);
        let (reason, sentence) = session.denied(r#"select * from "jaffle"."finance"."salaries""#);
        assert_eq!(reason, Reason::PolicyDenied);
        if manifest.rights(id).unwrap() != &Default::default() && !id.ends_with(".eph") {
            let expected = format!(
                "no rule allows select on jaffle.finance.salaries for dbt node {id}, which declares no dependency on it: use ref() or source(), \
                 and derive the policy anew"
            );
            assert_eq!(sentence, expected);
            nodes += 1;
        }
    }
    assert!(nodes >= 15, "{nodes}");
}

#[test]
fn a_node_writes_its_own_relations_and_no_others() {
    let (manifest, set) = (manifest(), set(&derive(&manifest(), &options()).unwrap()));
    for (node, sql) in [
        ("model.jaffle.stg_customers", r#"drop table "jaffle"."analytics"."raw_customers""#),
        ("model.jaffle.stg_customers", r#"insert into "jaffle"."analytics"."stg_customers" values (1)"#),
        ("model.jaffle.stg_customers", r#"drop view "jaffle"."analytics"."stg_orders__dbt_tmp""#),
        ("model.jaffle.stg_customers", "create schema analytics"),
        ("model.jaffle.customers", r#"delete from "jaffle"."analytics_marts"."customers""#),
        ("model.jaffle.contracted", r#"grant select on "jaffle"."analytics_marts"."contracted" to reporter"#),
        ("model.jaffle.orders_inc", r#"create temporary table "orders_inc__dbt_tmp1" as select 1"#),
        ("model.jaffle.orders_inc", r#"create temporary table "orders_merge__dbt_tmp234018488872" as select 1"#),
        ("model.jaffle.orders_inc", r#"create table "jaffle"."analytics_marts"."74ff29fcb5ebc87a876b1d85b7818" (a int)"#),
        (
            "model.jaffle.orders_merge",
            r#"create index "74ff29fcb5ebc87a876b1d85b78180c6" on "jaffle"."analytics_marts"."orders_merge" (order_id)"#,
        ),
        ("seed.jaffle.raw_orders", r#"delete from "jaffle"."analytics"."raw_orders""#),
        ("snapshot.jaffle.orders_snap", r#"drop table "jaffle"."analytics_snapshots"."orders_snap""#),
        ("test.jaffle.unique_customers_customer_id.c5af1ff4b1", r#"create table "jaffle"."analytics_marts"."x" as select 1"#),
        ("unit_test.jaffle.customers.ut_customers", r#"select * from "jaffle"."analytics_marts"."customers""#),
        ("source.jaffle.src.raw_customers", r#"select * from "jaffle"."analytics"."raw_customers""#),
        ("model.jaffle.unheard_of", r#"select * from "jaffle"."analytics"."raw_customers""#),
        ("model.jaffle.customers", "select pg_sleep(60)"),
        ("model.jaffle.customers", "select rolpassword from pg_catalog.pg_authid"),
        ("model.jaffle.customers", "set role postgres"),
        ("model.jaffle.customers", "do $$ begin end $$"),
    ] {
        Session::of_node(&set, &manifest, node).denied(sql);
    }
    let mut freshness = Session::of_node(&set, &manifest, "source.jaffle.src.raw_orders");
    let sql = r#"select max(order_date::timestamp) as max_loaded_at, now() as snapshotted_at from "jaffle"."analytics"."raw_orders""#;
    assert_eq!(freshness.ask(sql).0.verdict, Verdict::Allowed);
}

#[test]
fn who_only_claims_to_be_a_node_is_denied_where_it_must_be_verified() {
    let (manifest, set) = (manifest(), set(&derive(&manifest(), &Options { verified: true, ..options() }).unwrap()));
    let mut session = Session::of_node(&set, &manifest, "model.jaffle.stg_customers");
    let (reason, sentence) = session
        .denied(r#"create view "jaffle"."analytics"."stg_customers__dbt_tmp" as (select * from "jaffle"."analytics"."raw_customers")"#);
    assert_eq!(reason, Reason::DbtUnverified);
    assert!(
        sentence.ends_with(
            "only where dbt node model.jaffle.stg_customers is verified: the statement does not contain the node's compiled SQL"
        ),
        "{sentence}"
    );
}

#[test]
fn a_statement_of_another_target_is_denied_where_the_policy_is_for_one() {
    let text = derive(&manifest(), &Options { target: Some("prod".to_owned()), ..options() }).unwrap();
    let (manifest, set) = (manifest(), set(&text));
    let sql = r#"drop view if exists "jaffle"."analytics"."stg_orders__dbt_backup" cascade"#;
    let mut session = Session::of_node(&set, &manifest, "model.jaffle.stg_orders");
    session.denied(sql);
    session.said.as_mut().unwrap().target = Some("prod".to_owned());
    assert_eq!(session.ask(sql).0.verdict, Verdict::Allowed);
}

#[test]
fn what_cannot_be_derived_is_said_in_the_policy_or_refused() {
    let derive_with = |from: &str, to: &str| {
        assert!(MANIFEST.contains(from), "{from}");
        derive(&Manifest::parse(MANIFEST.replace(from, to).as_bytes()).unwrap(), &options())
    };
    let text =
        derive_with("\"sql\": \"analyze {{ this }}\"", "\"sql\": \"grant usage on schema {{ target.schema }} to reporter\"").unwrap();
    assert!(text.contains("A person must decide: what this hook does is known only when its template is filled in:"), "{text}");
    assert!(text.contains("#     grant usage on schema {{ target.schema }} to reporter"), "{text}");
    let text = derive_with("analyze {{ this }}", "do $$ begin end $$").unwrap();
    assert!(text.contains("A person must decide about a hook that does this: opaque do"), "{text}");
    let text = derive_with("analyze {{ this }}", "insert into audit.runs select 1 from orders").unwrap();
    assert!(text.contains("tables: [jaffle.audit.runs]") && text.contains("does this: select orders"), "{text}");
    let text = derive_with("\"materialized\": \"materialized_view\"", "\"materialized\": \"my_own\"").unwrap();
    assert!(text.contains("what this is built with is not the adapter's own"), "{text}");

    assert_eq!(
        derive_with("\"adapter_type\": \"postgres\"", "\"adapter_type\": \"snowflake\""),
        Err(DeriveError::Adapter("snowflake".to_owned()))
    );
    let error = derive_with(r#"\"analytics_marts\".\"mv\""#, r#"\"analytics_marts\".\"m*v\""#).unwrap_err();
    assert!(matches!(&error, DeriveError::Name { name, .. } if name == "m*v"), "{error}");
}

fn propose(observed: &[Observed]) -> String {
    let mut proposal = Proposal::default();
    observed.iter().for_each(|observed| proposal.take(observed).unwrap());
    proposal.write(&options())
}

#[test]
fn a_policy_proposed_from_what_was_observed_allows_just_that() {
    let mut sessions: BTreeMap<u64, Option<String>> = BTreeMap::new();
    let mut observed = Vec::new();
    for (_, session_id, sql) in recorded() {
        let node = sessions.entry(session_id).or_default();
        if let Some(said) = dbt::attribute(&sql) {
            *node = said.node;
        }
        let effects = sql::analyze(Dialect::Postgres, &sql, &Limits::default()).statements.into_iter().flat_map(|it| it.effects).collect();
        observed.push(Observed { node: node.clone(), database: "jaffle".to_owned(), unqualified_schema: None, effects });
    }
    let text = propose(&observed);
    let (set, manifest) = (set(&text), manifest());
    let mut sessions: BTreeMap<u64, Session<'_>> = BTreeMap::new();
    for (seq, session_id, sql) in recorded() {
        let (decision, _) = sessions.entry(session_id).or_insert_with(|| Session::new(&set, &manifest)).ask(&sql);
        assert_eq!(decision.verdict, Verdict::Allowed, "{seq}: {:?}\n{sql}\n{text}", decision.denial);
    }
    let mut session = Session::of_node(&set, &manifest, "model.jaffle.stg_customers");
    session.denied(r#"select * from "jaffle"."analytics"."stg_orders""#);
    session.denied(r#"truncate "jaffle"."analytics"."raw_customers""#);
}

#[test]
fn what_was_opaque_or_unresolved_becomes_a_comment_and_no_rule() {
    let effects = |sql: &str| sql::analyze(Dialect::Postgres, sql, &Limits::default()).statements.remove(0).effects;
    let observed = |sql: &str| Observed { node: None, database: "jaffle".to_owned(), unqualified_schema: None, effects: effects(sql) };
    let text = propose(&[observed("select * from orders"), observed("do $$ begin end $$")]);
    assert!(text.contains("A person must decide: select orders, whose schema was not certain"), "{text}");
    assert!(text.contains("A person must decide: opaque do"), "{text}");
    assert!(!text.contains("- dbt"), "{text}");
    set(&text);
}
