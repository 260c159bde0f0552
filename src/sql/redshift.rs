//! Amazon Redshift's SQL, judged by PostgreSQL's grammar where both read a text alike.
//!
//! Two differences would let a text name other objects than PostgreSQL's grammar says, and make it opaque instead: Redshift
//! folds quoted names to lower case unless told otherwise (`enable_case_sensitive_identifier`), and its names have up to
//! 127 bytes where PostgreSQL cuts them at 63. What only Redshift has (`UNLOAD`, `COPY ... IAM_ROLE`, external schemas)
//! PostgreSQL's grammar does not accept, which is opaque as well.
//!
//! Source: Amazon Redshift Database Developer Guide, "Names and identifiers".

use pg_query::protobuf::{ScanToken, Token};

use super::postgres::{self, opaque};
use super::{Analysis, Limits, OpaqueClass};

/// Longest name, in bytes, that PostgreSQL's grammar keeps whole (`NAMEDATALEN` - 1).
const NAME_BYTES_MAX: usize = 63;

/// What [`super::analyze`] promises, for Redshift.
pub(super) fn analyze(text: &str, limits: &Limits) -> Analysis {
    if text.len() > limits.statement_bytes_max || names_are_alike(text) {
        return postgres::analyze(text, limits);
    }
    opaque(OpaqueClass::Unparseable, "a name that Redshift and PostgreSQL read differently")
}

/// Whether both read every name in the text alike.
fn names_are_alike(text: &str) -> bool {
    // pg_query (18.1.0) makes a slice of a null pointer where its scanner finds no token.
    if text.bytes().all(is_space) {
        return true;
    }
    let Ok(tokens) = pg_query::scan_tokens(text) else { return false };
    // Keywords are short, and whatever else there is carries no name.
    let is_alike = |token: &ScanToken| match token.token() == Token::Ident {
        true => name_of(text, token).is_some_and(is_alike),
        false => token.token() != Token::Uident,
    };
    tokens.iter().all(is_alike)
}

/// Whether the scanner skips the byte (`space` in PostgreSQL's scan.l).
fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | b'\x0b' | b'\x0c')
}

fn name_of<'t>(text: &'t str, token: &ScanToken) -> Option<&'t str> {
    text.get(usize::try_from(token.start).ok()?..usize::try_from(token.end).ok()?)
}

fn is_alike(name: &str) -> bool {
    // Unquoted, both fold the letters of ASCII; what Redshift does with others is not known.
    let is_kept = |letter: char| letter.is_uppercase() && (name.starts_with('"') || !letter.is_ascii());
    name.len() <= NAME_BYTES_MAX && !name.chars().any(is_kept)
}

#[cfg(test)]
mod tests {
    use crate::sql::{Dialect, Effect, Limits, OpaqueClass, analyze};

    fn is_judged_alike(text: &str) -> bool {
        let judged = |dialect| analyze(dialect, text, &Limits::default());
        let opaque = |effect: &Effect| matches!(effect, Effect::Opaque { class: OpaqueClass::Unparseable, .. });
        let redshift = judged(Dialect::Redshift);
        assert!(redshift == judged(Dialect::Postgres) || redshift.statements[0].effects.iter().all(opaque), "{text}");
        redshift == judged(Dialect::Postgres)
    }

    #[test]
    fn names_that_both_read_alike_are_judged_as_postgresql_does() {
        for text in [
            r#"create table "dev"."public"."orders" as (SELECT 'A "Quoted" String' as Note from Sales)"#,
            "select 1 /* a \"Comment\" */",
            "select $$ \"Dollar\" $$",
            &format!("select {}", "a".repeat(63)),
            &format!("select '{}'", "a".repeat(200)),
        ] {
            assert!(is_judged_alike(text), "{text}");
        }
    }

    #[test]
    fn a_text_without_a_token_has_no_names() {
        for text in ["", " ", " \t\n\r\x0b\x0c"] {
            assert!(is_judged_alike(text), "{text:?}");
            assert_eq!(analyze(Dialect::Redshift, text, &Limits::default()).statements, []);
        }
    }

    #[test]
    fn names_that_may_mean_other_objects_in_redshift_are_opaque() {
        for text in [
            r#"select * from finance."Salaries""#,
            r#"select "s"."X""y" from s"#,
            "select * from U&\"\\0053alaries\"",
            "select * from \u{c4}rger",
            &format!("select * from {}", "a".repeat(64)),
            &format!("select * from \"{}\"", "a".repeat(64)),
        ] {
            assert!(!is_judged_alike(text), "{text}");
        }
    }

    #[test]
    fn what_only_redshift_has_is_opaque() {
        for text in [
            "unload ('select 1') to 's3://bucket/prefix' iam_role 'arn:aws:iam::1:role/r'",
            "copy sales from 's3://bucket/prefix' iam_role default",
            "create external schema s from data catalog database 'd' iam_role default",
        ] {
            let analysis = analyze(Dialect::Redshift, text, &Limits::default());
            let effects = &analysis.statements[0].effects;
            assert!(matches!(effects[..], [Effect::Opaque { class: OpaqueClass::Unparseable, .. }]), "{text}: {effects:?}");
        }
    }
}
