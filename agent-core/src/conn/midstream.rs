//! Telling TLS from the middle of a stream by its record headers.
//!
//! Senders mostly begin a segment with a record. Where a segment begins with what looks like the header of an
//! application data record, its length says where the next one must be. Two in a row, or one in each direction, are no
//! coincidence: a header has three fixed bytes and a bounded length, so that random bytes pass about once in 2^26.

use crate::net::{Direction, SeqNumber};

const HEADER: usize = 5;
const APPLICATION_DATA: u8 = 23;
const HANDSHAKE: u8 = 22;
const CLIENT_HELLO: u8 = 1;
/// 2^14 plus the most any version adds (RFC 5246 section 6.2.3).
const MAX_LEN: u16 = 16_384 + 2048;

/// What a segment showed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Seen {
    /// Nothing new.
    Nothing,
    /// The connection carries TLS records.
    TlsRecords,
    /// A handshake begins with this segment.
    ClientHello,
}

/// Follows the record headers of both directions.
#[derive(Clone, Debug, Default)]
pub(super) struct RecordScan {
    halves: [Half; 2],
}

#[derive(Clone, Copy, Debug, Default)]
struct Half {
    /// Where the next header must be.
    expect: Option<SeqNumber>,
    /// Headers found in a row.
    hits: u8,
}

impl RecordScan {
    pub(super) fn segment(
        &mut self,
        direction: Direction,
        seq: SeqNumber,
        wire_len: u32,
        payload: &[u8],
    ) -> Seen {
        if let [HANDSHAKE, 3, 0..=4, _, _, CLIENT_HELLO, ..] = payload {
            return Seen::ClientHello;
        }
        let Some(half) = self.halves.get_mut(direction.index()) else { return Seen::Nothing };
        half.segment(seq, wire_len, payload);
        let [egress, ingress] = &self.halves;
        if egress.hits >= 2 || ingress.hits >= 2 || egress.hits >= 1 && ingress.hits >= 1 {
            Seen::TlsRecords
        } else {
            Seen::Nothing
        }
    }
}

impl Half {
    fn segment(&mut self, seq: SeqNumber, wire_len: u32, payload: &[u8]) {
        let mut at = 0;
        if let Some(expect) = self.expect {
            match usize::try_from(expect.distance(seq)) {
                // Further on: this segment lies inside the record.
                Ok(ahead) if ahead >= wire_len as usize => return,
                Ok(ahead) => at = ahead,
                // Behind: a retransmission, or the header was missed.
                Err(_) => self.expect = None,
            }
        }
        while let Some([content_type, major, minor, high, low]) =
            payload.get(at..).and_then(<[u8]>::first_chunk::<HEADER>)
        {
            let len = u16::from_be_bytes([*high, *low]);
            let plausible = matches!((content_type, major, minor), (&APPLICATION_DATA, 3, 1..=3))
                && (1..=MAX_LEN).contains(&len);
            if !plausible {
                *self = Self::default();
                return;
            }
            self.hits = self.hits.saturating_add(1);
            at += HEADER + usize::from(len);
            self.expect = u32::try_from(at).ok().map(|at| seq.add(at));
        }
        if at < wire_len as usize {
            // The header is here and was left out.
            self.expect = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(len: u16) -> Vec<u8> {
        let mut bytes = vec![23, 3, 3];
        bytes.extend(len.to_be_bytes());
        bytes.extend(vec![0xa5; usize::from(len)]);
        bytes
    }

    fn push(scan: &mut RecordScan, direction: Direction, seq: u32, payload: &[u8]) -> Seen {
        scan.segment(direction, SeqNumber(seq), payload.len() as u32, payload)
    }

    #[test]
    fn one_record_in_each_direction_is_tls() {
        let mut scan = RecordScan::default();
        assert_eq!(push(&mut scan, Direction::Egress, 10, &record(30)), Seen::Nothing);
        assert_eq!(push(&mut scan, Direction::Ingress, 10, &record(30)), Seen::TlsRecords);
    }

    #[test]
    fn two_records_in_a_row_are_tls_over_segments_and_around_the_wrap() {
        for start in [10, u32::MAX - 20] {
            let mut scan = RecordScan::default();
            let bytes = [record(100), record(5)].concat();
            assert_eq!(push(&mut scan, Direction::Egress, start, &bytes[..60]), Seen::Nothing);
            assert_eq!(
                push(&mut scan, Direction::Egress, start.wrapping_add(60), &bytes[60..]),
                Seen::TlsRecords
            );
        }
    }

    #[test]
    fn a_segment_that_begins_inside_a_record_proves_nothing() {
        let mut scan = RecordScan::default();
        let bytes = record(1000);
        assert_eq!(push(&mut scan, Direction::Ingress, 0, &bytes[200..]), Seen::Nothing);
        assert_eq!(push(&mut scan, Direction::Ingress, 805, &record(40)), Seen::Nothing);
        assert_eq!(push(&mut scan, Direction::Ingress, 850, &record(40)), Seen::TlsRecords);
    }

    #[test]
    fn a_header_not_followed_by_another_is_forgotten() {
        let mut scan = RecordScan::default();
        let bytes = [record(10), vec![7; 20]].concat();
        assert_eq!(push(&mut scan, Direction::Egress, 0, &bytes), Seen::Nothing);
        assert_eq!(push(&mut scan, Direction::Ingress, 0, &record(9)), Seen::Nothing);
    }

    #[test]
    fn a_client_hello_begins_a_handshake() {
        let mut scan = RecordScan::default();
        assert_eq!(push(&mut scan, Direction::Egress, 0, &[22, 3, 1, 0, 99, 1, 0, 0]), Seen::ClientHello);
    }
}
