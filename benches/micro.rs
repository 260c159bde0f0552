//! What the parts of an admission cost, in time: analysis, decision, and the whole of it with its audit records.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a bench that cannot be set up has to stop")]

#[path = "subject.rs"]
mod subject;

use divan::counter::ItemsCount;
use divan::{Bencher, black_box};
use tollhouse::sql::cache::Cache;
use tollhouse::sql::{Dialect, Limits};

fn main() {
    divan::main();
}

/// SQL analysis; an item is a statement.
mod analysis {
    use super::{Bencher, Cache, Dialect, ItemsCount, Limits, black_box, subject};

    #[divan::bench]
    fn dbt_build_cold(bencher: Bencher<'_, '_>) {
        let statements = subject::corpus();
        bencher.counter(ItemsCount::new(statements.len())).bench(|| {
            for text in &statements {
                black_box(subject::analysis(black_box(text)));
            }
        });
    }

    #[divan::bench]
    fn dbt_build_cached(bencher: Bencher<'_, '_>) {
        let (statements, limits) = (subject::corpus(), Limits::default());
        let cache = Cache::new(10_000, 64 * 1024 * 1024);
        bencher.counter(ItemsCount::new(statements.len())).bench(|| {
            for text in &statements {
                black_box(cache.analyze(Dialect::Postgres, black_box(text), &limits));
            }
        });
    }

    #[divan::bench]
    fn look_up_cold() {
        black_box(subject::analysis(black_box(subject::LOOK_UP)));
    }
}

/// Policy, by the number of its entries; the last one decides.
mod decision {
    use super::{Bencher, black_box, subject};

    #[divan::bench(args = [1, 100, 10_000])]
    fn exact_names(bencher: Bencher<'_, '_>, entries: usize) {
        decide(bencher, &subject::policies(entries, subject::Names::Exact));
    }

    #[divan::bench(args = [1, 100, 10_000])]
    fn patterns(bencher: Bencher<'_, '_>, entries: usize) {
        decide(bencher, &subject::policies(entries, subject::Names::Patterns));
    }

    fn decide(bencher: Bencher<'_, '_>, policies: &tollhouse::policy::PolicySet) {
        let (session, analysis) = (subject::session(), subject::analysis(subject::LOOK_UP));
        let request = subject::request(&session, &analysis.statements[0].effects);
        bencher.bench(|| black_box(policies.decide(black_box(&request))));
    }
}

/// Decision, attempt, permit and outcome, one after the other, with the log in memory at durability `write`.
#[divan::bench]
fn admission(bencher: Bencher<'_, '_>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (gate, _directory) = subject::gate(subject::policies(10, subject::Names::Patterns));
    let (session, analysis) = (subject::session(), subject::analysis(subject::LOOK_UP));
    bencher.bench_local(|| runtime.block_on(subject::look_up(&gate, &session, &analysis)));
    runtime.block_on(gate.audit().close()).unwrap();
}
