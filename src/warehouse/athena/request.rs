//! The bodies of Athena's calls. What is not known here is refused, and so is a key that stands twice: two readers might take
//! different ones.

use serde::Deserialize;
use serde::de::DeserializeOwned;

/// `StartQueryExecution`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub(super) struct Start {
    pub(super) query_string: String,
    pub(super) query_execution_context: Option<Context>,
    pub(super) work_group: Option<String>,
    result_configuration: Option<Results>,
    execution_parameters: Option<Vec<String>>,
    #[serde(rename = "ClientRequestToken")]
    _client_request_token: Option<String>,
    #[serde(rename = "ResultReuseConfiguration")]
    _result_reuse_configuration: Option<Reuse>,
}

/// Where names are.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub(super) struct Context {
    pub(super) catalog: Option<String>,
    pub(super) database: Option<String>,
}

/// Where the result is written.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Results {
    output_location: Option<String>,
    #[serde(rename = "EncryptionConfiguration")]
    _encryption_configuration: Option<Encryption>,
    #[serde(rename = "ExpectedBucketOwner")]
    _expected_bucket_owner: Option<String>,
    #[serde(rename = "AclConfiguration")]
    _acl_configuration: Option<Acl>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Encryption {
    #[serde(rename = "EncryptionOption")]
    _option: Option<String>,
    #[serde(rename = "KmsKey")]
    _kms_key: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Acl {
    #[serde(rename = "S3AclOption")]
    _option: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Reuse {
    #[serde(rename = "ResultReuseByAgeConfiguration")]
    _by_age: Option<ByAge>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ByAge {
    #[serde(rename = "Enabled")]
    _enabled: Option<bool>,
    #[serde(rename = "MaxAgeInMinutes")]
    _max_age_in_minutes: Option<u32>,
}

/// A call about one execution.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub(super) struct Execution {
    pub(super) query_execution_id: String,
    #[serde(rename = "NextToken")]
    _next_token: Option<String>,
    #[serde(rename = "MaxResults")]
    _max_results: Option<u32>,
    #[serde(rename = "QueryResultType")]
    _query_result_type: Option<String>,
}

/// `BatchGetQueryExecution`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub(super) struct Batch {
    query_execution_ids: Vec<String>,
}

/// `CreatePreparedStatement` and `UpdatePreparedStatement`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub(super) struct Prepared {
    pub(super) query_statement: String,
    #[serde(rename = "StatementName")]
    _statement_name: Option<String>,
    #[serde(rename = "WorkGroup")]
    _work_group: Option<String>,
    #[serde(rename = "Description")]
    _description: Option<String>,
}

/// `GetDatabase`, `ListDatabases`, `GetTableMetadata` and `ListTableMetadata`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub(super) struct Metadata {
    pub(super) catalog_name: String,
    pub(super) database_name: Option<String>,
    pub(super) table_name: Option<String>,
    #[serde(rename = "Expression")]
    _expression: Option<String>,
    #[serde(rename = "NextToken")]
    _next_token: Option<String>,
    #[serde(rename = "MaxResults")]
    _max_results: Option<u32>,
    #[serde(rename = "WorkGroup")]
    _work_group: Option<String>,
}

/// The body of a call.
///
/// # Errors
/// It is not JSON of that form, or says more than is known of it. The parser's own words may quote it, and are not repeated.
pub(super) fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, &'static str> {
    serde_json::from_slice(body)
        .map_err(|_| "the body is not what this call takes, has a key that is not known here, or one that stands twice")
}

impl Start {
    /// Where the client wants the result written.
    pub(super) fn output_location(&self) -> Option<String> {
        self.result_configuration.as_ref()?.output_location.clone()
    }

    /// A parameter is an expression in the statement's own words, so it has to be a literal: a query could stand there.
    pub(super) fn check_parameters(&self) -> Result<(), &'static str> {
        let is_plain = self.execution_parameters.iter().flatten().all(|parameter| is_literal(parameter));
        if is_plain { Ok(()) } else { Err("an execution parameter that is not a literal") }
    }
}

