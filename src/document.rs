//! Reads a YAML document against its schema and reports every problem at once.

mod check;
mod judge;
mod lines;
mod pointer;
mod substitute;
mod yaml;

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

use check::Checker;
use lines::Lines;

/// Looks a name up in the environment.
pub type Env<'a> = dyn Fn(&str) -> Option<String> + 'a;

/// Reads the one document of `text`, with `${NAME}` and `${NAME:-default}` filled in from `env`.
///
/// Only string values are filled in, never keys, and never twice. An unset name is a problem unless it has a
/// default, which also stands in for an empty value; `$${` writes `${`. A value that is one substitution and
/// nothing else may become a number or a boolean where the schema asks for one.
///
/// A key with no value (`key:`) is a problem: leave the key out instead. Limits are those of YAML documents
/// here: 8 MiB of text, 64 levels of nesting, and aliases that expand to no more than 100 000 events.
///
/// # Errors
/// Every [`Problem`] there is, at least one and at most about 500. None of them shows a value from the document.
pub fn read<T: DeserializeOwned + JsonSchema>(file: &str, text: &str, env: &Env<'_>) -> Result<T, Vec<Problem>> {
    let whole = |message: String| vec![Problem::at(file, "", message)];
    let mut documents = yaml::parse(text).map_err(whole)?;
    let value = documents.pop().unwrap_or(Value::Null);
    if !documents.is_empty() {
        return Err(whole("expected one document, found several separated by `---`".to_owned()));
    }
    Checker::new(schema::<T>()).map_err(whole)?.read(file, value, Some(env))
}

/// One of several documents in a text, not held against any schema yet.
#[derive(Debug)]
pub struct Part {
    file: String,
    value: Value,
    lines: Lines,
}

impl Part {
    /// The file it stands in.
    pub fn file(&self) -> &str {
        &self.file
    }

    /// What it says, as it is written.
    pub fn value(&self) -> &Value {
        &self.value
    }

    /// The string under a key of the document itself.
    pub fn word(&self, key: &str) -> Option<&str> {
        self.value.get(key).and_then(Value::as_str)
    }

    /// The entries of the list under a key, each as a document of its own with its lines; `None` where there is no list.
    pub fn entries(&self, key: &str) -> Option<Vec<Part>> {
        let entries = self.value.get(key)?.as_array()?.iter().enumerate();
        let part = |(index, value): (usize, &Value)| Part {
            file: self.file.clone(),
            value: value.clone(),
            lines: self.lines.below(&format!("{key}[{index}]")),
        };
        Some(entries.map(part).collect())
    }

    /// The line in the file that a path of the document stands at, or of what is nearest around it.
    pub fn line(&self, path: &str) -> Option<usize> {
        self.lines.of(path)
    }

    /// The same problems, each with its line.
    pub fn located(&self, problems: Vec<Problem>) -> Vec<Problem> {
        problems.into_iter().map(|problem| Problem { line: self.line(&problem.path), ..problem }).collect()
    }
}

/// Divides `text` at `---`. Empty documents are skipped. The limits of [`read`] hold for the whole text.
///
/// # Errors
/// A text that is no YAML.
pub fn parts(file: &str, text: &str) -> Result<Vec<Part>, Vec<Problem>> {
    let values = yaml::parse(text).map_err(|message| vec![Problem::at(file, "", message)])?;
    let lines = lines::lines(text).into_iter().chain(std::iter::repeat(Lines::default()));
    Ok(values.into_iter().zip(lines).map(|(value, lines)| Part { file: file.to_owned(), value, lines }).collect())
}

/// Reads documents of one type; made once for many.
pub struct Reader<T> {
    checker: Checker,
    read: PhantomData<fn() -> T>,
}

impl<T: DeserializeOwned + JsonSchema> Reader<T> {
    /// A reader, with the schema of the type.
    ///
    /// # Errors
    /// Only if the type describes itself with an invalid schema, which is a bug.
    pub fn new() -> Result<Self, Vec<Problem>> {
        let invalid = |message: String| vec![Problem::at("", "", message)];
        Ok(Self { checker: Checker::new(schema::<T>()).map_err(invalid)?, read: PhantomData })
    }

