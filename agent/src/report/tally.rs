//! Bounded sets with counts.

use std::cmp::Reverse;
use std::collections::BTreeMap;

/// How often each of some things was seen, up to a number of things.
#[derive(Clone, Debug)]
pub(super) struct Tally<K> {
    counts: BTreeMap<K, u64>,
}

impl<K> Default for Tally<K> {
    fn default() -> Self {
        Self { counts: BTreeMap::new() }
    }
}

impl<K: Ord + Clone> Tally<K> {
    /// Counts one more; false where there is no room for another thing.
    pub(super) fn add(&mut self, key: &K, limit: usize) -> bool {
        if let Some(n) = self.counts.get_mut(key) {
            *n += 1;
            return true;
        }
        let has_room = self.counts.len() < limit;
        if has_room {
            self.counts.insert(key.clone(), 1);
        }
        has_room
    }

    /// Takes back what was counted.
    pub(super) fn remove(&mut self, key: &K) {
        if let Some(n) = self.counts.get_mut(key) {
            *n -= 1;
            if *n == 0 {
                self.counts.remove(key);
            }
        }
    }

    /// In the order of the things.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&K, u64)> {
        self.counts.iter().map(|(key, n)| (key, *n))
    }

    /// Most often seen first.
    pub(super) fn by_count(&self) -> Vec<(&K, u64)> {
        let mut all: Vec<_> = self.iter().collect();
        all.sort_by_key(|(_, n)| Reverse(*n));
        all
    }

    /// The things.
    pub(super) fn keys(&self) -> impl Iterator<Item = &K> {
        self.counts.keys()
    }
}
