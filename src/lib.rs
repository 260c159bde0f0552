//! Tollhouse: an identity-aware proxy sidecar for data-warehouse connections.
//!
//! The modules stand in dependency order: each uses only those above it (`tests/architecture.rs` holds the layers).

// For tests: files that the program is held against.
#[cfg(test)]
pub mod golden;

// Layer 0: words that everybody shares.
pub mod document;
pub mod drain;
pub mod fault;
pub mod log;
pub mod metrics;
pub mod secret;
pub mod target;
pub mod unix_socket;

// Layer 1: SQL understanding, and the one place that builds TLS configurations.
pub mod sql;
pub mod tls;

// Layer 2: the one place that makes HTTPS calls of our own, and what dbt says about a statement.
pub mod dbt;
pub mod fetch;
pub mod http_server;

// Layer 3: signed calls to AWS, for who is calling and for what they get.
pub mod aws;

// Layer 4: who is calling, and the API server of a cluster.
pub mod identity;
pub mod kubernetes;

// Layer 5: what they get, and what they may do.
pub mod credential;
pub mod policy;

// Layer 6: what is remembered, and how each warehouse is spoken to.
pub mod audit;
pub mod warehouse;

// Layer 7: decide, record, permit.
pub mod gate;

// Layer 8: doors.
pub mod admin;
pub mod dev;
pub mod listener;
pub mod webhook;

// Layer 9: what the operator wrote.
pub mod config;

// Layer 10: the running programs.
pub mod controller;
pub mod serve;

// Layer 11: the command line.
pub mod cli;
