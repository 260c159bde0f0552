//! Proves a log, offline.
