//! The attacks of `tests/data/attack`, through the whole proxy, under a policy of least privilege.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::support::proxy::Proxy;
use crate::support::warehouse::warehouse;
use crate::support::wire::{Message, Wire, bind, execute, message, parse, startup, sync};

/// What the vault holds, and nobody may ever read.
const SECRET: &str = "crown-jewel-4711";

const SETUP: &str = "
    create schema vault;
    create table vault.secrets (id int, secret text);
    insert into vault.secrets values (1, 'crown-jewel-4711');
    create table vault.parts (id int) partition by list (id);
    create function vault.leak() returns text language sql security definer as 'select secret from vault.secrets';
    create procedure vault.empty() language sql security definer as 'delete from vault.secrets';
    create function vault.plus(int, int) returns int language sql as 'select length(vault.leak())';
    create operator vault.+ (leftarg = int, rightarg = int, function = vault.plus);
    create schema work;
    create table work.orders (id int);
    insert into work.orders values (1);
    grant usage on schema vault, work to dbt_runner;
    grant all on all tables in schema vault, work to dbt_runner;
    grant create on schema work, vault to dbt_runner;";

/// What the vault looks like, and whatever else an attack may have left behind.
const UNTOUCHED: &str = "
    select (select string_agg(id || secret, ',') from vault.secrets) || ' '
        || (select count(*) from pg_class where relnamespace in ('vault'::regnamespace, 'work'::regnamespace)) || ' '
        || (select count(*) from pg_proc where pronamespace in ('vault'::regnamespace, 'work'::regnamespace)) || ' '
        || (select coalesce(relacl::text, '') || relowner from pg_class where oid = 'vault.secrets'::regclass) || ' '
        || (select string_agg(rolname || rolsuper, ',' order by rolname) from pg_roles where rolname in ('dbt_runner', 'postgres'))";

/// What must happen to a statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Expected {
    Refused,
    Passes,
    Fails,
    Harmless,
}

/// One statement of an attack.
#[derive(Debug)]
struct Step {
    expected: Expected,
    is_extended: bool,
    sql: Vec<u8>,
}

/// One file.
#[derive(Debug)]
struct Attack {
    file: String,
    startup: BTreeMap<String, String>,
    /// The session itself is refused.
    has_no_session: bool,
    steps: Vec<Step>,
}

impl Attack {
    fn read(path: &Path) -> Self {
        let file = path.file_name().unwrap().to_string_lossy().into_owned();
        let text = std::fs::read_to_string(path).unwrap();
        let mut parts = text.strip_suffix('\n').unwrap_or(&text).split("\n--- ");
        let head = parts.next().unwrap();
        assert!(!head.starts_with("--"), "{file} begins with a line that says what it tries");
        let parameters = head.lines().filter_map(|line| line.strip_prefix("-- startup: ")).map(|line| line.split_once('=').unwrap());
        let startup = parameters.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        let mut attack = Self { file, startup, has_no_session: false, steps: Vec::new() };
        for part in parts {
            let (line, sql) = part.split_once('\n').unwrap_or((part, ""));
            attack.has_no_session |= line == "no session";
            attack.steps.extend((line != "no session").then(|| Step::read(&attack.file, line, sql)));
        }
        attack
    }
}

impl Step {
    fn read(file: &str, line: &str, sql: &str) -> Self {
        let mut words = line.split(' ');
        let expected = match words.next() {
            Some("refused") => Expected::Refused,
            Some("passes") => Expected::Passes,
            Some("fails") => Expected::Fails,
            Some("harmless") => Expected::Harmless,
            other => panic!("{file}: what is {other:?}?"),
        };
        let options: Vec<&str> = words.collect();
        let sql = repeated(sql);
        let sql = if options.contains(&"bytes") { unescaped(&sql) } else { sql.into_bytes() };
        Self { expected, is_extended: options.contains(&"extended"), sql }
    }

    fn messages(&self) -> Vec<u8> {
        if !self.is_extended {
            return message(b'Q', &[self.sql.as_slice(), b"\0"].concat());
        }
        let sql = std::str::from_utf8(&self.sql).unwrap();
        [parse("", sql), bind("", ""), execute(""), sync()].concat()
    }
}

