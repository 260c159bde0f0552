//! The server that is asked, and what it tells.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::StreamExt;
use tokio_postgres::{Client, SimpleQueryMessage, SimpleQueryRow};

use super::data;
use crate::support::warehouse::warehouse;
use crate::support::within;

/// A relation by schema and name.
pub(super) type Relation = (String, String);

/// What the server tells of one text.
#[derive(Debug, Default)]
pub(super) struct Truth {
    /// Relations with what was done to them, as far as a lock or a count says it.
    pub(super) touched: BTreeSet<(Relation, Deed)>,
    /// Kind and identity of what was made, changed or dropped.
    pub(super) definitions: BTreeSet<(String, String)>,
    /// Settings that are other ones than before.
    pub(super) changed: BTreeSet<String>,
}

/// What was done to a relation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Deed {
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

/// The server, with what has to be known of it beforehand.
pub(super) struct Oracle {
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
    pub(super) async fn start() -> Self {
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

    /// Runs a text behind `set`, and takes it back; an error is the server's.
    pub(super) async fn ask(&self, set: &str, text: &str) -> Result<Truth, String> {
        let before = self.results(&format!("begin; {set}; {SETTINGS}")).await.pop().unwrap();
        let truth = match self.run(text).await {
            Ok(()) => Ok(self.truth(&settings(&before)).await),
            Err(error) => Err(error.as_db_error().map(ToString::to_string).unwrap_or_else(|| error.to_string())),
        };
        // The counts of a transaction that is over would count for the next one.
        self.client.batch_execute("rollback; deallocate all; select pg_stat_force_next_flush()").await.unwrap();
        truth
    }

    async fn run(&self, text: &str) -> Result<(), tokio_postgres::Error> {
        if !text.trim_start().to_ascii_lowercase().starts_with("copy") {
            return within(self.client.batch_execute(text)).await;
        }
        let rows = within(self.client.copy_out(text)).await?;
        rows.map(|row| row.map(drop)).collect::<Vec<_>>().await.into_iter().collect()
    }

    async fn truth(&self, before: &BTreeMap<String, String>) -> Truth {
        // A role that may see nothing has no locks worth asking for; the administrator's session sees all. And this client
        // reads UTF-8.
        let asked =
            [SETTINGS, "reset role", "set client_encoding = 'UTF8'", LOCKS, COUNTS, "select kind, identity from ledger.definitions"];
        let results = self.results(&asked.join(";")).await;
        let [after, _, _, locks, counts, definitions] = results.as_slice() else { panic!("{} results", results.len()) };
        let mut truth = Truth::default();
        let after = settings(after);
        truth.changed.extend(after.iter().filter(|(name, value)| before.get(*name) != Some(value)).map(|(name, _)| name.clone()));
        for row in locks {
            let relation = match (row.get(2), row.get(3)) {
                (Some(schema), Some(name)) => Some((known_as(schema), name.to_owned())),
                _ => self.known.get(&text_of(row, 1).parse().unwrap()).cloned(),
            };
            let is_data = !matches!(row.get(4), Some("t" | "c"));
            truth.touched.extend(relation.filter(|_| is_data).map(|relation| (relation, deed(&text_of(row, 0)))));
        }
        for row in counts {
            let relation = (known_as(&text_of(row, 0)), text_of(row, 1));
            let counted = [(2, Deed::Insert), (3, Deed::Update), (4, Deed::Delete)];
            let deeds = counted.into_iter().filter(|(column, _)| row.get(*column) != Some("0"));
            truth.touched.extend(deeds.map(|(_, deed)| (relation.clone(), deed)));
        }
        truth.definitions.extend(definitions.iter().map(|row| (text_of(row, 0), text_of(row, 1))));
        truth.touched.retain(|((schema, _), _)| !matches!(schema.as_str(), "ledger" | "pg_toast" | "pg_catalog" | "information_schema"));
        truth
    }

    /// The rows of each statement of a text.
    async fn results(&self, text: &str) -> Vec<Vec<SimpleQueryRow>> {
        let mut results = vec![Vec::new()];
        for message in self.client.simple_query(text).await.unwrap() {
            match message {
                SimpleQueryMessage::Row(row) => results.last_mut().unwrap().push(row),
                SimpleQueryMessage::CommandComplete(_) => results.push(Vec::new()),
                SimpleQueryMessage::RowDescription(_) | _ => {}
            }
        }
        results.pop();
        results
    }
}

fn settings(rows: &[SimpleQueryRow]) -> BTreeMap<String, String> {
    rows.iter().map(|row| (text_of(row, 0), text_of(row, 1))).collect()
}

fn text_of(row: &SimpleQueryRow, column: usize) -> String {
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
