//! What a statement really touches in PostgreSQL, held against what `sql::analyze` says of it: the effects must be at least
//! the truth, or opaque.
//!
//! Each text runs in a transaction that is rolled back. The truth is what the server tells in it: the locks that the backend
//! holds on relations, the rows that it counted, the definitions that event triggers saw, and settings that changed. Texts
//! that the server refuses prove nothing and are counted apart.
//!
//! `ORACLE_SECONDS` (3) bounds the generated part, `ORACLE_SEED` (1) begins it.

mod generate;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use tokio_postgres::Client;
use tollhouse::sql::{Action, Dialect, Effect, Limits, ObjectKind, Statement, analyze};

use crate::support::warehouse::warehouse;
use crate::support::within;
use generate::Dice;

/// A relation by schema and name.
type Relation = (String, String);

/// What the server tells of one text.
#[derive(Debug, Default)]
struct Truth {
    /// Relations with what was done to them, as far as a lock or a count says it.
    touched: BTreeSet<(Relation, Deed)>,
    /// Kind and identity of what was made, changed or dropped.
    definitions: BTreeSet<(String, String)>,
    /// Settings that are other ones than before.
    changed: BTreeSet<String>,
}

/// What was done to a relation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Deed {
    /// AccessShareLock: it was read, or its definition.
    Read,
    /// RowShareLock: its rows were locked.
    Lock,
    /// RowExclusiveLock: its rows were changed, in which way the counts say.
    Write,
    Insert,
    Update,
    Delete,
    /// A stronger lock: more than rows.
    Define,
}

/// What the comparison found.
#[derive(Debug, Default)]
struct Tally {
    compared: usize,
    opaque: usize,
    refused: usize,
    mismatches: Vec<String>,
    /// Texts of which the comparison noticed when an effect was taken away.
    noticed: usize,
}

/// The server, with what has to be known of it beforehand.
struct Oracle {
    client: Client,
    /// Relations by object number, for those that are gone when they are asked for.
    known: BTreeMap<u32, Relation>,
}

const LOCKS: &str = "
    select l.mode, coalesce(i.indrelid, l.relation)::oid, n.nspname::text, c.relname::text, c.relkind::text
    from pg_catalog.pg_locks l
    left join pg_catalog.pg_index i on i.indexrelid = l.relation
    left join pg_catalog.pg_class c on c.oid = coalesce(i.indrelid, l.relation)
    left join pg_catalog.pg_namespace n on n.oid = c.relnamespace
    where l.pid = pg_catalog.pg_backend_pid() and l.locktype = 'relation' and l.relation >= 16384";

const COUNTS: &str = "
    select schemaname::text, relname::text, n_tup_ins, n_tup_upd, n_tup_del
    from pg_catalog.pg_stat_xact_user_tables where n_tup_ins + n_tup_upd + n_tup_del > 0";

const SETTINGS: &str = "
    select name, setting from pg_catalog.pg_settings
    where name in ('search_path', 'standard_conforming_strings', 'client_encoding', 'session_replication_role', 'row_security')
    union all select 'role', current_user::text";

impl Oracle {
    async fn start() -> Self {
        let administrator = warehouse().administrator().await;
        administrator.batch_execute("create database oracle").await.unwrap();
        let client = warehouse().administrator_of("oracle").await;
        let schema = std::fs::read_to_string(data("schema.sql")).unwrap();
        client.batch_execute(&schema).await.unwrap();
        // The search path that the database has counts from the next session on.
        let client = warehouse().administrator_of("oracle").await;
        let rows =
            client.query("select c.oid, n.nspname::text, relname::text from pg_class c join pg_namespace n on n.oid = relnamespace", &[]);
        let known = rows.await.unwrap().iter().map(|row| (row.get(0), (row.get(1), row.get(2)))).collect();
        Self { client, known }
    }

