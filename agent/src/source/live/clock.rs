//! From the kernel's monotonic clock to the time of day.

use agent_core::time::Timestamp;
use rustix::time::{ClockId, clock_gettime};

/// How far the time of day is ahead of CLOCK_MONOTONIC. Read again now and then, because the time of day is stepped.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    ahead: i128,
}

fn nanos(clock: ClockId) -> i128 {
    let t = clock_gettime(clock);
    i128::from(t.tv_sec) * 1_000_000_000 + i128::from(t.tv_nsec)
}

impl Clock {
    pub(super) fn read() -> Self {
        Self { ahead: nanos(ClockId::Realtime) - nanos(ClockId::Monotonic) }
    }

    pub(super) fn now(self) -> Timestamp {
        Timestamp(u64::try_from(nanos(ClockId::Monotonic) + self.ahead).unwrap_or(0))
    }

    /// A time that a BPF program read (`bpf_ktime_get_ns`).
    pub(super) fn of_kernel(self, monotonic: u64) -> Timestamp {
        Timestamp(u64::try_from(i128::from(monotonic) + self.ahead).unwrap_or(0))
    }
}
