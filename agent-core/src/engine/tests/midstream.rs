//! Connections older than the source.

use super::recorded::{line, play, recorded};
use super::*;

const OLD: (Phase, Security, Option<Source>, Option<Reason>) =
    (Phase::Verdict, Security::Unknown, None, Some(Reason::StartedBeforeAgent));

fn old(local: Option<Side>) -> Rig {
    let mut rig = Rig::bare(EngineConfig::default());
    rig.open(Origin::BeforeStart, local);
    rig
}

fn records(lens: &[u16]) -> Vec<u8> {
    let record = |len: &u16| {
        let mut bytes = vec![23, 3, 3];
        bytes.extend(len.to_be_bytes());
        bytes.extend((0..*len).map(|i| (i as u8).wrapping_mul(167) ^ 0x5a));
        bytes
    };
    lens.iter().flat_map(record).collect()
}

#[test]
fn an_old_connection_is_listed_at_once() {
    let mut rig = old(Some(Side::Client));
    assert_eq!(rig.verdicts(), [OLD]);
    rig.close(CloseKind::Finished);
    assert_eq!(rig.verdicts(), [OLD, (Phase::Final, OLD.1, OLD.2, OLD.3)]);
}

#[test]
fn records_in_the_middle_prove_tls_but_not_who_the_client_is() {
    let proven = (Phase::Verdict, Security::Tls, Some(Source::Wire), Some(Reason::ClientIdentityUnknown));
    let mut rig = old(None);
    rig.send(Side::Client, &records(&[100, 200]));
    assert_eq!(rig.verdicts(), [OLD, proven]);
    assert_eq!(rig.last().tls.as_ref().and_then(|tls| tls.established), Some(true));

    let mut rig = old(None);
    rig.send(Side::Client, &records(&[100]));
    assert_eq!(rig.verdicts(), [OLD]);
    rig.send(Side::Server, &records(&[40]));
    assert_eq!(rig.verdicts(), [OLD, proven]);
}

#[test]
fn a_request_in_the_middle_proves_plaintext() {
    let mut rig = old(Some(Side::Server));
    rig.send(Side::Client, b"GET /again HTTP/1.1\r\nHost: example.com\r\n\r\n");
    // Earlier segments are waited for, for a moment.
    rig.wait(Duration::from_millis(100));
    let plain = (Phase::Verdict, Security::Plaintext, Some(Source::Wire), None);
    assert_eq!(rig.verdicts(), [OLD, plain]);
    assert_eq!(rig.last().protocol, Some("http"));
}

#[test]
fn a_handshake_that_begins_late_is_followed_from_its_start() {
    for name in ["tls12_sent", "tls13_sent"] {
        let mut rig = old(Some(Side::Client));
        play(&mut rig, &recorded(name));
        rig.close(CloseKind::Finished);
        assert!(line(rig.last()).starts_with("mtls "), "{name}: {}", line(rig.last()));
    }
}

#[test]
fn bytes_that_prove_nothing_are_given_up_after_a_while() {
    let mut rig = old(None);
    let mut rng = Lcg(5);
    for i in 0..100 {
        let junk: Vec<u8> = (0..64).map(|_| rng.below(256) as u8 | 0x80).collect();
        rig.send(if i % 2 == 0 { Side::Client } else { Side::Server }, &junk);
        rig.wait(Duration::from_millis(10));
    }
    assert_eq!(rig.verdicts(), [OLD]);
    assert!(matches!(rig.outputs.last(), Some(Output::CaptureDone(_))));
    assert_eq!(rig.engine.counters().midstream_given_up, 1);
}
