//! Remembers analyses by the exact text, so that a statement sent again costs one look-up.

use std::collections::HashMap;
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Analysis, Dialect, Limits, analyze};

/// Longest text, in bytes, that is remembered; longer ones are rarely sent twice.
const TEXT_BYTES_MAX: usize = 8 * 1024;

/// A bounded memory of analyses, shared by all sessions.
///
/// Entries live in two generations. A new entry, or one used again, goes to the young one; when that holds half of a
/// bound, it becomes the old one and the entries left in the old one are forgotten. So what is used stays, without a
/// list to maintain on every hit.
#[derive(Debug)]
pub struct Cache {
    entries_max: usize,
    bytes_max: usize,
    generations: Mutex<Generations>,
}

#[derive(Debug, Default)]
struct Generations {
    young: HashMap<Box<str>, Entry>,
    young_bytes: usize,
    old: HashMap<Box<str>, Entry>,
}

#[derive(Debug, Clone)]
struct Entry {
    dialect: Dialect,
    limits: Limits,
    analysis: Arc<Analysis>,
}

impl Cache {
    /// A cache of at most `entries_max` texts that weigh at most `bytes_max` bytes together with their analyses.
    pub fn new(entries_max: usize, bytes_max: usize) -> Self {
        Self { entries_max, bytes_max, generations: Mutex::default() }
    }

    /// [`analyze`], or what it said of the same text under the same dialect and limits before.
    pub fn analyze(&self, dialect: Dialect, text: &str, limits: &Limits) -> Arc<Analysis> {
        if text.len() > TEXT_BYTES_MAX {
            return Arc::new(analyze(dialect, text, limits));
        }
        let known = self.lock().find(text);
        if let Some(known) = known
            && known.dialect == dialect
            && known.limits == *limits
        {
            return self.keep(text, known);
        }
        // Not under the lock: two sessions may analyze one new text, and nobody waits for either.
        let analysis = Arc::new(analyze(dialect, text, limits));
        self.keep(text, Entry { dialect, limits: *limits, analysis })
    }

    fn keep(&self, text: &str, entry: Entry) -> Arc<Analysis> {
        let analysis = Arc::clone(&entry.analysis);
        let bytes = weight(text, &analysis);
        let mut generations = self.lock();
        if generations.young.get(text).is_some_and(|known| Arc::ptr_eq(&known.analysis, &analysis)) {
            return analysis;
        }
        if generations.young.len() >= self.entries_max / 2 || generations.young_bytes.saturating_add(bytes) > self.bytes_max / 2 {
            generations.old = mem::take(&mut generations.young);
            generations.young_bytes = 0;
        }
        if bytes <= self.bytes_max / 2 && self.entries_max >= 2 {
            generations.old.remove(text);
            generations.young_bytes = generations.young_bytes.saturating_add(bytes);
            generations.young.insert(text.into(), entry);
        }
        analysis
    }

    /// A panic elsewhere leaves the maps whole, so a poisoned lock is still good.
    fn lock(&self) -> MutexGuard<'_, Generations> {
        self.generations.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Generations {
    fn find(&self, text: &str) -> Option<Entry> {
        self.young.get(text).or_else(|| self.old.get(text)).cloned()
    }
}

/// About how many bytes an entry takes: names are of the text, so they are counted by a second copy of it.
fn weight(text: &str, analysis: &Analysis) -> usize {
    let effects: usize = analysis.statements.iter().map(|statement| statement.effects.len()).sum();
    text.len() * 2 + effects * mem::size_of::<super::Effect>() + analysis.statements.len() * mem::size_of::<super::Statement>()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::{Cache, TEXT_BYTES_MAX};
    use crate::sql::{Dialect, Limits, analyze};

    fn held(cache: &Cache) -> usize {
        let generations = cache.lock();
        generations.young.len() + generations.old.len()
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
            cache.analyze(Dialect::Postgres, &format!("select {n}"), &limits);
            assert!(Arc::ptr_eq(&used, &cache.analyze(Dialect::Postgres, "select 'used'", &limits)), "forgotten after {n}");
            assert!(held(&cache) <= 10);
        }
    }

    #[test]
    fn the_bytes_have_a_bound() {
        let cache = Cache::new(1000, 10_000);
        for n in 0..100 {
            cache.analyze(Dialect::Postgres, &format!("select {n} /*{}*/", "x".repeat(500)), &Limits::default());
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
