//! Wherever the network cuts the bytes of a session, either way, the client reads the same and the log says the same.
//!
//! Each session is recorded as it runs uncut, and again cut between any two bytes and at random, between client and
//! proxy and between proxy and PostgreSQL alike. The way to PostgreSQL goes without TLS here, whose records would
//! hide the cuts.

use std::collections::HashMap;

use serde_json::{Value, json};
use tempfile::NamedTempFile;
use tollhouse::audit::read::Line;

use crate::support::evidence::Evidence;
use crate::support::proxy::Proxy;
use crate::support::splitter::{Cut, Splitter};
use crate::support::warehouse::warehouse;
use crate::support::wire::{Message, Wire, bind, execute, message, parse, query, run, startup, sync};

const ROLE: &str = "split_points";

/// Everything may pass but one table.
const POLICY: &str = "apiVersion: tollhouse.dev/v1alpha1
kind: WarehousePolicy
metadata: { name: it, namespace: demo }
spec:
  endpointSelector: {}
  egress: [{ toPorts: [{ rules: { sql: [{}] } }] }]
  egressDeny: [{ toPorts: [{ rules: { sql: [{ tables: [demo.finance.salaries] }] } }] }]
";

const REFUSED: &str = "select amount_cents from finance.salaries";

/// How many random ways each session is cut in.
const SEEDS: u64 = 6;

/// What a client sends, and up to which messages it then reads.
struct Script {
    name: &'static str,
    steps: Vec<(Vec<u8>, &'static str)>,
    /// Whether an error of the server may overtake what the client has sent behind it: such executions are recorded as
    /// skipped, or never seen if the error was there first.
    overtaken: bool,
}

impl Script {
    fn new(name: &'static str, steps: Vec<(Vec<u8>, &'static str)>) -> Self {
        Self { name, steps, overtaken: false }
    }
}

/// What a session came to.
#[derive(Debug, PartialEq)]
struct Recording {
    /// What the client read, without what differs from session to session.
    read: Vec<Message>,
    /// Its records, without what differs from session to session.
    records: Vec<Value>,
}

/// A proxy between two relays.
struct Stage {
    proxy: Proxy,
    before: Splitter,
    behind: Splitter,
    _password: NamedTempFile,
}

impl Stage {
    async fn set() -> Self {
        static MADE: tokio::sync::OnceCell<()> = tokio::sync::OnceCell::const_new();
        MADE.get_or_init(|| warehouse().admit_by_password(ROLE, "trust", "scram-sha-256", "split")).await;
        let behind = Splitter::start(([127, 0, 0, 1], warehouse().port).into()).await;
        let password = NamedTempFile::new().unwrap();
        std::fs::write(&password, "split").unwrap();
        let proxy = Proxy::with(POLICY, |config| {
            let target = &mut config["targets"][0];
            target["port"] = json!(behind.address.port());
            target["role"] = json!(ROLE);
            target["tls"] = json!({ "mode": "disable" });
            target["credential"] = json!([{ "kind": "password_file", "file": password.path() }]);
        });
        let proxy = proxy.await;
        let before = Splitter::start(proxy.address).await;
        Self { proxy, before, behind, _password: password }
    }

    async fn play(&self, script: &Script, cut: Cut) -> Vec<Message> {
        self.before.cut(cut);
        self.behind.cut(cut);
        let mut wire = Wire::connect(self.before.address).await;
        let mut read = Vec::new();
        let login = (startup(&[("user", "anybody"), ("database", "demo"), ("application_name", "split points")]), "Z");
        for (bytes, until) in [&login].into_iter().chain(&script.steps) {
            wire.send(bytes).await;
            for kind in until.bytes() {
                loop {
                    let next = wire.next().await.unwrap_or_else(|| panic!("{} {cut:?}: ended after {read:?}", script.name));
                    let is_last = next.kind == kind;
                    read.push(masked(next));
                    if is_last {
                        break;
                    }
                }
            }
        }
        wire.send(&message(b'X', b"")).await;
        read.extend(wire.until_closed().await);
        read
    }
}

