//! Segments in any order against a model: a stream whose every byte is known from its position.
#![no_main]

use std::time::Duration;

use agent_core::net::SeqNumber;
use agent_core::reassembly::{GapCause, ReassemblyCounters, ReassemblyLimits, Stream, StreamItem};
use agent_core::time::Timestamp;
use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;

/// Positions go from 0 to this.
const LEN: usize = 4096;

#[derive(Arbitrary, Debug)]
struct Input {
    /// Sequence number of position 0; near the wrap-around as likely as not.
    start: u32,
    knows_start: bool,
    tight: bool,
    steps: Vec<Step>,
}

#[derive(Arbitrary, Debug)]
enum Step {
    Segment { at: u16, wire_len: u16, captured: u16 },
    Wait { millis: u16 },
}

/// The byte at a position.
fn byte_at(position: usize) -> u8 {
    (position.wrapping_mul(2_654_435_761) >> 7) as u8
}

struct Model {
    bytes: Vec<u8>,
    /// Positions that some segment so far covered on the wire.
    covered: Vec<bool>,
    /// Positions whose byte was in some segment so far.
    captured: Vec<bool>,
    /// The next position to come out; unknown until the stream says where it starts.
    position: usize,
}

impl Model {
    fn take(&mut self, data: &[u8], exact: bool) {
        if exact {
            let expected = &self.bytes[self.position..self.position + data.len()];
            assert_eq!(data, expected, "bytes at {}", self.position);
            assert!(
                self.captured[self.position..self.position + data.len()].iter().all(|&captured| captured)
            );
        }
        self.position += data.len();
    }

    fn skip(&mut self, len: u64, cause: GapCause, exact: bool) {
        let len = usize::try_from(len).expect("gaps are shorter than the stream");
        if exact {
            let gap = &self.covered[self.position..self.position + len];
            let wanted = cause == GapCause::Elided;
            assert!(
                gap.iter().all(|&covered| covered == wanted),
                "{cause:?} gap of {len} at {}",
                self.position
            );
        }
        self.position += len;
    }
}

fuzz_target!(|input: Input| {
    let limits = if input.tight {
        ReassemblyLimits { max_buffered_bytes: 256, max_buffered_pieces: 4, ..ReassemblyLimits::default() }
    } else {
        ReassemblyLimits::default()
    };
    let start = SeqNumber(input.start);
    let exact = input.knows_start;
    let mut counters = ReassemblyCounters::default();
    let mut stream = Stream::new();
    if exact {
        stream.start_at(start);
    }
    let mut model = Model {
        bytes: (0..LEN).map(byte_at).collect(),
        covered: vec![false; LEN],
        captured: vec![false; LEN],
        position: 0,
    };
    let mut now = Timestamp::from_secs(1);
    let mut lowest = LEN;
    let mut highest = 0;
    for step in input.steps {
        match step {
            Step::Wait { millis } => now = now + Duration::from_millis(millis.into()),
            Step::Segment { at, wire_len, captured } => {
                let at = usize::from(at) % LEN;
                let wire_len = usize::from(wire_len) % (LEN - at + 1);
                let captured = usize::from(captured).min(wire_len);
                model.covered[at..at + wire_len].fill(true);
                model.captured[at..at + captured].fill(true);
                if wire_len > 0 {
                    lowest = lowest.min(at);
                    highest = highest.max(at + wire_len);
                }
                let payload = model.bytes[at..at + captured].to_vec();
                let seq = start.add(at as u32);
                let in_order = stream.push(seq, wire_len as u32, &payload, now, &limits, &mut counters);
                model.take(in_order.data, exact);
                model.skip(in_order.elided.into(), GapCause::Elided, exact);
            }
        }
        drain(&mut stream, &mut model, now, &limits, &mut counters, exact);
        assert!(stream.buffered_bytes() <= limits.max_buffered_bytes, "the bound holds after every drain");
    }
    stream.finish();
    drain(&mut stream, &mut model, now, &limits, &mut counters, exact);
    assert_eq!(stream.buffered_bytes(), 0, "nothing is kept back at the end");
    if exact {
        assert_eq!(model.position, highest, "everything that was sent came out, as bytes or as gaps");
    } else if lowest < highest {
        assert!(model.position <= highest - lowest, "nothing came out twice");
    }
});

fn drain(
    stream: &mut Stream,
    model: &mut Model,
    now: Timestamp,
    limits: &ReassemblyLimits,
    counters: &mut ReassemblyCounters,
    exact: bool,
) {
    while let Some(item) = stream.pop(now, limits, counters) {
        match item {
            StreamItem::Data(data) => model.take(&data, exact),
            StreamItem::Gap { len, cause } => model.skip(len, cause, exact),
        }
    }
}
