use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use serde_json::Value;

use super::report::Change;
use super::tally::Tally;
use super::{Command, page, text};
use crate::audit::log::AuditLog;
use crate::audit::recorded::{Recorded, RecordedExecution, RecordedExecutions};
use crate::audit::tests::{Fixture, completed};
use crate::dbt::manifest::verify::Standing;
use crate::dbt::{Attribution, Claim};
use crate::policy::{AccessRequest, PolicySet, Source, Verdict};
use crate::sql::{self, Dialect, Effect};

#[derive(Parser)]
struct CommandLine {
    #[command(flatten)]
    replay: Command,
}

/// A policy for the fixture's principal.
fn policy(mode: &str, allow: &str, deny: &str) -> String {
    format!(
        "apiVersion: tollhouse.dev/v1alpha1
kind: WarehousePolicy
metadata: {{ name: dbt, namespace: shop }}
spec:
  mode: {mode}
  endpointSelector: {{}}
  egress: [{{ toPorts: [{{ rules: {{ sql: [{allow}] }} }}] }}]
  egressDeny: [{{ toPorts: [{{ rules: {{ sql: [{deny}] }} }}] }}]
"
    )
}

fn lax() -> String {
    policy("enforce", "{}", "{ tables: [shop.finance.salaries] }")
}

/// Denies what `lax` allows, allows what it denies, and has other rules for some of the rest.
fn strict() -> String {
    policy("enforce", "{ tables: [shop.finance.*] }, { tables: [shop.raw.*] }", "{ tables: [shop.nowhere.nothing] }")
}

fn set(text: &str) -> PolicySet {
    PolicySet::parse(&[Source { file: "policy.yaml", text }]).unwrap()
}

/// A log of statements, each decided by a set as the proxy would.
struct Past {
    fixture: Fixture,
    policy: PathBuf,
}

impl Past {
    async fn new(decided_by: &str, statements: &[(Option<&str>, &str)]) -> Self {
        let fixture = Fixture::new();
        let (log, set) = (fixture.open(), set(decided_by));
        for (node, sql) in statements {
            record(&fixture, &log, &set, *node, sql).await;
        }
        log.close().await.unwrap();
        let policy = fixture.path().join("policy.yaml");
        Self { fixture, policy }
    }

    /// Runs the command; the exit code says success.
    fn replay(&self, under: &str, arguments: &[&str]) -> (bool, String) {
        fs::write(&self.policy, under).unwrap();
        let file = self.fixture.path().join("report");
        let paths = [self.fixture.path(), &self.policy, &file].map(|path| path.to_str().unwrap().to_owned());
        let fixed = ["replay", "--audit", &paths[0], "--policy", &paths[1], "-o", &paths[2]];
        let line = CommandLine::try_parse_from(fixed.iter().chain(arguments)).unwrap();
        let code = line.replay.run().unwrap();
        (code == ExitCode::SUCCESS, fs::read_to_string(file).unwrap())
    }

    fn json(&self, under: &str, arguments: &[&str]) -> Value {
        let arguments = [&["--output", "json"], arguments].concat();
        serde_json::from_str(&self.replay(under, &arguments).1).unwrap()
    }

    fn executions(&self) -> Vec<RecordedExecution> {
        let mut recorded = RecordedExecutions::open(self.fixture.path(), |_| Some("postgresql")).unwrap();
        let mut executions = Vec::new();
        while let Some(Recorded::Execution(execution)) = recorded.next_recorded().unwrap() {
            executions.push(*execution);
        }
        executions
    }
}

async fn record(fixture: &Fixture, log: &AuditLog, set: &PolicySet, node: Option<&str>, sql: &str) {
    let analysis = sql::analyze(Dialect::Postgres, sql, &sql::Limits::default());
    let effects: Vec<Effect> = analysis.statements.iter().flat_map(|statement| statement.effects.clone()).collect();
    let dbt = node.map(|node| Attribution { node: Some(node.to_owned()), ..Attribution::default() });
    let claim = dbt.as_ref().map(|attribution| Claim { attribution, standing: &Standing::Claimed });
    let mut attempt = fixture.attempt(sql);
    (attempt.execution.analysis, attempt.execution.effects, attempt.execution.dbt) = (&analysis, &effects, claim);
    let decision = set.decide(&AccessRequest {
        principal: &fixture.session.principal,
        target: &fixture.session.target,
        database: &fixture.session.database,
        role: &fixture.session.role,
        unqualified_schema: attempt.execution.unqualified_schema,
        effects: &effects,
        dbt: claim,
    });
    attempt.decision = &decision;
    match decision.verdict {
        Verdict::Denied => drop(log.refuse(&attempt).await.unwrap()),
        Verdict::Allowed | Verdict::Observed => log.attempt(&attempt).await.unwrap().finish(&completed(1)),
    }
}

