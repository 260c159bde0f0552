//! The block comments at the two ends of a text.

/// Bytes at each end of a text that are looked at.
const REACH_BYTES: usize = 16 * 1024;

/// What the comment that `text` begins with contains.
pub(super) fn first(text: &str) -> Option<&str> {
    let head = text.get(..text.floor_char_boundary(REACH_BYTES))?;
    let head = head.trim_start();
    let (comment, _) = inside_copy(head).unwrap_or(head).strip_prefix("/*")?.split_once("*/")?;
    Some(comment.trim())
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
    start.strip_prefix("/*").and_then(|rest| rest.split_once("*/")).map_or(start, |(_, rest)| rest)
}
