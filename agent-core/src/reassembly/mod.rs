//! One direction of a TCP connection, put back in order by sequence number.
//!
//! Segments come in any order, twice, overlapping, and on purpose incomplete: the source elides the bodies of encrypted
//! records and captures have snap lengths. What goes up is the stream in order, as bytes and gaps. Bytes that are next in
//! line are handed through without a copy; only what arrived early is kept, within [`ReassemblyLimits`].

mod pending;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::time::Duration;

use crate::net::SeqNumber;
use crate::time::Timestamp;
use pending::{Pending, Piece};

/// Bounds of one direction's stream. The same limits serve every connection.
#[derive(Clone, Copy, Debug)]
pub struct ReassemblyLimits {
    /// Bytes kept of segments that arrived early.
    pub max_buffered_bytes: usize,
    /// Pieces kept of segments that arrived early.
    pub max_buffered_pieces: usize,
    /// Segments that begin further than this from the next byte, either way, are not of this stream.
    pub max_distance: u32,
    /// After this time without the missing bytes they count as lost.
    pub gap_timeout: Duration,
    /// Where the stream's first sequence number is not known: how long an earlier segment is waited for.
    pub join_timeout: Duration,
}

impl Default for ReassemblyLimits {
    fn default() -> Self {
        Self {
            max_buffered_bytes: 256 * 1024,
            max_buffered_pieces: 256,
            max_distance: 64 * 1024 * 1024,
            gap_timeout: Duration::from_secs(2),
            join_timeout: Duration::from_millis(100),
        }
    }
}

/// What happened in all streams.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReassemblyCounters {
    /// Segments that arrived before the bytes in front of them.
    pub out_of_order_segments: u64,
    /// Segments of which no byte was new.
    pub retransmitted_segments: u64,
    /// Bytes that had been seen before.
    pub retransmitted_bytes: u64,
    /// Segments ignored because their sequence number is nowhere near the stream's.
    pub far_off_segments: u64,
    /// Gaps of bytes that never came.
    pub lost_gaps: u64,
    /// Bytes that never came.
    pub lost_bytes: u64,
    /// Of the lost gaps: those given up because the out-of-order buffer was full.
    pub gaps_forced_by_full_buffer: u64,
    /// Bytes the source left out on purpose.
    pub elided_bytes: u64,
}

/// What comes next in a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StreamItem<'a> {
    /// Bytes.
    Data(Cow<'a, [u8]>),
    /// Bytes that are not there and will not come.
    Gap {
        /// How many.
        len: u64,
        /// Why.
        cause: GapCause,
    },
}

/// Why bytes are missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum GapCause {
    /// The source left them out on purpose.
    Elided,
    /// They were on the wire and did not reach us.
    Lost,
}

/// The part of a segment that was next in line: hand up `data`, then a gap of `elided` bytes, then drain
/// [`Stream::pop`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InOrder<'a> {
    /// Bytes that follow what was handed up before.
    pub data: &'a [u8],
    /// Bytes after them that the source left out.
    pub elided: u32,
}

impl InOrder<'_> {
    const NOTHING: InOrder<'static> = InOrder { data: &[], elided: 0 };
}

/// Where a stream offset of the first segment seen is put when the stream's start is not known, so that earlier segments
/// have a place. Above any distance between two sequence numbers.
const JOIN_OFFSET: u64 = 1 << 32;

/// One direction of a TCP connection.
#[derive(Clone, Debug, Default)]
pub struct Stream {
    /// Sequence number and offset of the next byte to hand up; `None` before the first segment.
    next: Option<(SeqNumber, u64)>,
    /// The start is not known yet; nothing is handed up until then. Since when.
    joining: Option<Timestamp>,
    pending: Pending,
    /// Since when bytes in front of the pending ones are missing.
    gap_since: Option<Timestamp>,
    finished: bool,
}

impl Stream {
    /// A stream whose first sequence number is not known yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// The stream starts with `seq`. Without effect once bytes were handed up.
    pub fn start_at(&mut self, seq: SeqNumber) {
        match self.next {
            None => self.next = Some((seq, JOIN_OFFSET)),
            Some((next, offset)) if self.joining.take().is_some() => {
                let start = offset.saturating_add_signed(i64::from(seq.distance(next)));
                self.next = Some((seq, start));
                self.pending.drop_before(start);
            }
            Some(_) => {}
        }
    }