    /// Reads a document word for word: nothing is filled in from the environment.
    ///
    /// # Errors
    /// Every [`Problem`] of it, with its line.
    pub fn read(&self, part: &Part) -> Result<T, Vec<Problem>> {
        self.checker.read(&part.file, part.value.clone(), None).map_err(|problems| part.located(problems))
    }
}

/// The JSON schema (2020-12) that [`read`] holds documents against; its keys stand in a stable order.
pub fn schema<T: JsonSchema>() -> Value {
    let settings = schemars::generate::SchemaSettings::draft2020_12();
    let mut schema = settings.into_generator().into_root_schema_for::<T>().to_value();
    check::forbid_null(&mut schema);
    schema
}

/// The word of `words` that `typed` was probably meant to be.
pub fn nearest<'a>(typed: &str, words: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let typed = typed.to_lowercase();
    let distance_max = (typed.chars().count() / 3).max(1);
    words
        .into_iter()
        .map(|word| (strsim::damerau_levenshtein(&typed, &word.to_lowercase()), word))
        .filter(|(distance, _)| *distance <= distance_max)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, word)| word)
}

/// A length of time as documents write it: a whole number and `ms`, `s`, `m` or `h` (`500ms`, `30s`, `5m`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span(pub Duration);

/// A number of bytes as documents write it: a whole number and `B`, `KiB`, `MiB` or `GiB` (`64KiB`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size(pub u64);

impl Span {
    /// A span of whole seconds.
    pub const fn seconds(seconds: u64) -> Self {
        Self(Duration::from_secs(seconds))
    }

    fn parse(text: &str) -> Option<Self> {
        let (count, unit) = number_and_unit(text)?;
        let milliseconds = match unit {
            "ms" => 1,
            "s" => 1000,
            "m" => 60_000,
            "h" => 3_600_000,
            _ => return None,
        };
        Some(Self(Duration::from_millis(count.checked_mul(milliseconds)?)))
    }
}

impl Size {
    /// A size of whole mebibytes.
    pub const fn mebibytes(count: u64) -> Self {
        Self(count * 1024 * 1024)
    }

    /// The size as a count that fits this machine; saturates.
    pub fn as_usize(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }

    fn parse(text: &str) -> Option<Self> {
        let (count, unit) = number_and_unit(text)?;
        let bytes = match unit {
            "B" => 1,
            "KiB" => 1 << 10,
            "MiB" => 1 << 20,
            "GiB" => 1 << 30,
            _ => return None,
        };
        Some(Self(count.checked_mul(bytes)?))
    }
}

fn number_and_unit(text: &str) -> Option<(u64, &str)> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at_checked(digits)?;
    Some((number.parse().ok()?, unit))
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let milliseconds = self.0.as_millis();
        match milliseconds {
            m if m % 3_600_000 == 0 && m > 0 => write!(f, "{}h", m / 3_600_000),
            m if m % 60_000 == 0 && m > 0 => write!(f, "{}m", m / 60_000),
            m if m % 1000 == 0 => write!(f, "{}s", m / 1000),
            m => write!(f, "{m}ms"),
        }
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            b if b % (1 << 30) == 0 && b > 0 => write!(f, "{}GiB", b >> 30),
            b if b % (1 << 20) == 0 && b > 0 => write!(f, "{}MiB", b >> 20),
            b if b % (1 << 10) == 0 && b > 0 => write!(f, "{}KiB", b >> 10),
            b => write!(f, "{b}B"),
        }
    }
}

/// Deserializes, serializes and describes a type that is written as a string with a unit.
macro_rules! written_with_unit {
    ($type:ident, $pattern:literal, $expected:literal) => {
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = Cow::<'de, str>::deserialize(deserializer)?;
                Self::parse(&text).ok_or_else(|| serde::de::Error::custom(concat!("expected ", $expected)))
            }
        }

        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl JsonSchema for $type {
            fn schema_name() -> Cow<'static, str> {
                stringify!($type).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({ "type": "string", "pattern": $pattern, "description": concat!("Written as ", $expected, "."), "x-expected": $expected })
            }
        }
    };
}

written_with_unit!(Span, "^[0-9]+(ms|s|m|h)$", "a whole number and ms, s, m or h, such as 30s");
written_with_unit!(Size, "^[0-9]+(B|KiB|MiB|GiB)$", "a whole number and B, KiB, MiB or GiB, such as 64KiB");

