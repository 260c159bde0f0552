//! The kinds of warehouse, and what is particular about each.

use crate::credential::LoginKind;
use crate::sql::Dialect;

pub mod athena;
pub mod bigquery;
mod cli_service;
pub mod clickhouse;
pub mod databricks;
pub mod http;
pub mod postgres;
pub mod redshift;
pub mod snowflake;
pub mod spark;
mod thrift;
pub mod trino;

/// A kind of warehouse that a target can be.
#[derive(Debug)]
pub struct Kind {
    /// The word in `targets[].kind`.
    pub name: &'static str,
    /// Its SQL.
    pub dialect: Dialect,
    /// How it is spoken to.
    pub protocol: Protocol,
    /// The port where it usually listens.
    pub default_port: u16,
    /// What it can be logged in to with.
    pub logins: &'static [LoginKind],
}

/// The protocol of a kind, with what is particular about this kind's use of it.
#[derive(Debug)]
pub enum Protocol {
    /// PostgreSQL's frontend/backend protocol, version 3.
    Postgres(postgres::Flavor),
    /// HTTP, with the meaning that this kind gives to requests and replies.
    Http(&'static dyn http::HttpWarehouse),
}

/// Every kind. Adding one is a file and a row.
pub const KINDS: &[Kind] = &[
    postgres::POSTGRESQL,
    redshift::REDSHIFT,
    bigquery::BIGQUERY,
    trino::TRINO,
    athena::ATHENA,
    clickhouse::CLICKHOUSE,
    snowflake::SNOWFLAKE,
    databricks::DATABRICKS,
    spark::SPARK,
];

/// The kind of that name.
pub fn kind(name: &str) -> Option<&'static Kind> {
    KINDS.iter().find(|kind| kind.name == name)
}

#[cfg(test)]
mod tests {
    use super::{KINDS, kind};

    #[test]
    fn every_kind_is_found_by_its_name() {
        for row in KINDS {
            assert_eq!(kind(row.name).map(|found| found.default_port), Some(row.default_port));
        }
        assert!(kind("oracle").is_none());
    }
}