    /// Runs a text and takes it back; an error is the server's.
    async fn ask(&self, text: &str) -> Result<Truth, String> {
        self.client.batch_execute("begin; grant insert on ledger.definitions to public").await.unwrap();
        self.client.batch_execute("truncate ledger.definitions").await.unwrap();
        let before = self.settings().await;
        let truth = match self.run(text).await {
            Ok(()) => Ok(self.truth(&before).await),
            Err(error) => Err(error.as_db_error().map(ToString::to_string).unwrap_or_else(|| error.to_string())),
        };
        self.client.batch_execute("rollback; deallocate all").await.unwrap();
        // The counts of a transaction that is over would count for the next one.
        self.client.batch_execute("select pg_stat_force_next_flush()").await.unwrap();
        truth
    }

    async fn run(&self, text: &str) -> Result<(), tokio_postgres::Error> {
        if !text.trim_start().to_ascii_lowercase().starts_with("copy") {
            return within(self.client.batch_execute(text)).await;
        }
        let rows = within(self.client.copy_out(text)).await?;
        rows.map(|row| row.map(drop)).collect::<Vec<_>>().await.into_iter().collect()
    }

    async fn settings(&self) -> BTreeMap<String, String> {
        let messages = self.client.simple_query(SETTINGS).await.unwrap();
        rows(&messages).map(|row| (text_of(row, 0), text_of(row, 1))).collect()
    }

    async fn truth(&self, before: &BTreeMap<String, String>) -> Truth {
        let mut truth = Truth::default();
        let after = self.settings().await;
        truth.changed.extend(after.iter().filter(|(name, value)| before.get(*name) != Some(value)).map(|(name, _)| name.clone()));
        // A role that may see nothing has no locks worth asking for; the administrator's session sees all.
        self.client.batch_execute("reset role").await.unwrap();
        for row in rows(&self.client.simple_query(LOCKS).await.unwrap()) {
            let relation = match (row.get(2), row.get(3)) {
                (Some(schema), Some(name)) => Some((known_as(schema), name.to_owned())),
                _ => self.known.get(&text_of(row, 1).parse().unwrap()).cloned(),
            };
            let is_data = !matches!(row.get(4), Some("t" | "c"));
            truth.touched.extend(relation.filter(|_| is_data).map(|relation| (relation, deed(&text_of(row, 0)))));
        }
        for row in rows(&self.client.simple_query(COUNTS).await.unwrap()) {
            let relation = (known_as(&text_of(row, 0)), text_of(row, 1));
            let counted = [(2, Deed::Insert), (3, Deed::Update), (4, Deed::Delete)];
            let deeds = counted.into_iter().filter(|(column, _)| row.get(*column) != Some("0"));
            truth.touched.extend(deeds.map(|(_, deed)| (relation.clone(), deed)));
        }
        for row in rows(&self.client.simple_query("select kind, identity from ledger.definitions").await.unwrap()) {
            truth.definitions.insert((text_of(row, 0), text_of(row, 1)));
        }
        truth.touched.retain(|((schema, _), _)| !matches!(schema.as_str(), "ledger" | "pg_toast" | "pg_catalog" | "information_schema"));
        truth
    }
}

fn rows(messages: &[tokio_postgres::SimpleQueryMessage]) -> impl Iterator<Item = &tokio_postgres::SimpleQueryRow> {
    messages.iter().filter_map(|message| if let tokio_postgres::SimpleQueryMessage::Row(row) = message { Some(row) } else { None })
}

fn text_of(row: &tokio_postgres::SimpleQueryRow, column: usize) -> String {
    row.get(column).unwrap_or_default().to_owned()
}

fn known_as(schema: &str) -> String {
    if schema.starts_with("pg_temp_") { "pg_temp".to_owned() } else { schema.to_owned() }
}

fn deed(mode: &str) -> Deed {
    match mode {
        "AccessShareLock" => Deed::Read,
        "RowShareLock" => Deed::Lock,
        "RowExclusiveLock" => Deed::Write,
        _ => Deed::Define,
    }
}

