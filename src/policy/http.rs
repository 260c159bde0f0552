//! HTTP rules: which requests are let through, and what is done to their headers.
//!
//! Method, path and host are regular expressions on the whole text, as Cilium's proxy matches them: RE2's syntax, and
//! case counts. What RE2 and the engine here read differently is refused.

use regex::bytes::{Regex, RegexBuilder};

use super::grammar::{HeaderMatch, HttpRule, MismatchAction};

/// One request, as its first line and headers say it.
#[derive(Debug, Clone, Copy)]
pub struct HttpRequest<'a> {
    /// `POST`; case counts.
    pub method: &'a str,
    /// The path with its query string.
    pub path: &'a str,
    /// The host, with the port where the request names one.
    pub host: &'a str,
    /// Names and values, in order.
    pub headers: &'a [(&'a str, &'a str)],
}

/// What a rule does to the headers of a request that it lets through.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HeaderEdit {
    /// Nothing; that the header is missing or wrong goes to the log.
    Log {
        /// The header's name.
        name: String,
    },
    /// One more header.
    Add {
        /// The header's name.
        name: String,
        /// Its value.
        value: String,
    },
    /// The header gets this value, and only this.
    Replace {
        /// The header's name.
        name: String,
        /// Its value.
        value: String,
    },
    /// The header goes.
    Delete {
        /// The header's name.
        name: String,
    },
}

/// A compiled rule; every part of it must hold.
#[derive(Debug)]
pub(super) struct Rule {
    method: Option<Regex>,
    path: Option<Regex>,
    host: Option<Regex>,
    headers: Vec<Header>,
}

/// A header that should be there.
#[derive(Debug)]
struct Header {
    name: String,
    wanted: Wanted,
    mismatch: Option<MismatchAction>,
}

#[derive(Debug)]
enum Wanted {
    Anything,
    Value(String),
    /// A value that is not read here.
    Secret,
}

impl Rule {
    /// Compiles a rule.
    ///
    /// # Errors
    /// Every key that is not understood, with a sentence.
    pub(super) fn compile(written: &HttpRule) -> Result<Self, Vec<(String, String)>> {
        let mut problems = Vec::new();
        let mut expression = |key: &str, text: &Option<String>| {
            let text = text.as_deref().filter(|text| !text.is_empty())?;
            anchored(text).map_err(|why| problems.push((key.to_owned(), why))).ok()
        };
        let (method, path, host) =
            (expression("method", &written.method), expression("path", &written.path), expression("host", &written.host));
        let mut headers = Vec::new();
        for (index, text) in written.headers.iter().enumerate() {
            match Header::literal(text) {
                Ok(header) => headers.push(header),
                Err(why) => problems.push((format!("headers[{index}]"), why)),
            }
        }
        for (index, written) in written.header_matches.iter().enumerate() {
            match Header::matching(written) {
                Ok(header) => headers.push(header),
                Err(why) => problems.push((format!("headerMatches[{index}]"), why)),
            }
        }
        if problems.is_empty() { Ok(Self { method, path, host, headers }) } else { Err(problems) }
    }

    /// What the rule does to the request's headers, where it lets the request through.
    pub(super) fn matches(&self, request: &HttpRequest<'_>) -> Option<Vec<HeaderEdit>> {
        let fits = |expression: &Option<Regex>, text: &str| expression.as_ref().is_none_or(|e| e.is_match(text.as_bytes()));
        if !(fits(&self.method, request.method) && fits(&self.path, request.path) && fits(&self.host, request.host)) {
            return None;
        }
        let mut edits = Vec::new();
        for header in &self.headers {
            edits.extend(header.judge(request)?);
        }
        Some(edits)
    }

    /// Does a header of it ask for a secret, so that it can never match here?
    pub(super) fn needs_secret(&self) -> bool {
        self.headers.iter().any(|header| matches!(header.wanted, Wanted::Secret))
    }
}

impl Header {
    /// `Name: value` or `Name`, divided at the first space.
    fn literal(text: &str) -> Result<Self, String> {
        let (name, wanted) = match text.split_once(' ') {
            Some((name, value)) => (name.trim_end_matches(':'), Wanted::Value(value.to_owned())),
            None => (text, Wanted::Anything),
        };
        if !is_token(name) {
            return Err("expected `Name: value`, or the name of a header alone".to_owned());
        }
        Ok(Self { name: name.to_owned(), wanted, mismatch: None })
    }

