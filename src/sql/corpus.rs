//! Tests over the statements in `tests/data`: what dbt sends, and what hand-written cases try to hide.

mod mutated;

use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use std::{env, fs};

use super::dialect::{ATHENA, BIGQUERY, CLICKHOUSE, DATABRICKS, SNOWFLAKE, TRINO};
use super::{Analysis, Dialect, Effect, Limits, OpaqueClass, Session, analyze};

#[derive(serde::Deserialize)]
struct Sent {
    seq: u32,
    sql: String,
}

fn data(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(path)
}

fn sent_by_dbt() -> Vec<Sent> {
    let text = fs::read_to_string(data("dbt-postgres/statements.jsonl")).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn judged(text: &str) -> Analysis {
    analyze(Dialect::Postgres, text, &Limits::default())
}

/// One line for each statement: its verb, its effects, and what it does to the session.
fn described(analysis: &Analysis) -> String {
    let mut lines = String::new();
    for statement in &analysis.statements {
        let effects: Vec<String> = statement.effects.iter().map(ToString::to_string).collect();
        let session = match &statement.session {
            Session::Unchanged => String::new(),
            Session::SearchPathUnknown => " [search path unknown]".into(),
            Session::Prepares { name, effects } => format!(" [prepares {name}: {} effects]", effects.len()),
            Session::Deallocates { name } => format!(" [deallocates {}]", name.as_deref().unwrap_or("all")),
            Session::Executes { name } => format!(" [executes {name}]"),
        };
        let between = if effects.is_empty() { "" } else { " " };
        writeln!(lines, "{}:{between}{}{session}", statement.verb, effects.join("; ")).unwrap();
    }
    lines
}

fn agrees(expected: &Path, found: &str) {
    if env::var_os("UPDATE").is_some() {
        return fs::write(expected, found).unwrap();
    }
    let wanted = fs::read_to_string(expected).unwrap_or_default();
    for (line, (wanted, found)) in wanted.lines().zip(found.lines()).enumerate() {
        assert_eq!(wanted, found, "{}:{}", expected.display(), line + 1);
    }
    assert_eq!(wanted.lines().count(), found.lines().count(), "{}", expected.display());
}

#[test]
fn every_statement_of_a_dbt_build_has_the_effects_written_beside_it() {
    let mut found = String::new();
    for sent in sent_by_dbt() {
        let analysis = judged(&sent.sql);
        assert!(!analysis.statements.is_empty(), "{}", sent.seq);
        for line in described(&analysis).lines() {
            writeln!(found, "{} {line}", sent.seq).unwrap();
        }
    }
    agrees(&data("dbt-postgres/statements.effects"), &found);
}

#[test]
fn nothing_that_dbt_sends_is_opaque() {
    for sent in sent_by_dbt() {
        for statement in judged(&sent.sql).statements {
            let opaque = statement.effects.iter().find(|effect| matches!(effect, Effect::Opaque { .. }));
            assert_eq!(opaque, None, "{}", sent.seq);
        }
    }
}

#[test]
fn what_dbt_sends_to_other_warehouses_is_read_or_named() {
    for (directory, dialect) in [("sql-snowflake", Dialect::Other(&SNOWFLAKE)), ("sql-bigquery", Dialect::Other(&BIGQUERY))] {
        let text = fs::read_to_string(data(directory).join("dbt.sql")).unwrap();
        for (title, sql) in cases(&text) {
            let described = described(&analyze(dialect, sql, &Limits::default()));
            let is_named = !described.contains("opaque") || described.starts_with("GRANT: opaque authorization");
            assert!(is_named, "{directory}, {title}: {described}");
        }
    }
}

/// A case begins with a line `--- what it shows`, and goes on to the next one.
fn cases(text: &str) -> Vec<(&str, &str)> {
    let cases = text.split("--- ").skip(1).map(|case| case.split_once('\n').unwrap());
    cases.map(|(title, sql)| (title, sql.trim_end())).collect()
}

/// The directories of hand-written cases, and how many there are at least.
const CORPORA: &[(&str, Dialect, usize)] = &[
    ("sql", Dialect::Postgres, 80),
    ("sql-redshift", Dialect::Redshift, 60),
    ("sql-snowflake", Dialect::Other(&SNOWFLAKE), 40),
    ("sql-bigquery", Dialect::Other(&BIGQUERY), 20),
    ("sql-databricks", Dialect::Other(&DATABRICKS), 18),
    ("sql-trino", Dialect::Other(&TRINO), 12),
    ("sql-athena", Dialect::Other(&ATHENA), 8),
    ("sql-clickhouse", Dialect::Other(&CLICKHOUSE), 12),
];

fn case_files(directory: &str) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = fs::read_dir(data(directory)).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "sql"));
    files.sort();
    files
}

