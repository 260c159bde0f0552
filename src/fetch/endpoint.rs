//! An address that we may call: `https`, or `http` where the bytes never leave the machine.

use std::borrow::Cow;
use std::fmt;

use openidconnect::url::{Host, Url};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// An absolute `https` address without user name, password or fragment; `http` only for a loopback host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Endpoint {
    text: String,
    url: Url,
    host: String,
}

impl Endpoint {
    /// Reads an address.
    ///
    /// # Errors
    /// [`EndpointError`] says what it lacks.
    pub fn parse(text: &str) -> Result<Self, EndpointError> {
        Self::parse_trusting(text, &[])
    }

    /// Reads an address that may be `http` on these hosts too: those that a node answers for itself, so that nothing leaves it.
    ///
    /// # Errors
    /// [`EndpointError`] says what it lacks.
    pub fn parse_trusting(text: &str, hosts: &[&str]) -> Result<Self, EndpointError> {
        let url = Url::parse(text).map_err(|_| EndpointError::Malformed)?;
        let (host, is_loopback) = match url.host() {
            None => return Err(EndpointError::Malformed),
            Some(Host::Domain(name)) => (name.to_owned(), name == "localhost"),
            Some(Host::Ipv4(address)) => (address.to_string(), address.is_loopback()),
            Some(Host::Ipv6(address)) => (address.to_string(), address.is_loopback()),
        };
        if !url.username().is_empty() || url.password().is_some() || url.fragment().is_some() {
            return Err(EndpointError::Extras);
        }
        match url.scheme() {
            "https" => {}
            "http" if is_loopback || hosts.contains(&host.as_str()) => {}
            _ => return Err(EndpointError::Scheme),
        }
        Ok(Self { text: text.to_owned(), url, host })
    }

    /// The document that lies at `path` below this address, as `.well-known` ones do (RFC 8414, section 3).
    ///
    /// # Errors
    /// When the two do not make an address.
    pub fn below(&self, path: &str) -> Result<Self, EndpointError> {
        Self::parse(&format!("{}/{}", self.text.trim_end_matches('/'), path.trim_start_matches('/')))
    }

    /// The address as it was written: an issuer is compared by it, to the last slash.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Name or address of the host, without brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port, of the scheme where none is written.
    pub fn port(&self) -> u16 {
        self.url.port_or_known_default().unwrap_or(443)
    }

    /// Host and port as the `Host` header has them.
    pub fn authority(&self) -> String {
        self.url.authority().to_owned()
    }

    /// Whether it is reached over TLS.
    pub fn is_encrypted(&self) -> bool {
        self.url.scheme() == "https"
    }

    /// Path and query, as a request line has them.
    pub(super) fn path_and_query(&self) -> String {
        match self.url.query() {
            Some(query) => format!("{}?{query}", self.url.path()),
            None => self.url.path().to_owned(),
        }
    }
}

/// What an address lacks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EndpointError {
    /// It is no absolute address with a host.
    #[error("expected an absolute address such as https://issuer.example")]
    Malformed,
    /// It carries more than an address should.
    #[error("an address must not carry a user name, a password or a fragment")]
    Extras,
    /// It would send secrets in the clear.
    #[error("expected https; http is accepted only for a loopback host")]
    Scheme,
}

impl TryFrom<String> for Endpoint {
    type Error = EndpointError;

    fn try_from(text: String) -> Result<Self, EndpointError> {
        Self::parse(&text)
    }
}

impl From<Endpoint> for String {
    fn from(endpoint: Endpoint) -> Self {
        endpoint.text
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl JsonSchema for Endpoint {
    fn schema_name() -> Cow<'static, str> {
        "Endpoint".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "pattern": "^https?://[^/]+",
            "description": "an absolute https address; http is accepted only for a loopback host",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{Endpoint, EndpointError};

    #[test]
    fn an_address_that_would_leak_a_secret_is_refused() {
        for (text, expected) in [
            ("http://issuer.example", EndpointError::Scheme),
            ("http://169.254.169.254/latest", EndpointError::Scheme),
            ("http://localhost.example", EndpointError::Scheme),
            ("ftp://localhost", EndpointError::Scheme),
            ("https://user:password@issuer.example", EndpointError::Extras),
            ("https://issuer.example/#token", EndpointError::Extras),
            ("issuer.example", EndpointError::Malformed),
            ("", EndpointError::Malformed),
        ] {
            assert_eq!(Endpoint::parse(text), Err(expected), "{text}");
        }
        let metadata = "http://169.254.170.23/v1/credentials";
        assert!(Endpoint::parse_trusting(metadata, &["169.254.170.23"]).is_ok());
        assert_eq!(Endpoint::parse_trusting(metadata, &["169.254.170.2"]), Err(EndpointError::Scheme));
        for text in ["https://issuer.example", "http://127.0.0.1:8080/x", "http://[::1]:1", "http://localhost"] {
            assert!(Endpoint::parse(text).is_ok(), "{text}");
        }
    }

    #[test]
    fn an_issuer_keeps_its_last_slash_and_documents_lie_below_it_once() {
        let issuer = Endpoint::parse("https://issuer.example/tenant/").unwrap();
        assert_eq!(issuer.as_str(), "https://issuer.example/tenant/");
        assert_eq!(issuer.below("/.well-known/x").unwrap().as_str(), "https://issuer.example/tenant/.well-known/x");
    }

    #[test]
    fn an_ipv6_host_loses_its_brackets_for_the_socket_and_keeps_them_in_the_header() {
        let endpoint = Endpoint::parse("https://[::1]:8443/a?b=c").unwrap();
        assert_eq!((endpoint.host(), endpoint.port()), ("::1", 8443));
        assert_eq!(endpoint.authority(), "[::1]:8443");
        assert_eq!(endpoint.path_and_query(), "/a?b=c");
    }
}
