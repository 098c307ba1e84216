//! How often something happened in each of the last seconds.

use agent_core::time::Timestamp;

const NANOS: u64 = 1_000_000_000;

/// The last `N` seconds, the one that is not over yet included.
#[derive(Clone, Copy, Debug)]
pub(super) struct Window<const N: usize> {
    /// The newest second that is in.
    second: u64,
    slots: [u64; N],
}

impl<const N: usize> Default for Window<N> {
    fn default() -> Self {
        Self { second: 0, slots: [0; N] }
    }
}

impl<const N: usize> Window<N> {
    /// Counts `n` more at `now`; what is older than the window is left out.
    pub(super) fn add(&mut self, now: Timestamp, n: u64) {
        let second = now.0 / NANOS;
        self.turn(second);
        if self.second - second < N as u64
            && let Some(slot) = self.slots.get_mut(Self::place(second))
        {
            *slot = slot.saturating_add(n);
        }
    }

    /// Makes room for a second.
    fn turn(&mut self, second: u64) {
        if second <= self.second {
            return;
        }
        let ahead = second - self.second;
        if ahead >= N as u64 {
            self.slots = [0; N];
        } else {
            for passed in self.second + 1..=second {
                if let Some(slot) = self.slots.get_mut(Self::place(passed)) {
                    *slot = 0;
                }
            }
        }
        self.second = second;
    }

    const fn place(second: u64) -> usize {
        // Smaller than N.
        (second % N as u64) as usize
    }

    /// What was counted in each of the `n` whole seconds before the one of `now`, oldest first.
    pub(super) fn last(&self, now: Timestamp, n: u64) -> impl Iterator<Item = u64> {
        let current = now.0 / NANOS;
        (current.saturating_sub(n)..current).map(|second| {
            let is_in = second <= self.second && self.second - second < N as u64;
            self.slots.get(Self::place(second)).copied().filter(|_| is_in).unwrap_or_default()
        })
    }

    /// Per second, over the last ten whole seconds, or those since `since` where it is not so long ago.
    pub(super) fn rate(&self, since: Timestamp, now: Timestamp) -> f64 {
        let seconds = (now.0 / NANOS).saturating_sub(since.0 / NANOS).clamp(1, 10);
        let sum: u64 = self.last(now, seconds).sum();
        sum as f64 / seconds as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(tenths: u64) -> Timestamp {
        Timestamp(1_000 * NANOS + tenths * NANOS / 10)
    }

    #[test]
    fn whole_seconds_count_and_the_one_that_runs_does_not() {
        let mut window: Window<16> = Window::default();
        for tenths in 0..25 {
            window.add(at(tenths), 1);
        }
        assert_eq!(window.last(at(25), 3).collect::<Vec<_>>(), [0, 10, 10]);
        assert_eq!(window.rate(at(0), at(25)), 10.0);
        assert_eq!(window.rate(at(0), at(0)), 0.0);
    }

    #[test]
    fn silence_and_what_comes_late_do_not_count_elsewhere() {
        let mut window: Window<16> = Window::default();
        window.add(at(0), 7);
        assert_eq!(window.last(at(1_000), 10).sum::<u64>(), 0);
        window.add(at(1_000), 1);
        window.add(at(0), 5);
        assert_eq!(window.last(at(1_010), 10).sum::<u64>(), 1);
        window.add(at(950), 2);
        assert_eq!(window.last(at(1_010), 10).sum::<u64>(), 3);
    }
}
