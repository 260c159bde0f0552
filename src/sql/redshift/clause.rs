//! The clauses that only Redshift has, taken out or put in PostgreSQL's words, so that PostgreSQL's grammar reads the rest.
//!
//! Taken out is only what can name no relation, function or query: keywords, names of encodings, bracketed lists of column
//! names, numbers. Put in other words is what keeps everything that it names: the tree has another shape then and the same
//! effects. All this is tried only on what PostgreSQL's grammar does not accept, and its grammar has to accept the result.

use super::reader::Reader;
use super::token::Token;

/// Compression encodings (Database Developer Guide, "Compression encodings").
const ENCODINGS: &[&str] = &[
    "auto",
    "az64",
    "bytedict",
    "delta",
    "delta32k",
    "lzo",
    "mostly8",
    "mostly16",
    "mostly32",
    "raw",
    "runlength",
    "text255",
    "text32k",
    "zstd",
];

/// A statement on its way into PostgreSQL's words.
struct Rewrite<'a, 't> {
    reader: Reader<'a, 't>,
    kept: Vec<&'t str>,
    changed: bool,
    /// Open brackets, the outermost level included.
    levels: Vec<Level>,
}

/// One level of brackets.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Level {
    /// The query of this level has a `HAVING` already.
    has_having: bool,
    /// The brackets of a `PIVOT`, or of the list in it.
    pivot: Pivot,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Pivot {
    #[default]
    No,
    Body,
    List,
}