    /// Takes one segment: `payload`, of `wire_len` bytes on the wire. Gives back what of it is next in line.
    pub fn push<'a>(
        &mut self,
        seq: SeqNumber,
        wire_len: u32,
        payload: &'a [u8],
        now: Timestamp,
        limits: &ReassemblyLimits,
        counters: &mut ReassemblyCounters,
    ) -> InOrder<'a> {
        let wire_len = u64::from(wire_len).max(payload.len() as u64);
        if wire_len == 0 {
            return InOrder::NOTHING;
        }
        let (next_seq, next) = *self.next.get_or_insert_with(|| {
            self.joining = Some(now);
            (seq, JOIN_OFFSET)
        });
        let distance = seq.distance(next_seq);
        if distance.unsigned_abs() > limits.max_distance {
            counters.far_off_segments += 1;
            return InOrder::NOTHING;
        }
        let start = next.saturating_add_signed(i64::from(distance));
        if self.joining.is_some() {
            self.keep(start, wire_len, payload, now, counters);
            return InOrder::NOTHING;
        }
        let end = start.saturating_add(wire_len);
        if end <= next {
            counters.retransmitted_segments += 1;
            counters.retransmitted_bytes += wire_len;
            return InOrder::NOTHING;
        }
        let (start, payload) = if start < next {
            counters.retransmitted_bytes += next - start;
            let old = usize::try_from(next - start).unwrap_or(usize::MAX);
            (next, payload.get(old..).unwrap_or(&[]))
        } else {
            (start, payload)
        };
        if start > next || self.pending.first_start().is_some_and(|first| first < end) {
            if start > next {
                counters.out_of_order_segments += 1;
            }
            self.keep(start, end - start, payload, now, counters);
            return InOrder::NOTHING;
        }
        let elided = end - start - payload.len() as u64;
        counters.elided_bytes += elided;
        self.advance(end);
        if self.pending.first_start() == Some(end) {
            self.gap_since = None;
        }
        InOrder { data: payload, elided: u32::try_from(elided).unwrap_or(u32::MAX) }
    }

    /// The next thing that was waiting for bytes in front of it, `None` when there is nothing or more has to be waited
    /// for. To be drained after every [`push`](Self::push), [`finish`](Self::finish) and [`deadline`](Self::deadline).
    pub fn pop(
        &mut self,
        now: Timestamp,
        limits: &ReassemblyLimits,
        counters: &mut ReassemblyCounters,
    ) -> Option<StreamItem<'static>> {
        let (next_seq, next) = self.next?;
        let first = self.pending.first_start()?;
        let full = self.pending.bytes() > limits.max_buffered_bytes
            || self.pending.pieces() > limits.max_buffered_pieces;
        if let Some(since) = self.joining {
            if !full && !self.finished && now < since + limits.join_timeout {
                return None;
            }
            self.joining = None;
            let back = first.wrapping_sub(next) as u32;
            self.next = Some((next_seq.add(back), first));
            return self.pop(now, limits, counters);
        }
        if first > next {
            let since = *self.gap_since.get_or_insert(now);
            if !full && !self.finished && now < since + limits.gap_timeout {
                return None;
            }
            counters.lost_gaps += 1;
            counters.lost_bytes += first - next;
            if full {
                counters.gaps_forced_by_full_buffer += 1;
            }
            self.gap_since = None;
            self.advance(first);
            return Some(StreamItem::Gap { len: first - next, cause: GapCause::Lost });
        }
        self.gap_since = None;
        let (start, piece) = self.pending.pop_first()?;
        self.advance(start + piece.len());
        Some(match piece {
            Piece::Data(bytes) => StreamItem::Data(Cow::Owned(bytes)),
            Piece::Elided(len) => {
                counters.elided_bytes += len;
                StreamItem::Gap { len, cause: GapCause::Elided }
            }
        })
    }

    /// No more segments will come: everything that is missing is lost. [`pop`](Self::pop) gives the rest.
    pub fn finish(&mut self) {
        self.finished = true;
    }

    /// When [`pop`](Self::pop) has more to give even without another segment.
    pub fn deadline(&self, limits: &ReassemblyLimits) -> Option<Timestamp> {
        if self.pending.pieces() == 0 {
            return None;
        }
        match self.joining {
            Some(since) => Some(since + limits.join_timeout),
            None => self.gap_since.map(|since| since + limits.gap_timeout),
        }
    }

    /// Bytes held because bytes in front of them are missing.
    pub fn buffered_bytes(&self) -> usize {
        self.pending.bytes()
    }

    /// Was any byte of this direction seen?
    pub fn has_started(&self) -> bool {
        self.next.is_some_and(|(_, offset)| offset > JOIN_OFFSET) || self.pending.pieces() > 0
    }

    fn keep(
        &mut self,
        start: u64,
        len: u64,
        payload: &[u8],
        now: Timestamp,
        counters: &mut ReassemblyCounters,
    ) {
        let new = self.pending.insert(start, len, payload);
        counters.retransmitted_bytes += len - new.min(len);
        if new == 0 {
            counters.retransmitted_segments += 1;
        }
        if self.joining.is_none() && self.gap_since.is_none() {
            self.gap_since = Some(now);
        }
    }

    fn advance(&mut self, to: u64) {
        if let Some((seq, offset)) = &mut self.next {
            // Truncation is the point: sequence numbers are the offset modulo 2^32.
            *seq = seq.add(to.wrapping_sub(*offset) as u32);
            *offset = to;
        }
    }
}
