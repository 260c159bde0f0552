//! The SQL of other vendors: one walk over `sqlparser`'s syntax tree, and what differs between vendors as data.
//!
//! `sqlparser` is a parser of many dialects and nobody's own. So a text is given up where it could find other words than the
//! vendor does (see [`text`]), a statement or clause that is not known here is opaque, and so is every text that it rejects.
//!
//! Names are what policies match, so they have one form for each vendor: see [`Fold`]. Up to three parts are database, schema
//! and name (catalog, schema and table; project, dataset and table); with fewer, the session's own stand for the rest.
//!
//! What a text cannot show, and is therefore not in its effects: what views, functions and tasks carry inside. Defining code
//! is [`OpaqueClass::RoutineDefinition`]; calling any function that is not known to be pure is [`Effect::Call`].

mod found;
mod head;
mod name;
mod query;
mod statement;
mod text;

use std::collections::HashSet;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::LazyLock;

use sqlparser::dialect;
use sqlparser::parser::{Parser, ParserError};

use super::postgres::stack::on_a_deep_stack;
use super::{Analysis, Effect, Limits, OpaqueClass, Session, Statement};

/// What is particular about one vendor's SQL.
pub struct Vendor {
    name: &'static str,
    /// Reached through the vendor, so that a program whose warehouses are of no such vendor does not carry the parser.
    judge: fn(&'static Vendor, &str, &Limits) -> Analysis,
    parser: fn() -> Box<dyn dialect::Dialect>,
    fold: Fold,
    pure: &'static LazyLock<HashSet<&'static str>>,
    comments: Comments,
    has_dollar_quotes: bool,
    /// One pair of backticks may stand around a whole path.
    quotes_paths: bool,
    /// What `IN` looks into may be a table by its name, in brackets or not.
    looks_in_tables: bool,
    /// `${name}` is replaced, wherever it stands, before the text is read.
    substitutes: bool,
}

/// The form of a name that stands for all ways to write it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fold {
    /// Unquoted names in capitals, quoted ones as written.
    UnquotedUpper,
    /// All names in lower case, quoted or not.
    Lower,
    /// As written.
    Kept,
}

/// What begins a comment besides `--` and `/*`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Comments {
    /// Nothing.
    Standard,
    /// `//`.
    Slashes,
    /// `#`.
    Hash,
}

macro_rules! pure {
    ($name:ident, $file:literal) => {
        static $name: LazyLock<HashSet<&str>> = LazyLock::new(|| include_str!($file).lines().collect());
    };
}

// Built-in functions that only compute, in lower case, from the vendors' function references.
pure!(PURE_SNOWFLAKE, "dialect/functions_snowflake.txt");
pure!(PURE_BIGQUERY, "dialect/functions_bigquery.txt");
pure!(PURE_DATABRICKS, "dialect/functions_databricks.txt");
pure!(PURE_TRINO, "dialect/functions_trino.txt");
pure!(PURE_CLICKHOUSE, "dialect/functions_clickhouse.txt");

/// Snowflake: unquoted names are in capitals (SQL reference, "Identifier requirements").
pub static SNOWFLAKE: Vendor = Vendor {
    name: "snowflake",
    judge: on_a_stack_of_its_own,
    parser: || Box::new(dialect::SnowflakeDialect),
    fold: Fold::UnquotedUpper,
    pure: &PURE_SNOWFLAKE,
    comments: Comments::Slashes,
    has_dollar_quotes: true,
    quotes_paths: false,
    looks_in_tables: false,
    substitutes: false,
};

/// BigQuery: names of datasets and tables are case-sensitive (GoogleSQL, "Lexical structure and syntax").
pub static BIGQUERY: Vendor = Vendor {
    name: "bigquery",
    judge: on_a_stack_of_its_own,
    parser: || Box::new(dialect::BigQueryDialect),
    fold: Fold::Kept,
    pure: &PURE_BIGQUERY,
    comments: Comments::Hash,
    has_dollar_quotes: false,
    quotes_paths: true,
    looks_in_tables: false,
    substitutes: false,
};

/// Databricks and Spark: names are case-insensitive (Databricks SQL language reference, "Names").
pub static DATABRICKS: Vendor = Vendor {
    name: "databricks",
    judge: on_a_stack_of_its_own,
    parser: || Box::new(dialect::DatabricksDialect {}),
    fold: Fold::Lower,
    pure: &PURE_DATABRICKS,
    comments: Comments::Standard,
    has_dollar_quotes: false,
    quotes_paths: false,
    looks_in_tables: false,
    substitutes: true,
};

