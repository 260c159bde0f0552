//! The commands of a replication connection: what a walsender reads in the place of SQL.
//!
//! A walsender decides by the first word, without a look at what follows (`repl_scanner.l` in PostgreSQL's source), and reads
//! everything else as SQL. Source: PostgreSQL 18 documentation, section 54.4, "Streaming Replication Protocol".

use super::{Analysis, Effect, OpaqueClass, Session, Statement};

/// The words that such a command begins with. `SHOW` is one more, and means what it does in SQL.
const COMMANDS: &[&str] = &[
    "ALTER_REPLICATION_SLOT",
    "BASE_BACKUP",
    "CREATE_REPLICATION_SLOT",
    "DROP_REPLICATION_SLOT",
    "IDENTIFY_SYSTEM",
    "READ_REPLICATION_SLOT",
    "START_REPLICATION",
    "TIMELINE_HISTORY",
    "UPLOAD_MANIFEST",
];

/// What asking for a replication connection would do.
pub fn connection() -> Effect {
    Effect::Opaque { class: OpaqueClass::Replication, detail: "a replication connection".to_owned() }
}

/// What `text` would do on a replication connection, where it is one of its commands; `None` where it is read as SQL.
pub fn analyze(text: &str) -> Option<Analysis> {
    let text = text.trim_start_matches([' ', '\t', '\n', '\r', '\u{b}', '\u{c}']);
    let end = text.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(text.len());
    let first = text.get(..end)?;
    let verb = COMMANDS.iter().find(|command| command.eq_ignore_ascii_case(first))?;
    let effects = vec![Effect::Opaque { class: OpaqueClass::Replication, detail: (*verb).to_owned() }];
    Some(Analysis { statements: vec![Statement { verb, effects, session: Session::Unchanged }] })
}

#[cfg(test)]
mod tests {
    use super::{COMMANDS, analyze};
    use crate::sql::{self, Dialect, Effect, Limits, OpaqueClass};

    #[test]
    fn a_command_is_known_by_its_first_word_whatever_follows() {
        for text in
            ["IDENTIFY_SYSTEM", " \n base_backup (PROGRESS)", "START_REPLICATION SLOT \"s\" LOGICAL 0/0", "Identify_System; select 1"]
        {
            assert!(analyze(text).is_some(), "{text}");
        }
        for text in ["select 1", "SHOW wal_level", "/* hidden */ IDENTIFY_SYSTEM", "IDENTIFY_SYSTEMS", "\"BASE_BACKUP\"", "", "é"] {
            assert!(analyze(text).is_none(), "{text}");
        }
    }

    #[test]
    fn no_command_is_sql_so_neither_can_pass_for_the_other() {
        for command in COMMANDS {
            let judged = sql::analyze(Dialect::Postgres, command, &Limits::default());
            let [Effect::Opaque { class, .. }] = &judged.statements[0].effects[..] else { panic!("{judged:?}") };
            assert_eq!(*class, OpaqueClass::Unparseable, "{command}");
        }
    }
}
