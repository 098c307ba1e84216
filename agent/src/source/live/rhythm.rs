//! When the event loop looks into the ring buffer. On a quiet host it waits to be woken by the kernel; on a busy one a
//! wake-up for each event would cost both the traffic and the agent more than the events themselves, so it looks every few
//! milliseconds instead, and is woken only when the ring buffer fills up.

use std::time::Duration;

use tokio::time::Instant;

/// How often it looks. A process that opens a connection and is gone sooner may not be found in procfs any more.
pub(super) const TICK: Duration = Duration::from_millis(3);
/// So many looks in a row found nothing: the host is quiet again.
const QUIET_LOOKS: u32 = 10;

/// What the kernel side is to be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// Do not wake us.
    Poll,
    /// Wake us. Look once more after that was said: what came just before woke nobody.
    Wait,
}

/// Waiting to be woken, or looking on its own.
#[derive(Debug, Default)]
pub(super) struct Rhythm {
    polls: bool,
    /// The last time that something was there.
    last: Option<Instant>,
    next: Option<Instant>,
    empty: u32,
}

impl Rhythm {
    /// When to look next without having been woken.
    pub(super) fn next(&self) -> Option<Instant> {
        self.next
    }

    /// The ring buffer was emptied, and `handled` events were in it.
    pub(super) fn looked(&mut self, handled: usize, now: Instant) -> Option<Change> {
        let soon = self.last.is_some_and(|last| now.saturating_duration_since(last) < TICK);
        if handled > 0 {
            self.last = Some(now);
            self.empty = 0;
        } else {
            self.empty = self.empty.saturating_add(1);
        }
        if self.polls {
            self.next = Some(now + TICK);
            if self.empty < QUIET_LOOKS {
                return None;
            }
            self.polls = false;
            return Some(Change::Wait);
        }
        // One more look after the change back: a program that had read the old word may have submitted after we looked.
        self.next = self.next.filter(|next| *next > now);
        if handled > 0 && soon {
            self.polls = true;
            self.next = Some(now + TICK);
            return Some(Change::Poll);
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(start: Instant, micros: u64) -> Instant {
        start + Duration::from_micros(micros)
    }

    #[test]
    fn a_quiet_host_wakes_it_for_each_event() {
        let (mut rhythm, start) = (Rhythm::default(), Instant::now());
        for n in 0..5 {
            assert_eq!(rhythm.looked(1, at(start, n * 10_000)), None);
            assert_eq!(rhythm.next(), None);
        }
    }

    #[test]
    fn a_busy_host_is_looked_at_in_steps_until_it_is_quiet() {
        let (mut rhythm, start) = (Rhythm::default(), Instant::now());
        assert_eq!(rhythm.looked(1, start), None);
        assert_eq!(rhythm.looked(1, at(start, 200)), Some(Change::Poll));
        assert_eq!(rhythm.next(), Some(at(start, 200) + TICK));
        let mut now = at(start, 200) + TICK;
        assert_eq!(rhythm.looked(40, now), None);
        for _ in 0..QUIET_LOOKS - 1 {
            now += TICK;
            assert_eq!(rhythm.looked(0, now), None);
        }
        now += TICK;
        assert_eq!(rhythm.looked(0, now), Some(Change::Wait));
        assert_eq!(rhythm.looked(0, now), None);
        assert_eq!(rhythm.next(), Some(now + TICK), "one more look for what came in between");
        assert_eq!(rhythm.looked(0, now + TICK), None);
        assert_eq!(rhythm.next(), None);
    }

    #[test]
    fn an_empty_look_between_two_events_does_not_make_a_host_busy() {
        let (mut rhythm, start) = (Rhythm::default(), Instant::now());
        assert_eq!(rhythm.looked(1, start), None);
        assert_eq!(rhythm.looked(0, at(start, 100)), None);
        assert_eq!(rhythm.next(), None);
    }
}
