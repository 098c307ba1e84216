//! The kernel's monotonic clock, which BPF programs and perf events read.
//!
//! In a time namespace (time_namespaces(7)) CLOCK_MONOTONIC of a process is not it, but some time ahead or behind.

use std::sync::LazyLock;

use rustix::time::{ClockId, clock_gettime};

/// How far CLOCK_MONOTONIC of this process is ahead of the kernel's own, nanoseconds: 0 outside of a time namespace. A
/// process cannot change it while it runs.
static OFFSET: LazyLock<i128> =
    LazyLock::new(|| offset(&std::fs::read_to_string("/proc/self/timens_offsets").unwrap_or_default()));

/// What a clock of this process says, nanoseconds.
pub(crate) fn nanos(clock: ClockId) -> i128 {
    let t = clock_gettime(clock);
    i128::from(t.tv_sec) * 1_000_000_000 + i128::from(t.tv_nsec)
}

/// What the kernel's own monotonic clock says, nanoseconds.
pub(crate) fn of_kernel() -> i128 {
    nanos(ClockId::Monotonic) - *OFFSET
}

/// The line of CLOCK_MONOTONIC in `/proc/PID/timens_offsets`: `monotonic 86400 0`, seconds and nanoseconds. There is no such
/// file where the kernel knows no time namespaces.
fn offset(text: &str) -> i128 {
    let line = text.lines().find_map(|line| line.trim_start().strip_prefix("monotonic"));
    let mut numbers =
        line.unwrap_or_default().split_whitespace().map(|word| word.parse::<i128>().unwrap_or_default());
    let mut next = || numbers.next().unwrap_or_default();
    next() * 1_000_000_000 + next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_offset_of_a_time_namespace_is_that_of_its_monotonic_clock() {
        assert_eq!(offset("monotonic           0         0\nboottime            0         0\n"), 0);
        assert_eq!(offset("monotonic     1000000         5\nboottime      7 0\n"), 1_000_000_000_000_005);
        assert_eq!(offset("monotonic          -2 999999999\n"), -1_000_000_001);
        assert_eq!(offset(""), 0);
    }
}
