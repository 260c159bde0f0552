//! Patterns with `*`, compiled once: identifiers, dotted names and hosts.
//!
//! In an identifier `{digits:12}` and `{hex:32}` stand for exactly so many digits, decimal or hexadecimal: the names of
//! temporary tables and indexes that dbt makes anew each time.

use std::net::IpAddr;

use super::grammar::FqdnSelector;

/// A glob on one identifier: `*` stands for any run of characters, `{digits:N}` and `{hex:N}` for so many digits, everything
/// else for itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Glob {
    /// `*`.
    Any,
    /// No wildcard.
    Exact(String),
    /// Text around one or more wildcards.
    Pieces {
        /// Before the first wildcard.
        prefix: String,
        /// Between wildcards, in order.
        middle: Vec<String>,
        /// Behind the last wildcard.
        suffix: String,
    },
    /// Text around so many digits.
    Counted {
        /// Before the digits.
        prefix: String,
        /// How many.
        count: usize,
        /// Which.
        digits: Digits,
        /// Behind them.
        suffix: String,
    },
}

/// Which digits a counted wildcard stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Digits {
    /// 0 to 9.
    Decimal,
    /// 0 to 9 and a to f.
    Hexadecimal,
}

impl Glob {
    /// Compiles a pattern on one identifier.
    ///
    /// # Errors
    /// What is wrong with it, as a sentence.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        if text.is_empty() || text.trim() != text {
            return Err("expected a name, without spaces around it".to_owned());
        }
        if text.contains('.') {
            return Err("expected a single name, without a dot".to_owned());
        }
        if let Some((prefix, rest)) = text.split_once('{') {
            return Self::counted(prefix, rest);
        }
        if let Some(found) = text.chars().find(|c| matches!(c, '?' | '[' | ']' | '{' | '}' | '\\' | '"' | '%')) {
            return Err(format!("`{found}` has no meaning here: `*` is the only wildcard, and names stand without quotes"));
        }
        Ok(Self::compile(text))
    }

    /// Compiles a pattern on the URL of a location, in which dots, slashes and the like stand for themselves.
    ///
    /// # Errors
    /// What is wrong with it, as a sentence.
    pub(super) fn location(text: &str) -> Result<Self, String> {
        if text.trim() != text || !(text == "*" || text.starts_with('@') || text.contains("://")) {
            return Err("expected a URL such as `s3://bucket/prefix/*`, a stage such as `@stage/*`, or `*` for every location".to_owned());
        }
        Ok(Self::compile(text))
    }

    /// Compiles what stands before and behind the `{` of `{digits:12}`.
    fn counted(prefix: &str, rest: &str) -> Result<Self, String> {
        let expected = || "expected `{digits:N}` or `{hex:N}`, once, with N from 1 to 63".to_owned();
        let (wildcard, suffix) = rest.split_once('}').ok_or_else(expected)?;
        let (word, count) = wildcard.split_once(':').ok_or_else(expected)?;
        let digits = match word {
            "digits" => Digits::Decimal,
            "hex" => Digits::Hexadecimal,
            _ => return Err(expected()),
        };
        let count = count.parse().ok().filter(|count| (1..=63).contains(count)).ok_or_else(expected)?;
        for around in [prefix, suffix].into_iter().filter(|around| !around.is_empty()) {
            match Self::parse(around)? {
                Self::Exact(_) => {}
                Self::Any | Self::Pieces { .. } | Self::Counted { .. } => return Err(format!("{}, and no `*`", expected())),
            }
        }
        Ok(Self::Counted { prefix: prefix.to_owned(), count, digits, suffix: suffix.to_owned() })
    }

    fn compile(text: &str) -> Self {
        let mut pieces: Vec<&str> = text.split('*').collect();
        match (pieces.pop(), pieces.as_slice()) {
            (Some(only), []) => Self::Exact(only.to_owned()),
            (Some(suffix), [prefix, middle @ ..]) => {
                let middle: Vec<String> = middle.iter().filter(|piece| !piece.is_empty()).map(|&piece| piece.to_owned()).collect();
                if prefix.is_empty() && suffix.is_empty() && middle.is_empty() {
                    return Self::Any;
                }
                Self::Pieces { prefix: (*prefix).to_owned(), middle, suffix: suffix.to_owned() }
            }
            (None, _) => Self::Exact(String::new()),
        }
    }

    /// The only name that matches, where the pattern has no wildcard.
    pub(super) fn exact(&self) -> Option<&str> {
        match self {
            Self::Exact(name) => Some(name),
            Self::Any | Self::Pieces { .. } | Self::Counted { .. } => None,
        }
    }

    /// Does the whole name match? Compares bytes; takes time in proportion to the name.
    pub(super) fn matches(&self, name: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Exact(exact) => exact == name,
            Self::Pieces { prefix, middle, suffix } => {
                let Some(mut rest) = name.strip_prefix(prefix.as_str()).and_then(|rest| rest.strip_suffix(suffix.as_str())) else {
                    return false;
                };
                middle.iter().all(|piece| match rest.split_once(piece.as_str()) {
                    Some((_, behind)) => {
                        rest = behind;
                        true
                    }
                    None => false,
                })
            }
            Self::Counted { prefix, count, digits, suffix } => {
                let middle = name.strip_prefix(prefix.as_str()).and_then(|rest| rest.strip_suffix(suffix.as_str()));
                middle.is_some_and(|middle| middle.len() == *count && middle.bytes().all(|b| digits.has(b)))
            }
        }
    }
}

