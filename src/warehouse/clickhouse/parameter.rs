//! The parameters in a request's address, read as ClickHouse reads them and refused where two readers could differ.
//!
//! Source: `HTTPHandler` and `HTMLForm` of ClickHouse 18.16 to 25.5. Names are looked up there without regard to case, and of
//! two of one name the first one counts; so here a name stands once, and in small letters.

use std::fmt::Write;

/// Most parameters of one request.
const PARAMETERS_MAX: usize = 1000;

/// The parameters of an address, in order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Parameters(Vec<Parameter>);

/// One parameter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Parameter {
    pub(super) name: String,
    pub(super) value: String,
    /// As the client wrote both.
    written: String,
}

impl Parameters {
    /// Those of what stands behind the `?`.
    ///
    /// # Errors
    /// What could be read in two ways, in our own words.
    pub(super) fn parse(query: &str) -> Result<Self, &'static str> {
        let mut found: Vec<Parameter> = Vec::new();
        for written in query.split('&').filter(|written| !written.is_empty()) {
            let (name, value) = written.split_once('=').unwrap_or((written, ""));
            let (name, value) = (decoded(name)?, decoded(value)?);
            if name.is_empty() || name.bytes().any(|byte| byte.is_ascii_control()) {
                return Err("a parameter of the address has no plain name");
            }
            if !name.starts_with(SUBSTITUTION) && name.chars().any(char::is_uppercase) {
                return Err("the name of a parameter has capital letters");
            }
            if name != ROLE && found.iter().any(|known| known.name.eq_ignore_ascii_case(&name)) {
                return Err("a parameter of the address stands twice");
            }
            if found.len() == PARAMETERS_MAX {
                return Err("the address has too many parameters");
            }
            found.push(Parameter { name, value, written: written.to_owned() });
        }
        Ok(Self(found))
    }

    /// All of them.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Parameter> {
        self.0.iter()
    }

    /// The value of the one of that name.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|parameter| parameter.name == name).map(|parameter| parameter.value.as_str())
    }

    /// Takes out those of these names.
    pub(super) fn remove(&mut self, names: &[&str]) {
        self.0.retain(|parameter| !names.contains(&parameter.name.as_str()));
    }

    /// Gives the one of that name another value, or puts it behind the others.
    pub(super) fn set(&mut self, name: &str, value: &str) {
        let written = format!("{}={}", encoded(name), encoded(value));
        let parameter = Parameter { name: name.to_owned(), value: value.to_owned(), written };
        match self.0.iter_mut().find(|known| known.name == name) {
            Some(known) => *known = parameter,
            None => self.0.push(parameter),
        }
    }

    /// As they stand behind a `?`; those that were not changed, as the client wrote them.
    pub(super) fn written(&self) -> String {
        self.0.iter().map(|parameter| parameter.written.as_str()).collect::<Vec<_>>().join("&")
    }
}

/// What the name of a value for the text begins with; the rest of the name may have capital letters.
pub(super) const SUBSTITUTION: &str = "param_";

/// The one name that may stand more than once.
pub(super) const ROLE: &str = "role";

/// The text of a name or a value, where `+` is a blank.
fn decoded(written: &str) -> Result<String, &'static str> {
    let mut text = Vec::with_capacity(written.len());
    let mut rest = written.as_bytes();
    while let [byte, behind @ ..] = rest {
        rest = behind;
        let plain = match (byte, rest) {
            (b'+', _) => b' ',
            (b'%', [high, low, behind @ ..]) => {
                rest = behind;
                hexadecimal(*high).zip(hexadecimal(*low)).map(|(high, low)| high * 16 + low).ok_or(PERCENT)?
            }
            (b'%', _) => return Err(PERCENT),
            (byte, _) => *byte,
        };
        text.push(plain);
    }
    String::from_utf8(text).map_err(|_| "a parameter of the address is not UTF-8")
}

const PERCENT: &str = "the address has a percent sign without two hexadecimal digits";

fn hexadecimal(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

fn encoded(text: &str) -> String {
    let mut written = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            written.push(char::from(byte));
        } else {
            // Writing to a string cannot fail.
            let _ = write!(written, "%{byte:02X}");
        }
    }
    written
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Parameters, decoded, encoded};

    #[test]
    fn parameters_are_read_as_clickhouse_reads_them() {
        let parameters = Parameters::parse("query=select+1%2C2&database=a%20b&&default_format=JSON&param_Id=7&wait&role=a&role=b").unwrap();
        let read: Vec<_> = parameters.iter().map(|parameter| (parameter.name.as_str(), parameter.value.as_str())).collect();
        let expected = [
            ("query", "select 1,2"),
            ("database", "a b"),
            ("default_format", "JSON"),
            ("param_Id", "7"),
            ("wait", ""),
            ("role", "a"),
            ("role", "b"),
        ];
        assert_eq!(read, expected);
    }

    #[test]
    fn what_two_readers_could_read_differently_is_refused() {
        for query in [
            "query=a&query=b",
            "database=a&DataBase=b",
            "QUERY=select+1",
            "query=select%2",
            "query=%zz",
            "query=%ff",
            "=x",
            "a%00b=x",
            "param_a=1&param_A=2",
            "PARAM_a=1",
        ] {
            assert!(Parameters::parse(query).is_err(), "{query}");
        }
        let many: String = (0..=1000).map(|number| format!("a{number}=1&")).collect();
        assert!(Parameters::parse(&many).is_err());
    }

    #[test]
    fn what_is_not_changed_stays_as_the_client_wrote_it() {
        let mut parameters = Parameters::parse("user=x&query=a+b%2c&session_id=s%3A%3A1&password=y").unwrap();
        parameters.remove(&["user", "password"]);
        parameters.set("session_id", "mine s::1");
        parameters.set("database", "a&b");
        assert_eq!(parameters.written(), "query=a+b%2c&session_id=mine%20s%3A%3A1&database=a%26b");
        assert_eq!(parameters.get("session_id"), Some("mine s::1"));
    }

    proptest! {
        #[test]
        fn what_is_written_reads_as_itself(text in "\\PC*") {
            prop_assert_eq!(decoded(&encoded(&text)), Ok(text));
        }

        #[test]
        fn no_address_breaks_the_reading_and_what_is_read_is_read_again(query in "[a-zA-Z_=&%+0-9]{0,40}") {
            if let Ok(parameters) = Parameters::parse(&query) {
                prop_assert_eq!(Parameters::parse(&parameters.written()), Ok(parameters));
            }
        }
    }
}
