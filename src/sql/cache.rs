//! Remembers analyses, so that a statement sent again costs one look-up: by the exact text, and by its shape where the
//! values in it make no difference.

use std::collections::HashMap;
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::shape::Shape;
use super::{Analysis, Dialect, Effect, Limits, Session, Statement, analyze};

/// Longest text, in bytes, that is remembered; longer ones are rarely sent twice.
const TEXT_BYTES_MAX: usize = 8 * 1024;

/// A bounded memory of analyses, shared by all sessions.
#[derive(Debug)]
pub struct Cache {
    texts: Memory<Arc<Analysis>>,
    shapes: Memory<Known>,
}

/// What is known of a shape.
#[derive(Debug, Clone)]
enum Known {
    /// A text of it came once.
    Seen,
    /// Every text of it has this analysis.
    Alike(Arc<Analysis>),
    /// The values make a difference, or may.
    Unlike,
}

impl Cache {
    /// A cache of at most `entries_max` texts and as many shapes, that weigh at most `bytes_max` bytes together with their
    /// analyses.
    pub fn new(entries_max: usize, bytes_max: usize) -> Self {
        Self { texts: Memory::new(entries_max, bytes_max / 2), shapes: Memory::new(entries_max, bytes_max / 2) }
    }

    /// [`analyze`], or what it said of the same text, or of one that differs only in values without influence, under the same
    /// dialect and limits before.
    pub fn analyze(&self, dialect: Dialect, text: &str, limits: &Limits) -> Arc<Analysis> {
        if text.len() > TEXT_BYTES_MAX.min(limits.statement_bytes_max) {
            return Arc::new(analyze(dialect, text, limits));
        }
        let under = (dialect, *limits);
        let Some(shape) = Shape::of(text) else { return self.by_text(text, under) };
        match self.shapes.find(&shape.key, under) {
            Some(Known::Alike(analysis)) => analysis,
            Some(Known::Unlike) => self.by_text(text, under),
            Some(Known::Seen) => {
                let analysis = self.by_text(text, under);
                let known = if is_alike(&shape, &analysis, under) { Known::Alike(Arc::clone(&analysis)) } else { Known::Unlike };
                self.shapes.keep(&shape.key, under, known, weight(&shape.key, &analysis));
                analysis
            }
            None => {
                // Most shapes come once; the comparison is worth it from the second time on.
                self.shapes.keep(&shape.key, under, Known::Seen, shape.key.len());
                self.by_text(text, under)
            }
        }
    }

    fn by_text(&self, text: &str, under: Under) -> Arc<Analysis> {
        if let Some(known) = self.texts.find(text, under) {
            return known;
        }
        // Not under the lock: two sessions may analyze one new text, and nobody waits for either.
        let (dialect, limits) = under;
        let analysis = Arc::new(analyze(dialect, text, &limits));
        self.texts.keep(text, under, Arc::clone(&analysis), weight(text, &analysis));
        analysis
    }
}

/// Whether the values in a text of `shape` have no influence on its `analysis`: it reads and writes what it names and calls
/// functions, and a text with values that no client can send has the very same effects.
fn is_alike(shape: &Shape, analysis: &Analysis, (dialect, limits): Under) -> bool {
    let [Statement { effects, session: Session::Unchanged, .. }] = analysis.statements.as_slice() else { return false };
    let is_plain = |effect: &Effect| match effect {
        Effect::Access { .. } | Effect::Call { .. } => true,
        Effect::Role { .. } | Effect::Set { .. } | Effect::Opaque { .. } => false,
    };
    effects.iter().all(is_plain) && analyze(dialect, &shape.probe(), &limits) == *analysis
}

/// What an analysis depends on besides the text.
type Under = (Dialect, Limits);

/// A bounded map.
///
/// Entries live in two generations. A new entry, or one used again, goes to the young one; when that holds half of a
/// bound, it becomes the old one and the entries left in the old one are forgotten. So what is used stays, without a
/// list to maintain on every hit.
#[derive(Debug)]
struct Memory<V> {
    entries_max: usize,
    bytes_max: usize,
    generations: Mutex<Generations<V>>,
}

#[derive(Debug)]
struct Generations<V> {
    young: HashMap<Box<str>, Entry<V>>,
    young_bytes: usize,
    old: HashMap<Box<str>, Entry<V>>,
}

#[derive(Debug)]
struct Entry<V> {
    under: Under,
    value: V,
    bytes: usize,
}

impl<V: Clone> Memory<V> {
    fn new(entries_max: usize, bytes_max: usize) -> Self {
        let generations = Generations { young: HashMap::new(), young_bytes: 0, old: HashMap::new() };
        Self { entries_max, bytes_max, generations: Mutex::new(generations) }
    }

    fn find(&self, key: &str, under: Under) -> Option<V> {
        let mut generations = self.lock();
        if let Some(entry) = generations.young.get(key) {
            return (entry.under == under).then(|| entry.value.clone());
        }
        let (key, entry) = generations.old.remove_entry(key)?;
        let value = (entry.under == under).then(|| entry.value.clone());
        self.insert(&mut generations, key, entry);
        value
    }

    /// Keeps a value that takes about `bytes`, in place of an older one.
    fn keep(&self, key: &str, under: Under, value: V, bytes: usize) {
        let mut generations = self.lock();
        generations.old.remove(key);
        if let Some(replaced) = generations.young.remove(key) {
            generations.young_bytes = generations.young_bytes.saturating_sub(replaced.bytes);
        }
        self.insert(&mut generations, key.into(), Entry { under, value, bytes });
    }

