mod bounds;
mod certificates;
mod chaos;
mod clock;
mod host;
mod lengths;
mod many;
mod midstream;
mod plain;
mod recorded;
mod rivals;

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use super::*;
use crate::event::{Bytes, Established, Origin, Process, Segment};
use crate::net::{Direction, Endpoint, FiveTuple, SeqNumber, Side};
use crate::observation::{Phase, Reason, Security, Source};

/// A small deterministic generator: the tests need variety, not quality.
pub(super) struct Lcg(pub(super) u64);

impl Lcg {
    pub(super) fn below(&mut self, n: u32) -> u32 {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        ((self.0 >> 33) % u64::from(n)) as u32
    }
}

pub(super) fn tuple() -> FiveTuple {
    let end = |last, port| Endpoint::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, last)), port);
    FiveTuple { local: end(1, 40000), peer: end(2, 443) }
}

/// One connection driven by hand. Time starts at one second and goes on by a millisecond an event.
pub(super) struct Rig {
    pub(super) engine: Engine,
    pub(super) id: ConnId,
    pub(super) now: Timestamp,
    pub(super) seq: [u32; 2],
    pub(super) outputs: Vec<Output>,
    client: Direction,
}

impl Rig {
    pub(super) fn bare(config: EngineConfig) -> Self {
        Self {
            engine: Engine::new(config),
            id: ConnId(1),
            now: Timestamp::from_secs(1),
            seq: [1000, u32::MAX - 99],
            outputs: Vec::new(),
            client: Direction::Egress,
        }
    }

    /// A fresh connection whose local end is this side.
    pub(super) fn fresh(local: Side) -> Self {
        let mut rig = Self::bare(EngineConfig::default());
        rig.connect(Some(local));
        rig
    }

    pub(super) fn connect(&mut self, local: Option<Side>) {
        self.open(Origin::Fresh, local);
        self.handle(Event::Established(Established {
            conn: self.id,
            egress_start: SeqNumber(self.seq[0]),
            ingress_start: SeqNumber(self.seq[1]),
        }));
    }

    pub(super) fn open(&mut self, origin: Origin, local: Option<Side>) {
        if local == Some(Side::Server) {
            self.client = Direction::Ingress;
        }
        self.handle(Event::Opened(Opened {
            conn: self.id,
            tuple: tuple(),
            local_side: local,
            origin,
            process: None,
        }));
    }

    pub(super) fn handle(&mut self, event: Event<'_>) {
        self.now = self.now + Duration::from_millis(1);
        self.engine.handle(event, self.now);
        self.collect();
    }

    pub(super) fn collect(&mut self) {
        while let Some(output) = self.engine.poll_output() {
            self.outputs.push(output);
        }
    }

    pub(super) fn direction(&self, side: Side) -> Direction {
        if side == Side::Client { self.client } else { self.client.reverse() }
    }

    /// The next bytes of one side.
    pub(super) fn send(&mut self, side: Side, payload: &[u8]) {
        self.send_partial(side, payload, payload.len());
    }

    pub(super) fn send_partial(&mut self, side: Side, payload: &[u8], wire_len: usize) {
        let direction = self.direction(side);
        let seq = self.seq[direction.index()];
        self.seq[direction.index()] = seq.wrapping_add(wire_len as u32);
        self.segment(direction, seq, payload, wire_len);
    }

    pub(super) fn segment(&mut self, direction: Direction, seq: u32, payload: &[u8], wire_len: usize) {
        self.handle(Event::Segment(Segment {
            conn: self.id,
            direction,
            seq: SeqNumber(seq),
            wire_len: wire_len as u32,
            payload,
        }));
    }

    /// Time goes on.
    pub(super) fn wait(&mut self, time: Duration) {
        self.now = self.now + time;
        self.engine.handle_timeout(self.now);
        self.collect();
    }

    pub(super) fn close(&mut self, how: CloseKind) {
        let bytes = Some(Bytes { egress: 1, ingress: 2 });
        self.handle(Event::Closed(Closed { conn: self.id, how, bytes }));
    }

    pub(super) fn observations(&self) -> Vec<&Observation> {
        self.outputs
            .iter()
            .filter_map(|output| match output {
                Output::Observation(observation) => Some(observation.as_ref()),
                _ => None,
            })
            .collect()
    }

    pub(super) fn last(&self) -> &Observation {
        self.observations().last().expect("an observation")
    }

    /// Security, source and reason of every observation so far.
    pub(super) fn verdicts(&self) -> Vec<(Phase, Security, Option<Source>, Option<Reason>)> {
        self.observations().iter().map(|o| (o.phase, o.security, o.source, o.reason)).collect()
    }
}

#[test]
fn an_owner_learnt_later_shows_in_what_follows() {
    let mut rig = Rig::fresh(Side::Client);
    let process = Arc::new(Process { pid: 7, executable_name: "curl".into() });
    rig.handle(Event::Owner { conn: rig.id, process: Arc::clone(&process) });
    rig.close(CloseKind::Finished);
    assert_eq!(rig.last().process, Some(process));
}

#[test]
fn the_final_observation_carries_bytes_duration_and_how_it_ended() {
    let mut rig = Rig::fresh(Side::Server);
    rig.wait(Duration::from_secs(3));
    rig.close(CloseKind::Reset);
    let last = rig.last();
    assert_eq!(last.bytes, Some(Bytes { egress: 1, ingress: 2 }));
    assert_eq!(last.closed, Some(CloseKind::Reset));
    assert_eq!(last.duration, Some(Duration::from_millis(3002)));
    assert_eq!(last.time, Timestamp(1_001_000_000));
    assert_eq!(last.local_side, Some(Side::Server));
    // The source counted bytes of which no event came.
    assert_eq!(rig.verdicts(), [(Phase::Final, Security::Unknown, None, Some(Reason::MissingBytes))]);
    assert_eq!(rig.engine.open_connections(), 0);
}

#[test]
fn a_connection_without_bytes_has_no_data() {
    for bytes in [None, Some(Bytes { egress: 0, ingress: 0 })] {
        let mut rig = Rig::fresh(Side::Server);
        rig.handle(Event::Closed(Closed { conn: rig.id, how: CloseKind::Finished, bytes }));
        assert_eq!(rig.verdicts(), [(Phase::Final, Security::Unknown, None, Some(Reason::NoData))]);
    }
}

#[test]
fn a_connection_never_established_is_only_counted() {
    let mut rig = Rig::bare(EngineConfig::default());
    rig.open(Origin::Fresh, Some(Side::Client));
    rig.close(CloseKind::NeverEstablished);
    assert!(rig.outputs.is_empty());
    assert_eq!(rig.engine.counters().never_established, 1);
}

#[test]
fn the_end_of_the_source_ends_every_connection() {
    let mut rig = Rig::fresh(Side::Client);
    rig.id = ConnId(2);
    rig.connect(None);
    rig.engine.finish(rig.now);
    rig.collect();
    let ends: Vec<_> = rig.observations().iter().map(|o| (o.conn, o.closed)).collect();
    let ended = Some(CloseKind::SourceEnded);
    assert_eq!(ends, [(ConnId(1), ended), (ConnId(2), ended)]);
}