impl Digits {
    fn has(self, byte: u8) -> bool {
        match self {
            Self::Decimal => byte.is_ascii_digit(),
            Self::Hexadecimal => matches!(byte, b'0'..=b'9' | b'a'..=b'f'),
        }
    }
}

/// A name as a pattern that matches it and nothing else.
///
/// # Errors
/// Why there is none, as a sentence: it has characters that patterns give a meaning or none.
pub(super) fn naming(name: &str) -> Result<String, String> {
    match Glob::parse(name)? {
        Glob::Exact(exact) => Ok(exact),
        Glob::Any | Glob::Pieces { .. } | Glob::Counted { .. } => Err("`*` and `{...}` would stand for other names".to_owned()),
    }
}

impl Glob {
    /// Could `start`, or something that begins with it, match?
    pub(super) fn may_match_below(&self, start: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Exact(exact) => exact.starts_with(start),
            Self::Pieces { prefix, middle: _, suffix: _ } | Self::Counted { prefix, .. } => {
                prefix.starts_with(start) || start.starts_with(prefix.as_str())
            }
        }
    }
}

/// Globs for each part of a dotted name, compared part by part, so that `*` never crosses a dot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Dotted(Vec<Glob>);

impl Dotted {
    /// Compiles a pattern such as `myapp.*`.
    ///
    /// # Errors
    /// What is wrong with it, as a sentence.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        text.split('.').map(Glob::parse).collect::<Result<_, _>>().map(Self)
    }

    /// The only name that matches, where no part has a wildcard.
    pub(super) fn exact(&self) -> Option<String> {
        self.0.iter().map(Glob::exact).collect::<Option<Vec<_>>>().map(|parts| parts.join("."))
    }

    /// Does it match every name that the other matches?
    pub(super) fn covers(&self, other: &Self) -> bool {
        self.0.len() == other.0.len() && self.0.iter().zip(&other.0).all(|(one, other)| one.covers(other))
    }

    /// Does the whole name match, with as many parts?
    pub(super) fn matches(&self, name: &str) -> bool {
        let mut parts = name.split('.');
        self.0.iter().all(|glob| parts.next().is_some_and(|part| glob.matches(part))) && parts.next().is_none()
    }
}

/// A glob on `database.schema.table`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TableGlob {
    pub(super) database: Glob,
    pub(super) schema: Glob,
    pub(super) table: Glob,
}

impl TableGlob {
    /// Compiles `database.schema.table`, or `schema.table` for any database.
    ///
    /// # Errors
    /// What is wrong with it, as a sentence.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let parts: Vec<&str> = text.split('.').collect();
        match parts.as_slice() {
            [database, schema, table] => {
                Ok(Self { database: Glob::parse(database)?, schema: Glob::parse(schema)?, table: Glob::parse(table)? })
            }
            [schema, table] => Ok(Self { database: Glob::Any, schema: Glob::parse(schema)?, table: Glob::parse(table)? }),
            _ => Err("expected `database.schema.table` or `schema.table`".to_owned()),
        }
    }
}

/// A glob on `schema.name` of a function.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FunctionGlob {
    pub(super) schema: Glob,
    pub(super) name: Glob,
}

impl FunctionGlob {
    /// Compiles `schema.name`, or `name` for any schema.
    ///
    /// # Errors
    /// What is wrong with it, as a sentence.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let parts: Vec<&str> = text.split('.').collect();
        match parts.as_slice() {
            [schema, name] => Ok(Self { schema: Glob::parse(schema)?, name: Glob::parse(name)? }),
            [name] => Ok(Self { schema: Glob::Any, name: Glob::parse(name)? }),
            _ => Err("expected `schema.name` or `name`, without arguments".to_owned()),
        }
    }
}

