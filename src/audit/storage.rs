//! The files of the log: everything that can fail because of a disk happens here.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
#[cfg(test)]
use std::sync::Arc;

const SEGMENT_EXTENSION: &str = "audit";
const LOCK_FILE: &str = "lock";

/// The directory of the log.
#[derive(Clone)]
pub(super) struct Storage {
    directory: PathBuf,
    #[cfg(test)]
    pub(super) faults: Arc<faults::Faults>,
}

impl Storage {
    /// The log in `directory`, which need not exist.
    pub(super) fn new(directory: &Path) -> Self {
        Self {
            directory: directory.to_owned(),
            #[cfg(test)]
            faults: Arc::default(),
        }
    }

    /// Where the log is.
    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }

    /// The file of a segment.
    pub(super) fn segment_path(&self, number: u64) -> PathBuf {
        self.directory.join(format!("{number:06}.{SEGMENT_EXTENSION}"))
    }

    /// Makes the directory where it is missing and takes it for this process; `None` when another process has it.
    /// The lock lasts as long as the returned file.
    pub(super) fn lock(&self) -> io::Result<Option<File>> {
        DirBuilder::new().recursive(true).mode(0o700).create(&self.directory)?;
        let lock = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(self.directory.join(LOCK_FILE))?;
        match lock.try_lock() {
            Ok(()) => Ok(Some(lock)),
            Err(fs::TryLockError::WouldBlock) => Ok(None),
            Err(fs::TryLockError::Error(error)) => Err(error),
        }
    }

    /// The file system that the log is on: the bytes that may still be written to it, and all of its bytes.
    pub(super) fn room(&self) -> io::Result<(u64, u64)> {
        let system = rustix::fs::statvfs(&self.directory)?;
        Ok((system.f_bavail.saturating_mul(system.f_frsize), system.f_blocks.saturating_mul(system.f_frsize)))
    }

    /// The numbers of the segments, ascending. Other files are none of the log's business.
    pub(super) fn segments(&self) -> io::Result<Vec<u64>> {
        let mut numbers = Vec::new();
        for entry in fs::read_dir(&self.directory)? {
            let path = PathBuf::from(entry?.file_name());
            if path.extension().is_some_and(|extension| extension == SEGMENT_EXTENSION) {
                numbers.extend(path.file_stem().and_then(|stem| stem.to_str()).and_then(|stem| stem.parse::<u64>().ok()));
            }
        }
        numbers.sort_unstable();
        Ok(numbers)
    }

    /// Opens the last segment for appending.
    pub(super) fn open(&self, number: u64) -> io::Result<File> {
        OpenOptions::new().append(true).open(self.segment_path(number))
    }

    /// Makes the file of a new segment. One that an earlier, failed try left behind holds nothing acknowledged
    /// and is emptied.
    pub(super) fn create(&self, number: u64) -> io::Result<File> {
        self.may(Operation::Create)?;
        let path = self.segment_path(number);
        let file = OpenOptions::new().create(true).append(true).mode(0o600).open(path)?;
        file.set_len(0)?;
        Ok(file)
    }

    /// Removes the file of a segment in which nothing was acknowledged.
    pub(super) fn remove(&self, number: u64) -> io::Result<()> {
        fs::remove_file(self.segment_path(number))
    }

    /// Appends to a segment. After an error any part of the bytes may be in it.
    pub(super) fn append(&self, mut file: &File, bytes: &[u8]) -> io::Result<()> {
        #[cfg(test)]
        if let Some(part) = self.faults.part_of_write(bytes.len()) {
            file.write_all(&bytes[..part])?;
            return Err(io::Error::from(io::ErrorKind::StorageFull));
        }
        file.write_all(bytes)
    }

    /// Makes sure that the disk has what was appended. After an error, what was appended since the last sync is in doubt.
    pub(super) fn sync(&self, file: &File) -> io::Result<()> {
        self.may(Operation::Sync)?;
        file.sync_data()
    }

    /// Cuts a segment to `length` bytes and makes sure that the disk knows.
    pub(super) fn truncate(&self, file: &File, length: u64) -> io::Result<()> {
        self.may(Operation::Truncate)?;
        file.set_len(length)?;
        file.sync_all()
    }

    /// Makes sure that new and removed names are on the disk.
    pub(super) fn sync_directory(&self) -> io::Result<()> {
        self.may(Operation::Sync)?;
        File::open(&self.directory)?.sync_all()
    }

    #[cfg(test)]
    fn may(&self, operation: Operation) -> io::Result<()> {
        self.faults.may(operation)
    }

    #[cfg(not(test))]
    #[expect(clippy::unused_self, clippy::unnecessary_wraps, reason = "the seam at which tests make a disk fail")]
    fn may(&self, _: Operation) -> io::Result<()> {
        Ok(())
    }
}

/// What a disk can refuse.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operation {
    Create,
    Sync,
    Truncate,
}

#[cfg(test)]
pub(super) mod faults {
    use std::io;
    use std::sync::Mutex;
    use std::time::Duration;

    use super::Operation;

    /// Which operations of the disk fail from now on.
    #[derive(Default)]
    pub(in crate::audit) struct Faults(Mutex<Plan>);

    #[derive(Default)]
    struct Plan {
        part_of_write: Option<usize>,
        create: bool,
        sync: bool,
        truncate: bool,
        sync_takes: Duration,
    }

    impl Faults {
        /// Every write stops after `bytes`, as on a full disk.
        pub(in crate::audit) fn writes_stop_after(&self, bytes: usize) {
            self.0.lock().unwrap().part_of_write = Some(bytes);
        }

        pub(in crate::audit) fn sync_fails(&self) {
            self.0.lock().unwrap().sync = true;
        }

        /// A disk that is slower than what runs beside it.
        pub(in crate::audit) fn sync_takes(&self, time: Duration) {
            self.0.lock().unwrap().sync_takes = time;
        }

        pub(in crate::audit) fn truncate_fails(&self) {
            self.0.lock().unwrap().truncate = true;
        }

        pub(in crate::audit) fn create_fails(&self) {
            self.0.lock().unwrap().create = true;
        }

        /// The disk is repaired.
        pub(in crate::audit) fn clear(&self) {
            *self.0.lock().unwrap() = Plan::default();
        }

        pub(super) fn part_of_write(&self, length: usize) -> Option<usize> {
            self.0.lock().unwrap().part_of_write.map(|part| part.min(length))
        }

        pub(super) fn may(&self, operation: Operation) -> io::Result<()> {
            let (fails, takes) = {
                let plan = self.0.lock().unwrap();
                match operation {
                    Operation::Create => (plan.create, Duration::ZERO),
                    Operation::Sync => (plan.sync, plan.sync_takes),
                    Operation::Truncate => (plan.truncate, Duration::ZERO),
                }
            };
            #[expect(clippy::disallowed_methods, reason = "a slow disk blocks, and that is what is tried")]
            std::thread::sleep(takes);
            if fails { Err(io::Error::other("input/output error")) } else { Ok(()) }
        }
    }
}
