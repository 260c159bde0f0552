//! What dbt says about a statement.

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
/// TEMP
pub fn attribute(_: &str) -> Option<Attribution> {
    None
}