/// Scripts of two tests at once would hear each other's notifications.
static ALONE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// Plays each script uncut and in each way of `cuts`, and compares.
async fn same_however_cut(scripts: &[Script], cuts: &[Cut]) {
    let _alone = ALONE.lock().await;
    let stage = Stage::set().await;
    let mut read = Vec::new();
    for script in scripts {
        for cut in [&[Cut::Whole], cuts].concat() {
            read.push((script, cut, stage.play(script, cut).await));
        }
    }
    let evidence = stage.proxy.stop().await;
    let mut records = by_session(&evidence).into_iter();
    let mut reference = None;
    for (script, cut, read) in read {
        let records = records.next().unwrap();
        let recording = Recording { read, records: masked_records(&records, script.overtaken) };
        assert!(recording.records.len() > 1, "{}: {records:?}", script.name);
        match (&reference, cut) {
            (_, Cut::Whole) => reference = Some(recording),
            (Some(reference), _) => assert_eq!(&recording, reference, "{} cut by {cut:?}", script.name),
            (None, _) => unreachable!("each script begins uncut"),
        }
    }
    assert_eq!(records.next(), None);
}

/// A message without process ids and record ids.
fn masked(mut message: Message) -> Message {
    match message.kind {
        // BackendKeyData and NotificationResponse begin with a process id.
        b'K' => message.body.clear(),
        b'A' => message.body.drain(..4).for_each(drop),
        b'E' => {
            if let Some(record) = message.field(b'D').split_once(", audit record ").map(|(_, id)| id.trim_end_matches('.').to_owned()) {
                message.body = String::from_utf8(message.body).unwrap().replace(&record, "?").into_bytes();
            }
        }
        _ => {}
    }
    message
}

/// The records of each session, in the order in which the sessions began.
fn by_session(evidence: &Evidence) -> Vec<Vec<Line>> {
    let mut sessions: Vec<Vec<Line>> = Vec::new();
    let mut places: HashMap<String, usize> = HashMap::new();
    for line in &evidence.lines {
        let attempt = line.fields.get("attempt").and_then(Value::as_str);
        let session = line.fields.get("session").and_then(Value::as_str);
        let place = match (line.kind.as_str(), attempt, session) {
            ("session-started", _, Some(session)) => {
                sessions.push(Vec::new());
                Some((session.to_owned(), sessions.len() - 1))
            }
            ("attempt", _, Some(session)) => Some((line.id(), places[session])),
            ("denied" | "session-ended", _, Some(session)) => Some((line.id(), places[session])),
            ("outcome", Some(attempt), _) => Some((line.id(), places[attempt])),
            _ => None,
        };
        if let Some((id, place)) = place {
            places.insert(id, place);
            sessions[place].push(line.clone());
        }
    }
    sessions
}

/// Executions with their outcomes in the client's order, and the end, without ids, times and sizes that depend on them.
fn masked_records(lines: &[Line], overtaken: bool) -> Vec<Value> {
    let outcomes: HashMap<&str, &Line> =
        lines.iter().filter(|line| line.kind == "outcome").map(|line| (line.fields["attempt"].as_str().unwrap(), line)).collect();
    let mut masked = Vec::new();
    let mut skipped = 0;
    for line in lines.iter().filter(|line| matches!(line.kind.as_str(), "attempt" | "denied")) {
        let outcome = outcomes.get(line.id().as_str());
        if overtaken && outcome.is_some_and(|outcome| outcome.fields["status"] == "skipped") {
            skipped += 1;
            continue;
        }
        let fields = without(line, &["session"]);
        masked.push(
            json!({ "kind": line.kind, "fields": fields, "outcome": outcome.map(|line| without(line, &["attempt", "duration_us"])) }),
        );
    }
    let ended = lines.iter().find(|line| line.kind == "session-ended").unwrap();
    let mut end = without(ended, &["session", "duration_us"]);
    if overtaken {
        end["executions"] = json!(end["executions"].as_u64().unwrap() - skipped);
        end["bytes_to_target"] = Value::Null;
    }
    // The number of a record that a refusal names is as long as it happens to be.
    end["bytes_to_client"] = Value::Null;
    masked.push(end);
    masked
}

