//! The class of a statement that the parser does not accept, by the words that it begins with.

use sqlparser::tokenizer::{Token, TokenWithSpan};

use crate::sql::OpaqueClass;

/// Statements by their first words; longer heads stand before shorter ones.
const HEADS: &[(&[&str], OpaqueClass, &str)] = &[
    (&["EXECUTE", "IMMEDIATE"], OpaqueClass::Script, "EXECUTE IMMEDIATE"),
    (&["EXECUTE", "TASK"], OpaqueClass::RoutineDefinition, "EXECUTE TASK"),
    (&["CREATE", "OR", "REPLACE", "FUNCTION"], OpaqueClass::RoutineDefinition, "CREATE FUNCTION"),
    (&["CREATE", "OR", "REPLACE", "PROCEDURE"], OpaqueClass::RoutineDefinition, "CREATE PROCEDURE"),
    (&["CREATE", "FUNCTION"], OpaqueClass::RoutineDefinition, "CREATE FUNCTION"),
    (&["CREATE", "PROCEDURE"], OpaqueClass::RoutineDefinition, "CREATE PROCEDURE"),
    (&["BEGIN"], OpaqueClass::Script, "BEGIN"),
    (&["DECLARE"], OpaqueClass::Script, "DECLARE"),
    (&["IF"], OpaqueClass::Script, "IF"),
    (&["LOOP"], OpaqueClass::Script, "LOOP"),
    (&["WHILE"], OpaqueClass::Script, "WHILE"),
    (&["FOR"], OpaqueClass::Script, "FOR"),
    (&["CALL"], OpaqueClass::Call, "CALL"),
    (&["PUT"], OpaqueClass::CopyFile, "PUT"),
    (&["GET"], OpaqueClass::CopyFile, "GET"),
    (&["COPY"], OpaqueClass::CopyFile, "COPY"),
    (&["UNLOAD"], OpaqueClass::CopyFile, "UNLOAD"),
    (&["EXPORT"], OpaqueClass::CopyFile, "EXPORT DATA"),
    (&["LOAD"], OpaqueClass::CopyFile, "LOAD DATA"),
    (&["GRANT"], OpaqueClass::Authorization, "GRANT"),
    (&["REVOKE"], OpaqueClass::Authorization, "REVOKE"),
    (&["DENY"], OpaqueClass::Authorization, "DENY"),
    (&["UNDROP"], OpaqueClass::Unsupported, "UNDROP"),
    (&["UNSET"], OpaqueClass::Unsupported, "UNSET"),
    (&["REFRESH"], OpaqueClass::Unsupported, "REFRESH"),
    (&["VACUUM"], OpaqueClass::Unsupported, "VACUUM"),
    (&["SYSTEM"], OpaqueClass::System, "SYSTEM"),
];

/// The class of a text that is one statement with a known head.
pub(super) fn class(tokens: &[TokenWithSpan]) -> Option<(OpaqueClass, &'static str)> {
    let words = tokens.iter().filter(|token| !matches!(token.token, Token::Whitespace(_)));
    let words: Vec<String> = words
        .take(4)
        .map(|token| if let Token::Word(word) = &token.token { word.to_string().to_ascii_uppercase() } else { String::new() })
        .collect();
    let begins = |head: &[&str]| head.iter().zip(&words).filter(|(wanted, word)| *wanted == word).count() == head.len();
    HEADS.iter().find(|(head, _, _)| begins(head)).map(|(_, class, verb)| (*class, *verb))
}
