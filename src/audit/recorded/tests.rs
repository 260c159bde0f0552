use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::json;

use super::{Recorded, RecordedExecution, RecordedExecutions, effect, find};
use crate::audit::tests::{Fixture, completed};
use crate::audit::{Attempt, SessionFacts};
use crate::dbt::Claim;
use crate::dbt::manifest::verify::{Mismatch, Standing};
use crate::document::Size;
use crate::identity::Principal;
use crate::sql::{Action, Effect, Object, ObjectKind, OpaqueClass, Signals};

fn kind_of(word: &str) -> Option<&'static str> {
    (word == "postgresql").then_some("postgresql")
}

fn object(kind: ObjectKind) -> Object {
    Object { kind, database: Some("d".into()), schema: None, name: "odd.\"name\"".into() }
}

/// One of every kind, with every word.
fn every_effect() -> Vec<Effect> {
    let access = |action, kind| Effect::Access { action, object: object(kind), columns: vec!["a".into(), "b c".into()] };
    let mut effects: Vec<Effect> = Action::ALL.iter().map(|action| access(*action, ObjectKind::Relation)).collect();
    effects.extend(ObjectKind::ALL.iter().map(|kind| access(Action::Drop, *kind)));
    effects.extend(OpaqueClass::ALL.iter().map(|class| Effect::Opaque { class: *class, detail: "why".into() }));
    for signals in [Signals::Unsaid, Signals::Process(7), Signals::OwnSession(7)] {
        effects.push(Effect::Call { function: object(ObjectKind::Function), signals });
    }
    effects.extend([Effect::Role { role: None }, Effect::Role { role: Some("r".into()) }, Effect::Set { parameter: "p".into() }]);
    effects
}

fn all(fixture: &Fixture) -> Vec<RecordedExecution> {
    let mut recorded = RecordedExecutions::open(fixture.path(), kind_of).unwrap();
    let mut executions = Vec::new();
    while let Some(found) = recorded.next_recorded().unwrap() {
        match found {
            Recorded::Execution(execution) => executions.push(*execution),
            other @ (Recorded::Unreadable { .. } | Recorded::SessionRefused { .. }) => panic!("{other:?}"),
        }
    }
    executions
}

#[tokio::test]
async fn what_policy_was_asked_and_said_is_read_back_whole() {
    let mut fixture = Fixture::new();
    let labels = BTreeMap::from([("app".to_owned(), "dbt".to_owned())]);
    let principal = Principal { labels, ..(*fixture.session.principal).clone() };
    fixture.session = SessionFacts { principal: Arc::new(principal), ..fixture.session };
    let log = fixture.open();
    let effects = every_effect();
    let mut asked = fixture.attempt("select 'é'");
    asked.execution.effects = &effects;
    log.refuse(&asked).await.unwrap();
    log.close().await.unwrap();

    let [read] = all(&fixture).try_into().unwrap();
    let request = read.request();
    assert_eq!(request.effects, effects);
    assert_eq!(request.principal.labels, fixture.session.principal.labels);
    assert_eq!(request.principal.subject, fixture.session.principal.subject);
    assert_eq!(request.principal.namespace.as_deref(), Some("shop"));
    assert_eq!(request.target, &*fixture.session.target);
    assert_eq!((request.database, request.role, request.unqualified_schema), ("shop", "dbt", Some("public")));
    assert_eq!(request.dbt, asked.execution.dbt);
    assert_eq!((read.decision.verdict, read.decision.rule.as_ref()), (asked.decision.verdict, asked.decision.rule.as_ref()));
    assert_eq!(read.statement.as_deref(), Some("select 'é'"));
}

#[tokio::test]
async fn every_segment_is_read_with_its_own_facts_and_texts() {
    let mut fixture = Fixture::new();
    fixture.settings.segment_size = Size(4096);
    let log = fixture.open();
    for _ in 0..40 {
        log.attempt(&fixture.attempt("select 'again'")).await.unwrap().finish(&completed(1));
    }
    log.close().await.unwrap();
    let executions = all(&fixture);
    assert!(fixture.path().join("000003.audit").exists());
    assert_eq!(executions.len(), 40);
    assert!(executions.iter().all(|execution| execution.statement.as_deref() == Some("select 'again'")));
}

#[tokio::test]
async fn an_execution_is_found_by_its_record() {
    let fixture = Fixture::new();
    let log = fixture.open();
    log.refuse(&fixture.attempt("select 'other'")).await.unwrap();
    let id = log.refuse(&Attempt { ..fixture.attempt("select 'this'") }).await.unwrap().to_string();
    log.close().await.unwrap();
    for name in [id.as_str(), id.rsplit_once('-').unwrap().1] {
        match find(fixture.path(), name, kind_of).unwrap() {
            Some(Recorded::Execution(found)) => assert_eq!(found.statement.as_deref(), Some("select 'this'")),
            other => panic!("{other:?}"),
        }
    }
    assert!(find(fixture.path(), "1", kind_of).unwrap().is_none(), "the first record is no execution");
}

#[tokio::test]
async fn an_execution_whose_session_cannot_be_read_is_told_and_not_left_out() {
    let fixture = Fixture::new();
    let log = fixture.open();
    log.refuse(&fixture.attempt("select 1")).await.unwrap();
    log.close().await.unwrap();
    let mut recorded = RecordedExecutions::open(fixture.path(), |_| None).unwrap();
    match recorded.next_recorded().unwrap() {
        Some(Recorded::Unreadable { why, .. }) => assert!(why.contains("session"), "{why}"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_effect_that_is_not_known_is_an_error_and_not_nothing() {
    for written in [
        json!({"action": "levitate", "object": {"kind": "relation", "name": "t"}}),
        json!({"action": "select", "object": {"kind": "dream", "name": "t"}}),
        json!({"action": "select"}),
        json!({"opaque": "unheard-of", "detail": ""}),
        json!({"call": {"kind": "function"}}),
        json!({"teleport": "t"}),
        json!("select"),
    ] {
        assert!(effect::read(&written).is_err(), "{written}");
    }
    assert_eq!(effect::read(&json!({"set": "p", "later": 1})), Ok(Effect::Set { parameter: "p".into() }));
}

#[tokio::test]
async fn what_a_claim_was_worth_is_read_back_with_every_mismatch() {
    let fixture = Fixture::new();
    let log = fixture.open();
    let relation = || object(ObjectKind::Relation);
    let mismatches = [
        Mismatch::UnknownNode,
        Mismatch::ForeignWrite(Action::Drop, relation()),
        Mismatch::UndeclaredRead(relation()),
        Mismatch::OtherText,
        Mismatch::Unseen,
    ];
    let mut standings = vec![Standing::Claimed, Standing::Verified];
    standings.extend(mismatches.map(Standing::Mismatch));
    for standing in &standings {
        let mut asked = fixture.attempt("select 1");
        asked.execution.dbt = asked.execution.dbt.map(|claim| Claim { standing, ..claim });
        log.refuse(&asked).await.unwrap();
    }
    log.close().await.unwrap();
    let read: Vec<Standing> = all(&fixture).into_iter().map(|execution| execution.dbt.unwrap().1).collect();
    assert_eq!(read, standings);
}
