//! Follows the advice of explanations for the statements of `tests/data`, as it is printed, and decides again.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::dbt::manifest::verify::{Mismatch, Standing};
use crate::dbt::{self, Attribution, Claim};
use crate::identity::Principal;
use crate::policy::{AccessRequest, PolicySet, Source, Verdict};
use crate::sql::dialect::{ATHENA, BIGQUERY, CLICKHOUSE, DATABRICKS, SNOWFLAKE, TRINO};
use crate::sql::{self, Action, Dialect, Effect, Limits, Object, ObjectKind};
use crate::target::{Opening, Target};

/// Reaches the target by its second rule, which allows `{}`.
const POLICY: &str = "apiVersion: tollhouse.dev/v1alpha1
kind: WarehousePolicy
metadata: { name: base, namespace: demo }
spec:
  endpointSelector: {}
  egress:
    - { toFQDNs: [{ matchName: elsewhere.example.com }], toPorts: [{ rules: { sql: [{}] } }] }
    - toFQDNs: [{ matchName: warehouse.example.com }]
      toPorts:
        - rules:
            sql:
              - { actions: [select], tables: [demo.nowhere.nothing] }
ENTRIES";

fn principal() -> Principal {
    Principal {
        issuer: "https://issuer.example".into(),
        subject: "system:serviceaccount:demo:dbt".into(),
        token_id: None,
        actors: Vec::new(),
        namespace: Some("demo".into()),
        service_account: Some("dbt".into()),
        pod: None,
        pod_uid: None,
        labels: BTreeMap::new(),
        proven_by: "kubernetes",
        expires_at: SystemTime::UNIX_EPOCH,
    }
}

fn target() -> Target {
    Target { name: "wh".into(), kind: "postgresql", host: "warehouse.example.com".into(), port: 5432, opening: Opening::Plain }
}

fn set(texts: &[&str]) -> PolicySet {
    let sources: Vec<Source<'_>> = texts.iter().map(|text| Source { file: "p", text }).collect();
    PolicySet::parse(&sources).unwrap_or_else(|problems| panic!("{problems:?}\n{}", texts.join("---\n")))
}

/// One statement's effects, as asked in database `demo`.
struct Asked {
    principal: Principal,
    target: Target,
    effects: Vec<Effect>,
    unqualified_schema: Option<String>,
    dbt: Option<(Attribution, Standing)>,
}

impl Asked {
    fn new(effects: Vec<Effect>) -> Self {
        Self { principal: principal(), target: target(), effects, unqualified_schema: None, dbt: None }
    }

    fn of(sql: &str) -> Self {
        Self::new(effects(Dialect::Postgres, sql))
    }

    fn request(&self) -> AccessRequest<'_> {
        AccessRequest {
            principal: &self.principal,
            target: &self.target,
            database: "demo",
            role: "dbt",
            unqualified_schema: self.unqualified_schema.as_deref(),
            effects: &self.effects,
            dbt: self.dbt.as_ref().map(|(attribution, standing)| Claim { attribution, standing }),
        }
    }

    /// The advice under these policies, as it is printed, without its margin.
    fn advice(&self, texts: &[&str]) -> Advice {
        self.advice_of(&set(texts))
    }

    fn advice_of(&self, set: &PolicySet) -> Advice {
        let printed = set.explain(&self.request()).to_string();
        let advice = printed.split_once("\nto allow   ").map(|(_, advice)| advice).unwrap_or_default();
        Advice { lines: advice.lines().map(|line| line.strip_prefix("           ").unwrap_or(line).to_owned()).collect() }
    }

    fn verdict(&self, texts: &[&str]) -> Verdict {
        set(texts).decide(&self.request()).verdict
    }
}

struct Advice {
    lines: Vec<String>,
}

impl Advice {
    fn says(&self, part: &str) -> bool {
        self.lines.iter().any(|line| line.contains(part))
    }

    /// Is something told that no entry can mend?
    fn is_partial(&self) -> bool {
        self.says("no entry can name this exactly")
    }

    fn has_caveat(&self) -> bool {
        self.says("# also allows")
    }

    /// The policy with the entries added under the rule that the advice names, which has to be the one that reaches the target.
    fn followed_in_place(&self) -> String {
        assert!(self.says("add under demo/base spec.egress[1].toPorts[0].rules.sql:"), "{}", self.lines.join("\n"));
        let entries = self.lines.iter().filter(|line| line.starts_with("- "));
        POLICY.replace("ENTRIES", &entries.map(|entry| format!("              {entry}\n")).collect::<String>())
    }

