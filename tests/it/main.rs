//! The whole proxy in process, over real sockets, in front of a real PostgreSQL.

mod admin;
mod cancel;
mod drain;
mod identity;
mod limits;
mod login;
mod messages;
mod policy;
mod policy_reload;
mod queries;
mod startup;
mod support;