/// Trino: names are in lower case, quoted ones too (Trino documentation, "SQL language: identifiers").
pub static TRINO: Vendor = Vendor {
    name: "trino",
    judge: on_a_stack_of_its_own,
    parser: || Box::new(dialect::GenericDialect {}),
    fold: Fold::Lower,
    pure: &PURE_TRINO,
    comments: Comments::Standard,
    has_dollar_quotes: false,
    quotes_paths: false,
    looks_in_tables: false,
    substitutes: false,
};

/// Athena: Trino's queries, with definitions of tables in Hive's words.
pub static ATHENA: Vendor = Vendor {
    name: "athena",
    judge: on_a_stack_of_its_own,
    parser: || Box::new(dialect::GenericDialect {}),
    fold: Fold::Lower,
    pure: &PURE_TRINO,
    comments: Comments::Standard,
    has_dollar_quotes: false,
    quotes_paths: false,
    looks_in_tables: false,
    substitutes: false,
};

/// ClickHouse: all names are case-sensitive (ClickHouse documentation, "Syntax").
pub static CLICKHOUSE: Vendor = Vendor {
    name: "clickhouse",
    judge: on_a_stack_of_its_own,
    parser: || Box::new(dialect::ClickHouseDialect {}),
    fold: Fold::Kept,
    pure: &PURE_CLICKHOUSE,
    comments: Comments::Standard,
    has_dollar_quotes: false,
    quotes_paths: false,
    looks_in_tables: true,
    substitutes: false,
};

/// Brackets and prefixes within each other that the parser follows; every bracket of a query takes about three.
const PARSER_DEPTH_MAX: usize = 250;

impl Vendor {
    /// What [`super::analyze`] promises, for this vendor.
    pub(super) fn analyze(&'static self, text: &str, limits: &Limits) -> Analysis {
        (self.judge)(self, text, limits)
    }

    /// The same on this stack, for a text that stands in `outer_texts` others.
    fn judge_here(&'static self, text: &str, limits: &Limits, outer_texts: usize) -> Analysis {
        let parser = (self.parser)();
        let tokens = match text::tokens(self, &*parser, text) {
            Ok(tokens) => tokens,
            Err(why) => return opaque(OpaqueClass::Unparseable, why),
        };
        if text::depth(&tokens) > limits.nesting_max {
            return opaque(OpaqueClass::TooDeep, "the statement is nested deeper than limits.nesting_max");
        }
        let mut parser = Parser::new(&*parser).with_recursion_limit(PARSER_DEPTH_MAX).with_tokens_with_locations(tokens);
        match parser.parse_statements() {
            Ok(statements) => {
                Analysis { statements: statements.iter().map(|parsed| statement::judge(self, parsed, limits, outer_texts)).collect() }
            }
            Err(ParserError::RecursionLimitExceeded) => opaque(OpaqueClass::TooDeep, "the text is nested deeper than the parser allows"),
            Err(ParserError::ParserError(_) | ParserError::TokenizerError(_)) => self.judge_unparsed(text, limits, outer_texts),
        }
    }

    /// A text that the parser does not accept.
    fn judge_unparsed(&'static self, text: &str, limits: &Limits, outer_texts: usize) -> Analysis {
        let Ok(tokens) = text::tokens(self, &*(self.parser)(), text) else {
            return opaque(OpaqueClass::Unparseable, "the text cannot be cut into words");
        };
        let statement = statement::own::judge(self, &tokens, limits, outer_texts).or_else(|| head::judge(&tokens));
        match statement {
            Some(statement) => Analysis { statements: vec![statement] },
            None => opaque(OpaqueClass::Unparseable, "the parser does not accept the text"),
        }
    }
}

fn on_a_stack_of_its_own(vendor: &'static Vendor, text: &str, limits: &Limits) -> Analysis {
    if text.len() > limits.statement_bytes_max {
        return opaque(OpaqueClass::TooLong, "the text is longer than limits.statement_bytes_max");
    }
    on_a_deep_stack(|| vendor.judge_here(text, limits, 0))
        .unwrap_or_else(|| opaque(OpaqueClass::Unparseable, "the parser broke down on the text"))
}

impl fmt::Debug for Vendor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

impl PartialEq for Vendor {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Vendor {}

impl Hash for Vendor {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

fn opaque(class: OpaqueClass, detail: &str) -> Analysis {
    Analysis { statements: vec![whole("UNKNOWN", class, detail)] }
}

fn whole(verb: &'static str, class: OpaqueClass, detail: &str) -> Statement {
    let effects = vec![Effect::Opaque { class, detail: detail.to_owned() }];
    Statement { verb, effects, session: Session::SearchPathUnknown }
}
