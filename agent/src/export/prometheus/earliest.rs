//! The earliest point in time among several: they cannot be added up. Each is forgotten when it was not seen for a while, and
//! so that not all have to be kept, this is done in two windows: a time counts for one to two times the retention.

use std::time::{Duration, Instant};

/// The earliest of the times seen lately, in seconds, Unix time.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Earliest {
    window: Option<Window>,
    before: Option<i64>,
}

#[derive(Clone, Copy, Debug)]
struct Window {
    since: Instant,
    earliest: i64,
}

impl Earliest {
    pub(super) fn see(&mut self, time: i64, now: Instant, retention: Duration) {
        match &mut self.window {
            Some(window) if now.saturating_duration_since(window.since) < retention => {
                window.earliest = window.earliest.min(time);
            }
            old => {
                let recent =
                    old.filter(|old| now.saturating_duration_since(old.since) < retention.saturating_mul(2));
                self.before = recent.map(|old| old.earliest);
                *old = Some(Window { since: now, earliest: time });
            }
        }
    }

    /// The earliest; `None` when none was seen.
    pub(super) fn get(&self) -> Option<i64> {
        let now = self.window.map(|window| window.earliest);
        [now, self.before].into_iter().flatten().min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_the_earliest_of_those_seen_within_two_windows() {
        let (start, day) = (Instant::now(), Duration::from_secs(86_400));
        let at = |hours: u64| start + Duration::from_secs(hours * 3600);
        let mut earliest = Earliest::default();
        assert_eq!(earliest.get(), None);
        let mut see = |time, hours| {
            earliest.see(time, at(hours), day);
            earliest.get()
        };
        assert_eq!(see(200, 0), Some(200));
        assert_eq!(see(100, 1), Some(100));
        assert_eq!(see(300, 23), Some(100));
        // The next window remembers the one before, the one after that does not.
        assert_eq!(see(300, 24), Some(100));
        assert_eq!(see(300, 47), Some(100));
        assert_eq!(see(300, 48), Some(300));
        // Nothing was seen for longer than a window.
        assert_eq!(see(400, 96), Some(400));
    }
}
