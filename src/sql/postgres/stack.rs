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

/// Messages above and around a value in the flattest of statements.
const LEVELS_OF_A_STATEMENT: usize = 24;

/// Words that make an expression or a query deeper without a bracket or an operator; after every other word the grammar
/// goes on beside, not below. (`LEFT` and the like stand before `JOIN`, `ALL` after `UNION`.)
const DEEPENING: &[&str] = &[
    "and",
    "at",
    "between",
    "case",
    "collate",
    "else",
    "except",
    "ilike",
    "in",
    "intersect",
    "is",
    "isnull",
    "join",
    "like",
    "not",
    "notnull",
    "or",
    "overlaps",
    "similar",
    "then",
    "union",
    "unique",
    "when",
];

/// Runs `work` on `text` here if it is certainly shallow, else on a thread of its own that ends with it.
///
/// `None` if the work panics or the thread cannot be had.
pub(super) fn with_room_for(text: &str, work: impl Fn() -> Analysis + Sync) -> Option<Analysis> {
    if is_shallow(text) {
        return catch_unwind(AssertUnwindSafe(&work)).ok();
    }
    on_a_deep_stack(work)
}

/// Runs `work` on a thread of its own that ends with it. `None` as for [`with_room_for`].
pub(in crate::sql) fn on_a_deep_stack(work: impl Fn() -> Analysis + Sync) -> Option<Analysis> {
    thread::scope(|scope| {
        let deep = thread::Builder::new().name("sql".into()).stack_size(BYTES_DEEP).spawn_scoped(scope, &work).ok()?;
        deep.join().ok()
    })
}

fn is_shallow(text: &str) -> bool {
    levels_max(text).saturating_mul(BYTES_PER_LEVEL) <= BYTES_FREE
}

/// No parse tree of `text` is deeper, in messages. What stands in strings and comments counts as well: it only adds.
fn levels_max(text: &str) -> usize {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c.is_ascii());
    // A word adds at most a node, its list, and a function call around it (`SIMILAR TO`, `BETWEEN`, `CASE WHEN`).
    let words = words.filter(|word| DEEPENING.iter().any(|deepening| word.eq_ignore_ascii_case(deepening))).count();
    let bytes: usize = text.bytes().map(levels_of_byte).sum();
    words.saturating_mul(4).saturating_add(bytes).saturating_add(LEVELS_OF_A_STATEMENT)
}

/// A bracket can open a query in an expression; an operator is one expression around another.
fn levels_of_byte(byte: u8) -> usize {
    match byte {
        b'(' | b'[' => 8,
        b'+' | b'-' | b'*' | b'/' | b'<' | b'>' | b'=' | b'~' | b'!' | b'@' | b'#' | b'%' | b'^' | b'&' | b'|' | b'`' | b'?' | b':' => 2,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::{BYTES_FREE, DEEPENING, is_shallow, levels_max, with_room_for};
    use crate::sql::{Dialect, Limits, analyze};

    /// Ways to write a text that is deeper than it is long: the start, what is repeated before the middle, the middle, and
    /// what is repeated after it.
    const DEEPER: &[[&str; 4]] = &[
        ["select ", "- ", "1", ""],
        ["select ", "not ", "true", ""],
        ["select ", "", "a", "::x"],
        ["select ", "", "1", "+1"],
        ["select ", "", "a", " is null"],
        ["select ", "", "a", " is json"],
        ["select ", "", "a", " is true"],
        ["select ", "", "a", " collate x"],
        ["select ", "", "a", " at local"],
        ["select ", "", "a", " at time zone b"],
        ["select ", "", "a", " isnull"],
        ["select ", "(", "a", " between b and c)"],
        ["select ", "(", "a", " similar to b escape c)"],
        ["select ", "(", "a", " not like b escape c)"],
        ["select ", "a in (", "1", ")"],
        ["select ", "case when ", "a", " then b end"],
        ["select ", "case a when b then ", "a", " end"],
        ["select ", "case a when b then c else ", "a", " end"],
        ["select array", "[", "1", "]"],
        ["select ", "f(", "1", ")"],
        ["select ", "coalesce(", "1", ")"],
        ["select ", "row(", "1", ")"],
        ["select ", "a[", "1", "]"],
        ["select ", "(select ", "1", ")"],
        ["select ", "exists (select ", "1", ")"],
        ["select ", "a = any (select ", "1", ")"],
        ["", "select * from (", "select 1", ") q"],
        ["", "with q as (", "select 1", ") select 1"],
        ["", "select 1 order by (", "select 1", ")"],
        ["select ", "count(*) over (order by ", "1", ")"],
        ["select ", "count(*) filter (where ", "a", ")"],
        ["select ", "json_array(select ", "1", ")"],
        ["select ", "json_object(k: ", "1", ")"],
        ["select ", "json_objectagg(k: ", "1", ")"],
        ["select ", "json_value(", "1", ", '$')"],
        ["select ", "xmlelement(name a, xmlattributes(", "a", " as b))"],
        ["", "", "select 1", " union select 1"],
        ["select * from t", "", "", " join u using (k)"],
        ["select * from ", "(", "t", " cross join u)"],
        ["select 1 group by ", "rollup(", "a", ")"],
    ];

    fn repeated([start, before, middle, after]: &[&str; 4], times: usize) -> String {
        format!("{start}{}{middle}{}", before.repeat(times), after.repeat(times))
    }

    #[test]
    fn the_deepest_texts_that_are_judged_on_the_stack_of_the_caller_fit_it() {
        for shape in DEEPER {
            let mut times = 1;
            while is_shallow(&repeated(shape, times + 1)) {
                times += 1;
            }
            let text = repeated(shape, times);
            assert!(is_shallow(&text), "{text}");
            let judge = move || analyze(Dialect::Postgres, &text, &Limits::default());
            let analysis = std::thread::Builder::new().stack_size(BYTES_FREE).spawn(judge).unwrap().join().unwrap();
            let effects: Vec<String> = analysis.statements.iter().flat_map(|s| &s.effects).map(ToString::to_string).collect();
            assert!(!effects.iter().any(|effect| effect.contains("opaque")), "{shape:?}: {effects:?}");
        }
    }

    #[test]
    fn brackets_operators_and_deepening_words_count_and_names_do_not() {
        assert_eq!(levels_max("select a, b, c from d, e where f"), levels_max("select"));
        assert!(levels_max("select 1 + (2)") > levels_max("select 1"));
        assert!(levels_max("select NOT a") > levels_max("select a"));
        assert_eq!(levels_max("select knot, note, not_a"), levels_max("select"));
        assert!(DEEPENING.is_sorted());
    }

    #[test]
    fn work_that_panics_is_no_answer_on_either_stack() {
        assert_eq!(with_room_for("select 1", || panic!("on the caller's stack")), None);
        assert_eq!(with_room_for(&"(".repeat(100_000), || panic!("on a stack of its own")), None);
    }
}
