//! What the fuzzers have found worth keeping still keeps every promise, without cargo-fuzz.

#[expect(unreachable_pub, reason = "it is a library of its own for cargo-fuzz")]
#[path = "../../fuzz/src/lib.rs"]
mod harness;

use std::path::{Path, PathBuf};

use serde_json::json;
use tollhouse::audit::verify::{Tail, verify};

use crate::support::proxy::{ALLOW_ALL, Proxy};
use crate::support::wire::query;

use harness::TARGETS;

fn fuzz() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz"))
}

/// The inputs of a target, in one order on every machine: the corpus, and the cases that stay whatever the corpus becomes.
fn inputs(target: &str) -> Vec<PathBuf> {
    let mut inputs: Vec<PathBuf> = ["corpus", "cases"]
        .iter()
        .filter_map(|kind| std::fs::read_dir(fuzz().join(kind).join(target)).ok())
        .flatten()
        .map(|entry| entry.unwrap().path())
        .collect();
    inputs.sort();
    inputs
}

#[test]
fn every_input_that_the_fuzzers_kept_passes() {
    std::thread::scope(|scope| {
        for (name, target) in TARGETS {
            scope.spawn(move || {
                let inputs = inputs(name);
                assert!(inputs.len() >= 5, "{name} has no corpus");
                for input in inputs {
                    let bytes = std::fs::read(&input).unwrap();
                    let passed = std::panic::catch_unwind(|| target(&bytes));
                    assert!(passed.is_ok(), "{} does not pass", input.display());
                }
            });
        }
    });
}

#[tokio::test]
async fn the_log_that_the_fuzzer_changes_is_as_the_program_writes_it() {
    let kept = fuzz().join("log");
    if std::env::var_os("UPDATE").is_some() {
        let proxy = Proxy::with(ALLOW_ALL, |config| config["audit"]["checkpoint_records"] = json!(4)).await;
        let mut wire = proxy.wire().await;
        wire.ask(&query("select 1")).await;
        wire.ask(&query("select 2")).await;
        drop(wire);
        let log = proxy.stop().await.directory.keep().join("audit");
        std::fs::copy(log.join("000001.audit"), kept.join("000001.audit")).unwrap();
        let keys = std::fs::read_dir(&log).unwrap().map(|entry| entry.unwrap().path());
        let public = keys.filter(|path| path.to_string_lossy().ends_with(".public.pem"));
        for key in public {
            std::fs::copy(key, kept.join("writer.public.pem")).unwrap();
        }
    }
    let report = verify(&kept, &[]).unwrap();
    assert_eq!((report.proven, &report.tail), (true, &Tail::Closed), "{:?}", report.flaw);
    assert!(report.checkpoints >= 3, "{report:?}");
}
