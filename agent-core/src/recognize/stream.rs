//! The bounded beginning of one direction.

/// What is kept of one direction until the verdict.
#[derive(Debug, Default)]
pub(super) struct Stream {
    /// Stream offset of the first byte of `kept`.
    pub(super) base: u64,
    /// The beginning of the stream behind any PROXY header.
    pub(super) kept: Vec<u8>,
    /// Stream offset of the next byte to come, gaps counted.
    pub(super) end: u64,
    /// Bytes of a PROXY header that are still to come.
    pub(super) skip: u64,
    /// Bytes behind `kept` were lost or not kept: it cannot grow any more.
    pub(super) closed: bool,
    /// The start of the stream was not seen.
    pub(super) middle: bool,
}

impl Stream {
    /// Keeps what fits under `limit` and returns how many bytes that were.
    pub(super) fn keep(&mut self, bytes: &[u8], limit: usize) -> usize {
        if self.closed {
            return 0;
        }
        let room = limit.saturating_sub(self.kept.len());
        let taken = bytes.get(..room).unwrap_or(bytes);
        self.kept.extend_from_slice(taken);
        taken.len()
    }

    /// Bytes were lost: behind nothing, the rest is a stream joined in the middle; behind something, it stays a beginning.
    pub(super) fn gap(&mut self, len: u64) {
        self.end = self.end.saturating_add(len);
        if self.kept.is_empty() {
            self.base = self.end;
            self.middle = true;
            self.skip = 0;
        } else {
            self.closed = true;
        }
    }

    /// Steps over a header of `len` bytes, and returns how many of them were kept.
    pub(super) fn step_over(&mut self, len: u64) -> usize {
        let kept = self.kept.len().min(usize::try_from(len).unwrap_or(usize::MAX));
        self.kept.drain(..kept);
        self.base = self.base.saturating_add(len);
        self.skip = len.saturating_sub(kept as u64);
        kept
    }
}