    /// The policy that the advice says to add.
    fn proposed_policy(&self) -> String {
        let begin = self.lines.iter().position(|line| line.starts_with("apiVersion:"));
        self.lines[begin.unwrap_or_else(|| panic!("{}", self.lines.join("\n")))..].join("\n")
    }
}

fn effects(dialect: Dialect, sql: &str) -> Vec<Effect> {
    sql::analyze(dialect, sql, &Limits::default()).statements.into_iter().flat_map(|statement| statement.effects).collect()
}

fn base() -> String {
    POLICY.replace("ENTRIES", "")
}

/// Every statement of `tests/data`, by its dialect.
fn corpus() -> Vec<(Dialect, String)> {
    let directories = [
        ("sql", Dialect::Postgres),
        ("attack", Dialect::Postgres),
        ("sql-redshift", Dialect::Redshift),
        ("sql-athena", Dialect::Other(&ATHENA)),
        ("sql-bigquery", Dialect::Other(&BIGQUERY)),
        ("sql-clickhouse", Dialect::Other(&CLICKHOUSE)),
        ("sql-databricks", Dialect::Other(&DATABRICKS)),
        ("sql-snowflake", Dialect::Other(&SNOWFLAKE)),
        ("sql-trino", Dialect::Other(&TRINO)),
    ];
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data");
    let mut statements = Vec::new();
    for (directory, dialect) in directories {
        let mut files: Vec<PathBuf> = fs::read_dir(data.join(directory)).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.retain(|file| file.extension().is_some_and(|ending| ending == "sql"));
        for file in files {
            let text = fs::read_to_string(file).unwrap();
            let blocks = text.split("\n--- ").filter_map(|block| block.split_once('\n'));
            statements.extend(blocks.map(|(_, sql)| (dialect, sql.to_owned())));
        }
    }
    let sent = fs::read_to_string(data.join("dbt-postgres/statements.jsonl")).unwrap();
    for line in sent.lines() {
        let sent: serde_json::Value = serde_json::from_str(line).unwrap();
        statements.push((Dialect::Postgres, sent["sql"].as_str().unwrap().to_owned()));
    }
    statements
}

/// Effects that look like these and were not asked for: another object or another action.
fn siblings(effects: &[Effect]) -> Vec<Effect> {
    let mut siblings = Vec::new();
    for effect in effects {
        match effect.clone() {
            Effect::Access { action, mut object, columns } => {
                let asked = |action: &Action| {
                    effects
                        .iter()
                        .any(|other| matches!(other, Effect::Access { action: a, object: o, .. } if a == action && o.name == object.name))
                };
                if let Some(other) = Action::ALL.iter().copied().find(|action| !asked(action)) {
                    siblings.push(Effect::Access { action: other, object: object.clone(), columns: columns.clone() });
                }
                // Where the same name stands without a schema too, an entry for any schema has to be advised.
                let resolved =
                    |other: &Effect| !matches!(other, Effect::Access { object: o, .. } if o.name == object.name && o.schema.is_none());
                if object.kind == ObjectKind::Relation && effects.iter().all(resolved) {
                    let object = Object { schema: Some("another_schema".to_owned()), ..object.clone() };
                    siblings.push(Effect::Access { action, object, columns: columns.clone() });
                }
                object.name.push_str("_sibling");
                siblings.push(Effect::Access { action, object, columns });
            }
            Effect::Call { mut function, signals } => {
                function.name.push_str("_sibling");
                siblings.push(Effect::Call { function, signals });
            }
            Effect::Role { role } => siblings.push(Effect::Role { role: Some(role.unwrap_or_default() + "_sibling") }),
            Effect::Set { parameter } => siblings.push(Effect::Set { parameter: parameter + "_sibling" }),
            Effect::Opaque { .. } => {}
        }
    }
    siblings
}

/// Everything that is denied under the policy as it stands, each list of effects once, with the statement that has it first.
fn denied_of_the_corpus(set: &PolicySet) -> Vec<(String, Asked)> {
    let (mut seen, mut denied) = (HashSet::new(), Vec::new());
    for (dialect, sql) in corpus() {
        let effects = effects(dialect, &sql);
        if !seen.insert(effects.clone()) {
            continue;
        }
        for schema in [None, Some("work".to_owned())] {
            let dbt = dbt::attribute(&sql).map(|said| (said, Standing::Claimed));
            let asked = Asked { unqualified_schema: schema, dbt, ..Asked::new(effects.clone()) };
            if set.decide(&asked.request()).verdict == Verdict::Denied {
                denied.push((sql.clone(), asked));
            }
        }
    }
    denied
}

