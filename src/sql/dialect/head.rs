//! The class of a statement that the parser does not accept, by the words that it begins with.

use sqlparser::tokenizer::{Token, TokenWithSpan};

use super::whole;
use crate::sql::{Effect, OpaqueClass, Statement};

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
    (&["DESCRIBE", "INPUT"], OpaqueClass::Execute, "DESCRIBE"),
    (&["DESCRIBE", "OUTPUT"], OpaqueClass::Execute, "DESCRIBE"),
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

/// A text with a known head. What may follow behind a semicolon is a script.
pub(super) fn judge(tokens: &[TokenWithSpan]) -> Option<Statement> {
    let significant = || tokens.iter().map(|token| &token.token).filter(|token| !matches!(token, Token::Whitespace(_) | Token::EOF));
    let words: Vec<String> = significant()
        .take(4)
        .map(|token| if let Token::Word(word) = token { word.to_string().to_ascii_uppercase() } else { String::new() })
        .collect();
    let begins = |head: &[&str]| head.iter().zip(&words).filter(|(wanted, word)| *wanted == word).count() == head.len();
    let (_, class, verb) = HEADS.iter().find(|(head, _, _)| begins(head))?;
    let mut statement = whole(verb, *class, verb);
    let goes_on = significant().skip_while(|token| **token != Token::SemiColon).any(|token| *token != Token::SemiColon);
    if goes_on && *class != OpaqueClass::Script {
        statement.effects.push(Effect::Opaque { class: OpaqueClass::Script, detail: "statements behind a semicolon".to_owned() });
    }
    Some(statement)
}
