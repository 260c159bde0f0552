//! Targets that take a text: SQL, policy documents, dbt's comments.

use std::thread;

use pg_query::NodeRef;
use tollhouse::policy::{AccessRequest, PolicySet, Source, Verdict};
use tollhouse::sql::cache::Cache;
use tollhouse::sql::{Action, Analysis, Dialect, Effect, Limits, Object, ObjectKind, OpaqueClass, Signals, analyze};
use tollhouse::target::{Opening, Target};

use super::stage::{principal, rules};

/// Small enough that the parser's own tree can be read in [`STACK_BYTES`].
const LIMITS: Limits = Limits { statement_bytes_max: 64 * 1024, nesting_max: 200 };

/// Room for a tree of the deepest text that is within the limits, unoptimized.
const STACK_BYTES: usize = 64 * 1024 * 1024;

pub(crate) fn sql(input: &[u8]) {
    let Some((first, rest)) = input.split_first() else { return };
    let Ok(text) = std::str::from_utf8(rest) else { return };
    let dialect = if first % 8 == 7 { Dialect::Redshift } else { Dialect::Postgres };
    let analysis = analyze(dialect, text, &LIMITS);
    assert_eq!(analysis, analyze(dialect, text, &LIMITS), "the same text means the same");
    same_from_memory(dialect, text, &analysis);
    let effects: Vec<Effect> = effects(&analysis).cloned().collect();
    if effects.iter().any(is_beyond_limits) {
        return;
    }
    match with_room(|| parsed_and_writing(text)) {
        None => assert!(effects.iter().any(is_opaque), "what the parser rejects is opaque"),
        Some(writing) => {
            assert!(writing.is_none() || !may_only_select(&effects), "a policy for reading alone allows {writing:?}");
            more_does_more(dialect, text, &effects);
        }
    }
}

/// A cache that has seen the text with other values says of it what it says alone.
fn same_from_memory(dialect: Dialect, text: &str, analysis: &Analysis) {
    let cache = Cache::new(16, 1024 * 1024);
    for digit in ['3', '8'] {
        let mut quotes = false;
        let changed = text.chars().map(|character| match character {
            '\'' => {
                quotes = !quotes;
                character
            }
            character if character.is_ascii_digit() => digit,
            character if quotes && character.is_ascii_lowercase() => {
                if digit == '3' {
                    'x'
                } else {
                    'y'
                }
            }
            character => character,
        });
        cache.analyze(dialect, &changed.collect::<String>(), &LIMITS);
    }
    assert_eq!(*cache.analyze(dialect, text, &LIMITS), *analysis, "values of other texts make no difference");
}

/// What of the text writes, by the parser's own tree; `None` if the parser does not accept it.
fn parsed_and_writing(text: &str) -> Option<Option<String>> {
    let parsed = pg_query::parse(text, pg_query::ParserOptions::default()).ok()?;
    let nodes = parsed.protobuf.nodes();
    Some(nodes.iter().find(|(node, ..)| writes(node)).map(|(node, ..)| format!("{node:?}")))
}

/// The tree as the library gives it takes more stack than a thread has.
fn with_room<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    thread::scope(|scope| thread::Builder::new().stack_size(STACK_BYTES).spawn_scoped(scope, work).unwrap().join().unwrap())
}

fn effects(analysis: &Analysis) -> impl Iterator<Item = &Effect> {
    analysis.statements.iter().flat_map(|statement| &statement.effects)
}

fn is_opaque(effect: &Effect) -> bool {
    matches!(effect, Effect::Opaque { .. })
}

fn is_beyond_limits(effect: &Effect) -> bool {
    matches!(effect, Effect::Opaque { class: OpaqueClass::TooDeep | OpaqueClass::TooLong, .. })
}

/// Whether a policy that allows `select` on every table, and nothing else, lets these effects pass.
fn may_only_select(effects: &[Effect]) -> bool {
    thread_local! {
        static READING: PolicySet = rules("{ actions: [select], tables: [\"*.*.*\"] }");
    }
    READING.with(|policies| is_allowed(policies, effects))
}

fn is_allowed(policies: &PolicySet, effects: &[Effect]) -> bool {
    let (principal, target) = (principal(), target());
    policies.decide(&request(&principal, &target, effects)).verdict == Verdict::Allowed
}

fn request<'a>(principal: &'a tollhouse::identity::Principal, target: &'a Target, effects: &'a [Effect]) -> AccessRequest<'a> {
    AccessRequest { principal, target, database: "demo", role: "dbt_runner", unqualified_schema: None, effects, dbt: None }
}

fn target() -> Target {
    Target { name: "warehouse".to_owned(), kind: "postgresql", host: "127.0.0.1".to_owned(), port: 5432, opening: Opening::Plain }
}

