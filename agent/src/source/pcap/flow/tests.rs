use std::convert::Infallible;

use super::*;

/// Feeds segments to a tracker and writes down what it says.
struct Bench {
    tracker: FlowTracker,
    counters: Counters,
    now: Timestamp,
    said: Vec<String>,
}

const CLIENT: &str = "10.0.0.1:1000";
const SERVER: &str = "10.0.0.2:80";

fn end(text: &str) -> Endpoint {
    let addr: std::net::SocketAddr = text.parse().unwrap();
    Endpoint::new(addr.ip(), addr.port())
}

/// A segment with these flags (S, A, F, R) from `from` to `to`.
fn segment(
    from: &str,
    to: &str,
    flags: &str,
    seq: u32,
    ack: u32,
    payload: &'static [u8],
) -> TcpSegment<'static> {
    TcpSegment {
        source: end(from),
        destination: end(to),
        encapsulation: Encapsulation::default(),
        seq: SeqNumber(seq),
        ack: flags.contains('A').then_some(SeqNumber(ack)),
        syn: flags.contains('S'),
        fin: flags.contains('F'),
        rst: flags.contains('R'),
        wire_len: u32::try_from(payload.len()).unwrap(),
        payload,
    }
}

fn up(flags: &str, seq: u32, ack: u32, payload: &'static [u8]) -> TcpSegment<'static> {
    segment(CLIENT, SERVER, flags, seq, ack, payload)
}

fn down(flags: &str, seq: u32, ack: u32, payload: &'static [u8]) -> TcpSegment<'static> {
    segment(SERVER, CLIENT, flags, seq, ack, payload)
}

fn say(event: &Event<'_>) -> String {
    match event {
        Event::Opened(o) => {
            format!("{} open {}>{} {:?} {:?}", o.conn.0, o.tuple.local, o.tuple.peer, o.local_side, o.origin)
        }
        Event::Established(e) => {
            format!("{} established {} {}", e.conn.0, e.egress_start.0, e.ingress_start.0)
        }
        Event::Segment(s) => format!(
            "{} {:?} {} {}/{}",
            s.conn.0,
            s.direction,
            s.seq.0,
            String::from_utf8_lossy(s.payload),
            s.wire_len
        ),
        Event::Owner { .. } => "owner".to_owned(),
        Event::PeerCertificates(_) => "certificates".to_owned(),
        Event::Closed(c) => {
            let bytes = c.bytes.unwrap();
            format!("{} {:?} {}/{}", c.conn.0, c.how, bytes.egress, bytes.ingress)
        }
    }
}

impl Bench {
    fn new(limits: FlowLimits) -> Self {
        Self {
            tracker: FlowTracker::new(limits),
            counters: Counters::default(),
            now: Timestamp(0),
            said: Vec::new(),
        }
    }

    fn feed(&mut self, segments: &[TcpSegment<'_>]) -> Vec<String> {
        for segment in segments {
            let said = &mut self.said;
            let mut emit = |event: Event<'_>, _: Timestamp| -> Result<(), Infallible> {
                said.push(say(&event));
                Ok(())
            };
            self.now = self.now + Duration::from_millis(1);
            self.tracker.segment(segment, self.now, &mut self.counters, &mut emit).unwrap();
        }
        std::mem::take(&mut self.said)
    }

    fn finish(&mut self) -> Vec<String> {
        let said = &mut self.said;
        let mut emit = |event: Event<'_>, _: Timestamp| -> Result<(), Infallible> {
            said.push(say(&event));
            Ok(())
        };
        self.tracker.finish(self.now, &mut emit).unwrap();
        std::mem::take(&mut self.said)
    }
}

fn run(segments: &[TcpSegment<'_>]) -> Vec<String> {
    let mut bench = Bench::new(FlowLimits::default());
    let mut said = bench.feed(segments);
    said.extend(bench.finish());
    said
}

fn handshake() -> Vec<TcpSegment<'static>> {
    vec![up("S", 100, 0, b""), down("SA", 500, 101, b""), up("A", 101, 501, b"")]
}

const OPEN: &str = "1 open 10.0.0.1:1000>10.0.0.2:80 Some(Client) Fresh";

#[test]
fn sender_of_the_syn_is_the_client_and_local() {
    let mut segments = handshake();
    segments.extend([
        up("A", 101, 501, b"hello"),
        down("A", 501, 106, b"you"),
        up("FA", 106, 504, b""),
        down("FA", 504, 107, b""),
        up("A", 107, 505, b""),
    ]);
    assert_eq!(
        run(&segments),
        [OPEN, "1 established 101 501", "1 Egress 101 hello/5", "1 Ingress 501 you/3", "1 Finished 5/3"]
    );
}

#[test]
fn syn_ack_alone_tells_the_client_too() {
    assert_eq!(
        run(&[down("SA", 500, 101, b""), up("A", 101, 501, b"hi")]),
        [OPEN, "1 established 101 501", "1 Egress 101 hi/2", "1 SourceEnded 2/0"]
    );
}

#[test]
fn client_data_stands_in_for_a_syn_ack_that_was_not_captured() {
    assert_eq!(
        run(&[up("S", 100, 0, b""), up("A", 101, 501, b"hi"), down("A", 501, 103, b"yo")]),
        [OPEN, "1 established 101 501", "1 Egress 101 hi/2", "1 Ingress 501 yo/2", "1 SourceEnded 2/2"]
    );
}

#[test]
fn without_a_syn_nobody_is_called_client() {
    assert_eq!(
        run(&[down("A", 501, 106, b"you"), up("A", 106, 504, b"me")]),
        [
            "1 open 10.0.0.2:80>10.0.0.1:1000 None BeforeStart",
            "1 Egress 501 you/3",
            "1 Ingress 106 me/2",
            "1 SourceEnded 3/2"
        ]
    );
}

#[test]
fn syn_behind_the_data_of_its_connection_opens_no_other() {
    assert_eq!(
        run(&[
            up("A", 101, 501, b"hi"),
            up("S", 100, 0, b""),
            down("SA", 500, 101, b""),
            up("A", 103, 501, b"!")
        ]),
        [
            "1 open 10.0.0.1:1000>10.0.0.2:80 None BeforeStart",
            "1 Egress 101 hi/2",
            "1 established 101 501",
            "1 Egress 103 !/1",
            "1 SourceEnded 3/0"
        ]
    );
}

#[test]
fn repeated_syns_are_one_connection() {
    assert_eq!(
        run(&[
            up("S", 100, 0, b""),
            up("S", 100, 0, b""),
            down("SA", 500, 101, b""),
            down("SA", 500, 101, b"")
        ]),
        [OPEN, "1 SourceEnded 0/0"]
    );
}

#[test]
fn reset_in_answer_to_the_syn_is_never_established() {
    assert_eq!(run(&[up("S", 100, 0, b""), down("RA", 0, 101, b"")]), [OPEN, "1 NeverEstablished 0/0"]);
}

#[test]
fn reset_ends_an_established_connection() {
    let mut segments = handshake();
    segments.extend([up("A", 101, 501, b"hi"), down("R", 501, 0, b"")]);
    assert_eq!(run(&segments), [OPEN, "1 established 101 501", "1 Egress 101 hi/2", "1 Reset 2/0"]);
}

#[test]
fn ports_used_again_are_another_connection() {
    let mut segments = handshake();
    segments.extend([
        up("FA", 101, 501, b""),
        down("FA", 501, 102, b""),
        up("A", 102, 502, b""),
        up("S", 9000, 0, b""),
        up("S", 20_000, 0, b""),
        down("SA", 7000, 20_001, b""),
        up("A", 20_001, 7001, b"x"),
        up("S", 90_000_000, 0, b""),
    ]);
    assert_eq!(
        run(&segments),
        [
            OPEN,
            "1 established 101 501",
            "1 Finished 0/0",
            "2 open 10.0.0.1:1000>10.0.0.2:80 Some(Client) Fresh",
            "2 NeverEstablished 0/0",
            "3 open 10.0.0.1:1000>10.0.0.2:80 Some(Client) Fresh",
            "3 established 20001 7001",
            "3 Egress 20001 x/1",
            "3 Unknown 1/0",
            "4 open 10.0.0.1:1000>10.0.0.2:80 Some(Client) Fresh",
            "4 SourceEnded 0/0",
        ]
    );
}

#[test]
fn late_segments_of_a_closed_connection_open_no_other() {
    let mut bench = Bench::new(FlowLimits::default());
    bench.feed(&handshake());
    assert_eq!(bench.feed(&[up("RA", 101, 501, b"")]), Vec::<String>::new());
    bench.now = bench.now + LINGER;
    assert_eq!(bench.feed(&[down("A", 501, 101, b"late"), down("R", 501, 0, b"")]), ["1 Reset 0/0"]);
    assert_eq!(bench.counters.late_segments, 2);
}

#[test]
fn retransmissions_count_once_and_bytes_not_captured_count() {
    let mut segments = handshake();
    segments.extend([
        up("A", 101, 501, b"abc"),
        up("A", 101, 501, b"abc"),
        up("A", 102, 501, b"bcd"),
        up("A", 201, 501, b"e"),
    ]);
    assert_eq!(run(&segments).last().unwrap(), "1 SourceEnded 101/0");
}

#[test]
fn sequence_numbers_wrap() {
    assert_eq!(
        run(&[
            up("S", u32::MAX - 2, 0, b""),
            down("SA", u32::MAX, u32::MAX - 1, b""),
            up("A", u32::MAX - 1, 0, b"abcd"),
            up("FA", 2, 0, b""),
            down("FA", 0, 3, b"x"),
            up("A", 3, 2, b""),
        ]),
        [
            OPEN,
            "1 established 4294967294 0",
            "1 Egress 4294967294 abcd/4",
            "1 Ingress 0 x/1",
            "1 Finished 4/1"
        ]
    );
}

#[test]
fn fast_open_data_comes_after_the_syn_in_sequence() {
    assert_eq!(
        run(&[up("S", 100, 0, b"hi"), down("SA", 500, 103, b""), up("A", 103, 501, b"!")]),
        [OPEN, "1 Egress 101 hi/2", "1 established 101 501", "1 Egress 103 !/1", "1 SourceEnded 3/0"]
    );
}

#[test]
fn end_of_file_tells_half_closed_from_closed() {
    let mut segments = handshake();
    segments.push(up("FA", 101, 501, b""));
    assert_eq!(run(&segments).last().unwrap(), "1 SourceEnded 0/0");
    // The last acknowledgment was not captured.
    segments.push(down("FA", 501, 102, b""));
    assert_eq!(run(&segments).last().unwrap(), "1 Finished 0/0");
}

#[test]
fn same_addresses_in_another_tunnel_are_another_connection() {
    let mut other = up("S", 100, 0, b"");
    other.encapsulation = Encapsulation(1);
    let said = run(&[up("S", 100, 0, b""), other]);
    assert_eq!(said[..2], [OPEN.to_owned(), OPEN.replacen('1', "2", 1)]);
}

#[test]
fn lone_resets_are_counted_only() {
    let mut bench = Bench::new(FlowLimits::default());
    assert_eq!(bench.feed(&[up("R", 1, 0, b"")]), Vec::<String>::new());
    assert_eq!(bench.counters.stray_resets, 1);
}

#[test]
fn full_table_gives_up_the_connection_that_was_silent_longest() {
    let mut bench = Bench::new(FlowLimits { open: 2, closed: 1, ..FlowLimits::default() });
    let from = |port: u16, flags: &str, seq| segment(&format!("10.0.0.1:{port}"), SERVER, flags, seq, 0, b"");
    bench.feed(&[from(1, "S", 10), from(2, "S", 20), from(1, "S", 10)]);
    assert_eq!(
        bench.feed(&[from(3, "S", 30)]),
        ["2 NeverEstablished 0/0", "3 open 10.0.0.1:3>10.0.0.2:80 Some(Client) Fresh"]
    );
    assert_eq!((bench.counters.evicted_open, bench.counters.evicted_closed, bench.tracker.len()), (1, 0, 2));
    bench.feed(&[from(1, "R", 11)]);
    bench.now = bench.now + LINGER;
    bench.feed(&[from(3, "S", 30)]);
    assert_eq!(bench.counters.evicted_closed, 1);
}

#[test]
fn long_silence_ends_a_connection() {
    let mut bench = Bench::new(FlowLimits::default());
    bench.feed(&handshake());
    bench.now = bench.now + Duration::from_secs(4 * 3600);
    let said = bench.feed(&[segment("10.0.0.9:9", SERVER, "S", 1, 0, b"")]);
    assert_eq!(said[0], "1 Unknown 0/0");
    assert_eq!(bench.counters.evicted_idle, 1);
}

#[test]
fn wild_sequence_numbers_do_not_count_as_bytes() {
    let mut segments = handshake();
    segments.extend([up("A", 101 + (1 << 30), 501, b"x"), up("A", 101, 501, b"y")]);
    assert_eq!(run(&segments).last().unwrap(), "1 SourceEnded 1/0");
}

#[test]
fn connection_to_itself_is_followed_without_trouble() {
    let itself = |flags, seq, ack| segment(CLIENT, CLIENT, flags, seq, ack, b"");
    let said = run(&[itself("S", 100, 0), itself("SA", 100, 101), itself("A", 101, 101)]);
    assert_eq!(said[0], "1 open 10.0.0.1:1000>10.0.0.1:1000 Some(Client) Fresh");
}

#[test]
fn data_that_comes_just_behind_its_reset_is_not_lost() {
    let mut bench = Bench::new(FlowLimits::default());
    bench.feed(&handshake());
    assert_eq!(bench.feed(&[down("R", 505, 0, b""), down("A", 501, 101, b"last")]), ["1 Ingress 501 last/4"]);
    bench.now = bench.now + LINGER;
    assert_eq!(bench.feed(&[segment("10.0.0.9:9", SERVER, "S", 1, 0, b"")])[0], "1 Reset 0/4");
}

#[test]
fn connections_that_linger_are_bounded_too() {
    let mut bench = Bench::new(FlowLimits { closed: 1, ..FlowLimits::default() });
    let from = |port: u16, flags: &str, seq| segment(&format!("10.0.0.1:{port}"), SERVER, flags, seq, 0, b"");
    bench.feed(&[from(1, "S", 10), from(1, "R", 11), from(2, "S", 20), from(2, "R", 21)]);
    assert_eq!(bench.feed(&[from(3, "S", 30)])[0], "1 NeverEstablished 0/0");
}