const ORDERS: Option<&str> = Some("model.shop.orders");
const PAY: Option<&str> = Some("model.shop.pay");

async fn mixed() -> Past {
    let statements = [
        (ORDERS, "select * from raw.orders"),
        (ORDERS, "select * from raw.orders where id = 1"),
        (ORDERS, "select * from secret.keys"),
        (ORDERS, "select * from secret.keys where id = 1"),
        (PAY, "select * from finance.salaries"),
        (None, "select 1"),
    ];
    Past::new(&lax(), &statements).await
}

#[tokio::test]
async fn what_would_be_decided_otherwise_is_told_by_node_and_rule() {
    let report = mixed().await.json(&strict(), &[]);
    assert_eq!(report["format"], "tollhouse-replay/1");
    let expected = serde_json::json!({"executions": 6, "newly_denied": 2, "newly_allowed": 1, "other_rule": 2, "same": 1});
    assert_eq!(report["totals"], expected);
    let groups = report["groups"].as_array().unwrap();
    assert_eq!(groups.len(), 4, "{groups:#?}");
    let denied = &groups[0];
    assert_eq!((&denied["change"], &denied["node"], &denied["count"]), (&"newly-denied".into(), &ORDERS.into(), &2.into()));
    assert_eq!(denied["before"]["rule"], "shop/dbt spec.egress[0].toPorts[0].rules.sql[0]");
    assert_eq!(denied["after"]["reason"], "policy-denied");
    assert_eq!(denied["after"]["sentence"], "no rule allows select on shop.secret.keys");
    assert_eq!(denied["records"].as_array().unwrap().len(), 2);
    assert_eq!(denied["statement"], "select * from secret.keys");
    let allowed = &groups[1];
    assert_eq!((&allowed["change"], &allowed["node"]), (&"newly-allowed".into(), &PAY.into()));
    assert_eq!(allowed["before"]["reason"], "policy-deny-rule");
    assert_eq!(allowed["after"]["rule"], "shop/dbt spec.egress[0].toPorts[0].rules.sql[0]");
    assert_eq!(report["nodes"][0]["node"], ORDERS.unwrap(), "those with denials come first");
}

#[tokio::test]
async fn the_set_that_decided_changes_nothing() {
    let past = mixed().await;
    let report = past.json(&lax(), &[]);
    assert_eq!((&report["totals"]["executions"], &report["totals"]["same"]), (&6.into(), &6.into()));
    assert!(past.replay(&lax(), &["--check"]).0);
}

#[tokio::test]
async fn check_fails_where_something_that_passed_would_be_denied() {
    let past = mixed().await;
    assert!(!past.replay(&strict(), &["--check"]).0);
    assert!(past.replay(&strict(), &[]).0, "only where that is asked for");
    let wider = policy("enforce", "{}", "{ tables: [shop.nowhere.nothing] }");
    assert!(past.replay(&wider, &["--check"]).0, "what is newly allowed harms nobody's work");
}

#[tokio::test]
async fn policies_in_observe_mode_are_replayed_as_they_are_and_as_if_they_enforced() {
    let past = mixed().await;
    let observing = strict().replace("mode: enforce", "mode: observe");
    let report = past.json(&observing, &[]);
    assert_eq!(report["totals"]["newly_denied"], 0);
    let observed = report["groups"].as_array().unwrap().iter().find(|group| group["after"]["verdict"] == "observed").unwrap();
    assert_eq!((&observed["change"], &observed["count"]), (&"other-rule".into(), &2.into()));
    let report = past.json(&observing, &["--enforce"]);
    assert_eq!((&report["totals"]["newly_denied"], &report["enforced"]), (&2.into(), &true.into()));
}

