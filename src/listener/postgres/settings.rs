//! What the server reports about its settings, as far as reading SQL depends on it.

use super::message::Fields;
use crate::sql::Dialect;

/// Settings that change what the bytes of a statement mean; the server reports each change (section 54.2.7).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ServerSettings {
    utf8: bool,
    standard_conforming_strings: bool,
}

impl Default for ServerSettings {
    /// Nothing is known yet, so nothing is taken for granted.
    fn default() -> Self {
        Self { utf8: false, standard_conforming_strings: false }
    }
}

impl ServerSettings {
    /// Takes in one ParameterStatus body.
    pub(super) fn learn(&mut self, body: &[u8]) {
        let mut fields = Fields(body);
        let (Some(name), Some(value)) = (fields.string(), fields.string()) else { return };
        match name {
            b"client_encoding" => self.utf8 = matches!(value, b"UTF8" | b"UNICODE" | b"SQL_ASCII"),
            b"standard_conforming_strings" => self.standard_conforming_strings = value == b"on",
            _ => {}
        }
    }

    /// Whether the server reads `sql` the way that we read it: as UTF-8, with backslashes as plain characters.
    ///
    /// Only PostgreSQL says what backslashes are to it; the analysis of any other SQL holds either way.
    pub(super) fn reads_alike(self, sql: &str, dialect: Dialect) -> bool {
        let are_backslashes_plain = match dialect {
            Dialect::Postgres => self.standard_conforming_strings,
            Dialect::Redshift | Dialect::Other(_) => true,
        };
        (self.utf8 || sql.is_ascii()) && (are_backslashes_plain || !sql.contains('\\'))
    }
}

#[cfg(test)]
mod tests {
    use super::{Dialect, ServerSettings};

    #[test]
    fn a_text_is_only_trusted_when_the_server_reads_it_alike() {
        let mut settings = ServerSettings::default();
        assert!(settings.reads_alike("select 1", Dialect::Postgres));
        assert!(!settings.reads_alike("select 'é'", Dialect::Postgres));
        assert!(!settings.reads_alike(r"select '\'", Dialect::Postgres));
        assert!(settings.reads_alike(r"select '\'", Dialect::Redshift) && !settings.reads_alike("select 'é'", Dialect::Redshift));
        settings.learn(b"client_encoding\0UTF8\0");
        settings.learn(b"standard_conforming_strings\0on\0");
        assert!(settings.reads_alike(r"select 'é\'", Dialect::Postgres));
        settings.learn(b"client_encoding\0SJIS\0");
        assert!(!settings.reads_alike("select 'é'", Dialect::Postgres));
    }
}
