//! Gives the parser and the walk the stack they need, because their recursion follows the depth of the text.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;

use crate::sql::Analysis;

/// Stack that one message of an encoded parse tree takes to decode, walk and drop, at most; unoptimized frames are large.
const BYTES_PER_LEVEL: usize = if cfg!(debug_assertions) { 20 * 1024 } else { 2 * 1024 };

/// Stack that is taken to be free on any thread that calls; the runtime's threads have 2 MiB.
const BYTES_FREE: usize = 1024 * 1024;

/// Stack for texts that may be deep. The C library encodes no tree of more than 10,000 messages, and gives up earlier
/// when its own recursion takes 2 MiB. Pages that are not touched cost nothing.
const BYTES_DEEP: usize = if cfg!(debug_assertions) { 256 * 1024 * 1024 } else { 64 * 1024 * 1024 };

/// Runs `work` on `text` here if it is certainly shallow, else on a thread of its own that ends with it.
///
/// `None` if the work panics or the thread cannot be had.
pub(super) fn with_room_for(text: &str, work: impl Fn() -> Analysis + Sync) -> Option<Analysis> {
    if depth_max(text).saturating_mul(BYTES_PER_LEVEL) <= BYTES_FREE {
        return catch_unwind(AssertUnwindSafe(&work)).ok();
    }
    thread::scope(|scope| {
        let deep = thread::Builder::new().name("sql".into()).stack_size(BYTES_DEEP).spawn_scoped(scope, &work).ok()?;
        deep.join().ok()
    })
}

/// No parse tree of `text` is deeper, in messages: no token adds more than three, and every statement some twenty.
fn depth_max(text: &str) -> usize {
    tokens_max(text).saturating_mul(3).saturating_add(20)
}

/// At least as many as `text` has tokens: runs of word characters, and every other byte that is not white space.
fn tokens_max(text: &str) -> usize {
    let mut tokens: usize = 0;
    let mut in_word = false;
    for byte in text.bytes() {
        let word = byte.is_ascii_alphanumeric() || byte == b'_' || byte >= 0x80;
        let goes_on = word && in_word;
        if !byte.is_ascii_whitespace() && !goes_on {
            tokens = tokens.saturating_add(1);
        }
        in_word = word;
    }
    tokens
}

#[cfg(test)]
mod tests {
    use super::{tokens_max, with_room_for};

    #[test]
    fn the_bound_counts_every_token() {
        assert_eq!(tokens_max("select a.b, 'x' from t_1"), 10);
        assert_eq!(tokens_max(" \n\t"), 0);
        assert_eq!(tokens_max("((((1))))"), 9);
    }

    #[test]
    fn work_that_panics_is_no_answer_on_either_stack() {
        assert_eq!(with_room_for("select 1", || panic!("on the caller's stack")), None);
        assert_eq!(with_room_for(&"(".repeat(100_000), || panic!("on a stack of its own")), None);
    }
}
