//! The block comments at the two ends of a text.

/// Bytes at each end of a text that are looked at.
const REACH_BYTES: usize = 16 * 1024;

/// What the comment that `text` begins with contains.
pub(super) fn first(text: &str) -> Option<&str> {
    let head = text.get(..text.floor_char_boundary(REACH_BYTES))?;
    let head = head.trim_start();
    let (comment, _) = split(inside_copy(head).unwrap_or(head))?;
    Some(comment.trim())
}

/// What the comment at the very start contains, and what follows it. dbt-athena puts its own behind dashes, since Athena does not
/// take every other.
fn split(start: &str) -> Option<(&str, &str)> {
    let behind_dashes = start.strip_prefix("--").map(|line| line.trim_start_matches([' ', '\t']));
    let (comment, rest) = behind_dashes.unwrap_or(start).strip_prefix("/*")?.split_once("*/")?;
    let is_all_of_its_line = !comment.contains(['\n', '\r']) && rest.starts_with('\n');
    (behind_dashes.is_none() || is_all_of_its_line).then_some((comment, rest))
}

/// What follows `COPY (`.
fn inside_copy(head: &str) -> Option<&str> {
    let (word, rest) = head.split_at_checked("copy".len())?;
    let inside = rest.trim_start().strip_prefix('(')?.trim_start();
    word.eq_ignore_ascii_case("copy").then_some(inside)
}

/// What the comment that `text` ends with contains; a semicolon may follow it.
pub(super) fn last(text: &str) -> Option<&str> {
    let tail = text.get(text.ceil_char_boundary(text.len().saturating_sub(REACH_BYTES))..)?;
    let (_, comment) = tail.trim_end_matches(|c: char| c.is_whitespace() || c == ';').strip_suffix("*/")?.rsplit_once("/*")?;
    Some(comment.trim())
}

/// What follows the comment that `text` begins with; all of it where it begins with none.
pub(super) fn without_first(text: &str) -> &str {
    let start = text.trim_start();
    split(start).map_or(start, |(_, rest)| rest)
}