/// A selector of `toFQDNs`, with Cilium's matching: lower-cased, anchored, and a final dot does not matter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Host {
    /// `matchName`: the name or address itself.
    Name(String),
    /// `matchPattern: "*"`: every host.
    Every,
    /// Any other `matchPattern`: labels from the left.
    Labels {
        /// A leading `**.`: one or more labels stand before these.
        below: bool,
        /// One glob for each label.
        labels: Vec<Glob>,
    },
}

impl Host {
    /// Compiles an entry of `toFQDNs` or `rules.dns`.
    ///
    /// # Errors
    /// The path below the entry, and what is wrong as a sentence.
    pub(super) fn compile(written: &FqdnSelector) -> Result<Self, (&'static str, String)> {
        match (&written.match_name, &written.match_pattern) {
            (Some(name), None) => Self::name(name).map_err(|why| (".matchName", why)),
            (None, Some(pattern)) => Self::pattern(pattern).map_err(|why| (".matchPattern", why)),
            (Some(_), Some(_)) | (None, None) => Err(("", "expected exactly one of `matchName` and `matchPattern`".to_owned())),
        }
    }

    /// Compiles `matchName`.
    ///
    /// # Errors
    /// What is wrong with it, as a sentence.
    pub(super) fn name(text: &str) -> Result<Self, String> {
        let name = folded(text);
        if name.parse::<IpAddr>().is_err() && !name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.')) {
            return Err("expected a DNS name or an address; patterns go under `matchPattern`".to_owned());
        }
        Ok(Self::Name(name))
    }

    /// Compiles `matchPattern`.
    ///
    /// # Errors
    /// What is wrong with it, as a sentence.
    pub(super) fn pattern(text: &str) -> Result<Self, String> {
        let pattern = folded(text);
        if !pattern.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b'*')) {
            return Err("expected letters, digits, `-`, `_`, `.` and `*`".to_owned());
        }
        if pattern.bytes().all(|b| b == b'*') {
            return Ok(Self::Every);
        }
        if !pattern.bytes().any(|b| b.is_ascii_alphabetic()) && pattern.bytes().any(|b| b.is_ascii_digit()) {
            return Err("an address matches only whole, under `matchName`".to_owned());
        }
        let stars = pattern.bytes().take_while(|b| *b == b'*').count();
        let behind = pattern.get(stars..).and_then(|rest| rest.strip_prefix('.')).filter(|_| stars >= 2);
        let labels = behind.unwrap_or(&pattern).split('.');
        if labels.clone().any(str::is_empty) {
            return Err("expected no empty label".to_owned());
        }
        Ok(Self::Labels { below: behind.is_some(), labels: labels.map(Glob::compile).collect() })
    }

    /// Does the target's host match? Addresses match only `matchName` and the lone `*`.
    pub(super) fn matches(&self, host: &str) -> bool {
        let host = host.strip_suffix('.').unwrap_or(host);
        match self {
            Self::Every => true,
            Self::Name(name) => name.eq_ignore_ascii_case(host),
            Self::Labels { .. } if host.parse::<IpAddr>().is_ok() => false,
            Self::Labels { below, labels } => {
                let host = host.to_ascii_lowercase();
                let count = host.split('.').count();
                let extra = count.saturating_sub(labels.len());
                let fits = if *below { extra >= 1 } else { count == labels.len() };
                fits && labels.iter().zip(host.split('.').skip(extra)).all(|(glob, label)| glob.matches(label))
            }
        }
    }
}

