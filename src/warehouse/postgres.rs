//! PostgreSQL and its kin, as data: what differs between them when the protocol is the same.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Kind, Protocol, redshift};
use crate::credential::LoginKind;
use crate::sql::Dialect;

/// What is particular about one speaker of PostgreSQL's protocol.
#[derive(Debug, Clone, Copy)]
pub struct Flavor {
    /// Database in use when the client names none; PostgreSQL takes the user's name (section 54.7, StartupMessage).
    pub database_defaults_to_user: bool,
    /// Startup parameters that are not session parameters and are passed on as they are.
    pub startup_parameters: &'static [&'static str],
    /// Startup parameters that say whose login it is and how it is to be read. That is not for the client to say: its own are
    /// left out, and `targets[].login_parameters` gives them.
    pub login_parameters: &'static [&'static str],
    /// Lists of startup parameters that clients of its kin send, and that it would refuse; they are left out.
    pub foreign_parameters: &'static [&'static [&'static str]],
    /// The ways to log in that it may ask for.
    pub methods: &'static [Method],
}

/// A way to log in that a server may ask for. The words are those of libpq's `require_auth` where it has one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Method {
    /// It asks for nothing, or for no more than the TLS client certificate.
    #[serde(rename = "none")]
    None,
    /// The password, or the token as one, in clear.
    #[serde(rename = "password")]
    Password,
    /// The password, hashed by MD5: whoever reads the hash can log in with it.
    #[serde(rename = "md5")]
    Md5,
    /// Proof of the password.
    #[serde(rename = "scram-sha-256")]
    ScramSha256,
    /// Proof of the password, bound to the TLS connection.
    #[serde(rename = "scram-sha-256-plus")]
    ScramSha256Plus,
    /// A bearer token (PostgreSQL 18).
    #[serde(rename = "oauthbearer")]
    Oauthbearer,
    /// Redshift's SHA-256 challenge.
    #[serde(rename = "redshift-digest")]
    RedshiftDigest,
    /// Redshift's login with the token of an identity provider.
    #[serde(rename = "redshift-token")]
    RedshiftToken,
}

impl Method {
    /// The word in settings and faults.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Password => "password",
            Self::Md5 => "md5",
            Self::ScramSha256 => "scram-sha-256",
            Self::ScramSha256Plus => "scram-sha-256-plus",
            Self::Oauthbearer => "oauthbearer",
            Self::RedshiftDigest => "redshift-digest",
            Self::RedshiftToken => "redshift-token",
        }
    }
}

impl Method {
    /// The logins that it can be answered with; where nothing is asked for, whatever there is.
    pub fn logins(self) -> &'static [LoginKind] {
        match self {
            Self::None => LOGINS,
            Self::Password | Self::Md5 | Self::ScramSha256 | Self::ScramSha256Plus | Self::RedshiftDigest | Self::RedshiftToken => {
                &[LoginKind::Password, LoginKind::Token]
            }
            Self::Oauthbearer => &[LoginKind::Token],
        }
    }
}

/// How TLS with a server begins.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Negotiation {
    /// It is asked for in PostgreSQL's protocol, which every server understands.
    #[default]
    Postgres,
    /// At once, without asking: a round trip less, and what stands between sees TLS alone. PostgreSQL 17 or later.
    Direct,
}

/// The name of PostgreSQL's protocol in ALPN (IANA registry "TLS Application-Layer Protocol Negotiation Protocol IDs").
pub const ALPN: &[u8] = b"postgresql";

/// What PostgreSQL and its kin can be logged in to with; a token is the password where the server knows no tokens.
pub(super) const LOGINS: &[LoginKind] = &[LoginKind::Password, LoginKind::Token, LoginKind::ClientCertificate];

/// PostgreSQL itself.
pub const POSTGRESQL: Kind = Kind {
    name: "postgresql",
    dialect: Dialect::Postgres,
    protocol: Protocol::Postgres(Flavor {
        database_defaults_to_user: true,
        startup_parameters: &[],
        login_parameters: &[],
        foreign_parameters: &[redshift::STARTUP_PARAMETERS, redshift::LOGIN_PARAMETERS],
        methods: &[Method::None, Method::Password, Method::Md5, Method::ScramSha256, Method::ScramSha256Plus, Method::Oauthbearer],
    }),
    default_port: 5432,
    logins: LOGINS,
};

#[cfg(test)]
mod tests {
    use super::Method;

    #[test]
    fn a_method_is_shown_as_it_is_written() {
        let all = [
            Method::None,
            Method::Password,
            Method::Md5,
            Method::ScramSha256,
            Method::ScramSha256Plus,
            Method::Oauthbearer,
            Method::RedshiftDigest,
            Method::RedshiftToken,
        ];
        for method in all {
            assert_eq!(serde_json::to_value(method).unwrap(), method.as_str());
        }
    }
}
