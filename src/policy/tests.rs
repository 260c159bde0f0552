//! Runs the files of `tests/data/policy`: `cases/*.yaml` hold policies and what is decided about requests,
//! `invalid/*.yaml` hold documents whose problems stand beside them. `UPDATE=1` rewrites what stands beside.

mod linear;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use schemars::JsonSchema;
use serde::Deserialize;

use crate::document;
use crate::fault::Reason;
use crate::identity::Principal;
use crate::sql::{Action, Effect, Object, ObjectKind, OpaqueClass, Signals};
use crate::target::{Opening, Target};

use super::http::HttpRequest;
use super::{AccessRequest, Decision, Mode, PolicySet, Source, Verdict, schema};

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct CaseFile {
    /// What the file is about.
    #[serde(rename = "about")]
    _about: String,
    /// Policy documents, as text.
    policies: String,
    cases: Vec<Case>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Case {
    #[serde(default)]
    principal: Workload,
    #[serde(default)]
    target: HostAndPort,
    #[serde(default)]
    session: Session,
    #[serde(default)]
    effects: Vec<String>,
    /// `allowed by RULE`, or `denied CODE: SENTENCE`, or `observed CODE: SENTENCE`.
    expect: String,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, rename_all = "camelCase")]
struct Workload {
    namespace: Option<String>,
    service_account: Option<String>,
    labels: BTreeMap<String, String>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, rename_all = "camelCase")]
struct HostAndPort {
    host: String,
    port: u16,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, rename_all = "camelCase")]
struct Session {
    database: String,
    role: String,
    unqualified_schema: Option<String>,
}

impl Default for Workload {
    fn default() -> Self {
        let labels = BTreeMap::from([("app".to_owned(), "dbt".to_owned())]);
        Self { namespace: Some("demo".to_owned()), service_account: Some("dbt-runner".to_owned()), labels }
    }
}

impl Default for HostAndPort {
    fn default() -> Self {
        Self { host: "localhost".to_owned(), port: 5432 }
    }
}

impl Default for Session {
    fn default() -> Self {
        Self { database: "demo".to_owned(), role: "dbt_runner".to_owned(), unqualified_schema: None }
    }
}

impl Workload {
    fn principal(&self) -> Principal {
        let (namespace, account) = (self.namespace.clone(), self.service_account.clone());
        Principal {
            issuer: "https://kubernetes.default.svc".to_owned(),
            subject: format!(
                "system:serviceaccount:{}:{}",
                namespace.as_deref().unwrap_or_default(),
                account.as_deref().unwrap_or_default()
            ),
            token_id: None,
            actors: Vec::new(),
            namespace,
            service_account: account,
            pod: None,
            pod_uid: None,
            labels: self.labels.clone(),
            proven_by: "kubernetes",
            expires_at: SystemTime::UNIX_EPOCH,
        }
    }
}

/// The workload that most cases are about.
pub(super) fn workload() -> Principal {
    Workload::default().principal()
}

impl HostAndPort {
    fn target(&self) -> Target {
        Target { name: "warehouse".to_owned(), kind: "postgresql", host: self.host.clone(), port: self.port, opening: Opening::Plain }
    }
}

/// `select demo.raw.orders`, `insert raw.orders columns a,b`, `drop schema raw`, `call pg_sleep`,
/// `call pg_cancel_backend process 7` (or `session 7`, of an own session), `role admin`, `role`, `set jit`, `opaque do`.
fn effect(written: &str) -> Effect {
    let words: Vec<&str> = written.split(' ').collect();
    match words.as_slice() {
        ["call", name] => Effect::Call { function: object(ObjectKind::Function, name), signals: Signals::Unsaid },
        ["call", name, whose, id] => {
            let signals = if *whose == "session" { Signals::OwnSession } else { Signals::Process };
            Effect::Call { function: object(ObjectKind::Function, name), signals: signals(id.parse().unwrap()) }
        }
        [action, name, "columns", columns] => writing(action, name, columns.split(',')),
        ["role"] => Effect::Role { role: None },
        ["role", role] => Effect::Role { role: Some((*role).to_owned()) },
        ["set", parameter] => Effect::Set { parameter: (*parameter).to_owned() },
        ["opaque", class] => {
            let class = OpaqueClass::ALL.iter().copied().find(|known| known.as_str() == *class).unwrap();
            Effect::Opaque { class, detail: String::new() }
        }
        [action, name] => writing(action, name, []),
        [action, "schema", name] => access(action, ObjectKind::Schema, name),
        [action, "database", name] => access(action, ObjectKind::Database, name),
        [action, "function", name] => access(action, ObjectKind::Function, name),
        [action, "location", name] => access(action, ObjectKind::Location, name),
        [action, "type", name] => access(action, ObjectKind::Type, name),
        _ => panic!("no effect: {written}"),
    }
}

