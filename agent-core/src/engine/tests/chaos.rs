//! Any order of segments, and any events at all.

use super::recorded::{line, recorded};
use super::*;

/// A stretch of one side's bytes that must not overtake the other side's: between two turns segments may come in any
/// order.
fn scrambled(rig: &mut Rig, chunks: &[(Side, Vec<u8>)], rng: &mut Lcg) {
    let mut turns: Vec<(Side, Vec<u8>)> = Vec::new();
    for (side, bytes) in chunks {
        match turns.last_mut() {
            Some((last, turn)) if last == side => turn.extend_from_slice(bytes),
            _ => turns.push((*side, bytes.clone())),
        }
    }
    for (side, bytes) in turns {
        let direction = rig.direction(side);
        let base = rig.seq[direction.index()];
        rig.seq[direction.index()] = base.wrapping_add(bytes.len() as u32);
        let mut segments = Vec::new();
        let mut at = 0;
        while at < bytes.len() {
            let end = (at + 1 + rng.below(300) as usize).min(bytes.len());
            segments.push((at, end));
            at = end;
        }
        for _ in 0..rng.below(4) {
            let from = rng.below(bytes.len() as u32) as usize;
            segments.push((from, from + 1 + rng.below((bytes.len() - from) as u32) as usize));
        }
        for i in (1..segments.len()).rev() {
            segments.swap(i, rng.below(i as u32 + 1) as usize);
        }
        for (from, to) in segments {
            rig.segment(direction, base.wrapping_add(from as u32), &bytes[from..to], to - from);
        }
    }
}

/// All of the final observation but what depends on the number of segments.
fn comparable(rig: &Rig) -> String {
    let mut last = rig.last().clone();
    last.duration = None;
    if let Some(tls) = last.tls_mut() {
        (tls.handshake_started, tls.handshake_duration) = (None, None);
    }
    format!("{last:?}")
}

#[test]
fn every_order_of_segments_gives_the_same_observation() {
    let mut rng = Lcg(1);
    for name in [
        "tls10_none",
        "tls12_sent",
        "tls12_declined",
        "tls12_stranger",
        "tls12_ticket",
        "tls13_none",
        "tls13_sent",
        "tls13_declined",
        "tls13_retry_sent",
        "tls13_resumed",
        "tls13_early_data",
        "tls13_required_missing",
        "smtp_starttls",
        "postgres_tls",
        "http_answers_tls",
    ] {
        let chunks = recorded(name);
        let mut rig = Rig::fresh(Side::Client);
        super::recorded::play(&mut rig, &chunks);
        rig.close(CloseKind::Finished);
        let want = comparable(&rig);
        for round in 0..60 {
            let mut rig = Rig::fresh(Side::Client);
            scrambled(&mut rig, &chunks, &mut rng);
            rig.close(CloseKind::Finished);
            assert_eq!(comparable(&rig), want, "{name} round {round}: {}", line(rig.last()));
        }
    }
}

#[test]
fn any_events_in_any_order_neither_panic_nor_outgrow_the_bounds() {
    let streams: Vec<Vec<u8>> = ["tls12_sent", "tls13_sent", "smtp_starttls", "tls13_early_data"]
        .iter()
        .flat_map(|name| recorded(name))
        .map(|(_, bytes)| bytes)
        .chain([b"GET / HTTP/1.1\r\n\r\n".to_vec(), b"*1\r\n$4\r\nPING\r\n".to_vec(), vec![0; 40]])
        .collect();
    let config = EngineConfig { max_connections: 20, max_buffered_bytes: 20_000, ..EngineConfig::default() };
    let mut rng = Lcg(7);
    for round in 0..20 {
        let mut rig = Rig::bare(config.clone());
        for _ in 0..3000 {
            rig.id = ConnId(u64::from(rng.below(40)));
            let direction = if rng.below(2) == 0 { Direction::Egress } else { Direction::Ingress };
            let side = [None, Some(Side::Client), Some(Side::Server)][rng.below(3) as usize];
            match rng.below(20) {
                0..=2 => {
                    let origin = if rng.below(2) == 0 { Origin::Fresh } else { Origin::BeforeStart };
                    rig.open(origin, side);
                }
                3 => rig.handle(Event::Established(Established {
                    conn: rig.id,
                    egress_start: SeqNumber(rng.below(2000)),
                    ingress_start: SeqNumber(u32::MAX - rng.below(2000)),
                })),
                4 => rig.close(
                    [CloseKind::Finished, CloseKind::Reset, CloseKind::NeverEstablished, CloseKind::Unknown]
                        [rng.below(4) as usize],
                ),
                5 => rig.wait(Duration::from_millis(u64::from(rng.below(3000)))),
                6 => rig.handle(Event::Owner { conn: rig.id, process: Arc::default() }),
                _ => {
                    let bytes = &streams[rng.below(streams.len() as u32) as usize];
                    let from = if rng.below(3) > 0 { 0 } else { rng.below(bytes.len() as u32) as usize };
                    let to = from + rng.below((bytes.len() - from) as u32 + 1) as usize;
                    let elided = if rng.below(4) == 0 { rng.below(70_000) as usize } else { 0 };
                    let seq = match rng.below(10) {
                        0 => rng.below(u32::MAX),
                        1..=4 => rng.below(3000),
                        _ => rng.below(10) * 100,
                    };
                    let mut payload = bytes[from..to].to_vec();
                    if rng.below(3) == 0 && !payload.is_empty() {
                        let at = rng.below(payload.len() as u32) as usize;
                        payload[at] ^= 1 << rng.below(8);
                    }
                    let wire_len = payload.len() + elided;
                    rig.segment(direction, seq, &payload, wire_len);
                }
            }
            assert!(rig.engine.open_connections() <= 20);
            assert!(rig.engine.counters().buffered_bytes <= 20_000 + 70_000);
        }
        rig.engine.finish(rig.now);
        rig.collect();
        assert_eq!(rig.engine.open_connections(), 0);
        assert_eq!(rig.engine.poll_deadline(), None);
        assert_eq!(rig.engine.counters().buffered_bytes, 0);
        assert_eq!(rig.engine.counters().deadlines_postponed, 0, "round {round}");
        for observation in rig.observations() {
            let says_why = observation.reason.is_some();
            assert!(says_why || observation.security != Security::Unknown, "{observation:?}");
        }
    }
}
