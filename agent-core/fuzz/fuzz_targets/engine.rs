//! Any events at the engine, around a conversation that can be a real handshake: cut, lost, repeated, reordered, late.
#![no_main]

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use agent_core::engine::{Engine, EngineConfig, Output};
use agent_core::event::{
    CloseKind, Closed, EarlierRead, Established, Event, Opened, Origin, PeerCertificates, Process, Segment,
    TlsLibrary,
};
use agent_core::net::{ConnId, Direction, Endpoint, FiveTuple, SeqNumber, Side};
use agent_core::observation::{Observation, Phase, Reason, Security, Source};
use agent_core::reassembly::ReassemblyLimits;
use agent_core::time::Timestamp;
use libfuzzer_sys::fuzz_target;
use support::Conversation;

/// Near the wrap-around, so that it is crossed.
const START: [SeqNumber; 2] = [SeqNumber(u32::MAX - 300), SeqNumber(7)];

fuzz_target!(|input: &[u8]| {
    let Some(conversation) = Conversation::read(input) else { return };
    let in_order = orderly(&conversation, Cut::Whole);
    let reversed = orderly(&conversation, Cut::Reversed);
    let doubled = orderly(&conversation, Cut::Doubled);
    // Text without a protocol is judged by what has arrived, which depends on the cut.
    let judged_as_text = [&in_order, &reversed, &doubled].iter().any(|last| last.1);
    if !judged_as_text {
        assert_eq!(in_order.0, reversed.0, "segments of a run in reverse");
        assert_eq!(in_order.0, doubled.0, "segments sent twice");
    }
    disorderly(&conversation);
});

#[derive(Clone, Copy, PartialEq)]
enum Cut {
    Whole,
    Reversed,
    Doubled,
}

/// A connection that loses nothing; its final observation, less what depends on time, and whether it is text.
fn orderly(conversation: &Conversation<'_>, cut: Cut) -> (String, bool) {
    // Without tight bounds, which cost bytes that come in reverse.
    let mut world = World::new(conversation.flags & !2);
    world.open(0);
    world.establish(0);
    let mut at = [0, 0];
    for &(direction, bytes) in &conversation.runs {
        let start = at[direction.index()];
        at[direction.index()] += bytes.len();
        let mut pieces: Vec<(usize, &[u8])> = match cut {
            Cut::Whole => vec![(0, bytes)],
            Cut::Reversed | Cut::Doubled => {
                bytes.chunks(97).enumerate().map(|(n, piece)| (n * 97, piece)).collect()
            }
        };
        if cut == Cut::Reversed {
            pieces.reverse();
        }
        for (offset, piece) in pieces {
            for _ in 0..if cut == Cut::Doubled { 2 } else { 1 } {
                world.segment(0, direction, start + offset, piece.len() as u32, piece);
            }
        }
    }
    world.close(0);
    let mut last = world.finish().remove(&0).expect("a connection that was opened has a final observation");
    if let Some(tls) = last.tls_mut() {
        tls.handshake_duration = None;
    }
    last.duration = None;
    let is_text = last.security == Security::Plaintext && last.protocol.is_none();
    (format!("{last:?}"), is_text)
}

