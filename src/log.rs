//! The ordinary log, for operators; the audit log is another thing.
