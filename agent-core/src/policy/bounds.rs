//! Tables whose bounds change while they are in use.

use std::hash::{BuildHasher, Hash};

use hashlink::LruCache;

/// Gives a table another bound; says how many of the least recently used entries are forgotten for it.
pub(super) fn resize<K: Eq + Hash, V, S: BuildHasher>(table: &mut LruCache<K, V, S>, max: usize) -> u64 {
    let forgotten = table.len().saturating_sub(max);
    table.set_capacity(max);
    forgotten as u64
}