    fn matching(written: &HeaderMatch) -> Result<Self, String> {
        if !is_token(&written.name) {
            return Err("expected the name of a header under `name`".to_owned());
        }
        let wanted = match (&written.secret, written.value.as_deref()) {
            (Some(_), _) => Wanted::Secret,
            (None, None | Some("")) => Wanted::Anything,
            (None, Some(value)) => Wanted::Value(value.to_owned()),
        };
        Ok(Self { name: written.name.clone(), wanted, mismatch: written.mismatch })
    }

    /// `None` where the header forbids the request, else what is to be done about it.
    fn judge(&self, request: &HttpRequest<'_>) -> Option<Option<HeaderEdit>> {
        let values: Vec<&str> =
            request.headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case(&self.name)).map(|(_, value)| *value).collect();
        // Several fields of one name count as one, joined by commas (RFC 9110, section 5.3).
        let found = (!values.is_empty()).then(|| values.join(","));
        let (holds, value) = match &self.wanted {
            Wanted::Anything => (found.is_some(), String::new()),
            Wanted::Value(value) => (found.as_ref() == Some(value), value.clone()),
            Wanted::Secret => return None,
        };
        if holds {
            return Some(None);
        }
        let name = self.name.clone();
        self.mismatch.map(|action| {
            Some(match action {
                MismatchAction::Log => HeaderEdit::Log { name },
                MismatchAction::Add => HeaderEdit::Add { name, value },
                MismatchAction::Replace => HeaderEdit::Replace { name, value },
                MismatchAction::Delete => HeaderEdit::Delete { name },
            })
        })
    }
}

/// The characters of a field name (RFC 9110, section 5.6.2).
fn is_token(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
}

/// Compiles an expression that has to match the whole text.
fn anchored(text: &str) -> Result<Regex, String> {
    same_in_re2(text)?;
    // Once by itself, so that `a)|(b` cannot leave the group.
    let compile = |text: &str| RegexBuilder::new(text).unicode(false).build();
    let invalid = |_| "expected a regular expression in RE2's syntax, of no great size once compiled".to_owned();
    compile(text).map_err(invalid)?;
    compile(&format!(r"\A(?:{text})\z")).map_err(invalid)
}

