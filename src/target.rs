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
}