/// Relations that are touched because another one is: what the analysis does not see, and says so.
fn beneath(schema: &str, name: &str) -> &'static [(&'static str, &'static str)] {
    match (schema, name) {
        ("app", "secret_view" | "mv") => &[("fin", "secret")],
        ("app", "part") => &[("app", "part_1"), ("app", "part_2"), ("app", "part_3")],
        ("app", "part_1" | "part_2") => &[("app", "part")],
        ("app", "t1") => &[("app", "t2")],
        ("app", "t2") => &[("app", "t1")],
        ("app", "u") => &[("app", "u_id_seq")],
        ("app" | "public", "only_public") => &[("app", "heir")],
        _ => &[],
    }
}

/// Does an action on a relation cover what was done to it?
fn covers(action: Action, deed: Deed) -> bool {
    use Action as A;
    match deed {
        // Whoever may do anything to a relation has its definition read.
        Deed::Read => true,
        Deed::Lock => !matches!(action, A::Select | A::Grant | A::Revoke),
        Deed::Write => matches!(action, A::Insert | A::Update | A::Delete | A::Create | A::Alter | A::Lock | A::Truncate | A::Drop),
        Deed::Insert => matches!(action, A::Insert | A::Create | A::Alter | A::Maintain),
        Deed::Update => matches!(action, A::Update | A::Alter),
        Deed::Delete => matches!(action, A::Delete | A::Truncate | A::Alter),
        Deed::Define => !matches!(action, A::Select | A::Insert | A::Update | A::Delete),
    }
}

/// Could the effect's object be this relation, whatever the search path finds first?
fn names(effect: &Effect, (schema, name): &Relation) -> Option<Action> {
    let Effect::Access { action, object, columns: _ } = effect else { return None };
    let fits = object.database.as_ref().is_none_or(|database| database == "oracle")
        && object.schema.as_ref().is_none_or(|named| named == schema)
        && object.name == *name;
    fits.then_some(*action)
}

fn is_covered(effects: &[Effect], relation: &Relation, deed: Deed) -> bool {
    let directly = effects.iter().filter_map(|effect| names(effect, relation)).any(|action| covers(action, deed));
    let below = || {
        effects.iter().any(|effect| match effect {
            Effect::Access { object, .. } => {
                let schemas = object.schema.as_deref().map_or(vec!["app", "public"], |schema| vec![schema]);
                schemas.iter().flat_map(|schema| beneath(schema, &object.name)).any(|(s, n)| (*s, *n) == (&*relation.0, &*relation.1))
            }
            // What a function does is its own affair; that it is called is said.
            Effect::Call { function, signals: _ } => {
                !matches!(function.schema.as_deref(), Some("pg_catalog")) || function.name.contains("val")
            }
            Effect::Role { .. } | Effect::Set { .. } | Effect::Opaque { .. } => false,
        })
    };
    directly || below()
}

fn is_defined(effects: &[Effect], kind: &str, identity: &str) -> bool {
    let last = identity.split('(').next().unwrap_or_default().rsplit('.').next().unwrap_or_default().trim_matches('"');
    let wanted = match kind {
        "schema" => ObjectKind::Schema,
        "type" | "domain constraint" => ObjectKind::Type,
        // Locks tell about all that are or belong to relations.
        _ => return true,
    };
    effects.iter().any(|effect| match effect {
        Effect::Access { object, .. } => object.name == last && (object.kind == wanted || object.kind == ObjectKind::Relation),
        Effect::Call { .. } | Effect::Role { .. } | Effect::Set { .. } | Effect::Opaque { .. } => false,
    })
}

