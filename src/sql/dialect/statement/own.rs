//! Statements that `sqlparser` does not know, read with its help.
//!
//! Each form is read exactly, and a text in which more stands is not read here. A form of another vendor does no harm: this one
//! refuses it, or means the same by it. The forms are in the vendors' SQL references, under the first words of each.

mod clickhouse;

use sqlparser::ast::{Expr, ObjectName};
use sqlparser::keywords::Keyword as K;
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::{Token, TokenWithSpan};

use super::Reader;
use crate::sql::dialect::found::Found;
use crate::sql::dialect::name::{self, Named};
use crate::sql::dialect::query::walk_part;
use crate::sql::dialect::{PARSER_DEPTH_MAX, Vendor, text};
use crate::sql::{Action, Limits, ObjectKind, Statement};

/// Notes the effects of what it reads; an error where something else stands.
type Form = fn(&mut Reader<'_>, &mut Parser<'_>) -> Result<&'static str, ParserError>;

const FORMS: &[Form] = &[
    |reader, parser| reader.set_options(parser),
    |reader, parser| reader.comment_columns(parser),
    |reader, parser| reader.clone(parser),
    |reader, parser| reader.copy_into(parser),
    |reader, parser| reader.prepare(parser),
    |reader, parser| reader.view(parser),
    |reader, parser| reader.refresh(parser),
    |reader, parser| reader.vacuum(parser),
    |reader, parser| reader.undrop(parser),
    |reader, parser| reader.exists(parser),
    |reader, parser| reader.exchange(parser),
    |reader, parser| reader.create_as(parser),
    |reader, parser| reader.mutation(parser),
    |reader, parser| reader.describe(parser),
    |reader, parser| reader.properties(parser),
    |reader, parser| reader.formatted(parser),
];

/// The statement that is all of `tokens`; `None` if it is of no form that is known here.
pub(in crate::sql::dialect) fn judge(
    vendor: &'static Vendor,
    tokens: &[TokenWithSpan],
    limits: &Limits,
    outer_texts: usize,
) -> Option<Statement> {
    let dialect = (vendor.parser)();
    FORMS.iter().find_map(|form| {
        let mut parser = Parser::new(&*dialect).with_recursion_limit(PARSER_DEPTH_MAX);
        parser = parser.with_tokens_with_locations(tokens.to_vec());
        let mut reader = Reader { vendor, limits, outer_texts, found: Found::default(), executes: None };
        let verb = form(&mut reader, &mut parser).ok()?;
        clickhouse::eats_format(&mut parser);
        while parser.consume_token(&Token::SemiColon) {}
        (parser.peek_token_ref().token == Token::EOF).then(|| reader.judged(verb))
    })
}