#[test]
fn every_hand_written_case_has_the_effects_written_beside_it() {
    for (directory, dialect, least) in CORPORA {
        let mut titles = BTreeSet::new();
        for file in case_files(directory) {
            let text = fs::read_to_string(&file).unwrap();
            let mut found = String::new();
            for (title, sql) in cases(&text) {
                assert!(titles.insert(title.to_owned()), "{title} stands twice");
                write!(found, "--- {title}\n{}", described(&analyze(*dialect, sql, &Limits::default()))).unwrap();
            }
            agrees(&file.with_extension("effects"), &found);
        }
        assert!(titles.len() >= *least, "only {} cases in {directory}", titles.len());
    }
}

/// Every name of a relation, and every function that is called, at any place of a serialized parse tree.
fn named_anywhere(tree: &serde_json::Value, names: &mut BTreeSet<String>) {
    match tree {
        serde_json::Value::Object(fields) => {
            names.extend(fields.get("relname").and_then(|name| name.as_str()).map(str::to_owned));
            if let Some(path) = fields.get("funcname").and_then(|path| path.as_array()) {
                let name = path.last().and_then(|part| part.pointer("/node/String/sval")).and_then(|name| name.as_str());
                names.extend(name.map(|name| format!("{name}()")));
            }
            fields.values().for_each(|field| named_anywhere(field, names));
        }
        serde_json::Value::Array(items) => items.iter().for_each(|item| named_anywhere(item, names)),
        serde_json::Value::Null | serde_json::Value::Bool(_) | serde_json::Value::Number(_) | serde_json::Value::String(_) => {}
    }
}

/// What the walk may leave out: names of common table expressions, aliases after `FOR UPDATE OF`, and pure functions.
fn explained(tree: &str, name: &str) -> bool {
    match name.strip_suffix("()") {
        Some(function) => include_str!("postgres/functions_pure.txt").lines().any(|pure| pure == function),
        None => tree.contains(&format!("\"ctename\":\"{name}\"")) || tree.contains("\"LockingClause\""),
    }
}

#[test]
fn no_relation_and_no_function_at_any_place_of_the_parse_tree_is_left_out() {
    let deep = std::thread::Builder::new().stack_size(256 << 20).spawn(|| {
        let mut compared = 0;
        for text in different_texts() {
            let analysis = judged(&text);
            let effects: Vec<&Effect> = analysis.statements.iter().flat_map(|statement| &statement.effects).collect();
            if effects.iter().any(|effect| matches!(effect, Effect::Opaque { .. })) {
                continue;
            }
            let tree = serde_json::to_value(pg_query::parse(&text, 0).unwrap().protobuf).unwrap();
            let mut names = BTreeSet::new();
            named_anywhere(&tree, &mut names);
            let tree = tree.to_string();
            for name in names {
                let found = effects.iter().any(|effect| match effect {
                    Effect::Access { object, .. } => object.name == name,
                    Effect::Call { function, signals: _ } => name.strip_suffix("()") == Some(&function.name),
                    Effect::Role { .. } | Effect::Set { .. } | Effect::Opaque { .. } => false,
                });
                assert!(found || explained(&tree, &name), "{name} in {text}");
                compared += 1;
            }
        }
        assert!(compared > 300, "only {compared}");
    });
    deep.unwrap().join().unwrap();
}

