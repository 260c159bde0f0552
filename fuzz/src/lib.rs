//! What the fuzz targets do with their inputs, through the public interface of Tollhouse alone.
//!
//! A target is a function of bytes that panics where a promise is broken. `cargo fuzz` calls it with inputs of its own
//! making; `tests/it/fuzz_corpus.rs` takes this file in as a module and calls it with the corpus, without cargo-fuzz.

mod http;
mod http_snowflake;
mod log;
mod server;
mod session;
mod stage;
mod text;
mod witness;

/// A target's function.
type Target = fn(&[u8]);

/// Every target, by the name of its corpus.
pub const TARGETS: [(&str, Target); 14] = [
    ("startup", startup),
    ("frontend", frontend),
    ("backend", backend),
    ("pump", pump),
    ("sql", sql),
    ("policy", policy),
    ("audit", audit),
    ("dbt", dbt),
    ("http_bigquery", http_bigquery),
    ("http_clickhouse", http_clickhouse),
    ("http_athena", http_athena),
    ("http_databricks", http_databricks),
    ("http_spark", http_spark),
    ("http_snowflake", http_snowflake),
];

/// The first bytes of a connection: requests for encryption, cancel requests, startup messages.
pub fn startup(input: &[u8]) {
    session::startup(input);
}

/// A session in which the client sends anything, in front of a server that obliges.
pub fn frontend(input: &[u8]) {
    session::frontend(input);
}

/// A session in which the server sends anything, in answer to a client that means well.
pub fn backend(input: &[u8]) {
    session::backend(input);
}

/// A session of two peers of moods: messages in any order, cut anywhere, errors whenever the server likes.
pub fn pump(input: &[u8]) {
    session::pump(input);
}

/// Analysis of a text, held against PostgreSQL's own parse tree.
pub fn sql(input: &[u8]) {
    text::sql(input);
}

/// Policy documents: read, compiled, decided on.
pub fn policy(input: &[u8]) {
    text::policy(input);
}

/// Files of an audit log, of any content and changed: verified and opened again.
pub fn audit(input: &[u8]) {
    log::audit(input);
}

/// Comments of dbt.
pub fn dbt(input: &[u8]) {
    text::dbt(input);
}

/// Requests to BigQuery, and the replies to them.
pub fn http_bigquery(input: &[u8]) {
    http::http("bigquery", input);
}

/// Requests to ClickHouse and its replies.
pub fn http_clickhouse(input: &[u8]) {
    http::http("clickhouse", input);
}

/// Requests to Athena and its replies.
pub fn http_athena(input: &[u8]) {
    http::http("athena", input);
}

/// Requests to Databricks' Statement Execution API, and the replies to them.
pub fn http_databricks(input: &[u8]) {
    http::http("databricks", input);
}

/// Calls of Spark's Thrift service, and the replies to them.
pub fn http_spark(input: &[u8]) {
    http::thrift("spark", input);
}

/// Requests to Snowflake, and replies.
pub fn http_snowflake(input: &[u8]) {
    http_snowflake::request(input);
}
