//! Where clients connect: a TCP address, or a Unix-domain socket.

use std::borrow::Cow;
use std::fmt;
use std::net::{AddrParseError, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// What a path is marked with where it does not begin with a slash.
const UNIX: &str = "unix:";

/// An address to listen on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// IP address and TCP port; with port 0 the system chooses one.
    Tcp(SocketAddr),
    /// The path of a Unix-domain socket. libpq looks for `.s.PGSQL.<port>` in the directory that is its host.
    Unix(PathBuf),
}

impl Address {
    /// The address of a TCP listener.
    pub fn tcp(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(address) => Some(*address),
            Self::Unix(_) => None,
        }
    }

    /// Whether only this machine can reach it.
    pub fn is_local(&self) -> bool {
        match self {
            Self::Tcp(address) => address.ip().is_loopback(),
            Self::Unix(_) => true,
        }
    }
}

impl FromStr for Address {
    type Err = AddrParseError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.strip_prefix(UNIX) {
            Some(path) => Ok(Self::Unix(path.into())),
            None if text.starts_with('/') => Ok(Self::Unix(text.into())),
            None => text.parse().map(Self::Tcp),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "{UNIX}{}", path.display()),
        }
    }
}

impl Serialize for Address {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Address {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let unusable = |_| serde::de::Error::custom("neither an IP address with a port nor the path of a Unix-domain socket");
        text.parse().map_err(unusable)
    }
}

impl JsonSchema for Address {
    fn schema_name() -> Cow<'static, str> {
        "Address".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "description": "An IP address with a port (`127.0.0.1:15432`, `[::1]:15432`), or the path of a Unix-domain socket \
                            (`/run/tollhouse/.s.PGSQL.5432`, `unix:relative/path`)."
        })
    }
}

/// The file mode of a Unix-domain socket, in octal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String", extend("pattern" = "^0?[0-7]{3}$"))]
pub struct SocketMode(pub u32);

impl Default for SocketMode {
    /// Owner and group.
    fn default() -> Self {
        Self(0o660)
    }
}

impl TryFrom<String> for SocketMode {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let mode =
            u32::from_str_radix(&text, 8).ok().filter(|mode| *mode <= 0o777 && matches!(text.len(), 3 | 4) && !text.starts_with('+'));
        mode.map(Self).ok_or("not a file mode in octal, such as `0660`")
    }
}

impl From<SocketMode> for String {
    fn from(mode: SocketMode) -> Self {
        format!("{:04o}", mode.0)
    }
}

#[cfg(test)]
mod tests {
    use super::{Address, SocketMode};

    #[test]
    fn an_address_is_read_as_it_is_written() {
        for (text, shown) in [
            ("127.0.0.1:5432", "127.0.0.1:5432"),
            ("[::1]:0", "[::1]:0"),
            ("/run/t/.s.PGSQL.5432", "unix:/run/t/.s.PGSQL.5432"),
            ("unix:t.sock", "unix:t.sock"),
        ] {
            let address: Address = text.parse().unwrap();
            assert_eq!(address.to_string(), shown);
            assert_eq!(shown.parse(), Ok(address));
        }
        for text in ["localhost:5432", "127.0.0.1", "t.sock", ""] {
            assert!(text.parse::<Address>().is_err(), "{text}");
        }
    }

    #[test]
    fn only_loopback_and_unix_sockets_are_local() {
        let is_local = |text: &str| text.parse::<Address>().unwrap().is_local();
        assert!(is_local("127.0.0.1:1") && is_local("[::1]:1") && is_local("/t"));
        assert!(!is_local("0.0.0.0:1") && !is_local("10.0.0.1:1"));
    }

    #[test]
    fn a_mode_is_octal() {
        let mode = |text: &str| SocketMode::try_from(text.to_owned()).ok().map(|mode| mode.0);
        assert_eq!((mode("0660"), mode("600")), (Some(0o660), Some(0o600)));
        for text in ["0680", "66", "01777", "+660", ""] {
            assert_eq!(mode(text), None, "{text}");
        }
        assert_eq!(String::from(SocketMode::default()), "0660");
    }
}
