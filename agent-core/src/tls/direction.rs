//! One direction of a TLS stream.

use super::event::TlsEvent;

/// Bounds of one direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TlsLimits {
    /// Longest handshake message that is put together, in bytes without its header; longer ones are skipped.
    pub max_handshake_message: u32,
}

impl Default for TlsLimits {
    fn default() -> Self {
        Self { max_handshake_message: 128 * 1024 }
    }
}

/// What one direction has seen and what it had to leave out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TlsCounters {
    /// Records whose header was read.
    pub records: u64,
    /// Handshake messages put together, understood or not.
    pub handshake_messages: u64,
    /// Handshake messages skipped because they are longer than [`TlsLimits::max_handshake_message`].
    pub oversized_messages: u64,
    /// Handshake messages lost, whole or in part, to gaps and interruptions.
    pub lost_messages: u64,
    /// Gaps that took bytes the layer needed.
    pub gaps: u64,
}

/// How a direction stood when its stream ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Between two records, with no handshake message begun.
    Clean,
    /// Inside a record or a handshake message.
    Incomplete,
    /// Record boundaries had been lost before.
    OutOfSync,
}

/// Reads one direction of a TLS stream.
#[derive(Debug)]
pub struct TlsDirection {
    #[allow(dead_code)]
    limits: TlsLimits,
}

impl TlsDirection {
    /// A direction at its first byte.
    pub fn new(limits: TlsLimits) -> Self {
        Self { limits }
    }

    /// The next bytes.
    pub fn data(&mut self, _bytes: &[u8], _out: &mut Vec<TlsEvent>) {}

    /// The next `len` bytes were on the wire and are not known.
    pub fn gap(&mut self, _len: u64, _out: &mut Vec<TlsEvent>) {}

    /// The server sent a HelloRetryRequest.
    pub fn hello_retry(&mut self) {}

    /// The stream ended.
    pub fn close(&mut self) -> Ending {
        Ending::Clean
    }

    /// What was seen and left out.
    pub fn counters(&self) -> TlsCounters {
        TlsCounters::default()
    }
}