/// The text with each `<<1000 x a>>` written out.
fn repeated(sql: &str) -> String {
    let mut text = String::new();
    let mut parts = sql.split("<<");
    text.push_str(parts.next().unwrap_or_default());
    for part in parts {
        let (times, rest) = part.split_once(" x ").unwrap();
        let (what, after) = rest.split_once(">>").unwrap();
        text.push_str(&what.repeat(times.parse().unwrap()));
        text.push_str(after);
    }
    text
}

/// The text with each `\xHH` as that byte.
fn unescaped(sql: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut parts = sql.split("\\x");
    bytes.extend_from_slice(parts.next().unwrap_or_default().as_bytes());
    for part in parts {
        bytes.push(u8::from_str_radix(&part[..2], 16).unwrap());
        bytes.extend_from_slice(&part.as_bytes()[2..]);
    }
    bytes
}

fn happened(reply: &[Message]) -> Expected {
    match reply.iter().find(|message| message.kind == b'E') {
        None => Expected::Passes,
        Some(error) if error.field(b'D').starts_with("Reason ") => Expected::Refused,
        Some(_) => Expected::Fails,
    }
}

async fn session(proxy: &Proxy, attack: &Attack) -> (Wire, bool) {
    let mut wire = Wire::connect(proxy.address).await;
    let mut parameters = vec![("user", "anybody"), ("database", "demo")];
    parameters.extend(attack.startup.iter().map(|(name, value)| (name.as_str(), value.as_str())));
    wire.send(&startup(&parameters)).await;
    let mut is_ready = false;
    while let Some(message) = wire.next().await {
        is_ready = message.kind == b'Z';
        if is_ready {
            break;
        }
    }
    (wire, is_ready)
}

fn attacks() -> Vec<Attack> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/attack");
    let mut files: Vec<PathBuf> = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "sql"));
    files.sort();
    files.iter().map(|file| Attack::read(file)).collect()
}

async fn vault() -> String {
    let administrator = warehouse().administrator().await;
    administrator.query_one(UNTOUCHED, &[]).await.unwrap().get(0)
}

#[tokio::test]
async fn no_attack_gets_at_what_policy_forbids() {
    warehouse().administrator().await.batch_execute(SETUP).await.unwrap();
    let before = vault().await;
    assert!(before.contains(SECRET));
    let policy = include_str!("../data/attack/policy.yaml");
    let proxy = Proxy::start(policy).await;
    let (mut wrong, mut refused, mut steps) = (Vec::new(), Vec::new(), 0);
    let attacks = attacks();
    for attack in &attacks {
        let (mut wire, has_session) = session(&proxy, attack).await;
        if has_session == attack.has_no_session {
            wrong.push(format!("{}: a session: {has_session}", attack.file));
            continue;
        }
        for step in attack.steps.iter().filter(|_| has_session) {
            steps += 1;
            let reply = wire.ask(&step.messages()).await;
            let (happened, sql) = (happened(&reply), String::from_utf8_lossy(&step.sql));
            if step.expected != Expected::Harmless && step.expected != happened {
                let said: Vec<String> = reply.iter().filter(|message| message.kind == b'E').map(|error| error.field(b'M')).collect();
                wrong.push(format!("{}: {happened:?} instead of {:?}: {:.200} {said:?}", attack.file, step.expected, sql));
            }
            refused.extend((happened == Expected::Refused && sql.contains("vault")).then(|| sql.into_owned()));
        }
        assert!(!wire.received.windows(SECRET.len()).any(|window| window == SECRET.as_bytes()), "{} was told the secret", attack.file);
    }
    proxy.stop().await;
    println!("{} attacks, {steps} statements, {} of them refused on their way to the vault", attacks.len(), refused.len());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(vault().await, before);
    let log = warehouse().log_until_now().await;
    for sql in refused {
        assert!(!log.contains(&format!("statement: {}", sql.replace('"', "\"\""))), "the server has seen {sql:.200}");
    }
    assert!(attacks.len() >= 25 && steps >= 250, "only {} attacks of {steps} statements", attacks.len());
}
