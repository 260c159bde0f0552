//! The whole proxy in process, over real sockets, in front of a real PostgreSQL.

// Every line here belongs to a test, and clippy allows it what tests may do.
#![cfg(test)]

mod admin;
mod audit_disk;
mod cancel;
mod cilium;
mod drain;
mod identity;
mod limits;
mod login;
mod messages;
mod policy;
mod policy_reload;
mod queries;
mod relay;
mod secrets;
mod session_state;
mod startup;
mod support;
mod upstream_login;
mod wire_client;
mod wire_server;