/// Knuth's generator; the same bytes on every run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % bound
    }
}

/// The different texts of the corpus, each once.
fn different_texts() -> Vec<String> {
    let mut texts: BTreeSet<String> = sent_by_dbt().into_iter().map(|sent| sent.sql).collect();
    for file in case_files("sql") {
        texts.extend(cases(&fs::read_to_string(&file).unwrap()).into_iter().map(|(_, sql)| sql.to_owned()));
    }
    texts.into_iter().collect()
}

/// The classes of the opaque effects of a text, judged on a thread with a stack as small as the runtime's.
fn opaque_on_a_small_stack(text: String) -> Vec<OpaqueClass> {
    let judge = move || {
        let effects = judged(&text).statements.into_iter().flat_map(|statement| statement.effects);
        let classes = effects.filter_map(|effect| match effect {
            Effect::Opaque { class, .. } => Some(class),
            Effect::Access { .. } | Effect::Call { .. } | Effect::Role { .. } | Effect::Set { .. } => None,
        });
        classes.collect()
    };
    std::thread::Builder::new().stack_size(2 << 20).spawn(judge).unwrap().join().unwrap()
}

#[test]
fn texts_as_deep_as_people_and_dbt_write_them_are_judged() {
    let queries = [
        format!("select {}", vec!["a"; 600].join(" || ")),
        format!("select {}", vec!["select a from t"; 400].join(" union all ")).replacen("select ", "", 1),
        format!("select * from t where {}", vec!["a = 1"; 20_000].join(" or ")),
        format!("insert into t values {}", vec!["(1, 'x', null)"; 5_000].join(", ")),
        format!("select {}1{}", "(".repeat(500), ")".repeat(500)),
        format!("{}select 1{}", "select * from (".repeat(80), ") q".repeat(80)),
        format!("select {}1{}", "case when a then b else ".repeat(200), " end".repeat(200)),
        format!("select * from t {}", "join u using (k) ".repeat(500)),
        format!("with {} select 1", (0..2000).map(|n| format!("q{n} as (select * from t)")).collect::<Vec<_>>().join(", ")),
    ];
    for query in queries {
        assert_eq!(opaque_on_a_small_stack(query.clone()), [], "{}", query.get(..200).unwrap_or(&query));
    }
}

#[test]
fn texts_that_are_too_deep_are_opaque_and_overflow_nothing() {
    let queries = [
        format!("select {}1{}", "(".repeat(100_000), ")".repeat(100_000)),
        format!("select {}", vec!["1"; 100_000].join("+")),
        format!("select {} true", "not ".repeat(100_000)),
        format!("select {} 1", "- ".repeat(100_000)),
        format!("select {}", vec!["select a from t"; 50_000].join(" union all ")).replacen("select ", "", 1),
        format!("{}select 1{}", "select * from (".repeat(20_000), ") q".repeat(20_000)),
        format!("{}select 1{}", "with q as (".repeat(20_000), ") select 1".repeat(20_000)),
        format!("select {}1{}", "array[".repeat(20_000), "]".repeat(20_000)),
        format!("select a{}", "::int".repeat(100_000)),
        format!("select * from t {}", "join u using (k) ".repeat(50_000)),
        format!("select {}1{}", "f(".repeat(20_000), ")".repeat(20_000)),
        format!("select a{}", " is null".repeat(100_000)),
        format!("select a{}", " collate x".repeat(100_000)),
    ];
    for query in queries {
        assert_eq!(opaque_on_a_small_stack(query.clone()), [OpaqueClass::TooDeep], "{}", query.get(..60).unwrap_or(&query));
    }
    let shallow = Limits { nesting_max: 20, ..Limits::default() };
    let analysis = analyze(Dialect::Postgres, &format!("select {}", vec!["1"; 30].join("+")), &shallow);
    assert!(described(&analysis).contains("opaque too-deep"));
}