/// What `rest` says: every four bytes are one event, about one of four connections.
fn disorderly(conversation: &Conversation<'_>) {
    let mut world = World::new(conversation.flags);
    let streams = [Direction::Egress, Direction::Ingress].map(|wanted| {
        let of_it = conversation.runs.iter().filter(|(direction, _)| *direction == wanted);
        of_it.flat_map(|(_, bytes)| bytes.iter().copied()).collect::<Vec<u8>>()
    });
    for op in conversation.rest.chunks_exact(4) {
        let [what, a, b, c] = [op[0], op[1], op[2], op[3]];
        let conn = u64::from(what >> 6);
        let direction = if what & 0x20 == 0 { Direction::Egress } else { Direction::Ingress };
        let stream = &streams[direction.index()];
        match what & 0x1f {
            0 => world.open(conn),
            1 => world.establish(conn),
            2 => world.close(conn),
            3 => world.owner(conn),
            4 => world.wait(Duration::from_millis(u64::from(a) * 50)),
            9 | 10 => world.certificates(conn, &streams, [what, a, b, c]),
            8 => world.play(conn, conversation),
            5 => {
                let elsewhere = usize::from(u16::from_be_bytes([a, b])) << 14;
                world.segment(conn, direction, elsewhere, 1, &[c]);
            }
            _ => {
                let from = usize::from(u16::from_be_bytes([a, b])) % (stream.len() + 1);
                let len = (usize::from(c) * 8).min(stream.len() - from);
                let captured = if what & 1 == 0 { len } else { len / 2 };
                world.segment(conn, direction, from, len as u32, &stream[from..from + captured]);
            }
        }
    }
    world.finish();
}

/// An engine, and what must hold of it at all times.
struct World {
    engine: Engine,
    now: Timestamp,
    /// Connections that had a verdict and are not over; whether another one may follow.
    open: BTreeMap<u64, bool>,
    /// Certificates were handed in: each may give a verdict once more.
    probed: bool,
    finals: BTreeMap<u64, Observation>,
}

impl World {
    fn new(flags: u8) -> Self {
        let mut config = EngineConfig { seen_at_local_end: flags & 1 == 0, ..EngineConfig::default() };
        if flags & 2 != 0 {
            config.max_connections = 2;
            config.max_buffered_bytes = 512;
            config.max_encrypted_records = 2;
            config.max_pending_certificates = 2;
            config.max_certificate_candidates = 1;
            config.max_indexed_handshakes = 2;
            config.reassembly =
                ReassemblyLimits { max_buffered_bytes: 512, max_buffered_pieces: 256, ..config.reassembly };
        }
        Self {
            engine: Engine::new(config),
            now: Timestamp::from_secs(1_000_000),
            open: BTreeMap::new(),
            probed: false,
            finals: BTreeMap::new(),
        }
    }

    fn open(&mut self, conn: u64) {
        let address = IpAddr::V4(Ipv4Addr::LOCALHOST);
        self.handle(Event::Opened(Opened {
            conn: ConnId(conn),
            tuple: FiveTuple { local: Endpoint::new(address, 40_000), peer: Endpoint::new(address, 443) },
            local_side: if conn == 3 { None } else { Some(Side::Client) },
            origin: if conn == 2 { Origin::BeforeStart } else { Origin::Fresh },
            process: (conn == 1).then(process),
        }));
    }

    fn establish(&mut self, conn: u64) {
        self.handle(Event::Established(Established {
            conn: ConnId(conn),
            egress_start: START[0],
            ingress_start: START[1],
        }));
    }

    fn segment(&mut self, conn: u64, direction: Direction, at: usize, wire_len: u32, payload: &[u8]) {
        let seq = START[direction.index()].add(at as u32);
        self.handle(Event::Segment(Segment { conn: ConnId(conn), direction, seq, wire_len, payload }));
    }

    fn owner(&mut self, conn: u64) {
        self.handle(Event::Owner { conn: ConnId(conn), process: process() });
    }

    /// All of the conversation on a connection of its own, or on top of what was there.
    fn play(&mut self, conn: u64, conversation: &Conversation<'_>) {
        self.open(conn);
        self.establish(conn);
        let mut at = [0, 0];
        for &(direction, bytes) in &conversation.runs {
            self.segment(conn, direction, at[direction.index()], bytes.len() as u32, bytes);
            at[direction.index()] += bytes.len();
        }
    }

