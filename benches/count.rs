//! Runs one operation a given number of times, for `benches/count.py` to count its instructions.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a bench that cannot be set up has to stop")]

#[path = "subject.rs"]
mod subject;

use std::hint::black_box;

use tollhouse::sql::cache::Cache;
use tollhouse::sql::{Dialect, Limits};

fn main() {
    let arguments: Vec<_> = std::env::args().collect();
    let [_, operation, times] = arguments.as_slice() else {
        panic!("usage: count OPERATION TIMES");
    };
    run(operation, times.parse().unwrap());
}

fn run(operation: &str, times: usize) {
    match operation {
        "analysis-cold" => corpus(times, |text| drop(black_box(subject::analysis(text)))),
        "analysis-cached" => {
            let (cache, limits) = (Cache::new(10_000, 64 * 1024 * 1024), Limits::default());
            corpus(times, |text| drop(black_box(cache.analyze(Dialect::Postgres, text, &limits))));
        }
        "decision-1" => decide(1, subject::Names::Patterns, times),
        "decision-100" => decide(100, subject::Names::Patterns, times),
        "decision-1000" => decide(1000, subject::Names::Patterns, times),
        "decision-exact-10000" => decide(10_000, subject::Names::Exact, times),
        "admission" => admit(times),
        other => panic!("no operation {other}"),
    }
}

/// The statements of a dbt build, again from the start when they are through.
fn corpus(times: usize, each: impl Fn(&str)) {
    let statements = subject::corpus();
    // Once before what is counted, so that a cache is warm.
    statements.iter().for_each(|text| each(text));
    statements.iter().cycle().take(times).for_each(|text| each(black_box(text)));
}

fn decide(entries: usize, names: subject::Names, times: usize) {
    let (policies, session, analysis) = (subject::policies(entries, names), subject::session(), subject::analysis(subject::LOOK_UP));
    let request = subject::request(&session, &analysis.statements[0].effects);
    for _ in 0..times {
        black_box(policies.decide(black_box(&request)));
    }
}

fn admit(times: usize) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (gate, _directory) = subject::gate(subject::policies(10, subject::Names::Patterns));
    let (session, analysis) = (subject::session(), subject::analysis(subject::LOOK_UP));
    runtime.block_on(async {
        for _ in 0..times {
            subject::look_up(&gate, &session, &analysis).await;
        }
        gate.audit().close().await.unwrap();
    });
}