/// Nodes of statements that change data or definitions, whatever else is around them.
fn writes(node: &NodeRef<'_>) -> bool {
    if let NodeRef::CopyStmt(copy) = node {
        return copy.is_from || copy.is_program;
    }
    if let NodeRef::SelectStmt(select) = node {
        return select.into_clause.is_some();
    }
    matches!(
        node,
        NodeRef::InsertStmt(_)
            | NodeRef::UpdateStmt(_)
            | NodeRef::DeleteStmt(_)
            | NodeRef::MergeStmt(_)
            | NodeRef::TruncateStmt(_)
            | NodeRef::CreateStmt(_)
            | NodeRef::CreateTableAsStmt(_)
            | NodeRef::CreateSchemaStmt(_)
            | NodeRef::CreateFunctionStmt(_)
            | NodeRef::CreateRoleStmt(_)
            | NodeRef::CreateExtensionStmt(_)
            | NodeRef::ViewStmt(_)
            | NodeRef::IndexStmt(_)
            | NodeRef::AlterTableStmt(_)
            | NodeRef::AlterRoleStmt(_)
            | NodeRef::AlterSystemStmt(_)
            | NodeRef::RenameStmt(_)
            | NodeRef::CommentStmt(_)
            | NodeRef::DropStmt(_)
            | NodeRef::DropRoleStmt(_)
            | NodeRef::DropdbStmt(_)
            | NodeRef::GrantStmt(_)
            | NodeRef::GrantRoleStmt(_)
            | NodeRef::DoStmt(_)
            | NodeRef::CallStmt(_)
            | NodeRef::RefreshMatViewStmt(_)
            | NodeRef::ReindexStmt(_)
            | NodeRef::ClusterStmt(_)
            | NodeRef::VacuumStmt(_)
    )
}

/// Another statement in front takes no effect away.
fn more_does_more(dialect: Dialect, text: &str, before: &[Effect]) {
    let longer = analyze(dialect, &format!("select 1;\n{text}"), &LIMITS);
    let longer: Vec<&Effect> = effects(&longer).collect();
    for effect in before {
        assert!(longer.contains(&effect) || longer.iter().any(|longer| is_opaque(longer)), "{effect:?} is gone behind another statement");
    }
}

pub(crate) fn policy(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let source = Source { file: "policy.yaml", text };
    let policies = match PolicySet::parse(&[source]) {
        Ok(policies) => policies,
        Err(problems) => return assert!(!problems.is_empty(), "rejected without a word"),
    };
    let denying = Source {
        file: "deny.yaml",
        text: "apiVersion: tollhouse.dev/v1alpha1\nkind: ClusterWarehousePolicy\nmetadata: { name: deny-everything-here }\n\
               spec: { endpointSelector: {}, egressDeny: [{ toPorts: [{}] }] }",
    };
    let denied = PolicySet::parse(&[source, denying]);
    let swapped = PolicySet::parse(&[denying, source]);
    assert_eq!(denied.as_ref().ok().map(PolicySet::revision), swapped.as_ref().ok().map(PolicySet::revision), "files have no order");
    let (principal, target) = (principal(), target());
    for effects in effects_asked_about() {
        let request = request(&principal, &target, &effects);
        let decision = policies.decide(&request);
        assert_eq!(decision, policies.decide(&request), "the same question has the same answer");
        assert_eq!(decision.verdict == Verdict::Allowed, decision.denial.is_none());
        let explanation = policies.explain(&request);
        assert_eq!(explanation.decision(), &decision);
        assert!(!explanation.to_string().is_empty());
        if let Ok(denied) = &denied {
            assert_eq!(denied.decide(&request).verdict, Verdict::Denied, "deny rules win");
        }
    }
}

fn effects_asked_about() -> Vec<Vec<Effect>> {
    let object = |kind, schema: Option<&str>, name: &str| {
        let schema = schema.map(str::to_owned);
        Object { kind, database: None, schema, name: name.to_owned() }
    };
    let access = |action, schema, columns: &[&str]| Effect::Access {
        action,
        object: object(ObjectKind::Relation, schema, "orders"),
        columns: columns.iter().map(|column| (*column).to_owned()).collect(),
    };
    let call = Effect::Call { function: object(ObjectKind::Function, Some("pg_catalog"), "pg_sleep"), signals: Signals::Unsaid };
    let opaque = Effect::Opaque { class: OpaqueClass::Do, detail: String::new() };
    vec![
        Vec::new(),
        vec![access(Action::Select, Some("public"), &["id"])],
        vec![access(Action::Select, None, &[]), access(Action::Drop, Some("finance"), &[])],
        vec![call, Effect::Set { parameter: "work_mem".to_owned() }],
        vec![Effect::Role { role: Some("admin".to_owned()) }, opaque],
    ]
}

pub(crate) fn dbt(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    if let Some(said) = tollhouse::dbt::attribute(text) {
        assert!(text.contains("/*") && text.contains("dbt"), "{said:?}");
        assert_eq!(tollhouse::dbt::attribute(&format!(" {text} ")), Some(said), "white space around it says nothing");
    }
    assert_eq!(tollhouse::dbt::attribute(&format!("select 1 {text} + 1")), None, "the midst of a text is not dbt's word");
}
