//! When a package that fails is asked again: what made it fail may have been of one stranger's making, and may be over.

use std::time::Duration;

use agent_core::time::Timestamp;

/// The first pause. The next without a success in between is twice as long.
const SHORTEST: Duration = Duration::from_secs(60);
/// The longest pause.
const LONGEST: Duration = Duration::from_secs(3600);

/// How a package fares.
#[derive(Debug, Default)]
pub(super) struct Pause {
    failures_in_a_row: u32,
    /// Since when it is not asked, and until when.
    time: Option<(Timestamp, Timestamp)>,
    /// The length of the last pause, where nothing went well since.
    last: Option<Duration>,
}

impl Pause {
    /// It is not asked now. A clock that was set back ends the pause.
    pub(super) fn is_on(&self, now: Timestamp) -> bool {
        self.time.is_some_and(|(since, until)| since <= now && now < until)
    }

    /// It went well; true where it had been paused before.
    pub(super) fn success(&mut self) -> bool {
        std::mem::take(self).last.is_some()
    }

    /// It failed; if `max_failures` times in a row: for how long it is not asked now.
    pub(super) fn failure(&mut self, now: Timestamp, max_failures: u32) -> Option<Duration> {
        self.failures_in_a_row = self.failures_in_a_row.saturating_add(1);
        if self.failures_in_a_row < max_failures {
            return None;
        }
        let pause = self.last.map_or(SHORTEST, |last| last.saturating_mul(2)).min(LONGEST);
        *self = Self { failures_in_a_row: 0, time: Some((now, now + pause)), last: Some(pause) };
        Some(pause)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_an_hour_until_something_goes_well() {
        let mut pause = Pause::default();
        let mut now = Timestamp::from_secs(1000);
        for minutes in [1, 2, 4, 8, 16, 32, 60, 60] {
            assert_eq!((pause.failure(now, 3), pause.failure(now, 3), pause.is_on(now)), (None, None, false));
            let length = Duration::from_secs(minutes * 60);
            assert_eq!((pause.failure(now, 3), pause.is_on(now)), (Some(length), true));
            assert!(pause.is_on(now + (length - Duration::from_nanos(1))));
            now = now + length;
            assert!(!pause.is_on(now));
        }
        pause.failure(now, 3);
        assert_eq!((pause.success(), pause.success()), (true, false));
        assert_eq!((pause.failure(now, 2), pause.failure(now, 2)), (None, Some(SHORTEST)));
    }

    #[test]
    fn a_clock_that_is_set_back_ends_a_pause() {
        let mut pause = Pause::default();
        let now = Timestamp::from_secs(1000);
        assert_eq!(pause.failure(now, 1), Some(SHORTEST));
        assert!(pause.is_on(now) && !pause.is_on(Timestamp::from_secs(999)));
    }
}