fn folded(text: &str) -> String {
    text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::{Dotted, Glob, Host, TableGlob};

    #[test]
    fn globs_are_anchored_at_both_ends() {
        for (glob, name, expected) in [
            ("raw", "raw", true),
            ("raw", "raw2", false),
            ("raw", "Raw", false),
            ("raw*", "raw_x", true),
            ("raw*", "draw", false),
            ("*raw", "draw", true),
            ("*raw", "raw_x", false),
            ("*__dbt_tmp*", "orders__dbt_tmp12", true),
            ("*__dbt_tmp*", "orders__dbt", false),
            ("a*a", "a", false),
            ("a*a", "aa", true),
            ("a*b*c", "a_b_c", true),
            ("a*b*c", "a_c_b", false),
            ("a*bc*c", "abc", false),
            ("ab**", "ab", true),
            ("**", "", true),
        ] {
            assert_eq!(Glob::parse(glob).unwrap().matches(name), expected, "{glob} {name}");
        }
    }

    #[test]
    fn locations_match_whole_to_allow_and_from_their_start_to_deny() {
        for (glob, location, certain, possible) in [
            ("s3://exports/*", "s3://exports/a/b.csv", true, true),
            ("s3://exports/*", "s3://exports-of-others/a", false, false),
            ("s3://exports/*", "s3://exports", false, true),
            ("s3://b/secret/*", "s3://b/", false, true),
            ("s3://b/*.csv", "s3://b/a", false, true),
            ("s3://b/a", "s3://b/a", true, true),
            ("s3://b/a", "s3://b/ab", false, false),
            ("*", "gs://any/thing", true, true),
        ] {
            let glob = Glob::location(glob).unwrap();
            assert_eq!((glob.matches(location), glob.may_match_below(location)), (certain, possible), "{glob:?} {location}");
        }
        for text in ["", "exports", " s3://a", "s3:/a"] {
            assert!(Glob::location(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_counted_wildcard_stands_for_just_so_many_digits() {
        for (glob, name, expected) in [
            ("orders__dbt_tmp{digits:12}", "orders__dbt_tmp091541123456", true),
            ("orders__dbt_tmp{digits:12}", "orders__dbt_tmp09154112345", false),
            ("orders__dbt_tmp{digits:12}", "orders__dbt_tmp0915411234567", false),
            ("orders__dbt_tmp{digits:12}", "orders__dbt_tmp09154112345a", false),
            ("orders__dbt_tmp{digits:12}", "x_orders__dbt_tmp091541123456", false),
            ("{hex:4}", "0aF9", false),
            ("{hex:4}", "0af9", true),
            ("a{digits:1}b", "a7b", true),
            ("a{digits:1}a", "a", false),
        ] {
            assert_eq!(Glob::parse(glob).unwrap().matches(name), expected, "{glob} {name}");
        }
        for text in ["{digits:0}", "{digits:64}", "{digits}", "{words:3}", "{hex:4", "hex:4}", "*{hex:4}", "{hex:4}{hex:4}", "{digits:-1}"]
        {
            assert!(Glob::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_star_does_not_cross_a_dot() {
        assert!(Dotted::parse("app.*").unwrap().matches("app.user"));
        assert!(!Dotted::parse("app*").unwrap().matches("app.user"));
        assert!(!Dotted::parse("*").unwrap().matches("app.user"));
        assert!(!Dotted::parse("*.*").unwrap().matches("work_mem"));
        assert!(!Dotted::parse("app.*").unwrap().matches("app.user.name"));
    }

    #[test]
    fn patterns_that_would_surprise_are_refused() {
        for text in ["", " raw", "ra?", "ra[wx]", "\"Raw\"", "raw%", "a.b"] {
            assert!(Glob::parse(text).is_err(), "{text}");
        }
        for text in ["salaries", "a.b.c.d", "a..c", ".a", "a.b."] {
            assert!(TableGlob::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn hosts_match_as_cilium_matches_names() {
        for (pattern, host, expected) in [
            ("*.snowflakecomputing.com", "acct.snowflakecomputing.com", true),
            ("*.snowflakecomputing.com", "acct.eu-west-1.snowflakecomputing.com", false),
            ("*.snowflakecomputing.com", "snowflakecomputing.com", false),
            ("**.snowflakecomputing.com", "acct.eu-west-1.snowflakecomputing.com", true),
            ("***.snowflakecomputing.com", "acct.snowflakecomputing.com", true),
            ("**.snowflakecomputing.com", "snowflakecomputing.com", false),
            ("**.snowflakecomputing.com", "evilsnowflakecomputing.com", false),
            ("*googleapis.com", "bigquery.googleapis.com", false),
            ("*googleapis.com", "xgoogleapis.com", true),
            ("ACCT.example.com.", "acct.EXAMPLE.com", true),
            ("acct.example.com", "acct.example.com.", true),
            ("acct.example.com", "acctxexample.com", false),
            ("acct.example.com", "acct.example.com.evil.org", false),
            ("*", "10.0.0.1", true),
            ("**", "a.b.c", true),
            ("*.*.*.*", "10.0.0.1", false),
            ("loc*", "localhost", true),
        ] {
            assert_eq!(Host::pattern(pattern).unwrap().matches(host), expected, "{pattern} {host}");
        }
        for (name, host, expected) in
            [("10.0.0.1", "10.0.0.1", true), ("::1", "::1", true), ("localhost", "LOCALHOST", true), ("a.b", "x.a.b", false)]
        {
            assert_eq!(Host::name(name).unwrap().matches(host), expected, "{name} {host}");
        }
    }

    #[test]
    fn host_patterns_that_cannot_mean_a_name_are_refused() {
        for pattern in ["a..b", ".a", "10.0.0.*", "a b", "a/b", "**..a"] {
            assert!(Host::pattern(pattern).is_err(), "{pattern}");
        }
        for name in ["*.a.b", "a b", "a/b", "a:5432"] {
            assert!(Host::name(name).is_err(), "{name}");
        }
    }
}