/// One thing that is wrong in a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The file it stands in.
    pub file: String,
    /// The line there, counted from 1, as far as it is known.
    pub line: Option<usize>,
    /// Where in the document, as a YAML path: `targets[0].tls.ca`; empty for the whole document.
    pub path: String,
    /// What is wrong, and what would be right.
    pub message: String,
}

impl Problem {
    /// A problem at a path, whose line nobody has looked up yet.
    pub fn at(file: &str, path: &str, message: impl Into<String>) -> Self {
        Self { file: file.to_owned(), line: None, path: path.to_owned(), message: message.into() }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        match self.path.as_str() {
            "" => write!(f, ": {}", self.message),
            path => write!(f, ": {path}: {}", self.message),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use schemars::JsonSchema;
    use serde::Deserialize;

    use super::{Reader, Size, Span, nearest, parts, read, schema};

    #[derive(Debug, PartialEq, Deserialize, JsonSchema)]
    #[serde(deny_unknown_fields)]
    struct House {
        address: String,
        port: u16,
        #[serde(default)]
        idle: Option<Span>,
        #[serde(default)]
        doors: Vec<Door>,
        #[serde(default)]
        labels: BTreeMap<String, String>,
        #[serde(default)]
        open: Option<bool>,
        #[serde(default)]
        owner: Option<Owner>,
    }

    #[derive(Debug, PartialEq, Deserialize, JsonSchema)]
    #[serde(deny_unknown_fields)]
    struct Door {
        mode: Mode,
        #[serde(default)]
        lock: Option<Lock>,
    }

    #[derive(Debug, PartialEq, Deserialize, JsonSchema)]
    #[serde(rename_all = "lowercase")]
    enum Mode {
        /// Documented, so that the schema writes every word as an alternative of its own.
        Enforce,
        /// As above.
        Observe,
    }

    #[derive(Debug, PartialEq, Deserialize, JsonSchema)]
    #[serde(tag = "kind", rename_all = "lowercase", deny_unknown_fields)]
    enum Lock {
        Key { teeth: u8 },
        Code { digits: u8, secret: String },
    }

    #[derive(Debug, PartialEq, Deserialize, JsonSchema)]
    #[serde(rename_all = "lowercase", deny_unknown_fields)]
    enum Owner {
        Person { name: String },
        Company { name: String, register: u32 },
    }

    fn env(name: &str) -> Option<String> {
        match name {
            "PORT" => Some("5432".to_owned()),
            "WORD" => Some("hunter2".to_owned()),
            "YEAR" => Some("2024".to_owned()),
            _ => None,
        }
    }

    fn problems(text: &str) -> Vec<String> {
        read::<House>("house.yaml", text, &env).unwrap_err().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_substituted_value_takes_the_type_that_the_schema_asks_for() {
        let house: House =
            read("f", "{address: '${YEAR}', port: '${PORT}', open: '${UNSET:-true}', labels: {a: 'x${PORT}'}}", &env).unwrap();
        assert_eq!((house.address.as_str(), house.port, house.open), ("2024", 5432, Some(true)));
        assert_eq!(house.labels["a"], "x5432");
    }

    #[test]
    fn every_problem_is_reported_at_its_place() {
        let text = "
adress: here
port: 70000
idle: 30
doors:
  - mode: enforced
    lock: {kind: cod, digits: 1}
  - lock: {kind: code, digits: 300, secret: 5}
labels: {a.b/c: 1}
owner:
";
        assert_eq!(
            problems(text),
            [
                "house.yaml: missing key `address`",
                "house.yaml: doors[0].lock.kind: expected one of `key`, `code`; did you mean `code`?",
                "house.yaml: doors[0].mode: expected one of `enforce`, `observe`; did you mean `enforce`?",
                "house.yaml: doors[1].lock.digits: expected 255 or less",
                "house.yaml: doors[1].lock.secret: expected a string, found a number",
                "house.yaml: doors[1]: missing key `mode`",
                "house.yaml: idle: expected a string, found a number",
                "house.yaml: labels[\"a.b/c\"]: expected a string, found a number",
                "house.yaml: owner: expected a mapping, found nothing; give it a value or leave the key out",
                "house.yaml: port: expected 65535 or less",
                "house.yaml: adress: unknown key `adress`; did you mean `address`?",
            ]
        );
    }

    #[test]
    fn the_alternative_that_was_meant_is_the_one_that_is_judged() {
        for (owner, expected) in [
            ("{company: {name: a}}", "owner.company: missing key `register`"),
            ("{person: {name: a, age: 3}}", "owner.person.age: unknown key `age`; expected one of `name`"),
            ("{persn: {name: a}}", "owner: expected one of the keys `person`, `company`; did you mean `person`?"),
            ("5", "owner: expected a mapping, found a number"),
        ] {
            assert_eq!(problems(&format!("{{address: a, port: 1, owner: {owner}}}")), [format!("house.yaml: {expected}")], "{owner}");
        }
    }

    #[test]
    fn no_problem_shows_a_value() {
        let text = "{address: ['hunter2'], port: '${WORD}', idle: hunter2, open: hunter2, owner: hunter2, doors: [{mode: hunter2}, {mode: enforce, lock: {kind: hunter2}}]}";
        let shown = problems(text).join("\n");
        assert_eq!(shown.lines().count(), 7, "{shown}");
        assert!(!shown.contains("hunter2"), "{shown}");
        assert!(shown.contains("idle: expected a whole number and ms, s, m or h, such as 30s"), "{shown}");
    }

    #[test]
    fn a_value_that_cannot_be_filled_in_is_one_problem_and_not_two() {
        assert_eq!(
            problems("{address: a, port: '${UNSET}'}"),
            ["house.yaml: port: the environment variable `UNSET` is not set; set it, or write `${UNSET:-default}`"]
        );
    }

    #[test]
    fn several_documents_are_refused_where_one_is_expected() {
        assert_eq!(problems("a: 1\n---\nb: 2\n"), ["house.yaml: expected one document, found several separated by `---`"]);
        assert_eq!(problems(""), ["house.yaml: expected a mapping, found nothing; give it a value or leave the key out"]);
    }

    #[test]
    fn each_document_of_several_is_named_and_read_word_for_word() {
        let reader = Reader::<Door>::new().unwrap();
        let parts = parts("doors.yaml", "mode: enforce\n---\nmode: '${WORD}'\n---\n{}\n").unwrap();
        assert_eq!((parts[1].word("mode"), parts[2].word("mode")), (Some("${WORD}"), None));
        let found: Vec<String> =
            parts.iter().flat_map(|part| reader.read(part).err().into_iter().flatten()).map(|problem| problem.to_string()).collect();
        assert_eq!(found, ["doors.yaml:3: mode: expected one of `enforce`, `observe`", "doors.yaml:5: missing key `mode`"]);
        assert!(super::parts("d", "").unwrap().is_empty());
    }

    #[test]
    fn the_schema_offers_no_null() {
        assert!(!schema::<House>().to_string().contains("null"));
    }

    #[test]
    fn the_number_of_problems_has_a_bound() {
        let doors = vec!["{mode: ajar}"; 2000].join(", ");
        let shown = problems(&format!("{{address: a, port: 1, doors: [{doors}]}}"));
        assert_eq!((shown.len(), shown[500].as_str()), (501, "house.yaml: more problems than these; mend them first"));
    }

    #[test]
    fn the_nearest_word_is_near() {
        assert_eq!(nearest("endpointselector", ["endpointSelector", "egress"]), Some("endpointSelector"));
        assert_eq!(nearest("xyz", ["endpointSelector", "egress"]), None);
    }

    #[test]
    fn spans_and_sizes_read_back_as_they_print() {
        for text in ["500ms", "30s", "5m", "2h", "0s"] {
            assert_eq!(Span::parse(text).unwrap().to_string(), text);
        }
        for text in ["1B", "64KiB", "16MiB", "2GiB"] {
            assert_eq!(Size::parse(text).unwrap().to_string(), text);
        }
    }

    #[test]
    fn a_number_without_a_unit_is_refused() {
        for text in ["30", "s", "", "-1s", "1.5s", "30 s", "99999999999999999999s"] {
            assert_eq!(Span::parse(text), None, "{text}");
        }
        assert_eq!(Size::parse("18446744073709551615GiB"), None);
    }
}
