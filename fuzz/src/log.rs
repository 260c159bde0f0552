//! The audit log as somebody may have left it: any bytes, or a log of ours with changes.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use arbitrary::{Result, Unstructured};
use tempfile::TempDir;
use tollhouse::audit::log::{AuditError, AuditLog, Start};
use tollhouse::audit::read::Lines;
use tollhouse::audit::verify::{Tail, verify};
use tollhouse::audit::{Durability, Settings};
use tollhouse::metrics::Metrics;

/// A log that was closed, and the public key of who wrote it.
const SEGMENT: &[u8] = include_bytes!("../log/000001.audit");
const KEY: &[u8] = include_bytes!("../log/writer.public.pem");

const SEGMENT_NAME: &str = "000001.audit";

/// Longest segment that is made of an input.
const BYTES_MAX: usize = 64 * 1024;

pub(crate) fn audit(input: &[u8]) {
    let Some((first, rest)) = input.split_first() else { return };
    let bytes = match first % 4 {
        0 => rest[..rest.len().min(BYTES_MAX)].to_vec(),
        _ => changed(&mut Unstructured::new(rest)),
    };
    thread_local! {
        static DIRECTORY: TempDir = directory();
    }
    DIRECTORY.with(|directory| {
        clear(directory.path());
        fs::write(directory.path().join(SEGMENT_NAME), &bytes).unwrap();
        let report = verify(directory.path(), &[]).unwrap();
        assert_eq!(report.proven, report.flaw.is_none());
        if bytes == SEGMENT {
            assert_eq!((report.proven, report.tail), (true, Tail::Closed));
        } else {
            assert!(!(report.proven && report.tail == Tail::Closed), "a log that was changed passes as the one that was closed");
        }
        read_through(directory.path());
        open_again(directory.path(), &bytes, report.proven);
    });
}

/// Our log with changes.
fn changed(choices: &mut Unstructured<'_>) -> Vec<u8> {
    let mut bytes = SEGMENT.to_vec();
    // An input that ends early has made its changes.
    while !choices.is_empty() && change(&mut bytes, choices).is_ok() {}
    bytes.truncate(BYTES_MAX);
    bytes
}

fn change(bytes: &mut Vec<u8>, choices: &mut Unstructured<'_>) -> Result<()> {
    let place = choices.int_in_range(0..=bytes.len())?;
    let end = choices.int_in_range(place..=bytes.len().min(place + 2000))?;
    match choices.int_in_range(0..=5)? {
        0 => bytes.truncate(place),
        1 => drop(bytes.drain(place..end)),
        2 => {
            let copy = bytes[place..end].to_vec();
            bytes.splice(end..end, copy).for_each(drop);
        }
        3 => bytes[place..end].fill(0),
        4 => {
            let new = choices.bytes(choices.len().min(16))?;
            bytes.splice(place..place, new.iter().copied()).for_each(drop);
        }
        _ => {
            let bit = choices.int_in_range(0..=7)?;
            if let Some(byte) = bytes.get_mut(place) {
                *byte ^= 1 << bit;
            }
        }
    }
    Ok(())
}

/// Removes the segments that an earlier input has led to.
fn clear(directory: &Path) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "audit") {
            fs::remove_file(path).unwrap();
        }
    }
}

fn read_through(directory: &Path) {
    let mut lines = Lines::open(directory).unwrap();
    while let Ok(Some(_)) = lines.next_line() {}
}

/// A new start takes up a log that a crash can have left, and leaves any other as it is.
fn open_again(directory: &Path, bytes: &[u8], was_proven: bool) {
    let settings = Settings { durability: Durability::Write, ..Settings::at(directory) };
    let start = Start { version: "0".to_owned(), config_digest: "0".to_owned() };
    match AuditLog::open(&settings, Arc::new(Metrics::new().unwrap()), &start) {
        Ok(log) => {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
            runtime.block_on(log.close()).unwrap();
            let report = verify(directory, &[]).unwrap();
            assert!(report.proven, "{:?}", report.flaw);
            assert_eq!(report.tail, Tail::Closed);
        }
        Err(AuditError::Corrupt { .. }) => {
            assert!(!was_proven, "a proven log is not taken up");
            assert_eq!(fs::read(directory.join(SEGMENT_NAME)).unwrap(), bytes, "evidence is left as it was found");
        }
        Err(error) => panic!("{error}"),
    }
}

/// A directory with the writer's public key, and a signing key of its own for those who open the log again.
fn directory() -> TempDir {
    let memory = Path::new("/dev/shm");
    let directory = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() }.unwrap();
    fs::write(directory.path().join("writer.public.pem"), KEY).unwrap();
    directory
}