impl Reader<'_> {
    /// BigQuery: `ALTER TABLE name [ALTER COLUMN column] SET OPTIONS (name = value, ...)`.
    fn set_options(&mut self, parser: &mut Parser<'_>) -> Result<&'static str, ParserError> {
        parser.expect_keyword(K::ALTER)?;
        let _ = parser.parse_keyword(K::MATERIALIZED);
        parser.expect_one_of_keywords(&[K::TABLE, K::VIEW])?;
        let _ = parser.parse_keywords(&[K::IF, K::EXISTS]);
        let name = parser.parse_object_name(true)?;
        if parser.parse_keywords(&[K::ALTER, K::COLUMN]) {
            let _ = parser.parse_keywords(&[K::IF, K::EXISTS]);
            parser.parse_identifier()?;
        }
        parser.expect_keywords(&[K::SET, K::OPTIONS])?;
        parser.expect_token(&Token::LParen)?;
        let options = parser.parse_comma_separated0(Parser::parse_sql_option, Token::RParen)?;
        parser.expect_token(&Token::RParen)?;
        self.relation(Action::Alter, &name);
        walk_part(self.vendor, &options, Some(Action::Import), &mut self.found);
        Ok("ALTER TABLE")
    }

    /// Snowflake: `ALTER TABLE name ALTER [COLUMN] column COMMENT 'text', ...`. Databricks has one, and `CHANGE` as well.
    fn comment_columns(&mut self, parser: &mut Parser<'_>) -> Result<&'static str, ParserError> {
        parser.expect_keywords(&[K::ALTER, K::TABLE])?;
        let _ = parser.parse_keywords(&[K::IF, K::EXISTS]);
        let table = parser.parse_object_name(false)?;
        parser.expect_one_of_keywords(&[K::ALTER, K::MODIFY, K::CHANGE])?;
        parser.parse_comma_separated(|parser| {
            let _ = parser.parse_keyword(K::COLUMN);
            parser.parse_identifier()?;
            parser.expect_keyword(K::COMMENT)?;
            parser.parse_literal_string()
        })?;
        self.relation(Action::Alter, &table);
        Ok("ALTER TABLE")
    }

    /// Databricks: `CREATE TABLE name SHALLOW | DEEP CLONE source [time] [TBLPROPERTIES (...)] [LOCATION 'path']`.
    /// Snowflake: `CREATE TABLE | SCHEMA | DATABASE name CLONE source [time] [COPY GRANTS]`.
    fn clone(&mut self, parser: &mut Parser<'_>) -> Result<&'static str, ParserError> {
        parser.expect_keyword(K::CREATE)?;
        let replaces = parser.parse_keywords(&[K::OR, K::REPLACE]);
        let _ = parser.parse_one_of_keywords(&[K::TRANSIENT, K::TEMPORARY, K::TEMP]);
        let (kind, verb) = kind(parser)?;
        let _ = parser.parse_keywords(&[K::IF, K::NOT, K::EXISTS]);
        let name = parser.parse_object_name(false)?;
        let _ = eats_word(parser, "SHALLOW") || eats_word(parser, "DEEP");
        parser.expect_keyword(K::CLONE)?;
        let source = parser.parse_object_name(false)?;
        self.object(Action::Create, kind, &name);
        if replaces {
            self.object(Action::Drop, kind, &name);
        }
        self.copied_from(kind, &source);
        self.time(parser)?;
        let _ = parser.parse_keywords(&[K::COPY, K::GRANTS]);
        if parser.parse_keyword(K::TBLPROPERTIES) {
            settings(parser)?;
        }
        if parser.parse_keyword(K::LOCATION) {
            let location = parser.parse_literal_string()?;
            self.found.location(Action::Import, &location);
            self.found.location(Action::Export, &location);
        }
        Ok(verb)
    }

    fn copied_from(&mut self, kind: ObjectKind, source: &ObjectName) {
        match name::named(self.vendor, source) {
            Named::Location(location) if kind == ObjectKind::Relation => self.found.location(Action::Import, &location),
            Named::Object(_) | Named::Location(_) | Named::Wildcard(_) | Named::Unknown => self.object(Action::Select, kind, source),
        }
    }

    /// The time of which something is read, or nothing. What stands in it is read and called.
    fn time(&mut self, parser: &mut Parser<'_>) -> Result<(), ParserError> {
        let at = if parser.peek_keyword(K::AT) || parser.peek_keyword(K::BEFORE) {
            let name = parser.parse_object_name(false)?;
            let at = parser.parse_function(name)?;
            if let Expr::Function(function) = &at {
                walk_part(self.vendor, &function.args, None, &mut self.found);
                return Ok(());
            }
            at
        } else if parser.parse_one_of_keywords(&[K::TIMESTAMP, K::VERSION]).is_some() {
            parser.expect_keywords(&[K::AS, K::OF])?;
            parser.parse_expr()?
        } else {
            return Ok(());
        };
        walk_part(self.vendor, &at, None, &mut self.found);
        Ok(())
    }

    /// Databricks: `COPY INTO name FROM 'path' | (query) [WITH (...)] FILEFORMAT = word [option ...]`.
    fn copy_into(&mut self, parser: &mut Parser<'_>) -> Result<&'static str, ParserError> {
        parser.expect_keywords(&[K::COPY, K::INTO])?;
        let table = parser.parse_object_name(false)?;
        self.relation(Action::Insert, &table);
        parser.expect_keyword(K::FROM)?;
        if parser.consume_token(&Token::LParen) {
            let query = parser.parse_query()?;
            parser.expect_token(&Token::RParen)?;
            walk_part(self.vendor, &query, None, &mut self.found);
        } else {
            let location = parser.parse_literal_string()?;
            self.found.location(Action::Import, &location);
        }
        if eats_word(parser, "FILEFORMAT") {
            parser.expect_token(&Token::Eq)?;
            parser.parse_identifier()?;
        }
        loop {
            if eats_word(parser, "PATTERN") {
                parser.expect_token(&Token::Eq)?;
                parser.parse_literal_string()?;
            } else if eats_word(parser, "FILES") {
                parser.expect_token(&Token::Eq)?;
                parser.parse_parenthesized(|parser| parser.parse_comma_separated(Parser::parse_literal_string))?;
            } else if eats_word(parser, "FORMAT_OPTIONS") || eats_word(parser, "COPY_OPTIONS") {
                settings(parser)?;
            } else {
                return Ok("COPY");
            }
        }
    }

    /// Trino: `PREPARE name FROM statement`.
    fn prepare(&mut self, parser: &mut Parser<'_>) -> Result<&'static str, ParserError> {
        parser.expect_keyword(K::PREPARE)?;
        parser.parse_identifier()?;
        parser.expect_keyword(K::FROM)?;
        let statement = parser.parse_statement()?;
        self.statement(&statement);
        Ok("PREPARE")
    }

    /// Trino: `CREATE [OR REPLACE] VIEW name [COMMENT 'text'] [SECURITY DEFINER | INVOKER] AS query`.
    fn view(&mut self, parser: &mut Parser<'_>) -> Result<&'static str, ParserError> {
        parser.expect_keyword(K::CREATE)?;
        let _ = parser.parse_keywords(&[K::OR, K::REPLACE]);
        parser.expect_keyword(K::VIEW)?;
        let name = parser.parse_object_name(false)?;
        if parser.parse_keyword(K::COMMENT) {
            parser.parse_literal_string()?;
        }
        if parser.parse_keyword(K::SECURITY) {
            parser.expect_one_of_keywords(&[K::DEFINER, K::INVOKER])?;
        }
        parser.expect_keyword(K::AS)?;
        let query = parser.parse_query()?;
        self.relation(Action::Create, &name);
        walk_part(self.vendor, &query, Some(Action::Import), &mut self.found);
        Ok("CREATE VIEW")
    }

    /// Databricks: `REFRESH [TABLE] name`.
    fn refresh(&mut self, parser: &mut Parser<'_>) -> Result<&'static str, ParserError> {
        parser.expect_keyword(K::REFRESH)?;
        let _ = parser.parse_keyword(K::TABLE);
        let table = parser.parse_object_name(false)?;
        self.relation(Action::Maintain, &table);
        Ok("MAINTAIN")
    }

    /// Databricks: `VACUUM name [RETAIN number HOURS] [DRY RUN]`.
    fn vacuum(&mut self, parser: &mut Parser<'_>) -> Result<&'static str, ParserError> {
        parser.expect_keyword(K::VACUUM)?;
        let table = parser.parse_object_name(false)?;
        if eats_word(parser, "RETAIN") {
            parser.parse_number_value()?;
            parser.expect_keyword(K::HOURS)?;
        }
        if eats_word(parser, "DRY") && !eats_word(parser, "RUN") {
            return parser.expected_ref("RUN", parser.peek_token_ref());
        }
        self.relation(Action::Maintain, &table);
        Ok("MAINTAIN")
    }

    /// Databricks: `DESCRIBE [TABLE] [EXTENDED | FORMATTED] name [AS JSON]`.
    fn describe(&mut self, parser: &mut Parser<'_>) -> Result<&'static str, ParserError> {
        parser.expect_one_of_keywords(&[K::DESCRIBE, K::DESC])?;
        let _ = parser.parse_keyword(K::TABLE);
        let _ = parser.parse_one_of_keywords(&[K::EXTENDED, K::FORMATTED]);
        let table = parser.parse_object_name(false)?;
        if parser.parse_keyword(K::AS) {
            parser.expect_keyword(K::JSON)?;
        }
        self.relation(Action::Select, &table);
        Ok("DESCRIBE")
    }

    /// Databricks: `ALTER TABLE | VIEW name SET TBLPROPERTIES (...) | SET TAGS (...)`, and the tags of a column.
    fn properties(&mut self, parser: &mut Parser<'_>) -> Result<&'static str, ParserError> {
        parser.expect_keyword(K::ALTER)?;
        parser.expect_one_of_keywords(&[K::TABLE, K::VIEW])?;
        let name = parser.parse_object_name(false)?;
        if parser.parse_keyword(K::ALTER) {
            parser.expect_keyword(K::COLUMN)?;
            parser.parse_identifier()?;
        }
        parser.expect_keyword(K::SET)?;
        if !eats_word(parser, "TAGS") {
            parser.expect_keyword(K::TBLPROPERTIES)?;
        }
        settings(parser)?;
        self.relation(Action::Alter, &name);
        Ok("ALTER TABLE")
    }

    /// Snowflake: `UNDROP TABLE | SCHEMA | DATABASE name`: it is there again.
    fn undrop(&mut self, parser: &mut Parser<'_>) -> Result<&'static str, ParserError> {
        if !eats_word(parser, "UNDROP") {
            return parser.expected_ref("UNDROP", parser.peek_token_ref());
        }
        let (kind, _) = kind(parser)?;
        let name = parser.parse_object_name(false)?;
        self.object(Action::Create, kind, &name);
        Ok("UNDROP")
    }
}

/// The kind of object that is made, and the verb of making it.
fn kind(parser: &mut Parser<'_>) -> Result<(ObjectKind, &'static str), ParserError> {
    if parser.parse_keyword(K::SCHEMA) {
        return Ok((ObjectKind::Schema, "CREATE SCHEMA"));
    }
    if parser.parse_keyword(K::DATABASE) {
        return Ok((ObjectKind::Database, "CREATE DATABASE"));
    }
    parser.expect_keyword(K::TABLE)?;
    Ok((ObjectKind::Relation, "CREATE TABLE"))
}

/// Is the next word, unquoted, this one? Then it is taken.
fn eats_word(parser: &mut Parser<'_>, wanted: &str) -> bool {
    let is_next = text::is_word(&parser.peek_token_ref().token, &[wanted]);
    if is_next {
        parser.next_token();
    }
    is_next
}

/// `('name' = 'value', ...)` with nothing but names and values in it.
fn settings(parser: &mut Parser<'_>) -> Result<(), ParserError> {
    parser.expect_token(&Token::LParen)?;
    parser.parse_comma_separated0(
        |parser| {
            if parser.parse_literal_string().is_err() {
                parser.parse_object_name(false)?;
            }
            let _ = parser.consume_token(&Token::Eq);
            parser.parse_value()
        },
        Token::RParen,
    )?;
    parser.expect_token(&Token::RParen)?;
    Ok(())
}
