use super::*;

/// A stream under test that collects what comes out; missing bytes show as `None`.
struct Rig {
    stream: Stream,
    limits: ReassemblyLimits,
    counters: ReassemblyCounters,
    out: Vec<Option<u8>>,
    gaps: Vec<(u64, GapCause)>,
}

impl Rig {
    fn new() -> Self {
        Self {
            stream: Stream::new(),
            limits: ReassemblyLimits::default(),
            counters: ReassemblyCounters::default(),
            out: Vec::new(),
            gaps: Vec::new(),
        }
    }

    fn at(seq: u32) -> Self {
        let mut rig = Self::new();
        rig.stream.start_at(SeqNumber(seq));
        rig
    }

    fn take(&mut self, item: StreamItem<'_>) {
        match item {
            StreamItem::Data(bytes) => self.out.extend(bytes.iter().map(|b| Some(*b))),
            StreamItem::Gap { len, cause } => {
                self.gaps.push((len, cause));
                self.out.extend(std::iter::repeat_n(None, len as usize));
            }
        }
    }

    fn drain(&mut self, now: Timestamp) {
        while let Some(item) = self.stream.pop(now, &self.limits, &mut self.counters) {
            self.take(item);
        }
    }

    fn push_partial(&mut self, seq: u32, wire_len: u32, payload: &[u8]) {
        let now = Timestamp(1);
        let first =
            self.stream.push(SeqNumber(seq), wire_len, payload, now, &self.limits, &mut self.counters);
        if !first.data.is_empty() {
            self.take(StreamItem::Data(Cow::Borrowed(first.data)));
        }
        if first.elided > 0 {
            self.take(StreamItem::Gap { len: u64::from(first.elided), cause: GapCause::Elided });
        }
        self.drain(now);
    }

    fn push(&mut self, seq: u32, payload: &[u8]) {
        self.push_partial(seq, payload.len() as u32, payload);
    }

    fn finish(&mut self) {
        self.stream.finish();
        self.drain(Timestamp(2));
    }

    fn bytes(&self) -> Vec<u8> {
        self.out.iter().map(|b| b.expect("no gap")).collect()
    }
}

/// A small deterministic generator: the tests need variety, not quality.
struct Lcg(u64);

impl Lcg {
    fn below(&mut self, n: u32) -> u32 {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        ((self.0 >> 33) % u64::from(n)) as u32
    }
}

fn permutations(n: usize) -> Vec<Vec<usize>> {
    if n == 0 {
        return vec![Vec::new()];
    }
    let mut all = Vec::new();
    for shorter in permutations(n - 1) {
        for place in 0..n {
            let mut p = shorter.clone();
            p.insert(place, n - 1);
            all.push(p);
        }
    }
    all
}

#[test]
fn hands_through_what_is_in_order_without_buffering() {
    let mut rig = Rig::at(7);
    rig.push(7, b"hello ");
    rig.push(13, b"world");
    assert_eq!(rig.bytes(), b"hello world");
    assert_eq!(rig.stream.buffered_bytes(), 0);
    assert_eq!(rig.counters, ReassemblyCounters::default());
}

#[test]
fn every_order_of_six_overlapping_segments_gives_the_stream() {
    let text = b"abcdefghijklmnopqrst";
    let cuts = [(0, 4), (2, 6), (6, 11), (10, 15), (15, 17), (16, 20)];
    // Starts around the wrap too: 2^32 - 9 wraps in the middle of the stream.
    for start in [0u32, 1000, u32::MAX - 8, u32::MAX] {
        for order in permutations(cuts.len()) {
            let mut rig = Rig::at(start);
            for i in &order {
                let (from, to) = cuts[*i];
                rig.push(start.wrapping_add(from as u32), &text[from..to]);
            }
            assert_eq!(rig.bytes(), text, "start {start} order {order:?}");
            assert_eq!(rig.stream.buffered_bytes(), 0);
            assert_eq!(rig.stream.deadline(&rig.limits), None);
        }
    }
}

#[test]
fn a_joined_stream_gives_the_same_in_every_order() {
    let text = b"abcdefghijkl";
    for start in [5u32, u32::MAX - 4] {
        for order in permutations(4) {
            let mut rig = Rig::new();
            for i in &order {
                rig.push(start.wrapping_add(3 * *i as u32), &text[3 * i..3 * i + 3]);
            }
            assert_eq!(rig.out, [], "waits for earlier segments");
            let deadline = rig.stream.deadline(&rig.limits).expect("waits");
            rig.drain(deadline);
            assert_eq!(rig.bytes(), text, "start {start} order {order:?}");
        }
    }
}