#[test]
fn what_is_advised_allows_every_statement_of_the_corpus_and_no_sibling_of_it() {
    let base = set(&[&base()]);
    let (mut policies, mut followed, mut partial) = (Vec::new(), Vec::new(), BTreeSet::new());
    for (sql, mut asked) in denied_of_the_corpus(&base) {
        let advice = asked.advice_of(&base);
        if advice.is_partial() {
            partial.insert(sql);
            continue;
        }
        // Each in a namespace of its own, so that one set holds them all.
        let namespace = format!("demo{}", followed.len());
        policies.push(advice.followed_in_place().replace("namespace: demo", &format!("namespace: {namespace}")));
        asked.principal.namespace = Some(namespace);
        followed.push((sql, asked, advice.has_caveat()));
    }
    let all = set(&policies.iter().map(String::as_str).collect::<Vec<_>>());
    for ((sql, asked, has_caveat), policy) in followed.iter().zip(&policies) {
        assert_eq!(all.decide(&asked.request()).verdict, Verdict::Allowed, "{sql}\n{policy}");
        for sibling in siblings(&asked.effects).iter().filter(|_| !has_caveat) {
            let request = AccessRequest { effects: std::slice::from_ref(sibling), ..asked.request() };
            assert_eq!(all.decide(&request).verdict, Verdict::Denied, "{sibling} too by\n{policy}");
        }
    }
    assert!(followed.len() > 900, "only {}", followed.len());
    for sql in &partial {
        let odd = sql.contains(['"', '`', '/', '@', '\\', '{', '%', '\'', '$', '[']);
        assert!(odd, "an entry could name what stands in: {sql}");
    }
    assert!(partial.len() < 80, "{} statements: {partial:#?}", partial.len());
}

#[test]
fn where_no_policy_reaches_the_target_a_whole_one_is_advised_for_this_workload_and_target_alone() {
    let asked = Asked::of("select * from raw.orders");
    let elsewhere = base().replace("namespace: demo", "namespace: other");
    for texts in [&[][..], &[elsewhere.as_str()]] {
        let policy = asked.advice(texts).proposed_policy();
        assert_eq!(asked.verdict(&[texts, &[&policy]].concat()), Verdict::Allowed, "{policy}");
        let denied = |asked: Asked| assert_eq!(asked.verdict(&[texts, &[&policy]].concat()), Verdict::Denied, "{policy}");
        denied(Asked::of("select * from raw.customers"));
        let other = Principal { service_account: Some("other".into()), ..principal() };
        denied(Asked { principal: other, ..Asked::of("select * from raw.orders") });
        denied(Asked { target: Target { port: 5433, ..target() }, ..Asked::of("select * from raw.orders") });
        denied(Asked { target: Target { host: "other.example.com".into(), ..target() }, ..Asked::of("select * from raw.orders") });
    }
}

#[test]
fn a_policy_is_advised_for_principals_without_a_namespace_and_hosts_that_are_addresses() {
    let labels = BTreeMap::from([("team".to_owned(), "yes".to_owned())]);
    let bare = Principal { namespace: None, service_account: None, labels, ..principal() };
    let asked = Asked { principal: bare, target: Target { host: "::1".into(), ..target() }, ..Asked::of("select * from raw.orders") };
    let policy = asked.advice(&[]).proposed_policy();
    assert_eq!(asked.verdict(&[&policy]), Verdict::Allowed, "{policy}");
    let unlabelled = Principal { labels: BTreeMap::new(), ..asked.principal.clone() };
    assert_eq!(Asked { principal: unlabelled, ..asked }.verdict(&[&policy]), Verdict::Denied, "{policy}");
}

#[test]
fn where_everything_observes_the_advice_enforces_nothing() {
    let observing = base().replace("spec:", "spec:\n  mode: observe").replace("warehouse.example.com", "third.example.com");
    let asked = Asked::of("select * from raw.orders");
    assert_eq!(asked.verdict(&[&observing]), Verdict::Observed);
    let policy = asked.advice(&[&observing]).proposed_policy();
    assert_eq!(asked.verdict(&[&observing, &policy]), Verdict::Allowed);
    assert_eq!(Asked::of("select * from raw.customers").verdict(&[&observing, &policy]), Verdict::Observed, "{policy}");
}