impl Batch {
    /// The one execution that a call asks for.
    ///
    /// # Errors
    /// As for [`read`]; or there are several, of which some may be somebody else's.
    pub(super) fn only(body: &[u8]) -> Result<String, &'static str> {
        match read::<Self>(body)?.query_execution_ids.as_slice() {
            [only] => Ok(only.clone()),
            _ => Err("one execution at a time can be asked for here"),
        }
    }
}

/// A number, a word, a string, or a string behind the word for its type.
fn is_literal(text: &str) -> bool {
    let text = text.trim();
    let (before, quoted) = text.split_at(text.find('\'').unwrap_or(text.len()));
    let is_word = |word: &str| word.bytes().all(|byte| byte.is_ascii_alphabetic());
    match quoted.strip_prefix('\'').map(|rest| rest.strip_suffix('\'')) {
        None => is_word(text) && matches!(&*text.to_ascii_lowercase(), "true" | "false" | "null") || is_number(text),
        // Within a string a quote stands twice.
        Some(Some(inner)) => is_word(before.trim_end()) && !inner.replace("''", "").contains('\''),
        Some(None) => false,
    }
}

fn is_number(text: &str) -> bool {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    !digits.is_empty() && digits.starts_with(|first: char| first.is_ascii_digit() || first == '.') && digits.parse::<f64>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::{Batch, Execution, Metadata, Start, is_literal, read};

    #[test]
    fn what_is_not_known_or_stands_twice_is_refused() {
        let start = |body: &str| read::<Start>(body.as_bytes()).map(|start| start.query_string);
        assert_eq!(start(r#"{"QueryString":"select 1"}"#), Ok("select 1".to_owned()));
        for body in [
            r#"{"QueryString":"select 1","QueryString":"select 2"}"#,
            r#"{"QueryString":"select 1","querystring":"select 2"}"#,
            r#"{"QueryString":"select 1","EngineConfiguration":{}}"#,
            r#"{"QueryString":"select 1","QueryExecutionContext":{"Database":"a","Database":"b"}}"#,
            r#"{"QueryString":"select 1","ResultConfiguration":{"OutputLocation":"s3://a/","Else":1}}"#,
            r#"{"QueryString":["select 1"]}"#,
            r#"{"QueryString":"\ud800"}"#,
            r#"{"QueryString":"select 1"} x"#,
            r#"{}"#,
            "",
            "[1]",
        ] {
            assert!(start(body).is_err(), "{body}");
        }
        assert!(read::<Execution>(br#"{"QueryExecutionId":"a","QueryExecutionId":"b"}"#).is_err());
        assert!(read::<Metadata>(br#"{"CatalogName":"a","Other":"b"}"#).is_err());
        assert_eq!(Batch::only(br#"{"QueryExecutionIds":["a"]}"#), Ok("a".to_owned()));
        assert!(Batch::only(br#"{"QueryExecutionIds":["a","b"]}"#).is_err());
        assert!(Batch::only(br#"{"QueryExecutionIds":[]}"#).is_err());
    }

    #[test]
    fn a_parameter_is_a_literal_or_refused() {
        for literal in ["1", "-1.5", "1e3", "true", "NULL", "'a'", "'it''s'", "''", "DATE '2026-01-01'", "timestamp '2026-01-01 00:00:00'"]
        {
            assert!(is_literal(literal), "{literal}");
        }
        for other in [
            "",
            "a",
            "(select max(x) from secret)",
            "'a' || (select b from c)",
            "'a', 'b'",
            "'a",
            "'",
            "'a''",
            "x.y 'a'",
            "f('a')",
            "inf",
            "1 + 1",
            "-- '\n'",
        ] {
            assert!(!is_literal(other), "{other}");
        }
    }
}