#[test]
fn random_splits_duplicates_and_orders_give_the_stream() {
    let mut rng = Lcg(42);
    for round in 0..2000 {
        let text: Vec<u8> = (0..1 + rng.below(200)).map(|i| i as u8).collect();
        let start = if round % 2 == 0 { u32::MAX - rng.below(220) } else { rng.below(u32::MAX) };
        let mut segments = Vec::new();
        let mut at = 0;
        while at < text.len() {
            let end = (at + 1 + rng.below(20) as usize).min(text.len());
            segments.push((at, end));
            at = end;
        }
        for _ in 0..rng.below(10) {
            let from = rng.below(text.len() as u32) as usize;
            let to = from + 1 + rng.below((text.len() - from) as u32) as usize;
            segments.push((from, to));
        }
        for i in (1..segments.len()).rev() {
            segments.swap(i, rng.below(i as u32 + 1) as usize);
        }
        let mut rig = Rig::at(start);
        for (from, to) in segments {
            rig.push(start.wrapping_add(from as u32), &text[from..to]);
        }
        assert_eq!(rig.bytes(), text);
        assert_eq!(rig.stream.buffered_bytes(), 0);
    }
}

#[test]
fn elided_bytes_come_as_gaps_and_a_captured_copy_fills_them_while_they_wait() {
    let mut rig = Rig::at(0);
    rig.push_partial(0, 100, b"head");
    assert_eq!(rig.gaps, [(96, GapCause::Elided)]);
    rig.push_partial(104, 10, b"ab"); // early: 2 bytes and 8 elided
    rig.push(107, b"XYZ"); // fills 3 of the 8
    rig.push(100, b"next");
    rig.finish();
    assert_eq!(rig.gaps, [(96, GapCause::Elided), (1, GapCause::Elided), (4, GapCause::Elided)]);
    let tail: Vec<Option<u8>> = rig.out[100..].to_vec();
    let shown: String = tail.iter().map(|b| b.map_or('.', char::from)).collect();
    assert_eq!(shown, "nextab.XYZ....");
    assert_eq!(rig.counters.elided_bytes, 101);
}

#[test]
fn the_first_copy_wins() {
    let mut rig = Rig::at(0);
    rig.push(2, b"CD");
    rig.push(0, b"abxxe");
    rig.push(0, b"zzzzz");
    assert_eq!(rig.bytes(), b"abCDe");
    assert_eq!(rig.counters.retransmitted_segments, 1);
    assert_eq!(rig.counters.retransmitted_bytes, 7);
}

#[test]
fn missing_bytes_are_lost_after_the_deadline() {
    let mut rig = Rig::at(0);
    rig.push(10, b"late");
    let deadline = rig.stream.deadline(&rig.limits).expect("waits");
    assert_eq!(deadline, Timestamp(1) + rig.limits.gap_timeout);
    rig.drain(Timestamp(deadline.0 - 1));
    assert_eq!(rig.out, []);
    rig.drain(deadline);
    assert_eq!(rig.gaps, [(10, GapCause::Lost)]);
    assert_eq!((rig.counters.lost_gaps, rig.counters.lost_bytes), (1, 10));
    rig.push(14, b"r");
    assert_eq!(rig.out.len(), 15);
}

#[test]
fn missing_bytes_are_lost_when_the_buffer_is_full() {
    let mut rig = Rig::at(0);
    rig.limits.max_buffered_bytes = 10;
    rig.push(5, b"12345");
    rig.push(20, b"12345");
    assert_eq!(rig.out, []);
    rig.push(30, b"1");
    assert_eq!(rig.gaps, [(5, GapCause::Lost)]);
    assert_eq!(rig.stream.buffered_bytes(), 6);
    assert_eq!(rig.counters.gaps_forced_by_full_buffer, 1);

    let mut rig = Rig::at(0);
    rig.limits.max_buffered_pieces = 3;
    for i in 1..=4 {
        rig.push(2 * i, b"x");
    }
    assert_eq!(rig.counters.gaps_forced_by_full_buffer, 1);
    assert_eq!(rig.stream.pending.pieces(), 3);
}

#[test]
fn missing_bytes_are_lost_at_the_end() {
    let mut rig = Rig::at(0);
    rig.push(2, b"c");
    rig.push(4, b"e");
    rig.finish();
    assert_eq!(rig.out, [None, None, Some(b'c'), None, Some(b'e')]);
}

#[test]
fn far_off_segments_are_counted_and_ignored() {
    let mut rig = Rig::at(0);
    rig.push(1 << 30, b"x");
    rig.push(3 << 30, b"x");
    rig.push(0, b"ok");
    assert_eq!(rig.bytes(), b"ok");
    assert_eq!(rig.counters.far_off_segments, 2);
}

#[test]
fn a_start_learnt_late_drops_what_came_before_it() {
    let mut rig = Rig::new();
    rig.push(9, b"?"); // a keep-alive probe repeats an old byte
    rig.push(13, b"def");
    rig.stream.start_at(SeqNumber(10));
    rig.push(10, b"abc");
    assert_eq!(rig.bytes(), b"abcdef");
}

#[test]
fn a_stream_longer_than_the_sequence_space_goes_on() {
    let mut rig = Rig::at(0);
    rig.limits.max_distance = u32::MAX >> 2;
    let mut seq = 0u32;
    let mut total = 0u64;
    while total < 3 << 32 {
        let first =
            rig.stream.push(SeqNumber(seq), 1 << 29, b"", Timestamp(1), &rig.limits, &mut rig.counters);
        assert_eq!(first.elided, 1 << 29);
        seq = seq.wrapping_add(1 << 29);
        total += 1 << 29;
    }
    rig.push(seq, b"end");
    assert_eq!(rig.bytes(), b"end");
}