#[tokio::test]
async fn the_text_form_has_the_figures_the_sentences_and_the_records() {
    let (_, printed) = mixed().await.replay(&strict(), &[]);
    for part in [
        "replayed   executions 6, ",
        "         2 newly denied",
        "no rule allows select on shop.secret.keys",
        "model.shop.pay",
        "before, deny rule shop/dbt spec.egressDeny[0].toPorts[0].rules.sql[0] forbids select on shop.finance.salaries",
    ] {
        assert!(printed.contains(part), "{part} is missing in\n{printed}");
    }
}

#[tokio::test]
async fn the_page_stands_alone_and_what_a_client_wrote_is_only_text() {
    let hostile = "</style><script>alert(1)</script>\" onload=\"x\u{1b}";
    let sql = format!("/* {{}} */ select '{hostile}' from secret.keys");
    let past = Past::new(&lax(), &[(Some(hostile), &sql)]).await;
    let (_, page) = past.replay(&strict(), &["--output", "html"]);
    assert!(page.contains("1 execution that passed would be denied"), "{page}");
    assert!(page.contains("&lt;script&gt;alert(1)"), "{page}");
    assert!(!page.contains("<script") && !page.contains("\" onload"), "{page}");
    assert_eq!(page.matches("</style>").count(), 1);
    for outside in ["http:", "https:", "src=", "href=", "url(", "@import"] {
        assert!(!page.contains(outside), "{outside} in\n{page}");
    }
}

#[tokio::test]
async fn no_text_drives_the_terminal_or_floods_it() {
    let long = format!("select '\u{1b}[31m', '{}' from secret.keys", "x ".repeat(100_000));
    let past = Past::new(&lax(), &[(Some("\u{1b}[2J"), &long)]).await;
    let (_, printed) = past.replay(&strict(), &[]);
    assert!(!printed.contains('\u{1b}') && printed.contains("\\u{1b}[2J"), "{printed}");
    let report = past.json(&strict(), &[]);
    assert!(report["groups"][0]["statement"].as_str().unwrap().chars().count() < 410);
}

#[tokio::test]
async fn recorded_effects_decide_and_a_text_that_now_reads_otherwise_is_noted() {
    let past = Past::new(&lax(), &[(ORDERS, "select * from raw.orders")]).await;
    let mut executions = past.executions();
    executions[0].statement = Some("select * from secret.keys".into());
    let strict = set(&strict());
    let mut tally = Tally::new(&strict);
    tally.add(&executions[0]);
    let report = tally.into_report(false);
    assert_eq!((report.totals.newly_denied, report.totals.other_rule), (0, 1), "the recorded effects are on raw.orders");
    assert_eq!((report.reanalysis.executions, report.reanalysis.differ, report.reanalysis.decided_otherwise), (1, 1, 1));
    let mut out = Vec::new();
    text::write(&mut out, &report).unwrap();
    assert!(String::from_utf8(out).unwrap().contains("1 have other effects by today's analysis"));
    assert!(page::page(&report).into_string().contains("today's analysis"));
}

#[tokio::test]
async fn groups_are_bounded_and_what_is_in_none_still_counts() {
    let past = Past::new(&lax(), &[(ORDERS, "select * from secret.keys")]).await;
    let strict = set(&strict());
    let mut tally = Tally::new(&strict);
    let [execution] = past.executions().try_into().unwrap();
    for number in 0..10_100 {
        let mut execution = execution.clone();
        execution.statement = None;
        let said = Attribution { node: Some(format!("model.{number}")), ..Attribution::default() };
        execution.dbt = Some((said, Standing::Claimed));
        tally.add(&execution);
    }
    let report = tally.into_report(false);
    assert_eq!((report.totals.newly_denied, report.groups.len(), report.ungrouped), (10_100, 10_000, 100));
    assert_eq!(report.groups_of(Change::NewlyDenied).count(), 10_000);
}

#[test]
fn an_execution_that_cannot_be_judged_is_told_and_is_not_harmless() {
    let strict = set(&strict());
    let mut tally = Tally::new(&strict);
    tally.add_unreadable("cafe-7".into(), "an effect of a kind that is not known here".into());
    let report = tally.into_report(false);
    assert!(!report.is_harmless());
    let mut out = Vec::new();
    text::write(&mut out, &report).unwrap();
    assert!(String::from_utf8(out).unwrap().contains("cafe-7: an effect of a kind"));
}