fn writing<'a>(action: &str, table: &str, columns: impl IntoIterator<Item = &'a str>) -> Effect {
    let columns = columns.into_iter().map(str::to_owned).collect();
    Effect::Access { action: word(action), object: object(ObjectKind::Relation, table), columns }
}

fn access(action: &str, kind: ObjectKind, name: &str) -> Effect {
    Effect::Access { action: word(action), object: object(kind, name), columns: Vec::new() }
}

fn word(action: &str) -> Action {
    Action::ALL.iter().copied().find(|known| known.as_str() == action).unwrap()
}

fn object(kind: ObjectKind, written: &str) -> Object {
    let parts: Vec<String> = written.split('.').map(str::to_owned).collect();
    let (database, schema, name) = match (kind, parts.as_slice()) {
        (ObjectKind::Database, [name]) => (Some(name.clone()), None, name.clone()),
        (ObjectKind::Location, _) => (None, None, written.to_owned()),
        (ObjectKind::Schema, [name]) => (None, Some(name.clone()), name.clone()),
        (ObjectKind::Schema, [database, name]) => (Some(database.clone()), Some(name.clone()), name.clone()),
        (_, [name]) => (None, None, name.clone()),
        (_, [schema, name]) => (None, Some(schema.clone()), name.clone()),
        (_, [database, schema, name]) => (Some(database.clone()), Some(schema.clone()), name.clone()),
        _ => panic!("no object: {written}"),
    };
    Object { kind, database, schema, name }
}

fn printed(decision: &Decision) -> String {
    let denial = decision.denial.as_ref().map(|denial| format!("{}: {}", denial.reason.row().code, denial.sentence));
    match (decision.verdict, &decision.rule, denial) {
        (Verdict::Allowed, Some(rule), None) => format!("allowed by {rule}"),
        (Verdict::Observed, _, Some(denial)) => format!("observed {denial}"),
        (Verdict::Denied, _, Some(denial)) => format!("denied {denial}"),
        odd => panic!("a decision without its rule or denial: {odd:?}"),
    }
}

impl Case {
    fn with_request<T>(&self, then: impl FnOnce(&AccessRequest<'_>) -> T) -> T {
        let (principal, target) = (self.principal.principal(), self.target.target());
        let effects: Vec<Effect> = self.effects.iter().map(|written| effect(written)).collect();
        then(&AccessRequest {
            principal: &principal,
            target: &target,
            database: &self.session.database,
            role: &self.session.role,
            unqualified_schema: self.session.unqualified_schema.as_deref(),
            effects: &effects,
            dbt: None,
        })
    }
}

fn data(below: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/policy").join(below)
}

fn files(directory: &Path, extension: &str) -> Vec<(String, String)> {
    let mut files: Vec<PathBuf> = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|found| found == extension));
    files.sort();
    assert!(!files.is_empty(), "no files in {}", directory.display());
    files.iter().map(|path| (path.file_name().unwrap().to_string_lossy().into_owned(), fs::read_to_string(path).unwrap())).collect()
}

fn parse(file: &str, text: &str) -> PolicySet {
    PolicySet::parse(&[Source { file, text }]).unwrap_or_else(|problems| panic!("{}", lines(&problems)))
}

fn lines(items: &[impl ToString]) -> String {
    items.iter().map(|item| item.to_string() + "\n").collect()
}

fn equals_file(path: &Path, actual: &str) {
    if std::env::var_os("UPDATE").is_some() {
        fs::write(path, actual).unwrap();
    }
    let expected = fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}; UPDATE=1 writes it", path.display()));
    assert_eq!(actual, expected, "{}; UPDATE=1 rewrites it", path.display());
}

