//! Tests over the statements in `tests/data`: what dbt sends, and what hand-written cases try to hide.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use std::{env, fs};

use super::{Analysis, Dialect, Effect, Limits, Session, analyze};

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

/// A case begins with a line `--- what it shows`, and goes on to the next one.
fn cases(text: &str) -> Vec<(&str, &str)> {
    let cases = text.split("--- ").skip(1).map(|case| case.split_once('\n').unwrap());
    cases.map(|(title, sql)| (title, sql.trim_end())).collect()
}

#[test]
fn every_hand_written_case_has_the_effects_written_beside_it() {
    let mut files: Vec<PathBuf> = fs::read_dir(data("sql")).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "sql"));
    files.sort();
    let mut titles = BTreeSet::new();
    for file in files {
        let text = fs::read_to_string(&file).unwrap();
        let mut found = String::new();
        for (title, sql) in cases(&text) {
            assert!(titles.insert(title.to_owned()), "{title} stands twice");
            write!(found, "--- {title}\n{}", described(&judged(sql))).unwrap();
        }
        agrees(&file.with_extension("effects"), &found);
    }
    assert!(titles.len() >= 80, "only {} cases", titles.len());
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
    for file in fs::read_dir(data("sql")).unwrap().map(|entry| entry.unwrap().path()) {
        if file.extension().is_some_and(|extension| extension == "sql") {
            texts.extend(cases(&fs::read_to_string(&file).unwrap()).into_iter().map(|(_, sql)| sql.to_owned()));
        }
    }
    texts.into_iter().collect()
}

#[test]
fn a_text_that_breaks_off_or_is_garbled_is_judged_quickly_and_without_a_panic() {
    let mut dice = Dice(1);
    for text in different_texts() {
        for _ in 0..6 {
            let mut garbled = text.clone().into_bytes();
            garbled.truncate(1 + dice.below(text.len()));
            for _ in 0..dice.below(4) {
                let place = dice.below(garbled.len());
                garbled[place] = b"'\"$();,*/-\\.E:|[]a0 \n"[dice.below(21)];
            }
            let garbled = String::from_utf8_lossy(&garbled);
            let began = Instant::now();
            let analysis = judged(&garbled);
            assert!(began.elapsed() < Duration::from_secs(2), "{garbled}");
            let broke_down = analysis.statements.iter().flat_map(|s| &s.effects).any(|e| e.to_string().contains("broke down"));
            assert!(!broke_down, "{garbled}");
        }
    }
}
