//! From a Config to a running program.
