//! Policies in observe mode, and what `tollhouse policy replay` and `tollhouse explain` make of the log.

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

use crate::support::evidence::Evidence;
use crate::support::http::metric;
use crate::support::proxy::{Proxy, configuration};
use crate::support::within;

/// Some statements are allowed, some forbidden, and some in nobody's rules.
const OBSERVING: &str = "apiVersion: tollhouse.dev/v1alpha1
kind: WarehousePolicy
metadata: { name: it, namespace: demo }
spec:
  mode: observe
  endpointSelector: { matchLabels: { app: dbt } }
  egress: [{ toPorts: [{ rules: { sql: [{ actions: [select], tables: [demo.raw.*] }] } }] }]
  egressDeny: [{ toPorts: [{ rules: { sql: [{ tables: [demo.finance.salaries] }] } }] }]
";

/// Those that an enforcing policy would refuse, with the reason.
const REFUSED: &[(&str, &str)] = &[
    ("/* {\"app\": \"dbt\", \"node_id\": \"model.it.pay\"} */ select * from finance.salaries", "policy-deny-rule"),
    ("select pg_catalog.pg_advisory_lock(1)", "policy-denied"),
    ("do $$ begin end $$", "statement-opaque"),
];

const ALLOWED: &str = "select 1";

fn enforcing() -> String {
    OBSERVING.replace("mode: observe", "mode: enforce")
}

fn tollhouse(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_tollhouse")).args(arguments).output().unwrap()
}

/// Runs a replay of the log under a policy.
fn replay(evidence: &Evidence, policy: &str, arguments: &[&str]) -> (Value, Option<i32>) {
    let directory = evidence.directory.path();
    let file = directory.join("other.yaml");
    std::fs::write(&file, policy).unwrap();
    let fixed =
        ["policy", "replay", "--output", "json", "--audit", path(&directory.join("audit")), "--policy", path(&file)].map(str::to_owned);
    let all: Vec<&str> = fixed.iter().map(String::as_str).chain(arguments.iter().copied()).collect();
    let output = tollhouse(&all);
    let report = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr)));
    (report, output.status.code())
}

fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// The reason and sentence of each recorded denial, real or observed, in the order of the log.
fn denials(evidence: &Evidence, verdict: &str) -> Vec<Value> {
    let judged = evidence.lines.iter().filter(|line| matches!(line.kind.as_str(), "attempt" | "denied"));
    let decisions = judged.map(|line| &line.fields["decision"]);
    decisions.filter(|decision| decision["verdict"] == verdict).map(|decision| decision["denial"].clone()).collect()
}

/// Runs every statement in one session, and the allowed one; gives the log and how many were counted as `rule`.
async fn run_under(policy: &str, rule: &str) -> (Evidence, f64) {
    let proxy = Proxy::start(policy).await;
    let client = proxy.client().await;
    for (sql, _) in REFUSED {
        let passed = within(client.simple_query(sql)).await.is_ok();
        assert_eq!(passed, policy == OBSERVING, "{sql}");
    }
    within(client.simple_query(ALLOWED)).await.unwrap();
    let counted = metric(proxy.pod_admin, "tollhouse_policy_l7_total", &[&format!(r#"rule="{rule}""#)]).await;
    (proxy.stop().await, counted)
}

#[tokio::test]
async fn what_an_observing_policy_lets_pass_is_what_a_replay_says_and_what_the_enforcing_one_denies() {
    let (observed, counted) = run_under(OBSERVING, "observed").await;
    assert_eq!(counted, 3.0);
    for (sql, reason) in REFUSED {
        let execution = observed.execution(sql);
        assert_eq!((execution.verdict.as_str(), execution.status.as_str()), ("observed", "completed"), "{sql}");
        assert_eq!(execution.reason.as_deref(), Some(*reason), "{sql}");
    }
    let would_be = denials(&observed, "observed");
    assert_eq!(would_be.len(), 3);

    let (report, code) = replay(&observed, &enforcing(), &["--check"]);
    assert_eq!(code, Some(1), "something that passed would be denied");
    assert_eq!(report["totals"], serde_json::json!({"executions": 4, "newly_denied": 3, "newly_allowed": 0, "other_rule": 0, "same": 1}));
    let groups = report["groups"].as_array().unwrap().iter().filter(|group| group["change"] == "newly-denied");
    let mut replayed: Vec<String> = groups.map(|group| format!("{} {}", group["after"]["reason"], group["after"]["sentence"])).collect();
    let mut recorded: Vec<String> = would_be.iter().map(|denial| format!("{} {}", denial["reason"], denial["sentence"])).collect();
    replayed.sort();
    recorded.sort();
    assert_eq!(replayed, recorded);
    assert!(report["groups"].as_array().unwrap().iter().any(|group| group["node"] == "model.it.pay"));
    assert_eq!(report["reanalysis"]["differ"], 0);
    assert_eq!(replay(&observed, OBSERVING, &["--enforce"]).0["totals"], report["totals"], "as if each policy enforced");

    let (denied, counted) = run_under(&enforcing(), "denied").await;
    assert_eq!(counted, 3.0);
    assert_eq!(denials(&denied, "denied"), would_be, "the proxy denies what it said that it would");
    let (report, code) = replay(&denied, OBSERVING, &["--check"]);
    assert_eq!((&report["totals"]["newly_allowed"], code), (&3.into(), Some(0)));
}

#[tokio::test]
async fn a_recorded_execution_is_explained_with_the_policies_of_the_configuration() {
    let (observed, _) = run_under(OBSERVING, "observed").await;
    let directory = observed.directory.path();
    let config = directory.join("config.yaml");
    std::fs::write(&config, configuration(&observed.directory).to_string()).unwrap();
    let explain = |id: &str| {
        let output = tollhouse(&["explain", "--config", path(&config), "--audit", path(&directory.join("audit")), "--record", id]);
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    };
    let id = observed.execution(REFUSED[1].0).id;
    let (code, printed) = explain(&id);
    assert_eq!(code, Some(0), "observed passes: {printed}");
    for part in ["then       observed", "label app=dbt", "verdict    observed", "functions: [pg_catalog.pg_advisory_lock] }"] {
        assert!(printed.contains(part), "{part} is missing in\n{printed}");
    }
    std::fs::write(directory.join("policy.yaml"), enforcing()).unwrap();
    let (code, printed) = explain(&id);
    assert_eq!(code, Some(1));
    assert!(printed.contains("then       observed") && printed.contains("verdict    denied"), "{printed}");
}
