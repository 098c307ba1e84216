//! Bytes of lines on their way to the file. Lines are short, but for those with a certificate of a thousand names.

use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

/// How often whoever waits looks whether anybody still takes lines.
const LOOK: Duration = Duration::from_millis(100);

/// What a full queue means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Full {
    /// The line is dropped and counted: live traffic does not wait.
    Drop,
    /// Whoever reads a capture file has time.
    Wait,
}

/// Bytes on their way, and how many may be. One line alone may be longer.
#[derive(Debug)]
pub(super) struct Way {
    bytes: Mutex<usize>,
    room: Condvar,
    max: usize,
}

impl Way {
    pub(super) fn new(max: usize) -> Self {
        Self { bytes: Mutex::default(), room: Condvar::new(), max }
    }

    /// Lets a line of this length go; false where there is no room for it, or, while it waits for room, nobody to take it.
    pub(super) fn enter(&self, len: usize, full: Full, is_anybody_there: impl Fn() -> bool) -> bool {
        let mut bytes = self.bytes.lock().unwrap_or_else(PoisonError::into_inner);
        while *bytes > 0 && bytes.saturating_add(len) > self.max {
            if full == Full::Drop || !is_anybody_there() {
                return false;
            }
            bytes = self.room.wait_timeout(bytes, LOOK).unwrap_or_else(PoisonError::into_inner).0;
        }
        *bytes = bytes.saturating_add(len);
        true
    }

    /// It is in the file.
    pub(super) fn leave(&self, len: usize) {
        let mut bytes = self.bytes.lock().unwrap_or_else(PoisonError::into_inner);
        *bytes = bytes.saturating_sub(len);
        self.room.notify_all();
    }

    #[cfg(test)]
    pub(super) fn bytes(&self) -> usize {
        *self.bytes.lock().unwrap()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_so_many_bytes_are_on_their_way() {
        let way = Way::new(100);
        let go = |len| way.enter(len, Full::Drop, || true);
        assert_eq!([go(60), go(40), go(1)], [true, true, false]);
        way.leave(60);
        assert_eq!([go(61), go(60)], [false, true]);
        way.leave(40);
        way.leave(60);
        assert_eq!([go(500), go(1)], [true, false], "one alone may be longer");
    }

    #[test]
    fn who_has_time_waits_for_room_as_long_as_somebody_makes_it() {
        let way = Way::new(100);
        assert!(way.enter(80, Full::Wait, || true));
        std::thread::scope(|scope| {
            let waits = scope.spawn(|| way.enter(50, Full::Wait, || true));
            way.leave(80);
            assert!(waits.join().unwrap());
        });
        assert!(!way.enter(60, Full::Wait, || false));
    }
}
