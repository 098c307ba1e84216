//! Tables whose bounds change while they are in use, and tables that are bounded in bytes too.

use std::borrow::Borrow;
use std::hash::{BuildHasher, Hash};

use hashlink::LruCache;

/// Gives a table another bound; says how many of the least recently used entries are forgotten for it.
pub(super) fn resize<K: Eq + Hash, V, S: BuildHasher>(table: &mut LruCache<K, V, S>, max: usize) -> u64 {
    let forgotten = table.len().saturating_sub(max);
    table.set_capacity(max);
    forgotten as u64
}

/// A table of so many entries and so many bytes at most. The least recently used ones make room.
#[derive(Debug)]
pub(super) struct Weighed<K, V> {
    table: LruCache<K, (V, usize)>,
    max: usize,
    bytes: usize,
    max_bytes: usize,
}

impl<K: Eq + Hash, V> Weighed<K, V> {
    pub(super) fn new(max: usize, max_bytes: usize) -> Self {
        Self { table: LruCache::new(max), max, bytes: 0, max_bytes }
    }

    /// Without counting it as used.
    pub(super) fn peek<Q: Eq + Hash + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        self.table.peek(key).map(|(value, _)| value)
    }

    pub(super) fn get_mut<Q: Eq + Hash + ?Sized>(&mut self, key: &Q) -> Option<&mut V>
    where
        K: Borrow<Q>,
    {
        self.table.get_mut(key).map(|(value, _)| value)
    }

    /// Says how many others are forgotten for it.
    pub(super) fn insert(&mut self, key: K, value: V, bytes: usize) -> u64 {
        let mut forgotten = 0;
        if !self.table.contains_key(&key) {
            forgotten += self.shrink(self.max.saturating_sub(1), usize::MAX);
        }
        let before = self.table.insert(key, (value, bytes)).map_or(0, |(_, bytes)| bytes);
        self.bytes = (self.bytes + bytes).saturating_sub(before);
        forgotten + self.fit()
    }

    /// An entry has so many bytes now; says how many others are forgotten for it.
    pub(super) fn weigh<Q: Eq + Hash + ?Sized>(&mut self, key: &Q, bytes: usize) -> u64
    where
        K: Borrow<Q>,
    {
        if let Some((_, known)) = self.table.get_mut(key) {
            self.bytes = (self.bytes + bytes).saturating_sub(std::mem::replace(known, bytes));
        }
        self.fit()
    }

    /// Another bound; says how many are forgotten for it.
    pub(super) fn resize(&mut self, max: usize) -> u64 {
        let forgotten = self.shrink(max, usize::MAX);
        self.max = max;
        self.table.set_capacity(max);
        forgotten
    }

    /// The one that is in use stays, however long it is.
    fn fit(&mut self) -> u64 {
        if self.bytes <= self.max_bytes { 0 } else { self.shrink(usize::MAX, self.max_bytes) }
    }

    fn shrink(&mut self, max: usize, max_bytes: usize) -> u64 {
        let mut forgotten = 0;
        while self.table.len() > max || (self.bytes > max_bytes && self.table.len() > 1) {
            let Some((_, (_, bytes))) = self.table.remove_lru() else { break };
            self.bytes = self.bytes.saturating_sub(bytes);
            forgotten += 1;
        }
        forgotten
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_recently_used_make_room_for_number_and_bytes() {
        let mut table = Weighed::new(3, 100);
        for key in 0..3 {
            assert_eq!(table.insert(key, key * 10, 20), 0);
        }
        assert_eq!(table.get_mut(&0).copied(), Some(0));
        assert_eq!(table.insert(3, 30, 20), 1, "a fourth");
        assert_eq!((table.peek(&1), table.peek(&0)), (None, Some(&0)));
        assert_eq!(table.weigh(&0, 70), 1, "110 bytes");
        assert_eq!((table.peek(&2), table.peek(&3)), (None, Some(&30)));
        assert_eq!(table.insert(3, 31, 500), 1, "longer than everything");
        assert_eq!((table.peek(&0), table.peek(&3)), (None, Some(&31)));
        assert_eq!(table.insert(3, 32, 10), 0);
        assert_eq!((table.insert(4, 40, 90), table.insert(5, 50, 0)), (0, 0));
        assert_eq!((table.resize(1), table.peek(&5)), (2, Some(&50)));
        assert_eq!(table.insert(6, 60, 1), 1);
    }
}