/// The statement without what only Redshift has; `None` if it has nothing of the kind.
pub(super) fn without(piece: &[Token<'_>]) -> Option<String> {
    let mut rewrite = Rewrite { reader: Reader::new(piece), kept: Vec::new(), changed: false, levels: vec![Level::default()] };
    rewrite.definition();
    while !rewrite.reader.is_done() {
        if !rewrite.query_clause(piece) {
            rewrite.keep();
        }
    }
    rewrite.changed.then(|| rewrite.kept.join(" "))
}

impl<'a, 't> Rewrite<'a, 't> {
    /// The part of a `CREATE TABLE` or the like in which attributes of tables and columns stand: up to `AS`, if there is one.
    fn definition(&mut self) {
        if !self.begins_definition() {
            return;
        }
        while !self.reader.is_done() {
            if self.levels.len() == 1 && self.reader.sees(&["as"]) {
                return;
            }
            if !self.attribute() && !self.unbounded_length() {
                self.keep();
            }
        }
    }

    fn begins_definition(&self) -> bool {
        let mut head = self.reader;
        if head.eat(&["alter", "table"]) {
            return true;
        }
        head.eat(&["create"]) && {
            head.eat(&["local"]);
            head.eat_one_of(&["temp", "temporary"]);
            head.eat(&["table"]) || head.eat(&["materialized", "view"])
        }
    }

    fn attribute(&mut self) -> bool {
        let mut ahead = self.reader;
        let taken = if ahead.eat(&["encode"]) {
            ahead.eat_one_of(ENCODINGS)
        } else if ahead.eat(&["diststyle"]) {
            ahead.eat_one_of(&["all", "auto", "even", "key"])
        } else if ahead.eat(&["backup"]) || ahead.eat(&["auto", "refresh"]) {
            ahead.eat_one_of(&["no", "yes"])
        } else if ahead.eat(&["identity"]) {
            ahead.group().is_some_and(|group| group.iter().all(|token| token.is_integer() || token.text == ","))
        } else {
            ahead.eat_one_of(&["compound", "interleaved"]);
            let is_key = ahead.eat_one_of(&["distkey", "sortkey"]);
            // On a column the word stands alone; on the table a list of columns follows.
            is_key && (ahead.eat_one_of(&["auto", "none"]) || self.levels.len() > 1 || ahead.names().is_some())
        };
        if taken {
            // PostgreSQL writes `GENERATED ... AS IDENTITY` without seed and step.
            if self.reader.sees(&["identity"]) && self.kept.last().is_some_and(|last| last.eq_ignore_ascii_case("as")) {
                self.kept.push("identity");
            }
            self.reader = ahead;
            self.changed = true;
        }
        taken
    }

    /// `varchar(max)`.
    fn unbounded_length(&mut self) -> bool {
        let is_type =
            |last: &&str| ["char", "nvarchar", "varbinary", "varbyte", "varchar", "varying"].iter().any(|t| last.eq_ignore_ascii_case(t));
        self.kept.last().is_some_and(is_type) && self.replace(&["(", "max", ")"], &[])
    }

    /// A clause of queries, `MERGE` or views that only Redshift has.
    fn query_clause(&mut self, piece: &[Token<'_>]) -> bool {
        let last = self.kept.last().map(|last| last.to_ascii_lowercase()).unwrap_or_default();
        let begins = |word: &str| piece.first().is_some_and(|first| first.text.eq_ignore_ascii_case(word));
        self.unbounded_length()
            || self.top(&last)
            || (begins("merge") && self.replace(&["remove", "duplicates"], &MERGE_ARMS))
            || (begins("create") && self.at_end(&["with", "no", "schema", "binding"]))
            || self.replace(&["approximate", "count"], &["count"])
            || self.replace(&["approximate", "percentile_disc"], &["percentile_disc"])
            || self.replace(&["ignore", "nulls"], &[])
            || self.replace(&["respect", "nulls"], &[])
            || self.replace(&["minus", "select"], &["except", "select"])
            || (last == "*" && self.exclude())
            || self.qualify()
            || self.pivot()
    }

    fn top(&mut self, last: &str) -> bool {
        let mut ahead = self.reader;
        let taken = matches!(last, "select" | "distinct" | "all") && ahead.eat(&["top"]) && ahead.next().is_some_and(Token::is_integer);
        self.take(taken, ahead)
    }

    /// `SELECT * EXCLUDE (a, b)`.
    fn exclude(&mut self) -> bool {
        let mut ahead = self.reader;
        let taken = ahead.eat(&["exclude"]) && (ahead.names().is_some() || ahead.name().is_some());
        self.take(taken, ahead)
    }

    /// A condition on the rows of a query, like `HAVING`.
    fn qualify(&mut self) -> bool {
        let has_having = self.levels.last().is_some_and(|level| level.has_having);
        let replaced = self.replace(&["qualify"], if has_having { &["and"] } else { &["having"] });
        if replaced && let Some(level) = self.levels.last_mut() {
            level.has_having = true;
        }
        replaced
    }

    /// `PIVOT (aggregate FOR column IN (value AS alias, ...))` becomes a query beside the table.
    fn pivot(&mut self) -> bool {
        let pivot = self.levels.last().map(|level| level.pivot).unwrap_or_default();
        match pivot {
            Pivot::No => {
                let words =
                    [&["pivot", "("][..], &["unpivot", "("], &["unpivot", "include", "nulls", "("], &["unpivot", "exclude", "nulls", "("]];
                let opened = words.iter().any(|words| self.replace(words, &[",", "lateral", "(", "select"]));
                if opened {
                    self.levels.push(Level { has_having: false, pivot: Pivot::Body });
                }
                opened
            }
            Pivot::Body => self.replace(&["for"], &["where"]) || self.open_list(),
            Pivot::List => {
                let mut ahead = self.reader;
                let taken = ahead.eat(&["as"]) && ahead.name().is_some();
                self.take(taken, ahead)
            }
        }
    }

    fn open_list(&mut self) -> bool {
        let opened = self.replace(&["in", "("], &["in", "("]);
        if opened {
            self.levels.push(Level { has_having: false, pivot: Pivot::List });
        }
        opened
    }

    fn at_end(&mut self, phrase: &[&str]) -> bool {
        let mut ahead = self.reader;
        let taken = ahead.eat(phrase) && ahead.is_done();
        self.take(taken, ahead)
    }

    fn replace(&mut self, phrase: &[&str], by: &[&'static str]) -> bool {
        let mut ahead = self.reader;
        let taken = ahead.eat(phrase);
        if taken {
            self.kept.extend_from_slice(by);
        }
        self.take(taken, ahead)
    }

    fn take(&mut self, taken: bool, behind: Reader<'a, 't>) -> bool {
        if taken {
            self.reader = behind;
            self.changed = true;
        }
        taken
    }

    fn keep(&mut self) {
        let Some(token) = self.reader.next() else { return };
        match token.text {
            "(" => self.levels.push(Level::default()),
            ")" if self.levels.len() > 1 => {
                self.levels.pop();
            }
            _ => {}
        }
        if let (Some(level), Some(word)) = (self.levels.last_mut(), token.word()) {
            level.has_having = (level.has_having && word != "select") || word == "having";
        }
        self.kept.push(token.text);
    }
}

/// What `REMOVE DUPLICATES` does: rows that match are replaced, all others are added.
const MERGE_ARMS: [&str; 11] = ["when", "matched", "then", "delete", "when", "not", "matched", "then", "insert", "default", "values"];