    fn insert(&self, generations: &mut Generations<V>, key: Box<str>, entry: Entry<V>) {
        let bytes = entry.bytes;
        if generations.young.len() >= self.entries_max / 2 || generations.young_bytes.saturating_add(bytes) > self.bytes_max / 2 {
            generations.old = mem::take(&mut generations.young);
            generations.young_bytes = 0;
        }
        if bytes <= self.bytes_max / 2 && self.entries_max >= 2 {
            generations.young_bytes = generations.young_bytes.saturating_add(bytes);
            generations.young.insert(key, entry);
        }
    }

    /// A panic elsewhere leaves the maps whole, so a poisoned lock is still good.
    fn lock(&self) -> MutexGuard<'_, Generations<V>> {
        self.generations.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// About how many bytes an entry takes: names are of the text, so they are counted by a second copy of it.
fn weight(text: &str, analysis: &Analysis) -> usize {
    let effects: usize = analysis.statements.iter().map(|statement| statement.effects.len()).sum();
    text.len() * 2 + effects * mem::size_of::<Effect>() + analysis.statements.len() * mem::size_of::<Statement>()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::{Cache, TEXT_BYTES_MAX};
    use crate::sql::{Dialect, Limits, analyze};

    fn held(cache: &Cache) -> usize {
        let generations = cache.texts.lock();
        generations.young.len() + generations.old.len()
    }

    fn look_up(number: u32) -> String {
        format!("select a from t where id = {number}")
    }

    #[test]
    fn texts_that_differ_in_values_share_an_analysis_from_the_third_on() {
        let cache = Cache::new(8, 1 << 20);
        let limits = Limits::default();
        let [_, second, third, fourth] = [1, 2, 3, 4].map(|number| cache.analyze(Dialect::Postgres, &look_up(number), &limits));
        assert!(Arc::ptr_eq(&second, &third) && Arc::ptr_eq(&second, &fourth));
        assert_eq!(*third, analyze(Dialect::Postgres, &look_up(3), &limits));
        let strict = Limits { statement_bytes_max: look_up(3).len() - 1, ..limits };
        assert_eq!(*cache.analyze(Dialect::Postgres, &look_up(3), &strict), analyze(Dialect::Postgres, &look_up(3), &strict));
    }

    #[test]
    fn values_that_make_a_difference_are_never_shared() {
        let cache = Cache::new(64, 1 << 20);
        let limits = Limits::default();
        for template in [
            "select set_config('?', 'x', false)",
            "set search_path = '?'",
            "select 1; select '?'",
            "copy t from '?'",
            "prepare p as select '?'",
        ] {
            for value in ["a", "b", "c", "search_path"] {
                let text = template.replace('?', value);
                assert_eq!(*cache.analyze(Dialect::Postgres, &text, &limits), analyze(Dialect::Postgres, &text, &limits), "{text}");
            }
        }
    }

    #[test]
    fn the_process_that_one_text_signals_is_never_taken_for_that_of_another() {
        let cache = Cache::new(64, 1 << 20);
        for number in [0, 7, 0, 7, 8, 9, 7, 0] {
            let text = format!("select pg_terminate_backend({number})");
            let limits = Limits::default();
            assert_eq!(*cache.analyze(Dialect::Postgres, &text, &limits), analyze(Dialect::Postgres, &text, &limits), "{text}");
        }
    }

    #[test]
    fn a_text_sent_again_is_not_analyzed_again() {
        let cache = Cache::new(8, 1 << 20);
        let limits = Limits::default();
        let first = cache.analyze(Dialect::Postgres, "select 1", &limits);
        let second = cache.analyze(Dialect::Postgres, "select 1", &limits);
        assert!(Arc::ptr_eq(&first, &second));
        assert_eq!(*first, analyze(Dialect::Postgres, "select 1", &limits));
    }

    #[test]
    fn other_limits_are_judged_anew() {
        let cache = Cache::new(8, 1 << 20);
        let generous = cache.analyze(Dialect::Postgres, "select 1", &Limits::default());
        let strict = cache.analyze(Dialect::Postgres, "select 1", &Limits { statement_bytes_max: 1, ..Limits::default() });
        assert_ne!(generous, strict);
    }

    #[test]
    fn the_number_of_entries_has_a_bound_and_the_used_ones_stay() {
        let cache = Cache::new(10, 1 << 20);
        let limits = Limits::default();
        let used = cache.analyze(Dialect::Postgres, "select 'used'", &limits);
        for n in 0..100 {
            cache.analyze(Dialect::Postgres, &format!("select a{n}"), &limits);
            assert!(Arc::ptr_eq(&used, &cache.analyze(Dialect::Postgres, "select 'used'", &limits)), "forgotten after {n}");
            assert!(held(&cache) <= 10);
        }
    }

    #[test]
    fn the_bytes_have_a_bound() {
        let cache = Cache::new(1000, 10_000);
        for n in 0..100 {
            cache.analyze(Dialect::Postgres, &format!("select a{n} /*{}*/", "x".repeat(500)), &Limits::default());
        }
        assert!(held(&cache) < 10, "{} entries of over 1000 bytes", held(&cache));
    }

    #[test]
    fn a_long_text_is_analyzed_and_not_kept() {
        let cache = Cache::new(8, 1 << 20);
        cache.analyze(Dialect::Postgres, &"x".repeat(TEXT_BYTES_MAX + 1), &Limits::default());
        assert_eq!(held(&cache), 0);
    }
}