#[test]
fn every_case_is_decided_as_written() {
    let mut wrong = Vec::new();
    for (file, text) in files(&data("cases"), "yaml") {
        let cases: CaseFile = document::read(&file, &text, &|_| None).unwrap_or_else(|problems| panic!("{}", lines(&problems)));
        let set = parse(&file, &cases.policies);
        for (index, case) in cases.cases.iter().enumerate() {
            let actual = case.with_request(|request| printed(&set.decide(request)));
            if actual != case.expect {
                wrong.push(format!("{file} case {index} {:?}\n  expected {}\n  actual   {actual}", case.effects, case.expect));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", lines(&wrong));
}

#[test]
fn every_decision_is_explained_by_the_rule_that_it_names() {
    for (file, text) in files(&data("cases"), "yaml") {
        let cases: CaseFile = document::read(&file, &text, &|_| None).unwrap();
        let set = parse(&file, &cases.policies);
        for case in &cases.cases {
            case.with_request(|request| {
                let (decision, explanation) = (set.decide(request), set.explain(request));
                assert_eq!(explanation.decision(), &decision);
                let report = explanation.to_string();
                if let Some(rule) = decision.rule.as_ref().filter(|_| !request.effects.is_empty()) {
                    let word = if decision.verdict == Verdict::Allowed { "allowed" } else { "denied" };
                    assert!(report.contains(&format!("  {word} by {rule}")), "{file}: {rule} is missing in\n{report}");
                }
            });
        }
    }
}

#[test]
fn invalid_documents_have_every_problem_named() {
    for (file, text) in files(&data("invalid"), "yaml") {
        let problems = PolicySet::parse(&[Source { file: &file, text: &text }]).unwrap_err();
        equals_file(&data("invalid").join(&file).with_extension("problems"), &lines(&problems));
    }
}

#[test]
fn an_explanation_shows_the_whole_way() {
    let text = fs::read_to_string(data("cases/deny.yaml")).unwrap();
    let cases: CaseFile = document::read("deny.yaml", &text, &|_| None).unwrap();
    let set = parse("deny.yaml", &cases.policies);
    let effects = ["select demo.finance.salaries", "select salaries"].map(str::to_owned).to_vec();
    let case = Case {
        principal: Workload::default(),
        target: HostAndPort::default(),
        session: Session::default(),
        effects,
        expect: String::new(),
    };
    case.with_request(|request| equals_file(&data("explain.txt"), &set.explain(request).to_string()));
}

#[test]
fn the_schema_file_is_the_one_that_documents_are_held_against() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/schema/warehousepolicy.json");
    equals_file(&path, &(serde_json::to_string_pretty(&schema()).unwrap() + "\n"));
}

fn example(name: &str) -> PolicySet {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/policy").join(name);
    parse(name, &fs::read_to_string(path).unwrap())
}

fn decide(set: &PolicySet, effects: &[&str]) -> String {
    let case = Case {
        principal: Workload::default(),
        target: HostAndPort::default(),
        session: Session::default(),
        effects: effects.iter().map(|&written| written.to_owned()).collect(),
        expect: String::new(),
    };
    case.with_request(|request| printed(&set.decide(request)))
}

#[test]
fn the_example_policies_parse_without_warnings() {
    for (file, text) in files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("config/policy"), "yaml") {
        assert_eq!(parse(&file, &text).warnings(), [], "{file}");
    }
}

#[test]
fn an_own_session_may_be_ended_by_a_rule_of_no_policy_unless_a_deny_rule_forbids_it() {
    let (own, other) = ("call pg_catalog.pg_terminate_backend session 7", "call pg_catalog.pg_terminate_backend process 7");
    let demo = include_str!("../../config/policy/demo.yaml");
    assert_eq!(decide(&parse("demo.yaml", demo), &[own]), "allowed by built-in own-session");
    let denied = decide(&parse("demo.yaml", demo), &[other]);
    assert!(denied.starts_with("denied policy-denied"), "{denied}");
    assert!(denied.ends_with("a call of function pg_catalog.pg_terminate_backend for process 7"), "{denied}");
    let forbids = demo.replace("tables: [demo.finance.salaries]", "functions: [pg_terminate_*]");
    assert!(decide(&parse("forbids.yaml", &forbids), &[own]).starts_with("denied policy-deny-rule"));
    let elsewhere = demo.replace("namespace: demo", "namespace: other");
    assert!(decide(&parse("elsewhere.yaml", &elsewhere), &[own]).starts_with("denied policy-none-selects"));
}

#[test]
fn replication_is_allowed_by_its_name_alone_and_denied_by_an_entry_without_keys() {
    let policy = |allowed: &str, denied: &str| {
        format!(
            "apiVersion: tollhouse.dev/v1alpha1\nkind: ClusterWarehousePolicy\nmetadata: {{ name: p }}\nspec:\n  endpointSelector: {{}}\n  \
             egress: [{{ toPorts: [{{ rules: {{ sql: {allowed} }} }}] }}]\n  egressDeny: [{{ toPorts: [{{ rules: {{ sql: {denied} }} }}] }}]\n"
        )
    };
    for (allowed, denied, verdict) in [
        ("[{}]", "[{ opaque: [do] }]", "denied statement-opaque"),
        ("[{ opaque: [do] }]", "[{ opaque: [do] }]", "denied statement-opaque"),
        ("[{}, { opaque: [replication] }]", "[{ opaque: [do] }]", "allowed by p"),
        ("[{ opaque: [replication] }]", "[{}]", "denied policy-deny-rule"),
    ] {
        let actual = decide(&parse("p.yaml", &policy(allowed, denied)), &["opaque replication"]);
        assert!(actual.starts_with(verdict), "{allowed} {denied}: {actual}");
    }
}

#[test]
fn the_demo_policy_lets_dbt_build_and_keeps_it_out_of_finance() {
    let demo = example("demo.yaml");
    for effects in [
        &["select demo.pg_catalog.pg_namespace", "select information_schema.tables"][..],
        &["create schema analytics", "create schema snapshots"],
        &["create demo.analytics.orders__dbt_tmp", "select raw.orders", "insert raw.orders", "truncate raw.orders"],
        &["alter analytics.orders__dbt_tmp", "create analytics.orders", "drop analytics.orders__dbt_backup"],
        &["create pg_temp.orders__dbt_tmp1200", "select orders__dbt_tmp1200", "delete analytics.orders", "drop orders__dbt_tmp1200"],
        &[],
    ] {
        assert!(decide(&demo, effects).starts_with("allowed by demo/dbt-runner"), "{effects:?} {}", decide(&demo, effects));
    }
    for (effect, reason) in [
        ("select demo.finance.salaries", Reason::PolicyDenyRule),
        ("select salaries", Reason::PolicyDenyRule),
        ("select demo.finance.budget", Reason::PolicyDenied),
        ("insert pg_catalog.pg_authid", Reason::PolicyDenied),
        ("create schema finance", Reason::PolicyDenied),
        ("select other.raw.orders", Reason::PolicyDenied),
        ("select orders", Reason::PolicyDenied),
        ("call pg_read_file", Reason::PolicyDenied),
        ("call pg_catalog.pg_terminate_backend", Reason::PolicyDenied),
        ("set session_replication_role", Reason::PolicyDenied),
        ("role postgres", Reason::PolicyDenied),
        ("opaque do", Reason::StatementOpaque),
    ] {
        let actual = decide(&demo, &["select raw.orders", effect]);
        assert!(actual.starts_with(&format!("denied {}", reason.row().code)), "{effect}: {actual}");
    }
}

const MINIMAL: &str = "{apiVersion: tollhouse.dev/v1alpha1, kind: ClusterWarehousePolicy, metadata: {name: NAME}, spec: {endpointSelector: {}, egress: [{toPorts: [{RULES}]}]}}";

fn minimal(name: &str, rules: &str) -> String {
    MINIMAL.replace("NAME", name).replace("RULES", rules)
}

#[test]
fn no_policy_denies_everything() {
    let set = PolicySet::parse(&[]).unwrap();
    assert_eq!(
        decide(&set, &[]),
        "denied policy-none-selects: no policy selects this workload, so nothing allows a connection to localhost:5432"
    );
    assert_eq!(set.admits(&Workload::default().principal(), &HostAndPort::default().target()).verdict, Verdict::Denied);
}

#[test]
fn a_rule_without_sql_admits_the_connection_and_warns() {
    let set = parse("p", &minimal("a", "ports: [{port: 5432}]"));
    let admitted = set.admits(&Workload::default().principal(), &HostAndPort::default().target());
    assert_eq!(printed(&admitted), "allowed by a spec.egress[0].toPorts[0]");
    let elsewhere = HostAndPort { port: 5433, ..HostAndPort::default() };
    assert_eq!(
        printed(&set.admits(&Workload::default().principal(), &elsewhere.target())),
        "denied policy-denied: no rule allows a connection to localhost:5433"
    );
    assert_eq!(decide(&set, &["select raw.orders"]), "denied policy-denied: no rule allows select on demo.raw.orders");
    assert_eq!(set.warnings().len(), 1);
    assert_eq!(set.warnings()[0].path, "spec.egress[0].toPorts[0]");
}

#[test]
fn the_revision_names_what_decides_and_nothing_else() {
    let revision = |sources: &[&str]| {
        let sources: Vec<Source<'_>> = sources.iter().map(|text| Source { file: "p", text }).collect();
        PolicySet::parse(&sources).unwrap().revision().to_string()
    };
    let (a, b) = (minimal("a", "rules: {sql: [{}]}"), minimal("b", "rules: {sql: []}"));
    let both = revision(&[&a, &b]);
    assert_eq!(both.len(), "sha256:".len() + 16);
    assert_eq!(both, revision(&[&b, &a]));
    assert_eq!(both, revision(&[&format!("{b}\n---\n{a}")]));
    assert_eq!(both, revision(&[&a, &b.replace("spec: {", "spec: {description: for the reader, ")]));
    assert_ne!(both, revision(&[&a]));
    assert_ne!(both, revision(&[&a, &minimal("b", "rules: {sql: [{}]}")]));
}

#[test]
fn a_name_that_stands_twice_is_refused_across_files() {
    let text = minimal("a", "rules: {sql: [{}]}");
    let problems = PolicySet::parse(&[Source { file: "one", text: &text }, Source { file: "two", text: &text }]).unwrap_err();
    assert_eq!(lines(&problems), "two:1: metadata.name: a policy named a stands elsewhere too\n");
}

#[test]
fn summaries_count_rules_and_entries() {
    let set = parse("p", &minimal("a", "rules: {sql: [{}, {opaque: [do]}]}"));
    let [summary] = set.summaries().try_into().unwrap();
    assert_eq!((&*summary.policy, summary.mode), ("a", Mode::Enforce));
    assert_eq!((summary.allow_rules, summary.deny_rules, summary.sql_entries), (1, 0, 2));
}

const CILIUM: &str = "
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {name: warehouses, namespace: demo}
spec:
  endpointSelector: {matchLabels: {app: dbt}}
  egress:
    - {toFQDNs: [{matchPattern: '**.example.com'}], toPorts: [{ports: [{port: '5432', protocol: TCP}]}]}
    - {toCIDR: [192.0.2.0/24], toPorts: [{ports: [{port: '1'}]}]}
  egressDeny:
    - {toCIDR: [10.0.0.0/8]}
";

#[test]
fn a_host_that_cilium_drops_is_denied_with_its_rule_before_any_statement() {
    let set = parse("p", &format!("{}\n---{CILIUM}", minimal("all", "rules: {sql: [{}]}")));
    let workload = Workload::default().principal();
    let at = |host: &str, port| HostAndPort { host: host.to_owned(), port }.target();
    let told = |host, port| printed(&set.admits(&workload, &at(host, port)));
    assert_eq!(told("pg.eu.example.com", 5432), "allowed by all spec.egress[0].toPorts[0]");
    assert_eq!(
        told("pg.example.org", 5432),
        "denied network-policy-denied: no rule of the Cilium policies that select this workload allows a connection to pg.example.org:5432"
    );
    assert_eq!(
        told("10.0.0.7", 5432),
        "denied network-policy-denied: CiliumNetworkPolicy demo/warehouses spec.egressDeny[0] denies a connection to 10.0.0.7:5432"
    );
    assert!(decide(&set, &["select raw.orders"]).starts_with("denied network-policy-denied"), "a session does not outlive its permission");
    let elsewhere = Workload { labels: BTreeMap::new(), ..Workload::default() }.principal();
    assert_eq!(printed(&set.admits(&elsewhere, &at("pg.example.org", 1))), "allowed by all spec.egress[0].toPorts[0]");
    let addressed = |host: &str, port, address: &str| set.admits_address(&workload, &at(host, port), address.parse().unwrap()).verdict;
    assert_eq!(addressed("pg.example.com", 5432, "203.0.113.1"), Verdict::Allowed);
    assert_eq!(addressed("pg.example.com", 5432, "10.0.0.7"), Verdict::Denied);
    assert_eq!(set.admits(&workload, &at("pg.example.org", 1)).verdict, Verdict::Allowed, "its address may be in the block");
    assert_eq!(addressed("pg.example.org", 1, "192.0.2.1"), Verdict::Allowed);
    assert_eq!(addressed("pg.example.org", 1, "198.51.100.1"), Verdict::Denied);
    assert_eq!(set.summaries().len(), 2);
}

#[test]
fn a_server_name_is_seen_only_where_a_connection_begins_with_tls() {
    let names = "{apiVersion: cilium.io/v2, kind: CiliumClusterwideNetworkPolicy, metadata: {name: names}, spec: {endpointSelector: {}, egress: [{toEntities: [world], toPorts: [{ports: [{port: '5432', protocol: TCP}], serverNames: [localhost]}]}]}}";
    let set = parse("p", &format!("{}\n---\n{names}", minimal("all", "rules: {sql: [{}]}")));
    let workload = Workload::default().principal();
    let plain = HostAndPort::default().target();
    let direct = Target { opening: Opening::Tls, ..plain.clone() };
    assert!(printed(&set.admits(&workload, &plain)).starts_with(
        "denied network-policy-denied: CiliumClusterwideNetworkPolicy names spec.egress[0].toPorts[0] asks for another TLS server name"
    ));
    assert_eq!(printed(&set.admits(&workload, &direct)), "allowed by all spec.egress[0].toPorts[0]");
    let address = Target { host: "127.0.0.1".to_owned(), ..direct };
    assert_eq!(set.admits(&workload, &address).verdict, Verdict::Denied);
}

#[test]
fn ciliums_documents_allow_nothing_that_a_warehouse_policy_does_not() {
    let set = parse("p", CILIUM);
    let target = HostAndPort { host: "pg.example.com".to_owned(), port: 5432 }.target();
    assert!(printed(&set.admits(&Workload::default().principal(), &target)).starts_with("denied policy-none-selects"));
}

#[test]
fn requests_are_held_against_http_rules_and_deny_wins() {
    let rules = "rules: {http: [{method: GET}, {method: POST, path: /v1/statement}]}";
    let deny = "{egressDeny: [{toPorts: [{rules: {http: [{path: /v1/kill.*}]}}]}]";
    let text = minimal("a", rules).replace("{endpointSelector: {}", &format!("{deny}, endpointSelector: {{}}"));
    let set = parse("p", &text);
    let (workload, target) = (Workload::default().principal(), HostAndPort::default().target());
    let told =
        |method, path| printed(&set.admits_request(&workload, &target, &HttpRequest { method, path, host: "localhost", headers: &[] }));
    assert_eq!(told("POST", "/v1/statement"), "allowed by a spec.egress[0].toPorts[0].rules.http[1]");
    assert_eq!(
        told("GET", "/v1/kill/1"),
        "denied policy-deny-rule: deny rule a spec.egressDeny[0].toPorts[0].rules.http[0] forbids a GET request to localhost:5432"
    );
    assert_eq!(told("PUT", "/secret"), "denied policy-denied: no rule allows a PUT request to localhost:5432");
    assert_eq!(decide(&set, &["select raw.orders"]), "denied policy-denied: no rule allows select on demo.raw.orders");
}