fn without(line: &Line, names: &[&str]) -> Value {
    let mut fields = line.fields.clone();
    for name in names {
        assert!(fields.remove(*name).is_some(), "{name} is no field of {line:?}");
    }
    Value::Object(fields)
}

/// Execute for at most so many rows.
fn execute_rows(portal: &str, rows: u32) -> Vec<u8> {
    message(b'E', &[portal.as_bytes(), b"\0", &rows.to_be_bytes()].concat())
}

fn data(bytes: &[u8]) -> Vec<u8> {
    message(b'd', bytes)
}

fn describe(what: &[u8]) -> Vec<u8> {
    message(b'D', what)
}

/// FunctionCall of `abs(integer)`, by its number in pg_proc, with one binary argument.
fn call_abs() -> Vec<u8> {
    let mut body = 1397_u32.to_be_bytes().to_vec();
    body.extend([0, 1, 0, 1, 0, 1, 0, 0, 0, 4]);
    body.extend((-5_i32).to_be_bytes());
    body.extend([0, 1]);
    message(b'F', &body)
}

fn simple() -> Vec<Script> {
    vec![
        Script::new(
            "several statements in one Query, an error, a notice, an empty Query",
            vec![
                (query("select 1 as one; select 'two', null; create temporary table t (n int); insert into t select 7"), "Z"),
                (query("select 1/0"), "Z"),
                (query("drop table if exists nothing_here; select n + 0 from t"), "Z"),
                (query(""), "Z"),
            ],
        ),
        Script::new(
            "a refusal, alone and inside a transaction",
            vec![
                (query(REFUSED), "Z"),
                (query("begin"), "Z"),
                (query(REFUSED), "Z"),
                (query("select 'in a failed transaction'"), "Z"),
                (query("rollback"), "Z"),
                (query("select 'usable'"), "Z"),
            ],
        ),
        Script::new(
            "statements prepared by SQL",
            vec![
                (query("prepare p(int) as select $1 + 1; execute p(1)"), "Z"),
                (query("execute p(41)"), "Z"),
                (query("deallocate p"), "Z"),
                (query("execute p(2)"), "Z"),
            ],
        ),
        Script::new("a FunctionCall", vec![(call_abs(), "Z"), (query("select 'behind it'"), "Z")]),
        Script::new(
            "a notification of its own",
            vec![(query("listen split_points"), "Z"), (query("notify split_points, 'heard'"), "Z"), (query("unlisten *"), "Z")],
        ),
        Script::new("many queries at once", vec![((0..20).flat_map(|n| query(&format!("select {n}"))).collect(), "ZZZZZZZZZZZZZZZZZZZZ")]),
    ]
}

fn extended() -> Vec<Script> {
    let portal = "select n, 'row ' || n from generate_series(1, 5) n";
    let mut erring = Script::new(
        "a pipeline with an error inside",
        vec![([run("select 1"), run("select 1/0"), run("select 'skipped'"), sync(), run("select 2"), sync()].concat(), "ZZ")],
    );
    erring.overtaken = true;
    vec![
        Script::new(
            "named and unnamed statements",
            vec![
                ([parse("s", "select $1::int"), describe(b"Ss\0"), sync()].concat(), "Z"),
                (
                    [message(b'B', b"\0s\0\0\0\0\x01\0\0\0\x0242\0\0"), describe(b"P\0"), execute(""), message(b'C', b"Ss\0"), sync()]
                        .concat(),
                    "Z",
                ),
                ([parse("", "select 'unnamed'"), message(b'H', b"")].concat(), "1"),
                ([bind("", ""), execute(""), sync()].concat(), "Z"),
            ],
        ),
        Script::new(
            "portals with row limits",
            vec![
                (query("begin"), "Z"),
                ([parse("", portal), bind("p", ""), execute_rows("p", 2), message(b'H', b"")].concat(), "s"),
                ([execute_rows("p", 2), execute_rows("p", 2), message(b'C', b"Pp\0"), sync()].concat(), "Z"),
                (query("commit"), "Z"),
            ],
        ),
        erring,
        Script::new(
            "a pipeline with a refusal inside",
            vec![([run("select 1"), run(REFUSED), run("select 'skipped'"), sync(), run("select 2"), sync()].concat(), "ZZ")],
        ),
        Script::new(
            "a pipeline of sixty and a Sync",
            vec![([(0..60).flat_map(|n| run(&format!("select {n}"))).collect(), sync()].concat(), "Z")],
        ),
    ]
}

