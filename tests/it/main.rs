//! The whole proxy in process, over real sockets, in front of a real PostgreSQL.

// Every line here belongs to a test, and clippy allows it what tests may do.
#![cfg(test)]

mod admin;
mod athena;
mod attack;
mod audit_disk;
mod bigquery;
mod cancel;
mod cilium;
mod clickhouse;
mod clients;
mod databricks;
mod direct_tls;
mod drain;
mod fuzz_corpus;
mod identity;
mod isolation;
mod limits;
mod login;
mod messages;
mod oracle;
mod own_sessions;
mod policy;
mod policy_reload;
mod policy_replay;
mod queries;
mod relay;
mod replication;
mod secrets;
mod session_state;
mod snowflake;
mod split_points;
mod startup;
mod support;
mod trino;
mod upstream_login;
mod wire_client;
mod wire_server;
