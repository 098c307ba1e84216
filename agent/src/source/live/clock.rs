//! From the kernel's monotonic clock to the time of day.

use agent_core::time::Timestamp;
use rustix::time::ClockId;

use crate::monotonic;

/// How far the time of day is ahead of the kernel's monotonic clock. Read again now and then, because the time of day is stepped.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    ahead: i128,
}

impl Clock {
    pub(super) fn read() -> Self {
        Self { ahead: monotonic::nanos(ClockId::Realtime) - monotonic::of_kernel() }
    }

    pub(super) fn now(self) -> Timestamp {
        Timestamp(u64::try_from(monotonic::of_kernel() + self.ahead).unwrap_or(0))
    }

    /// A time that a BPF program read (`bpf_ktime_get_ns`).
    pub(super) fn of_kernel(self, monotonic: u64) -> Timestamp {
        Timestamp(u64::try_from(i128::from(monotonic) + self.ahead).unwrap_or(0))
    }
}