#[test]
fn no_depth_of_a_text_breaks_another_dialect() {
    let queries = [
        format!("select {}1{}", "(".repeat(20_000), ")".repeat(20_000)),
        format!("select {}", vec!["1"; 20_000].join("+")),
        format!("select {} true", "not ".repeat(20_000)),
        format!("select {} 1", "- ".repeat(20_000)),
        format!("select {}", vec!["select a, b from t"; 10_000].join(" union all ")).replacen("select ", "", 1),
        format!("{}select 1{}", "select * from (".repeat(20_000), ") q".repeat(20_000)),
        format!("select {}1{}", "case when a then b else ".repeat(20_000), " end".repeat(20_000)),
        format!("select cast(a as {}int{})", "array<".repeat(20_000), ">".repeat(20_000)),
        format!("select a{}", "::int".repeat(20_000)),
        format!("select a{}", "[1]".repeat(20_000)),
        format!("select a{}", ".b".repeat(20_000)),
        format!("select * from t {}", "join u using (k) ".repeat(10_000)),
        format!("select {}1{}", "f(".repeat(20_000), ")".repeat(20_000)),
    ];
    for (_, dialect, _) in CORPORA.iter().filter(|(_, dialect, _)| *dialect != Dialect::Postgres) {
        for query in &queries {
            let described = described(&analyze(*dialect, query, &Limits::default()));
            let is_judged = query.contains(".b") || query.contains("[1]");
            assert!(
                is_judged || described.contains("opaque too-deep") || described.contains("opaque unparseable"),
                "{dialect:?} {described}: {:.60}",
                query
            );
            assert!(!described.contains("broke down"), "{dialect:?}: {:.60}", query);
        }
    }
    for (_, dialect, _) in CORPORA {
        let deep = format!("{}select 1 from t where {}{}", "select * from (".repeat(25), vec!["a = 1"; 300].join(" or "), ") q".repeat(25));
        let described = described(&analyze(*dialect, &deep, &Limits::default()));
        assert!(!described.contains("opaque"), "{dialect:?} {described}");
    }
}

#[test]
fn texts_that_are_too_long_or_hold_a_nul_are_opaque() {
    let short = Limits { statement_bytes_max: 8, ..Limits::default() };
    assert_eq!(described(&analyze(Dialect::Postgres, "select 1", &short)), "SELECT:\n");
    assert!(described(&analyze(Dialect::Postgres, "select 12", &short)).contains("opaque too-long"));
    assert!(described(&judged("select 1;\0 drop table a")).contains("opaque unparseable"));
    assert_eq!(judged("").statements, []);
}

#[test]
fn a_text_that_breaks_off_or_is_garbled_is_judged_quickly_and_without_a_panic() {
    let mut dice = Dice(1);
    let of_others = CORPORA.iter().filter(|(_, dialect, _)| *dialect != Dialect::Postgres).flat_map(|(directory, dialect, _)| {
        let texts = case_files(directory).into_iter().map(|file| fs::read_to_string(file).unwrap());
        let sql: Vec<String> = texts.flat_map(|text| cases(&text).into_iter().map(|(_, sql)| sql.to_owned()).collect::<Vec<_>>()).collect();
        sql.into_iter().map(|sql| (*dialect, sql))
    });
    let texts = different_texts().into_iter().map(|text| (Dialect::Postgres, text)).chain(of_others);
    for (dialect, text) in texts {
        for _ in 0..6 {
            let mut garbled = text.clone().into_bytes();
            garbled.truncate(1 + dice.below(text.len()));
            for _ in 0..dice.below(4) {
                let place = dice.below(garbled.len());
                garbled[place] = b"'\"$();,*/-\\.E:|[]a0 \n"[dice.below(21)];
            }
            let garbled = String::from_utf8_lossy(&garbled);
            let began = Instant::now();
            let analysis = analyze(dialect, &garbled, &Limits::default());
            assert!(began.elapsed() < Duration::from_secs(2), "{garbled}");
            let broke_down = analysis.statements.iter().flat_map(|s| &s.effects).any(|e| e.to_string().contains("broke down"));
            assert!(!broke_down, "{garbled}");
        }
    }
}
