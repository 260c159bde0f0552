//! Reads records for people.
