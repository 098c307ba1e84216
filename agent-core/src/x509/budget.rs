//! How much memory certificates take, over all who hold them: a certificate may be as long as a message, a chain has dozens,
//! and each open connection keeps its own.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Bytes held now, and how many may be.
#[derive(Clone, Debug)]
pub(crate) struct Budget {
    held: Arc<AtomicUsize>,
    max: usize,
}

impl Budget {
    pub(crate) fn new(max: usize) -> Self {
        Self { held: Arc::default(), max }
    }

    /// Is there room for something of `bytes`? What is longer than `usual` finds room in the first half only, so that a few
    /// who show huge ones do not take it from all others.
    pub(crate) fn has_room(&self, bytes: usize, usual: usize) -> bool {
        let max = if bytes > usual { self.max / 2 } else { self.max };
        self.held() < max
    }

    /// Counts these bytes until the last that holds them is gone.
    pub(crate) fn hold(&self, bytes: usize) -> Held {
        self.held.fetch_add(bytes, Ordering::Relaxed);
        Held(Some((Arc::clone(&self.held), bytes)))
    }

    /// Bytes held now.
    pub(crate) fn held(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }
}

/// Bytes that count as held for as long as this lives. Says nothing of what it is part of: all are equal, and a copy counts
/// for itself.
#[derive(Debug, Default)]
pub struct Held(Option<(Arc<AtomicUsize>, usize)>);

impl Clone for Held {
    fn clone(&self) -> Self {
        Self(self.0.as_ref().map(|(held, bytes)| {
            held.fetch_add(*bytes, Ordering::Relaxed);
            (Arc::clone(held), *bytes)
        }))
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Some((held, bytes)) = &self.0 {
            held.fetch_sub(*bytes, Ordering::Relaxed);
        }
    }
}

impl PartialEq for Held {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Held {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_every_copy_until_it_is_gone() {
        let budget = Budget::new(100);
        let one = budget.hold(30);
        let two = one.clone();
        assert_eq!((budget.held(), budget.has_room(10, 10), budget.has_room(11, 10)), (60, true, false));
        drop(one);
        assert_eq!((budget.held(), budget.has_room(11, 10)), (30, true));
        let three = budget.hold(70);
        assert!(!budget.has_room(1, 10));
        drop((two, three));
        assert_eq!(budget.held(), 0);
        drop(Held::default());
        assert_eq!(budget.held(), 0);
    }
}