    /// A piece of either stream as a chain, with hints or without; `a` bytes into it, as long as `b` says.
    fn certificates(&mut self, conn: u64, streams: &[Vec<u8>; 2], [what, a, b, c]: [u8; 4]) {
        let stream = &streams[usize::from(what & 1)];
        let from = usize::from(a).min(stream.len());
        let to = (from + usize::from(b) * 8).min(stream.len());
        let has_extensions = c & 64 != 0;
        let mut entries = stream[from..to].to_vec();
        if what & 1 == 0 {
            // One entry that is well-formed.
            entries.splice(0..0, (entries.len() as u32).to_be_bytes().into_iter().skip(1));
            entries.extend(if has_extensions { &[0, 0][..] } else { &[] });
        }
        // The random of the first hello, or any other bytes.
        let random = streams[0].get(if c & 1 == 0 { 11..43 } else { usize::from(a)..usize::from(a) + 32 });
        self.probed = true;
        self.handle(Event::PeerCertificates(PeerCertificates {
            process: process(),
            library: TlsLibrary::OpenSsl,
            peer: [None, Some(Side::Client), Some(Side::Server), None][usize::from(c >> 1 & 3)],
            last_read: (c & 8 != 0).then_some(ConnId(conn)),
            read_before: (c & 16 != 0)
                .then(|| EarlierRead { conn: ConnId(conn ^ 1), ago: Duration::from_millis(1) }),
            client_random: random.filter(|_| c & 16 != 0).and_then(|random| random.try_into().ok()),
            list_len: (c & 32 != 0).then_some(u32::from(b) * 8),
            entries: &entries,
            has_extensions,
            is_cut: c & 128 != 0,
        }));
    }

    fn close(&mut self, conn: u64) {
        self.handle(Event::Closed(Closed { conn: ConnId(conn), how: CloseKind::Finished, bytes: None }));
    }

    fn wait(&mut self, time: Duration) {
        self.now = self.now + time;
        self.engine.handle_timeout(self.now);
        if let Some(due) = self.engine.poll_deadline() {
            assert!(due > self.now, "what was due was done");
        }
        self.drain();
    }

    fn handle(&mut self, event: Event<'_>) {
        self.engine.handle(event, self.now);
        self.drain();
    }

    fn drain(&mut self) {
        while let Some(output) = self.engine.poll_output() {
            let observation = match output {
                Output::Observation(observation) => observation,
                Output::ProcessCertificates(told) => {
                    assert!(self.probed && !told.chain.is_empty(), "told of what was handed in");
                    continue;
                }
                Output::CaptureDone(_) | Output::CaptureMore(_) => continue,
            };
            let is_probed = observation.source == Some(Source::Probe);
            assert!(self.probed || !is_probed, "no probe, no probed chain");
            assert!(!is_probed || observation.security != Security::Unknown, "a probe proves no failure");
            let conn = observation.conn.0;
            match observation.phase {
                Phase::Verdict => {
                    // An old connection is listed when it comes into view, and once more when its bytes prove something.
                    let listed = observation.reason == Some(Reason::StartedBeforeAgent);
                    // What record lengths prove stands until the server objects.
                    let presumed = observation.source == Some(Source::RecordLength)
                        && observation.security != Security::Unknown;
                    let before = self.open.insert(conn, listed || presumed);
                    assert!(
                        before.is_none_or(|may_follow| (may_follow || self.probed) && !listed),
                        "one verdict for a connection"
                    );
                }
                Phase::Final => {
                    self.open.remove(&conn);
                    self.finals.insert(conn, *observation);
                }
            }
        }
    }

    /// The last final observation of every connection.
    fn finish(mut self) -> BTreeMap<u64, Observation> {
        self.engine.finish(self.now);
        self.drain();
        assert_eq!(self.engine.open_connections(), 0);
        assert_eq!(self.engine.poll_deadline(), None, "nothing is left to wait for");
        assert!(self.open.is_empty(), "a verdict is followed by a final observation");
        self.finals
    }
}

fn process() -> Arc<Process> {
    Arc::new(Process { pid: 1, executable_name: "fuzz".to_owned() })
}
