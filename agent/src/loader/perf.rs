//! The ring buffer of a perf event, as something that can be awaited.

use std::io;
use std::task::{Context, Poll};

use perf_event::{Builder, Record, Sampler};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// One ring buffer, enabled.
pub struct PerfRing(AsyncFd<Sampler>);

impl PerfRing {
    /// Opens a perf event with a ring buffer of `bytes` and starts it. Call it inside a tokio runtime.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn open(event: &Builder<'_>, bytes: usize) -> io::Result<Self> {
        let mut sampler = event.build()?.sampled(bytes)?;
        sampler.enable()?;
        // SAFETY: the descriptor that is registered belongs to the sampler, which the AsyncFd owns and nobody replaces: it
        // stays open and the same for as long as it is registered.
        let fd = unsafe { AsyncFd::register_with_interest(sampler, Interest::READABLE) };
        fd.map(Self).map_err(|e| e.into_parts().1)
    }

    /// Whether there may be records. The caller then takes them until there are none: what it leaves is not told of again.
    ///
    /// # Errors
    /// When the runtime is shutting down.
    pub fn poll_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.poll_read_ready(cx).map_ok(|mut guard| guard.clear_ready())
    }

    /// The next record, `None` when there is none now.
    pub fn take(&mut self) -> Option<Record<'_>> {
        self.0.get_mut().next_record()
    }
}
