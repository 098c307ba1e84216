//! The ring buffer, as something that can be awaited.

use std::io;

use aya::maps::ring_buf::RingBufItem;
use aya::maps::{MapData, RingBuf};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// The ring buffer of the BPF programs. Reading needs no runtime, waiting does.
pub struct Events(RingBuf<MapData>);

impl Events {
    pub(super) fn new(ring: RingBuf<MapData>) -> Self {
        Self(ring)
    }

    /// Makes it awaitable. Call it inside a tokio runtime.
    ///
    /// # Errors
    /// When the descriptor cannot be registered.
    pub fn into_async(self) -> io::Result<AsyncEvents> {
        // SAFETY: the descriptor that is registered belongs to the ring buffer, which the AsyncFd owns and nobody
        // replaces: it stays open and the same for as long as it is registered.
        let fd = unsafe { AsyncFd::register_with_interest(self.0, Interest::READABLE) };
        fd.map(AsyncEvents).map_err(|e| e.into_parts().1)
    }
}

/// [`Events`] in a tokio runtime.
pub struct AsyncEvents(AsyncFd<RingBuf<MapData>>);

impl AsyncEvents {
    /// Waits until there may be events. The caller then takes them until there are none: what it leaves is not told of
    /// again.
    ///
    /// # Errors
    /// When the runtime is shutting down.
    pub async fn ready(&mut self) -> io::Result<()> {
        self.0.readable_mut().await.map(|mut guard| guard.clear_ready())
    }

    /// The next event, `None` when there is none now.
    pub fn take(&mut self) -> Option<RingBufItem<'_>> {
        self.0.get_mut().next()
    }
}