fn copies() -> Vec<Script> {
    let lines = [data(b"1\tone\n2\ttwo\n"), data(b"3\tth"), data(b"ree\n"), data(b""), message(b'c', b"")].concat();
    let table = || (query("create temporary table copied (n int, word text)"), "Z");
    vec![
        Script::new(
            "COPY in and out, simple",
            vec![
                table(),
                (query("copy copied from stdin"), "G"),
                (lines.clone(), "Z"),
                (query("copy copied to stdout; select count(*) from copied"), "Z"),
                (query("copy copied from stdin"), "G"),
                ([data(b"4\tfour\n"), message(b'f', b"given up\0")].concat(), "Z"),
            ],
        ),
        Script::new(
            "COPY in and out, extended",
            vec![
                table(),
                ([run("copy copied from stdin"), message(b'H', b"")].concat(), "G"),
                ([lines.clone(), sync()].concat(), "Z"),
                ([run("copy copied from stdin"), sync()].concat(), "G"),
                ([lines, sync()].concat(), "Z"),
                ([run("copy copied to stdout"), run("select count(*) from copied"), sync()].concat(), "Z"),
            ],
        ),
        Script::new("COPY that is refused", vec![(query("copy finance.salaries to stdout"), "Z"), (query("select 1"), "Z")]),
    ]
}

/// Messages that no buffer holds: a text, a parameter, a row, COPY data both ways, an error, each of about `size` bytes.
fn large(size: usize) -> Vec<Script> {
    let text = "x".repeat(size);
    let parameter = u32::try_from(size).unwrap().to_be_bytes();
    let bound = [b"\0\0\0\0\0\x01", &parameter[..], text.as_bytes(), b"\0\0"].concat();
    vec![Script::new(
        "large messages",
        vec![
            (query(&format!("select length('{text}')")), "Z"),
            (query(&format!("select repeat('y', {size})")), "Z"),
            ([parse("", "select $1::text"), message(b'B', &bound), execute(""), sync()].concat(), "Z"),
            (query(&format!("select '{text}'::int")), "Z"),
            (query("create temporary table copied (word text)"), "Z"),
            (query("copy copied from stdin"), "G"),
            ([data(format!("{text}\n").as_bytes()), message(b'c', b"")].concat(), "Z"),
            (query("copy copied to stdout"), "Z"),
            (query(&format!("{REFUSED} where employee = '{text}'")), "Z"),
            (query("select 'usable'"), "Z"),
        ],
    )]
}

/// Seeds that another run has not had, printed where a test fails.
fn seeds(count: u64) -> Vec<Cut> {
    let first = fastrand::u64(..1 << 32);
    (first..first + count).map(Cut::Random).collect()
}

#[tokio::test]
async fn sessions_cut_between_any_two_bytes_read_and_record_the_same() {
    let scripts: Vec<Script> = [simple(), extended(), copies(), large(3000)].into_iter().flatten().collect();
    same_however_cut(&scripts, &[Cut::Bytes]).await;
}

#[tokio::test]
async fn sessions_cut_anywhere_read_and_record_the_same() {
    let scripts: Vec<Script> = [simple(), extended(), copies()].into_iter().flatten().collect();
    same_however_cut(&scripts, &seeds(SEEDS)).await;
}

#[tokio::test]
async fn very_large_messages_cut_anywhere_read_and_record_the_same() {
    same_however_cut(&large(300_000), &seeds(2)).await;
}
