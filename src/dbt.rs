//! What dbt says about a statement, and what its manifest proves of that.

mod comment;
pub mod manifest;

use manifest::verify::Standing;

/// Who dbt says a statement is for. It comes from a comment that the client wrote, so it is claimed, not proven.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Attribution {
    /// `node_id`: the unique id of the model, test, seed or snapshot.
    pub node: Option<String>,
    /// `connection_name`, where dbt names no node (listing of relations, hooks).
    pub connection: Option<String>,
    /// `invocation_id`, where the project's query-comment gives it.
    pub invocation: Option<String>,
    /// `target_name` of the profile.
    pub target: Option<String>,
    /// `profile_name`.
    pub profile: Option<String>,
    /// `dbt_version`.
    pub version: Option<String>,
}

/// What dbt says about a statement, and what that is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Claim<'a> {
    /// What it says.
    pub attribution: &'a Attribution,
    /// Whether a manifest bears it out.
    pub standing: &'a Standing,
}

/// Reads dbt's query comment: a block comment at the start or the end of `text` that is a JSON object with
/// `"app": "dbt"`. The one at the start is taken if both are there.
///
/// dbt writes it before the statement unless the project asks for it after (`query-comment: append: true`):
/// <https://docs.getdbt.com/reference/project-configs/query-comment>.
///
/// dbt-athena writes it as a line of its own, behind `--`. A driver may wrap the whole in `COPY (...)`, as the Arrow one does with queries; that counts as the start as well.
///
/// Costs the same for a text of megabytes as for one of 32 KiB: only its first and last 16 KiB are looked at.
pub fn attribute(text: &str) -> Option<Attribution> {
    comment::first(text).and_then(parse).or_else(|| comment::last(text).and_then(parse))
}

/// The comment's object; only the keys that name something are read, and only where they are strings.
fn parse(comment: &str) -> Option<Attribution> {
    #[derive(serde::Deserialize)]
    struct Comment {
        app: String,
        node_id: Option<String>,
        connection_name: Option<String>,
        invocation_id: Option<String>,
        target_name: Option<String>,
        profile_name: Option<String>,
        dbt_version: Option<String>,
    }
    let comment: Comment = serde_json::from_str(comment).ok()?;
    (comment.app == "dbt").then_some(Attribution {
        node: comment.node_id,
        connection: comment.connection_name,
        invocation: comment.invocation_id,
        target: comment.target_name,
        profile: comment.profile_name,
        version: comment.dbt_version,
    })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{Attribution, attribute};

    const COMMENT: &str = r#"/* {"app": "dbt", "dbt_version": "1.12.6", "profile_name": "jaffle", "target_name": "dev", "node_id": "model.jaffle.orders"} */"#;

    fn orders() -> Option<Attribution> {
        let word = |word: &str| Some(word.to_owned());
        let (version, profile, target, node) = (word("1.12.6"), word("jaffle"), word("dev"), word("model.jaffle.orders"));
        Some(Attribution { node, target, profile, version, ..Attribution::default() })
    }

    #[test]
    fn a_comment_before_or_after_the_statement_is_read() {
        for text in
            [format!("{COMMENT}\nselect 1"), format!("  \n{COMMENT}"), format!("select 1\n{COMMENT}"), format!("select 1 {COMMENT} ; ")]
        {
            assert_eq!(attribute(&text), orders(), "{text}");
        }
    }

    #[test]
    fn a_comment_that_is_a_line_of_its_own_is_read() {
        assert_eq!(attribute(&format!("-- {COMMENT}\nselect 1")), orders());
        assert_eq!(attribute(&format!("select 1\n-- {COMMENT};")), orders());
    }

    #[test]
    fn a_comment_inside_a_copy_of_a_query_is_in_front_of_it() {
        assert_eq!(attribute(&format!("COPY ({COMMENT} select 1) TO STDOUT (FORMAT binary)")), orders());
        assert_eq!(attribute(&format!("copyright {COMMENT} select 1")), None);
    }

    #[test]
    fn the_comment_in_front_wins() {
        let other = COMMENT.replace("orders", "other");
        assert_eq!(attribute(&format!("{COMMENT} select 1 {other}")), orders());
        assert_eq!(attribute(&format!("/* mine */ select 1 {COMMENT}")), orders());
    }

    #[test]
    fn a_comment_in_the_middle_is_not_dbts_word() {
        assert_eq!(attribute(&format!("select {COMMENT} 1")), None);
    }

    #[test]
    fn what_only_looks_like_a_comment_is_not_read() {
        for text in [
            "select 1".to_owned(),
            String::new(),
            "/*".to_owned(),
            "*/".to_owned(),
            "/*/".to_owned(),
            COMMENT.trim_end_matches("*/").to_owned(),
            COMMENT.replace("\"dbt\"", "\"other\""),
            COMMENT.replace("\"app\"", "\"application\""),
            COMMENT.replace("{\"app\"", "[\"app\""),
            format!("-- {COMMENT} select 1"),
            format!("-- {}\nselect 1", COMMENT.replace(", ", ",\n")),
            format!("- {COMMENT}\nselect 1"),
        ] {
            assert_eq!(attribute(&text), None, "{text}");
        }
    }

    #[test]
    fn an_end_of_the_text_that_lies_in_a_string_is_not_read() {
        assert_eq!(attribute(&format!("select '{COMMENT}'")), None);
    }

    #[test]
    fn only_the_ends_of_a_long_text_are_looked_at() {
        let long = "x, ".repeat(1_000_000);
        assert_eq!(attribute(&format!("{COMMENT} select {long} 1")), orders());
        assert_eq!(attribute(&format!("select {long} 1 {COMMENT}")), orders());
        let padded = COMMENT.replace("/* {", &format!("/* {}{{", " ".repeat(20_000)));
        assert_eq!(attribute(&format!("{padded} select 1")), None);
        // A multi-byte character may stand across either border.
        assert_eq!(attribute(&format!("{COMMENT} select '{}'", "é".repeat(20_000))), orders());
        assert_eq!(attribute(&format!("select 'x{}' {COMMENT}", "é".repeat(20_000))), orders());
    }

    #[test]
    fn every_commented_statement_of_a_dbt_build_is_attributed() {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/dbt-postgres/statements.jsonl");
        let mut attributed = 0;
        for line in std::fs::read_to_string(file).unwrap().lines() {
            let sent: serde_json::Value = serde_json::from_str(line).unwrap();
            let sql = sent["sql"].as_str().unwrap();
            if sql.contains(r#""app": "dbt""#) {
                let said = attribute(sql).unwrap_or_else(|| panic!("{sql}"));
                assert_eq!((said.profile.as_deref(), said.target.as_deref()), (Some("jaffle"), Some("dev")));
                assert_eq!(said.node.is_some(), sql.contains("\"node_id\": \""), "{sql}");
                assert_eq!(said.invocation.is_some(), sql.contains("\"invocation_id\""), "{sql}");
                attributed += 1;
            }
        }
        assert!(attributed > 200, "only {attributed}");
    }
}
