//! What a statement really touches in PostgreSQL, held against what `sql::analyze` says of it: the effects must be at least
//! the truth, or opaque.
//!
//! Each text runs in a transaction that is rolled back. The truth is what the server tells in it: the locks that the backend
//! holds on relations, the rows that it counted, the definitions that event triggers saw, and settings that changed. Texts
//! that the server refuses prove nothing and are counted apart.
//!
//! `ORACLE_SECONDS` (3) bounds the generated part, `ORACLE_SEED` (1) begins it.

mod covers;
mod generate;
mod server;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use tollhouse::sql::{Dialect, Effect, Limits, analyze};

use generate::Dice;
use server::{Oracle, Truth};

/// A way in which the session reads its texts.
struct Reading {
    set: &'static str,
    /// Whether it reads the text as the analysis does. Whoever tracks the session refuses all other texts.
    is_ours: fn(&str) -> bool,
}

const OURS: Reading = Reading { set: "", is_ours: |_| true };

const READINGS: &[Reading] = &[
    OURS,
    OURS,
    OURS,
    OURS,
    OURS,
    OURS,
    OURS,
    OURS,
    Reading { set: "set local standard_conforming_strings = off", is_ours: |text| !text.contains('\\') },
    Reading { set: "set local standard_conforming_strings = off; set local backslash_quote = on", is_ours: |text| !text.contains('\\') },
    Reading { set: "set local client_encoding = 'LATIN1'", is_ours: str::is_ascii },
    Reading { set: "set local client_encoding = 'SJIS'", is_ours: str::is_ascii },
    Reading { set: "set local client_encoding = 'BIG5'", is_ours: str::is_ascii },
    Reading { set: "set local client_encoding = 'GBK'", is_ours: str::is_ascii },
    Reading { set: "set local client_encoding = 'GB18030'", is_ours: str::is_ascii },
    Reading { set: "set local client_encoding = 'EUC_JP'", is_ours: str::is_ascii },
];

/// As many texts are asked about, however long that takes.
const TEXTS_MIN: usize = 500;

/// What the comparison found.
#[derive(Debug, Default)]
struct Tally {
    compared: usize,
    opaque: usize,
    refused: usize,
    /// Texts that the session would have read in another way.
    unread: usize,
    mismatches: Vec<String>,
    /// Texts of which the comparison noticed when an effect was taken away.
    noticed: usize,
    /// Compared statements by their verbs, and compared texts by the setting of their session.
    kinds: BTreeMap<&'static str, usize>,
}

impl Tally {
    fn compare(&mut self, set: &'static str, text: &str, truth: Result<Truth, String>) {
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
        for kind in statements.iter().map(|statement| statement.verb).chain([set]) {
            *self.kinds.entry(kind).or_default() += 1;
        }
        let without_secret: Vec<Effect> = effects.iter().filter(|effect| !effect.to_string().contains("secret")).cloned().collect();
        self.noticed += usize::from(!truth.missing_in(&statements, &without_secret).is_empty());
        let missing = truth.missing_in(&statements, &effects);
        if !missing.is_empty() {
            let shown: Vec<String> = effects.iter().map(ToString::to_string).collect();
            self.mismatches.push(format!("{set}\n{text}\n  missing:{missing}\n  effects: {}", shown.join("; ")));
        }
    }
}

fn data(file: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/oracle").join(file)
}

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(default)
}

async fn written_by_hand(oracle: &Oracle, tally: &mut Tally) {
    let written = std::fs::read_to_string(data("statements.sql")).unwrap();
    let mut refusals = Vec::new();
    for case in written.split("--- ").skip(1) {
        let (title, text) = case.split_once('\n').unwrap();
        let truth = oracle.ask("", text.trim_end()).await;
        refusals.extend(truth.as_ref().err().map(|error| format!("{title}: {error}")));
        tally.compare("", text.trim_end(), truth);
    }
    assert!(refusals.is_empty(), "the server refuses what is written by hand:\n{}", refusals.join("\n"));
}

async fn generated(oracle: &Oracle, tally: &mut Tally) {
    let end = Instant::now() + Duration::from_secs(setting("ORACLE_SECONDS", 3));
    let mut dice = Dice(setting("ORACLE_SEED", 1));
    // On a loaded machine the time is over before every kind of statement was compared in every kind of session.
    while Instant::now() < end || tally.compared + tally.opaque + tally.refused + tally.unread < TEXTS_MIN {
        let text = generate::text(&mut dice);
        let reading = &READINGS[dice.below(READINGS.len())];
        if !(reading.is_ours)(&text) {
            tally.unread += 1;
            continue;
        }
        let truth = oracle.ask(reading.set, &text).await;
        tally.compare(reading.set, &text, truth);
    }
}

#[tokio::test]
async fn the_effects_are_at_least_what_postgresql_does() {
    let oracle = Oracle::start().await;
    let mut tally = Tally::default();
    written_by_hand(&oracle, &mut tally).await;
    let by_hand = tally.compared + tally.opaque;
    generated(&oracle, &mut tally).await;
    let Tally { compared, opaque, refused, unread, mismatches, noticed, kinds } = &tally;
    println!("{by_hand} by hand; {compared} compared, {opaque} opaque, {refused} refused by the server, {unread} read otherwise");
    println!("{} mismatches; compared: {kinds:?}", mismatches.len());
    assert!(mismatches.is_empty(), "{} mismatches:\n{}", mismatches.len(), mismatches.join("\n\n"));
    assert!(*compared > by_hand, "nothing was generated");
    assert!(*noticed > by_hand / 2, "the comparison notices nothing: {noticed} of {compared}");
    assert!(*refused < *compared, "most of what is generated means nothing to the server");
    for kind in ["SELECT", "INSERT", "UPDATE", "DELETE", "MERGE", "CREATE TABLE AS"].into_iter().chain(READINGS.iter().map(|r| r.set)) {
        assert!(kinds.contains_key(kind), "no comparison of {kind:?}");
    }
}
