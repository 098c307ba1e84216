//! A time of day that somebody sets while connections are under way.

use super::recorded::{line, play, recorded};
use super::*;

/// All of the last observation but what time says.
fn timeless(rig: &Rig) -> String {
    let mut last = rig.last().clone();
    (last.time, last.duration) = (Timestamp(0), None);
    if let Some(tls) = last.tls_mut() {
        (tls.handshake_started, tls.handshake_duration) = (None, None);
    }
    format!("{last:?}")
}

fn begun() -> Rig {
    let mut rig = Rig::bare(EngineConfig::default());
    rig.now = Timestamp::from_secs(1_000_000);
    rig.connect(Some(Side::Client));
    rig
}

#[test]
fn a_time_of_day_that_jumps_between_any_two_segments_changes_no_verdict() {
    let names = [
        "tls12_sent",
        "tls12_ticket",
        "tls13_none",
        "tls13_sent",
        "tls13_declined",
        "tls13_resumed",
        "postgres_tls",
    ];
    for name in names {
        let chunks = recorded(name);
        let mut rig = begun();
        play(&mut rig, &chunks);
        rig.close(CloseKind::Finished);
        let want = timeless(&rig);
        for at in 0..=chunks.len() {
            let (before, after) = chunks.split_at(at);
            for seconds in [-999_000, -3600, -1, 1, 3600, 1_000_000_000] {
                let mut rig = begun();
                play(&mut rig, before);
                let now = i64::try_from(rig.now.as_nanos()).expect("in range") + seconds * 1_000_000_000;
                rig.now = Timestamp(u64::try_from(now).expect("after 1970"));
                // Whoever drives the engine asks what is due by the new time.
                rig.engine.handle_timeout(rig.now);
                rig.collect();
                play(&mut rig, after);
                rig.close(CloseKind::Finished);
                assert_eq!(timeless(&rig), want, "{name}, {seconds} s before {at}: {}", line(rig.last()));
                assert_eq!(rig.engine.open_connections(), 0);
            }
        }
    }
}