#[test]
fn of_a_deny_rule_it_is_said_that_no_rule_can_allow_what_it_forbids() {
    let deny = "  egressDeny: [{ toPorts: [{ rules: { sql: [{ tables: [demo.finance.*] }, { roles: [admin] }] } }] }]\n";
    let policy = base() + deny;
    let asked = Asked::of("select * from finance.salaries");
    let advice = asked.advice(&[&policy]);
    assert!(advice.lines[0].starts_with("change deny rule demo/base spec.egressDeny[0].toPorts[0].rules.sql[0]"), "{:?}", advice.lines);
    assert!(!advice.says("sql[1]"), "{:?}", advice.lines);
    assert!(
        advice.says("- { actions: [select], tables: [demo.finance.salaries] }"),
        "what else is missing is said too: {:?}",
        advice.lines
    );
    let entries = advice.followed_in_place();
    assert_eq!(asked.verdict(&[&(entries.clone() + deny)]), Verdict::Denied);
    assert_eq!(asked.verdict(&[&entries]), Verdict::Allowed);
}

#[test]
fn what_is_allowed_needs_no_advice() {
    assert!(Asked::of("select * from nowhere.nothing").advice(&[&base()]).lines.is_empty());
}

#[test]
fn actions_are_not_spread_over_tables_that_they_were_not_asked_for() {
    let sql = "insert into work.t select * from raw.a join raw.b using (id)";
    let advice = Asked::of(sql).advice(&[&base()]);
    assert!(advice.says("- { actions: [insert], tables: [demo.work.t] }"), "{:?}", advice.lines);
    assert!(advice.says("- { actions: [select], tables: [demo.raw.a, demo.raw.b] }"), "{:?}", advice.lines);
}

#[test]
fn a_name_that_patterns_cannot_hold_is_said_and_no_wider_entry_is_advised() {
    for name in ["a.b", "a*b", " a", "a{b"] {
        let advice = Asked::of(&format!("select * from raw.\"{name}\"")).advice(&[&base()]);
        assert!(advice.is_partial() && !advice.lines.iter().any(|line| line.starts_with("- ")), "{name}: {:?}", advice.lines);
    }
}

fn said(node: &str, standing: Standing) -> Option<(Attribution, Standing)> {
    Some((Attribution { node: Some(node.to_owned()), ..Attribution::default() }, standing))
}

#[test]
fn an_entry_is_for_the_node_that_asks_alone_and_as_proven_as_it_was() {
    let of = |dbt| Asked { dbt, ..Asked::of("select * from raw.orders") };
    let claimed = of(said("model.shop.orders", Standing::Claimed));
    let policy = claimed.advice(&[&base()]).followed_in_place();
    assert_eq!(claimed.verdict(&[&policy]), Verdict::Allowed, "{policy}");
    for other in [None, said("model.shop.others", Standing::Claimed)] {
        assert_eq!(of(other).verdict(&[&policy]), Verdict::Denied, "{policy}");
    }
    let verified = of(said("model.shop.orders", Standing::Verified));
    let policy = verified.advice(&[&base()]).followed_in_place();
    assert_eq!((verified.verdict(&[&policy]), claimed.verdict(&[&policy])), (Verdict::Allowed, Verdict::Denied), "{policy}");
}

#[test]
fn where_the_node_has_only_to_be_verified_that_is_said_first() {
    let proven = "              - { tables: [demo.raw.orders], dbt: { nodes: [model.shop.orders], verified: true } }\n";
    let policy = POLICY.replace("ENTRIES", proven);
    let asked = Asked { dbt: said("model.shop.orders", Standing::Mismatch(Mismatch::OtherText)), ..Asked::of("select * from raw.orders") };
    let advice = asked.advice(&[&policy]);
    assert!(advice.lines[0].starts_with("mend what does not fit dbt's manifest"), "{:?}", advice.lines);
    assert!(advice.lines[1].starts_with("or take dbt's word for it, and add under"), "{:?}", advice.lines);
}

#[test]
fn the_name_of_a_node_that_patterns_cannot_hold_breaks_nothing() {
    let asked = Asked { dbt: said("model.shop.orders\n- {}*", Standing::Claimed), ..Asked::of("select * from raw.orders") };
    let advice = asked.advice(&[&base()]);
    assert!(advice.says("# for every node, since"), "{:?}", advice.lines);
    let policy = advice.followed_in_place();
    assert_eq!(asked.verdict(&[&policy]), Verdict::Allowed);
    assert_eq!(Asked::of("select * from raw.customers").verdict(&[&policy]), Verdict::Denied, "{policy}");
}
