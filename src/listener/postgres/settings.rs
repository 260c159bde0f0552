//! What the server reports about its settings, as far as reading SQL depends on it.

use super::message::Fields;

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
    pub(super) fn reads_alike(self, sql: &str) -> bool {
        (self.utf8 || sql.is_ascii()) && (self.standard_conforming_strings || !sql.contains('\\'))
    }
}

#[cfg(test)]
mod tests {
    use super::ServerSettings;

    #[test]
    fn a_text_is_only_trusted_when_the_server_reads_it_alike() {
        let mut settings = ServerSettings::default();
        assert!(settings.reads_alike("select 1"));
        assert!(!settings.reads_alike("select 'é'"));
        assert!(!settings.reads_alike(r"select '\'"));
        settings.learn(b"client_encoding\0UTF8\0");
        settings.learn(b"standard_conforming_strings\0on\0");
        assert!(settings.reads_alike(r"select 'é\'"));
        settings.learn(b"client_encoding\0SJIS\0");
        assert!(!settings.reads_alike("select 'é'"));
    }
}
