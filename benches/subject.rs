//! What the benches measure: dbt's own statements, policies of any size, and an audit log in memory.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tempfile::TempDir;
use tollhouse::audit::log::{AuditLog, Start};
use tollhouse::audit::record::RecordedSession;
use tollhouse::audit::{ClientFacts, Durability, Execution, Outcome, Protocol, SessionFacts, Settings, Status};
use tollhouse::gate::Gate;
use tollhouse::identity::Principal;
use tollhouse::metrics::Metrics;
use tollhouse::policy::{AccessRequest, PolicySet, Source};
use tollhouse::sql::{Analysis, Dialect, Effect, Limits, analyze};
use tollhouse::target::{Opening, Target};

/// A point look-up, as pgbench sends it.
pub(crate) const LOOK_UP: &str = "SELECT abalance FROM pgbench_accounts WHERE aid = 4711;";

/// Entries of one policy document.
const ENTRIES_PER_POLICY: usize = 100;

/// The statements that a real `dbt build` sent, in order.
pub(crate) fn corpus() -> Vec<String> {
    let lines = include_str!("../tests/data/dbt-postgres/statements.jsonl");
    lines.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["sql"].as_str().unwrap().to_owned()).collect()
}

/// What `text` would do.
pub(crate) fn analysis(text: &str) -> Analysis {
    analyze(Dialect::Postgres, text, &Limits::default())
}

/// How the tables of entries are named that do not match.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Names {
    /// Each exactly.
    Exact,
    /// Each by a pattern.
    Patterns,
}

/// Enforced policies with `entries` entries of `rules.sql` in all. Each selects the workload and reaches the target,
/// and only the very last entry allows the look-up: the longest way there is.
pub(crate) fn policies(entries: usize, names: Names) -> PolicySet {
    let mut text = String::new();
    for entry in 0..entries {
        if entry % ENTRIES_PER_POLICY == 0 {
            write!(
                text,
                "---\napiVersion: tollhouse.dev/v1alpha1\nkind: WarehousePolicy\nmetadata: {{ name: p{entry:08}, namespace: demo }}\n\
                 spec:\n  endpointSelector: {{ matchLabels: {{ app: dbt }} }}\n  egress:\n    - toFQDNs: [{{ matchName: localhost }}]\n\
                 \x20     toPorts:\n        - rules:\n            sql:\n"
            )
            .unwrap();
        }
        let table = match names {
            _ if entry + 1 == entries => "pgbench_accounts".to_owned(),
            Names::Exact => format!("mart_{entry}"),
            Names::Patterns => format!("mart_{entry}_*"),
        };
        writeln!(text, "              - {{ actions: [select, insert, update, delete], tables: [\"bench.*.{table}\"] }}").unwrap();
    }
    PolicySet::parse(&[Source { file: "policies.yaml", text: &text }]).unwrap()
}

/// A session of a dbt job at a warehouse.
pub(crate) fn session() -> SessionFacts {
    SessionFacts {
        id: "cafe0000-s1".to_owned(),
        principal: Arc::new(Principal {
            issuer: "https://kubernetes.default.svc.cluster.local".to_owned(),
            subject: "system:serviceaccount:demo:dbt-runner".to_owned(),
            token_id: Some("c0ffee".to_owned()),
            actors: Vec::new(),
            namespace: Some("demo".to_owned()),
            service_account: Some("dbt-runner".to_owned()),
            pod: Some("dbt-0".to_owned()),
            pod_uid: None,
            labels: BTreeMap::from([("app".to_owned(), "dbt".to_owned())]),
            proven_by: "kubernetes",
            expires_at: SystemTime::UNIX_EPOCH + Duration::from_secs(4_000_000_000),
        }),
        target: Arc::new(Target {
            name: "warehouse".to_owned(),
            kind: "postgresql",
            host: "localhost".to_owned(),
            port: 5432,
            opening: Opening::Plain,
        }),
        database: "bench".to_owned(),
        role: "dbt_runner".to_owned(),
        client_user: "dbt_runner".to_owned(),
        application_name: Some("dbt".to_owned()),
        client: ClientFacts::default(),
        server_process_id: Some(4711),
        credential: "sha256:0011223344556677".to_owned(),
        recorded: RecordedSession::default(),
    }
}

/// The question whether `effects` may happen in `session`.
pub(crate) fn request<'a>(session: &'a SessionFacts, effects: &'a [Effect]) -> AccessRequest<'a> {
    AccessRequest {
        principal: &session.principal,
        target: &session.target,
        database: &session.database,
        role: &session.role,
        unqualified_schema: None,
        effects,
        dbt: None,
    }
}

/// A gate with the audit log in memory where that is possible, at durability `write`. The directory lives as long as
/// what is returned with the gate.
pub(crate) fn gate(policies: PolicySet) -> (Gate, TempDir) {
    let memory = Path::new("/dev/shm");
    let directory = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() }.unwrap();
    let settings = Settings { durability: Durability::Write, ..Settings::at(directory.path()) };
    let metrics = Arc::new(Metrics::new().unwrap());
    let start = Start { version: "0".to_owned(), config_digest: "0".to_owned() };
    let log = AuditLog::open(&settings, Arc::clone(&metrics), &start).unwrap();
    (Gate::new(policies, log, metrics), directory)
}

/// One look-up from the question to its recorded end, as the listener has it admitted.
pub(crate) async fn look_up(gate: &Gate, session: &SessionFacts, analysis: &Analysis) {
    let execution = Execution {
        session,
        sql: LOOK_UP.as_bytes(),
        protocol: Protocol::Extended,
        analysis,
        effects: &analysis.statements[0].effects,
        unqualified_schema: None,
        dbt: None,
    };
    let judged = gate.judge(&execution).await.ok().unwrap();
    let permit = gate.admit(judged).await.ok().unwrap();
    permit.finish(Outcome { rows: Some(1), reply_bytes: 80, ..Outcome::new(Status::Completed) });
}
