//! From the capture thread to the exporter's: bounded by records and by bytes, and nobody waits.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::mpsc;

/// What weighs something while it waits.
pub(super) trait Weight {
    /// Bytes, about.
    fn weight(&self) -> usize;
}

/// How full a queue is.
#[derive(Debug)]
pub(super) struct Fill {
    length: AtomicUsize,
    bytes: AtomicUsize,
    capacity: usize,
    max_bytes: usize,
}

impl Fill {
    /// Records that wait, and how many may.
    pub(super) fn length(&self) -> (usize, usize) {
        (self.length.load(Ordering::Relaxed), self.capacity)
    }
}

/// The capture thread's end.
#[derive(Debug)]
pub(super) struct Sender<T> {
    to: mpsc::Sender<(T, usize)>,
    fill: Arc<Fill>,
}

/// The exporter's end.
#[derive(Debug)]
pub(super) struct Receiver<T> {
    from: mpsc::Receiver<(T, usize)>,
    fill: Arc<Fill>,
}

/// A queue of that many records and bytes.
pub(super) fn queue<T: Weight>(capacity: usize, max_bytes: usize) -> (Sender<T>, Receiver<T>) {
    let (to, from) = mpsc::channel(capacity);
    let fill =
        Arc::new(Fill { length: AtomicUsize::new(0), bytes: AtomicUsize::new(0), capacity, max_bytes });
    (Sender { to, fill: Arc::clone(&fill) }, Receiver { from, fill })
}

impl<T: Weight> Sender<T> {
    /// Hands it over; false when there is no room, or nobody is left to take it. It is not made where there is no room.
    pub(super) fn offer(&self, make: impl FnOnce() -> T) -> bool {
        let Ok(place) = self.to.try_reserve() else { return false };
        if self.fill.bytes.load(Ordering::Relaxed) >= self.fill.max_bytes {
            return false;
        }
        let record = make();
        let weight = record.weight();
        self.fill.bytes.fetch_add(weight, Ordering::Relaxed);
        self.fill.length.fetch_add(1, Ordering::Relaxed);
        place.send((record, weight));
        true
    }

    /// How full it is.
    pub(super) fn fill(&self) -> Arc<Fill> {
        Arc::clone(&self.fill)
    }
}

impl<T> Receiver<T> {
    /// The next one, with its weight; `None` when the other end is gone.
    pub(super) async fn next(&mut self) -> Option<(T, usize)> {
        let taken = self.from.recv().await?;
        self.note(taken.1);
        Some(taken)
    }

    /// One that waits, if there is one.
    pub(super) fn next_waiting(&mut self) -> Option<(T, usize)> {
        let taken = self.from.try_recv().ok()?;
        self.note(taken.1);
        Some(taken)
    }

    /// Takes nothing more; what waits can still be taken.
    pub(super) fn close(&mut self) {
        self.from.close();
    }

    fn note(&self, weight: usize) {
        self.fill.bytes.fetch_sub(weight, Ordering::Relaxed);
        self.fill.length.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Weight for usize {
        fn weight(&self) -> usize {
            *self
        }
    }

    #[test]
    fn takes_no_more_records_than_it_has_room_for() {
        let (to, mut from) = queue::<usize>(2, 100);
        assert_eq!([to.offer(|| 1), to.offer(|| 1), to.offer(|| unreachable!())], [true, true, false]);
        assert_eq!(to.fill().length(), (2, 2));
        assert_eq!(from.next_waiting(), Some((1, 1)));
        assert!(to.offer(|| 1));
    }

    #[test]
    fn takes_no_more_bytes_than_it_has_room_for() {
        let (to, mut from) = queue::<usize>(10, 100);
        // The last one may go over: what it weighs is known when it is there.
        assert_eq!([to.offer(|| 99), to.offer(|| 50), to.offer(|| unreachable!())], [true, true, false]);
        assert_eq!(
            (from.next_waiting(), from.next_waiting(), from.next_waiting()),
            (Some((99, 99)), Some((50, 50)), None)
        );
        assert_eq!(to.fill().length(), (0, 10));
        assert!(to.offer(|| 1));
    }

    #[test]
    fn takes_nothing_when_nobody_is_left() {
        let (to, from) = queue::<usize>(2, 100);
        drop(from);
        assert!(!to.offer(|| 1));
    }
}
