//! A warehouse as the configuration names it.

/// One warehouse that a listener forwards to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The name that configuration, policy, audit and metrics use.
    pub name: String,
    /// The kind of warehouse, as registered in `warehouse` (`postgresql`).
    pub kind: &'static str,
    /// DNS name or address of the warehouse; what TLS verifies and `toFQDNs` matches.
    pub host: String,
    /// TCP port of the warehouse.
    pub port: u16,
    /// What a network sees first of a connection.
    pub opening: Opening,
}

/// How a connection to a warehouse begins, for those that look at it from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opening {
    /// Without TLS, even where it comes after a few bytes: no server name is seen.
    Plain,
    /// With a TLS ClientHello that names the host.
    Tls,
}

impl Opening {
    /// Every way to begin.
    pub const ALL: &'static [Opening] = &[Opening::Plain, Opening::Tls];

    /// The word in records.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Tls => "tls",
        }
    }
}
