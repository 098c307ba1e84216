//! What the recorded captures have, as a source on a live host would have told it: both ends of each connection.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use agent_core::event::{Bytes, Closed, Established, Event, Opened, Origin, Process, Segment};
use agent_core::net::{ConnId, Direction, Endpoint, FiveTuple, SeqNumber, Side};
use agent_core::time::Timestamp;
use tlsight::source::pcap::counters::Counters;
use tlsight::source::pcap::file::CaptureFile;
use tlsight::source::pcap::flow::{FlowLimits, FlowTracker};
use tlsight::source::pcap::packet::dissect;

/// One event of a recorded connection.
enum Step {
    Established(SeqNumber, SeqNumber),
    Segment { direction: Direction, seq: SeqNumber, wire_len: u32, payload: Vec<u8> },
    Closed(Closed),
}

/// A recorded connection, seen from its client.
pub(crate) struct Connection {
    tuple: FiveTuple,
    steps: Vec<(Timestamp, Step)>,
}

/// The connections of a capture file whose client sent a ClientHello.
pub(crate) fn handshakes(capture: &str) -> Vec<Connection> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/captures").join(capture);
    let mut file = CaptureFile::open(File::open(path).expect("a capture")).expect("a capture");
    let (mut flows, mut counters) = (FlowTracker::new(FlowLimits::default()), Counters::default());
    let mut connections: Vec<(ConnId, Connection)> = Vec::new();
    let mut take = |event: Event<'_>, at: Timestamp| {
        let of = |all: &mut Vec<(ConnId, Connection)>, conn, step| {
            if let Some((_, connection)) = all.iter_mut().find(|(known, _)| *known == conn) {
                connection.steps.push((at, step));
            }
        };
        match event {
            Event::Opened(opened) => {
                connections.push((opened.conn, Connection { tuple: opened.tuple, steps: Vec::new() }));
            }
            Event::Established(e) => {
                of(&mut connections, e.conn, Step::Established(e.egress_start, e.ingress_start));
            }
            Event::Segment(s) => {
                let payload = s.payload.to_vec();
                let step =
                    Step::Segment { direction: s.direction, seq: s.seq, wire_len: s.wire_len, payload };
                of(&mut connections, s.conn, step);
            }
            Event::Closed(closed) => of(&mut connections, closed.conn, Step::Closed(closed)),
            Event::Owner { .. } | Event::PeerCertificates(_) => {}
        }
        Ok::<(), ()>(())
    };
    let mut last = Timestamp::default();
    while let Ok(Some(packet)) = file.next_packet() {
        last = packet.time;
        if let Some(segment) = dissect(&packet, &mut counters) {
            flows.segment(&segment, last, &mut counters, &mut take).expect("nothing fails");
        }
    }
    flows.finish(last, &mut take).expect("nothing fails");
    let connections = connections.into_iter().map(|(_, connection)| connection);
    let found: Vec<Connection> =
        connections.filter(|connection| connection.client_hello().is_some()).collect();
    assert!(!found.is_empty(), "no handshake in {capture}");
    found
}

impl Connection {
    /// The first bytes that the client sent, where they are a TLS handshake record.
    pub(crate) fn client_hello(&self) -> Option<&[u8]> {
        self.steps
            .iter()
            .find_map(|(_, step)| match step {
                Step::Segment { direction: Direction::Egress, payload, .. } => Some(payload.as_slice()),
                _ => None,
            })
            .filter(|payload| payload.first() == Some(&22))
    }

    /// Hands out the events of both ends: the `n`th connection of a live host, by this process, at `now`.
    pub(crate) fn replay(&self, n: u64, process: &Arc<Process>, mut emit: impl FnMut(Event<'_>)) {
        let port = u16::try_from(10_000 + n % 50_000).expect("below 65536");
        let client = Endpoint::new(self.tuple.local.addr, port);
        let ends = [
            (ConnId(2 * n + 1), Side::Client, FiveTuple { local: client, peer: self.tuple.peer }),
            (ConnId(2 * n + 2), Side::Server, FiveTuple { local: self.tuple.peer, peer: client }),
        ];
        for (conn, side, tuple) in ends {
            emit(Event::Opened(Opened {
                conn,
                tuple,
                local_side: Some(side),
                origin: Origin::Fresh,
                process: Some(Arc::clone(process)),
            }));
        }
        for (_, step) in &self.steps {
            for (conn, side, _) in ends {
                emit(step.of(conn, side));
            }
        }
    }
}

impl Step {
    fn of(&self, conn: ConnId, side: Side) -> Event<'_> {
        let is_client = side == Side::Client;
        match self {
            Step::Established(client, server) => {
                let (egress_start, ingress_start) =
                    if is_client { (*client, *server) } else { (*server, *client) };
                Event::Established(Established { conn, egress_start, ingress_start })
            }
            Step::Segment { direction, seq, wire_len, payload } => {
                let is_sent = (*direction == Direction::Egress) == is_client;
                let direction = if is_sent { Direction::Egress } else { Direction::Ingress };
                Event::Segment(Segment { conn, direction, seq: *seq, wire_len: *wire_len, payload })
            }
            Step::Closed(closed) => {
                let turn =
                    |b: Bytes| if is_client { b } else { Bytes { egress: b.ingress, ingress: b.egress } };
                Event::Closed(Closed { conn, how: closed.how, bytes: closed.bytes.map(turn) })
            }
        }
    }
}
