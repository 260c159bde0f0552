//! ClickHouse's own forms.

use sqlparser::keywords::Keyword as K;
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::{Token, TokenWithSpan};

use super::{Reader, eats_word};
use crate::sql::Action;
use crate::sql::dialect::PARSER_DEPTH_MAX;
use crate::sql::dialect::query::walk_part;
use crate::sql::dialect::text::is_word;

impl Reader<'_> {
    /// `EXISTS [TEMPORARY] [DATABASE | TABLE | VIEW | DICTIONARY] name`: the catalog is asked.
    pub(super) fn exists(&mut self, parser: &mut Parser<'_>) -> Result<&'static str, ParserError> {
        parser.expect_keyword(K::EXISTS)?;
        let _ = parser.parse_keyword(K::TEMPORARY);
        let is_database = parser.parse_keyword(K::DATABASE);
        if !is_database && parser.parse_one_of_keywords(&[K::TABLE, K::VIEW]).is_none() {
            let _ = eats_word(parser, "DICTIONARY");
        }
        parser.parse_object_name(false)?;
        self.shown(if is_database { "schemata" } else { "tables" }, None);
        Ok("SHOW")
    }

    /// `EXCHANGE TABLES | DICTIONARIES name AND name`: each gets what the other had.
    pub(super) fn exchange(&mut self, parser: &mut Parser<'_>) -> Result<&'static str, ParserError> {
        parser.expect_keyword(K::EXCHANGE)?;
        if !(parser.parse_keyword(K::TABLES) || eats_word(parser, "DICTIONARIES")) {
            return parser.expected_ref("TABLES", parser.peek_token_ref());
        }
        let one = parser.parse_object_name(false)?;
        parser.expect_keyword(K::AND)?;
        let other = parser.parse_object_name(false)?;
        self.relation(Action::Alter, &one);
        self.relation(Action::Alter, &other);
        Ok("EXCHANGE TABLES")
    }

    /// `CREATE ... [SETTINGS name = value, ...] [EMPTY] AS query`: the parser takes it without what is in brackets here.
    pub(super) fn create_as(&mut self, parser: &mut Parser<'_>) -> Result<&'static str, ParserError> {
        if !parser.peek_keyword(K::CREATE) {
            return parser.expected_ref("CREATE", parser.peek_token_ref());
        }
        let mut kept = Vec::new();
        keep(parser, &mut kept, |parser| !is_word(&parser.peek_token_ref().token, &["SETTINGS", "EMPTY", "AS"]));
        if eats_word(parser, "SETTINGS") {
            parser.parse_comma_separated(|parser| self.setting(parser))?;
        }
        let _ = eats_word(parser, "EMPTY");
        if !parser.peek_keyword(K::AS) {
            return parser.expected_ref("AS", parser.peek_token_ref());
        }
        keep(parser, &mut kept, |_| true);
        let dialect = (self.vendor.parser)();
        let mut whole = Parser::new(&*dialect).with_recursion_limit(PARSER_DEPTH_MAX).with_tokens_with_locations(kept);
        let statement = whole.parse_statement()?;
        while whole.consume_token(&Token::SemiColon) {}
        whole.expect_token(&Token::EOF)?;
        Ok(self.statement(&statement))
    }

    /// `ALTER TABLE name DELETE WHERE condition` and `ALTER TABLE name UPDATE column = expression, ... WHERE condition`.
    pub(super) fn mutation(&mut self, parser: &mut Parser<'_>) -> Result<&'static str, ParserError> {
        parser.expect_keywords(&[K::ALTER, K::TABLE])?;
        let table = parser.parse_object_name(false)?;
        let (action, verb) = if parser.parse_keyword(K::DELETE) {
            (Action::Delete, "DELETE")
        } else {
            parser.expect_keyword(K::UPDATE)?;
            let assignments = parser.parse_comma_separated(Parser::parse_assignment)?;
            walk_part(self.vendor, &assignments, None, &mut self.found);
            (Action::Update, "UPDATE")
        };
        parser.expect_keyword(K::WHERE)?;
        let condition = parser.parse_expr()?;
        self.relation(action, &table);
        walk_part(self.vendor, &condition, None, &mut self.found);
        Ok(verb)
    }

    /// `SHOW ... FORMAT word`, and the same of a query without `FROM`: the parser takes the word `FORMAT` for the name of a column.
    pub(super) fn formatted(&mut self, parser: &mut Parser<'_>) -> Result<&'static str, ParserError> {
        if parser.peek_one_of_keywords(&[K::SHOW, K::SELECT, K::WITH]).is_none() {
            return parser.expected_ref("SHOW", parser.peek_token_ref());
        }
        let mut kept = Vec::new();
        keep(parser, &mut kept, |parser| !parser.peek_keyword(K::FORMAT));
        let dialect = (self.vendor.parser)();
        let mut whole = Parser::new(&*dialect).with_recursion_limit(PARSER_DEPTH_MAX).with_tokens_with_locations(kept);
        let statement = whole.parse_statement()?;
        whole.expect_token(&Token::EOF)?;
        Ok(self.statement(&statement))
    }

    /// `name = value`; a setting of a table may be one of the query as well.
    fn setting(&mut self, parser: &mut Parser<'_>) -> Result<(), ParserError> {
        let name = parser.parse_identifier()?;
        parser.expect_token(&Token::Eq)?;
        parser.parse_value()?;
        self.found.set(&name.value);
        Ok(())
    }
}

/// The format in which the result is written, behind any statement that has one. No effect depends on it.
pub(super) fn eats_format(parser: &mut Parser<'_>) {
    if parser.parse_keyword(K::FORMAT) && matches!(parser.peek_token_ref().token, Token::Word(_)) {
        parser.next_token();
    }
}

/// Puts tokens aside while there are any that `is_kept` wants.
fn keep(parser: &mut Parser<'_>, kept: &mut Vec<TokenWithSpan>, is_kept: impl Fn(&Parser<'_>) -> bool) {
    while parser.peek_token_ref().token != Token::EOF && is_kept(parser) {
        kept.push(parser.next_token());
    }
}
