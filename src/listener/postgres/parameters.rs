//! The client's startup parameters: what they would do, judged like the `SET` that they are.
//!
//! Source: PostgreSQL 18 documentation, section 54.7, "StartupMessage"; `pg_split_opts` in its source for `options`.

use crate::fault::{Fault, Reason};
use crate::sql::{self, Dialect, Effect};
use crate::warehouse::postgres::Flavor;

/// What the startup parameters ask for.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Asked {
    /// Effects that policy has to allow.
    pub(super) effects: Vec<Effect>,
    /// The one schema of the search path, if they set it to just one.
    pub(super) search_path: Option<String>,
    /// `application_name`.
    pub(super) application_name: Option<String>,
    /// A replication connection.
    pub(super) replication: bool,
}

/// The parameters that go to the warehouse: all but those about the login, which is ours, and those of another kind of server,
/// which this one would refuse.
pub(super) fn passed_on(parameters: &[(String, String)], flavor: &Flavor) -> Vec<(String, String)> {
    let left_out =
        |name: &str| flavor.login_parameters.contains(&name) || flavor.foreign_parameters.iter().any(|list| list.contains(&name));
    parameters.iter().filter(|(name, _)| !left_out(name)).cloned().collect()
}

/// Reads the parameters.
///
/// # Errors
/// `StartupParameterRefused` for command-line options that are not `-c name=value`.
pub(super) fn read(parameters: &[(String, String)], dialect: Dialect, flavor: &Flavor) -> Result<Asked, Fault> {
    let mut asked = Asked::default();
    for (name, value) in parameters {
        match name.as_str() {
            // They are about the client, and change no right.
            name if flavor.startup_parameters.contains(&name) => {}
            "options" => {
                for (name, value) in split_options(value)? {
                    asked.set(&name, &value, dialect);
                }
            }
            // What is not plainly off counts: the server understands more words than these, and `database`.
            "replication" if matches!(value.as_str(), "false" | "off" | "no" | "0") => {}
            "replication" => {
                asked.replication = true;
                asked.effects.push(sql::replication::connection());
            }
            name => asked.set(name, value, dialect),
        }
    }
    Ok(asked)
}

fn refused(parameter: &str) -> Fault {
    Fault::new(Reason::StartupParameterRefused).about(parameter)
}

impl Asked {
    fn set(&mut self, name: &str, value: &str, dialect: Dialect) {
        let name = name.to_ascii_lowercase().replace('-', "_");
        match name.as_str() {
            // Anywhere but in front, pg_catalog would let names of the catalog mean other relations and functions.
            "search_path" if value.contains("pg_catalog") => self.effects.push(Effect::Set { parameter: name }),
            "search_path" => self.search_path = single_schema(value),
            "application_name" => self.application_name = Some(value.to_owned()),
            // Reading SQL depends on the encoding that the server reports, so any may be asked for here.
            "client_encoding" => {}
            _ => self.effects.extend(sql::set_parameter(dialect, &name, value)),
        }
    }
}

/// The schema of a search path with just one, written plainly.
fn single_schema(path: &str) -> Option<String> {
    let name = path.trim();
    let plain = name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_');
    (plain && !name.is_empty()).then(|| name.to_owned())
}

/// The settings in `options`: words split at white space, a backslash keeps the next character.
fn split_options(options: &str) -> Result<Vec<(String, String)>, Fault> {
    let mut words = split_words(options).into_iter();
    let mut settings = Vec::new();
    while let Some(word) = words.next() {
        let setting = match (word.strip_prefix("--"), word.strip_prefix("-c")) {
            (Some(setting), _) => setting.to_owned(),
            (None, Some("")) => words.next().ok_or_else(|| refused("options"))?,
            (None, Some(setting)) => setting.to_owned(),
            (None, None) => return Err(refused("options other than -c name=value")),
        };
        let (name, value) = setting.split_once('=').ok_or_else(|| refused("options without a value"))?;
        settings.push((name.to_owned(), value.to_owned()));
    }
    Ok(settings)
}

fn split_words(options: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut characters = options.chars();
    while let Some(character) = characters.next() {
        match character {
            '\\' => word.get_or_insert_default().extend(characters.next()),
            c if c.is_ascii_whitespace() => words.extend(word.take()),
            c => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    words
}

#[cfg(test)]
mod tests {
    use super::{passed_on, read, split_words};
    use crate::fault::Reason;
    use crate::sql::{Dialect, Effect};
    use crate::warehouse::postgres::Flavor;
    use crate::warehouse::{Protocol, kind};

    fn asked(parameters: &[(&str, &str)]) -> Result<super::Asked, Reason> {
        read(&owned(parameters), Dialect::Postgres, &flavor("postgresql")).map_err(|fault| fault.reason)
    }

    fn owned(parameters: &[(&str, &str)]) -> Vec<(String, String)> {
        parameters.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect()
    }

    fn flavor(name: &str) -> Flavor {
        let Protocol::Postgres(flavor) = kind(name).unwrap().protocol else { panic!("{name} does not speak it") };
        flavor
    }

    #[test]
    fn what_redshifts_client_says_of_itself_goes_to_redshift_and_what_it_says_of_the_login_to_nobody() {
        let parameters = owned(&[
            ("client_protocol_version", "2"),
            ("token_type", "SUBJECT_TOKEN"),
            ("idp_type", "AwsIdc"),
            ("provider_name", "other"),
            ("identity_namespace", "other"),
            ("plugin_name", "other"),
            ("application_name", "dbt"),
        ]);
        let redshift = flavor("redshift");
        let passed = passed_on(&parameters, &redshift);
        assert_eq!(passed, owned(&[("client_protocol_version", "2"), ("application_name", "dbt")]));
        assert_eq!(read(&passed, Dialect::Redshift, &redshift).unwrap().effects, []);
        assert_eq!(passed_on(&parameters, &flavor("postgresql")), owned(&[("application_name", "dbt")]));
    }

    #[test]
    fn options_are_split_as_the_server_splits_them() {
        assert_eq!(split_words(r"-c a=b\ c  --d=e\\"), ["-c", "a=b c", r"--d=e\"]);
    }

    #[test]
    fn a_search_path_of_one_schema_is_known_and_others_are_not() {
        assert_eq!(asked(&[("options", "-c search_path=analytics")]).unwrap().search_path.as_deref(), Some("analytics"));
        assert_eq!(asked(&[("search_path", "a, b")]).unwrap().search_path, None);
        assert_eq!(asked(&[("search_path", "\"$user\"")]).unwrap().search_path, None);
    }

    #[test]
    fn a_role_in_a_parameter_or_option_is_an_effect() {
        for parameters in [[("role", "admin")], [("options", "-crole=admin")], [("options", "--ROLE=admin")]] {
            let effects = asked(&parameters).unwrap().effects;
            assert_eq!(effects, [Effect::Role { role: Some("admin".to_owned()) }], "{parameters:?}");
        }
    }

    #[test]
    fn replication_is_an_effect_unless_it_is_plainly_off() {
        for value in ["database", "true", "on", "1", "yes", "t", "TRUE", ""] {
            let asked = asked(&[("replication", value)]).unwrap();
            assert_eq!((asked.replication, asked.effects), (true, vec![crate::sql::replication::connection()]), "{value}");
        }
        assert_eq!(asked(&[("replication", "false")]), Ok(super::Asked::default()));
    }

    #[test]
    fn bare_options_are_refused() {
        for parameters in [[("options", "-d 5")], [("options", "-c")], [("options", "-c role")]] {
            assert_eq!(asked(&parameters), Err(Reason::StartupParameterRefused), "{parameters:?}");
        }
    }
}
