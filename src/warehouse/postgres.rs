//! PostgreSQL and its kin, as data: what differs between them when the protocol is the same.

use super::{Kind, Protocol};
use crate::sql::Dialect;

/// What is particular about one speaker of PostgreSQL's protocol.
#[derive(Debug, Clone, Copy)]
pub struct Flavor {
    /// Database in use when the client names none; PostgreSQL takes the user's name (section 54.7, StartupMessage).
    pub database_defaults_to_user: bool,
    /// Startup parameters that are not session parameters and are passed on as they are.
    pub startup_parameters: &'static [&'static str],
}

/// PostgreSQL itself.
pub const POSTGRESQL: Kind = Kind {
    name: "postgresql",
    dialect: Dialect::Postgres,
    protocol: Protocol::Postgres(Flavor { database_defaults_to_user: true, startup_parameters: &[] }),
    default_port: 5432,
};
