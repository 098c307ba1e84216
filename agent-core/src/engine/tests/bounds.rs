//! Every bound of the engine is reached here and counted.

use super::recorded::{play, recorded};
use super::*;

#[test]
fn connections_past_the_limit_are_reported_and_not_tracked() {
    let mut rig = Rig::bare(EngineConfig { max_connections: 1, ..EngineConfig::default() });
    rig.connect(Some(Side::Client));
    rig.id = ConnId(2);
    rig.connect(Some(Side::Client));
    assert_eq!(rig.verdicts(), [(Phase::Final, Security::Unknown, None, Some(Reason::LimitReached))]);
    assert!(matches!(rig.outputs.last(), Some(Output::CaptureDone(ConnId(2)))));
    rig.send(Side::Client, b"GET / HTTP/1.1\r\n\r\n");
    rig.close(CloseKind::Finished);
    assert_eq!(rig.observations().len(), 1);
    let counters = rig.engine.counters();
    assert_eq!((counters.connections_refused, counters.events_of_unknown_connections), (1, 3));
    assert_eq!(rig.engine.open_connections(), 1);
}

#[test]
fn a_connection_opened_twice_keeps_its_first_facts() {
    let mut rig = Rig::bare(EngineConfig::default());
    rig.open(Origin::Fresh, Some(Side::Client));
    rig.open(Origin::BeforeStart, Some(Side::Server));
    rig.close(CloseKind::Finished);
    assert_eq!(rig.engine.counters().opened_twice, 1);
    assert_eq!(rig.last().local_side, Some(Side::Client));
    assert_eq!(rig.verdicts().len(), 1);
}

#[test]
fn all_connections_together_hold_no_more_than_they_may() {
    let config = EngineConfig { max_buffered_bytes: 5000, ..EngineConfig::default() };
    let mut rig = Rig::bare(config);
    for id in 1..=20 {
        rig.id = ConnId(id);
        rig.seq = [1000, 2000];
        rig.connect(Some(Side::Client));
        // The first byte is missing: the rest waits.
        rig.segment(Direction::Egress, 1001, &[7; 1000], 1000);
        let held = rig.engine.counters().buffered_bytes;
        assert!(held <= 6000, "{held}");
    }
    assert!(rig.engine.counters().gaps_forced_by_total_buffer > 0);
    rig.engine.finish(rig.now);
    assert_eq!(rig.engine.counters().buffered_bytes, 0);
}

#[test]
fn a_handshake_without_end_gets_a_verdict() {
    // Hello and a ServerHello of TLS 1.2, then records of an unknown kind on and on.
    let chunks = recorded("tls12_none");
    let mut rig = Rig::fresh(Side::Client);
    play(&mut rig, &chunks[..1]);
    for _ in 0..200 {
        rig.send(Side::Client, &[24, 3, 3, 0, 4, 1, 2, 3, 4]);
        rig.send(Side::Server, &[24, 3, 3, 0, 4, 1, 2, 3, 4]);
    }
    assert_eq!(rig.observations().len(), 1);
    assert_eq!(rig.last().reason, Some(Reason::MissingBytes));
    assert_eq!(rig.engine.counters().encrypted_record_limits, 1);
}

#[test]
fn one_side_alone_gets_a_verdict_too_at_last() {
    let mut rig = Rig::fresh(Side::Client);
    play(&mut rig, &recorded("tls12_none")[..1]);
    for _ in 0..300 {
        rig.send(Side::Server, &[24, 3, 3, 0, 4, 1, 2, 3, 4]);
    }
    assert_eq!(rig.observations().len(), 1);
    assert_eq!(rig.engine.counters().encrypted_record_limits, 1);
}

#[test]
fn sessions_are_forgotten_within_their_bound() {
    let mut rig = Rig::bare(EngineConfig { max_sessions: 1, ..EngineConfig::default() });
    for (id, name) in [(1, "tls12_ticket_first"), (2, "tls12_id_first"), (3, "tls12_sent")] {
        rig.id = ConnId(id);
        rig.connect(Some(Side::Client));
        play(&mut rig, &recorded(name));
    }
    let counters = rig.engine.counters();
    assert!(counters.sessions_stored >= 3 && counters.sessions_evicted >= 2, "{counters:?}");
}

#[test]
fn after_its_verdict_a_connection_is_small() {
    assert!(size_of::<Connection>() <= 256, "{}", size_of::<Connection>());
    assert!(size_of::<crate::observation::TlsFacts>() <= 640);
    let mut rig = Rig::fresh(Side::Client);
    play(&mut rig, &recorded("tls13_sent"));
    let tls = rig.last().tls.clone().expect("facts");
    let lists = tls.offered_ciphers.len() * 2
        + tls.offered_groups.len() * 2
        + tls.offered_versions.len() * 2
        + tls.offered_protocols.iter().map(|p| p.len() + 24).sum::<usize>()
        + 32
        + 36;
    let total = size_of::<Connection>() + size_of_val(tls.as_ref()) + lists;
    assert!(total <= 1536, "{total}");
}