/// Refuses what this engine reads otherwise than RE2: operations on classes, its own flags and word boundaries.
fn same_in_re2(text: &str) -> Result<(), String> {
    let mut class_depth = 0_u32;
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let behind = rest.get(first.len_utf8()..).unwrap_or_default();
        let found = match first {
            '\\' => {
                if behind.starts_with("b{") || behind.starts_with(['<', '>']) {
                    return Err(format!("`{}` means something else in RE2", rest.get(..3).unwrap_or(rest)));
                }
                rest = behind.get(behind.chars().next().map_or(0, char::len_utf8)..).unwrap_or_default();
                continue;
            }
            '[' if class_depth > 0 && !behind.starts_with(':') => Some("[ within a class"),
            '[' if class_depth == 0 => {
                class_depth = 1;
                // A bracket that stands first in a class is a character of it.
                let opened = behind.strip_prefix('^').unwrap_or(behind);
                rest = opened.strip_prefix(']').unwrap_or(opened);
                continue;
            }
            '[' => {
                rest = behind.split_once(":]").map_or("", |(_, after)| after);
                continue;
            }
            ']' => {
                class_depth = 0;
                None
            }
            '&' | '-' | '~' if class_depth > 0 && behind.starts_with(first) => Some("a doubled `&`, `-` or `~` within a class"),
            '(' if behind.starts_with('?') => {
                let flags = behind.chars().skip(1).take_while(|c| c.is_ascii_alphabetic() || *c == '-');
                let named = behind.starts_with("?P<");
                (!named && flags.clone().any(|flag| !"imsU-".contains(flag))).then_some("a flag other than i, m, s and U")
            }
            '{' if class_depth == 0 && behind.starts_with(',') => Some("a repetition without its least number"),
            _ => None,
        };
        if let Some(found) = found {
            return Err(format!("{found} means something else in RE2"));
        }
        rest = behind;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{HeaderEdit, HttpRequest, Rule, anchored};
    use crate::policy::grammar::{HeaderMatch, HttpRule, MismatchAction, SecretReference};

    fn request<'a>(headers: &'a [(&'a str, &'a str)]) -> HttpRequest<'a> {
        HttpRequest { method: "GET", path: "/v1/statement?x=1", host: "trino.example.com:8080", headers }
    }

    #[test]
    fn an_expression_matches_the_whole_text_or_not_at_all() {
        for (expression, text, expected) in [
            ("/v1/.*", "/v1/statement", true),
            ("/v1", "/v1/statement", false),
            ("v1", "/v1", false),
            ("a|b", "ab", false),
            ("GET", "get", false),
            ("(?i)GET", "get", true),
            ("^/a$", "/a", true),
            ("[^]/]+", "a", true),
            (r"\d", "\u{665}", false),
            (".*", "a\nb", false),
            ("[[:alpha:]]+", "abc", true),
            ("", "", true),
        ] {
            assert_eq!(anchored(expression).unwrap().is_match(text.as_bytes()), expected, "{expression} {text:?}");
        }
    }

    #[test]
    fn what_re2_reads_otherwise_is_refused() {
        for expression in [
            "a)|(b",
            "[a&&b]",
            "[[a]b]",
            "[a--b]",
            "(?x)a b",
            "(?u)a",
            r"\b{start}",
            r"\<a",
            "a{,3}",
            "(",
            "[a",
            r"\Qa\E",
            "(?=a)",
            "a{1000}{1000}{1000}",
        ] {
            assert!(anchored(expression).is_err(), "{expression}");
        }
    }

    #[test]
    fn a_header_is_held_against_its_whole_value() {
        let rule =
            |headers: &[&str]| Rule::compile(&HttpRule { headers: headers.iter().map(|&h| h.to_owned()).collect(), ..HttpRule::default() });
        let sent = [("x-user", "ada"), ("X-Tag", "a"), ("x-tag", "b")];
        for (headers, expected) in [
            (&["X-User: ada"][..], true),
            (&["X-User: ad"], false),
            (&["X-User: Ada"], false),
            (&["X-User"], true),
            (&["X-Tag: a,b"], true),
            (&["X-Tag: a"], false),
            (&["X-User", "X-None"], false),
        ] {
            assert_eq!(rule(headers).unwrap().matches(&request(&sent)).is_some(), expected, "{headers:?}");
        }
        assert!(rule(&["X-User:ada"]).is_err());
    }

    #[test]
    fn a_header_that_does_not_match_is_mended_as_the_rule_says() {
        let judged = |mismatch, value: Option<&str>, secret| {
            let header = HeaderMatch { name: "X-User".to_owned(), value: value.map(str::to_owned), secret, mismatch };
            Rule::compile(&HttpRule { header_matches: vec![header], ..HttpRule::default() })
                .unwrap()
                .matches(&request(&[("x-user", "eve")]))
        };
        let (name, value) = ("X-User".to_owned(), "ada".to_owned());
        let secret = || Some(SecretReference { namespace: None, name: "s".to_owned() });
        assert_eq!(judged(None, Some("eve"), None), Some(vec![]));
        assert_eq!(judged(None, None, None), Some(vec![]));
        assert_eq!(judged(None, Some("ada"), None), None);
        assert_eq!(judged(None, Some("eve"), secret()), None);
        assert_eq!(judged(Some(MismatchAction::Log), None, secret()), None);
        for (action, edit) in [
            (MismatchAction::Log, HeaderEdit::Log { name: name.clone() }),
            (MismatchAction::Add, HeaderEdit::Add { name: name.clone(), value: value.clone() }),
            (MismatchAction::Replace, HeaderEdit::Replace { name: name.clone(), value }),
            (MismatchAction::Delete, HeaderEdit::Delete { name }),
        ] {
            assert_eq!(judged(Some(action), Some("ada"), None), Some(vec![edit]));
        }
    }
}
