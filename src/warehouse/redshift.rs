//! Amazon Redshift: PostgreSQL's protocol with startup parameters and two authentication codes of its own.

use super::postgres::{Flavor, LOGINS, Method};
use super::{Kind, Protocol};
use crate::sql::Dialect;

/// What redshift_connector 2.1 adds to the startup message about itself.
pub(super) const STARTUP_PARAMETERS: &[&str] = &["client_protocol_version", "driver_discovery_version", "driver_version", "os_version"];

/// What it adds about a login with a token: which identity provider's, and how Redshift is to read it.
pub(super) const LOGIN_PARAMETERS: &[&str] = &["identity_namespace", "idp_type", "plugin_name", "provider_name", "token_type"];

/// Redshift, provisioned or serverless.
pub const REDSHIFT: Kind = Kind {
    name: "redshift",
    dialect: Dialect::Redshift,
    protocol: Protocol::Postgres(Flavor {
        database_defaults_to_user: true,
        startup_parameters: STARTUP_PARAMETERS,
        login_parameters: LOGIN_PARAMETERS,
        foreign_parameters: &[],
        methods: &[
            Method::None,
            Method::Password,
            Method::Md5,
            Method::ScramSha256,
            Method::ScramSha256Plus,
            Method::RedshiftDigest,
            Method::RedshiftToken,
        ],
    }),
    default_port: 5439,
    logins: LOGINS,
};