fn is_announced(statements: &[Statement], effects: &[Effect], setting: &str) -> bool {
    match setting {
        "search_path" => statements.iter().any(Statement::may_change_search_path),
        "role" => effects.iter().any(|effect| matches!(effect, Effect::Role { .. })),
        other => effects.iter().any(|effect| match effect {
            Effect::Set { parameter } => parameter == other,
            Effect::Call { .. } => true,
            Effect::Access { .. } | Effect::Role { .. } | Effect::Opaque { .. } => false,
        }),
    }
}

impl Tally {
    fn compare(&mut self, text: &str, truth: Result<Truth, String>) {
        let statements = analyze(Dialect::Postgres, text, &Limits::default()).statements;
        let effects: Vec<Effect> = statements.iter().flat_map(|statement| statement.effects.clone()).collect();
        let Ok(truth) = truth else {
            self.refused += 1;
            return;
        };
        if effects.iter().any(|effect| matches!(effect, Effect::Opaque { .. })) {
            self.opaque += 1;
            return;
        }
        self.compared += 1;
        let without_secret: Vec<Effect> = effects.iter().filter(|effect| !effect.to_string().contains("secret")).cloned().collect();
        self.noticed += usize::from(!truth.missing_in(&statements, &without_secret).is_empty());
        let missing = truth.missing_in(&statements, &effects);
        if !missing.is_empty() {
            let shown: Vec<String> = effects.iter().map(ToString::to_string).collect();
            self.mismatches.push(format!("{text}\n  missing:{missing}\n  effects: {}", shown.join("; ")));
        }
    }
}

impl Truth {
    /// What the effects do not cover; empty if they cover everything.
    fn missing_in(&self, statements: &[Statement], effects: &[Effect]) -> String {
        let mut missing = String::new();
        for (relation, deed) in &self.touched {
            if !is_covered(effects, relation, *deed) {
                write!(missing, " {deed:?} of {}.{}", relation.0, relation.1).unwrap();
            }
        }
        for (kind, identity) in &self.definitions {
            if !is_defined(effects, kind, identity) {
                write!(missing, " definition of {kind} {identity}").unwrap();
            }
        }
        for setting in &self.changed {
            if !is_announced(statements, effects, setting) {
                write!(missing, " change of {setting}").unwrap();
            }
        }
        missing
    }
}

fn data(file: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/oracle").join(file)
}

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(default)
}

#[tokio::test]
async fn the_effects_are_at_least_what_postgresql_does() {
    let oracle = Oracle::start().await;
    let mut tally = Tally::default();
    let written = std::fs::read_to_string(data("statements.sql")).unwrap();
    let mut refusals = Vec::new();
    for case in written.split("--- ").skip(1) {
        let (title, text) = case.split_once('\n').unwrap();
        let truth = oracle.ask(text.trim_end()).await;
        refusals.extend(truth.as_ref().err().map(|error| format!("{title}: {error}")));
        tally.compare(text.trim_end(), truth);
    }
    assert!(refusals.is_empty(), "the server refuses what is written by hand:\n{}", refusals.join("\n"));
    let by_hand = tally.compared + tally.opaque;
    let end = Instant::now() + Duration::from_secs(setting("ORACLE_SECONDS", 3));
    let mut dice = Dice(setting("ORACLE_SEED", 1));
    while Instant::now() < end {
        let text = generate::text(&mut dice);
        let truth = oracle.ask(&text).await;
        tally.compare(&text, truth);
    }
    let Tally { compared, opaque, refused, mismatches, noticed } = &tally;
    println!("{by_hand} by hand; {compared} compared, {opaque} opaque, {refused} refused by the server, {} mismatches", mismatches.len());
    assert!(mismatches.is_empty(), "{} mismatches:\n{}", mismatches.len(), mismatches.join("\n\n"));
    assert!(*compared > by_hand, "nothing was generated");
    assert!(*noticed > by_hand / 2, "the comparison notices nothing: {noticed} of {compared}");
    assert!(*refused < *compared, "most of what is generated means nothing to the server");
}
