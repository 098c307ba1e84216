//! Bytes that were on the wire and were not captured.

use super::{RECORDINGS, briefs, events_of};
use crate::tls::event::TlsEvent;
use crate::tls::{TlsDirection, TlsLimits};

/// `bytes` with the range `from..to` not captured.
fn with_hole(bytes: &[u8], from: usize, to: usize) -> (Vec<TlsEvent>, TlsDirection) {
    let mut direction = TlsDirection::new(TlsLimits::default());
    let mut events = Vec::new();
    direction.data(&bytes[..from], &mut events);
    direction.gap((to - from) as u64, &mut events);
    direction.data(&bytes[to..], &mut events);
    (events, direction)
}

fn recording(name: &str) -> &'static [u8] {
    RECORDINGS.iter().find(|(recorded, _)| *recorded == name).unwrap().1
}

/// Start and length of the body of each record.
fn bodies(bytes: &[u8]) -> Vec<(usize, usize)> {
    let mut found = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let len = usize::from(u16::from_be_bytes([bytes[at + 3], bytes[at + 4]]));
        found.push((at + 5, len));
        at += 5 + len;
    }
    found
}

/// The capture point leaves out the bodies of encrypted records on purpose.
#[test]
fn elided_bodies_of_encrypted_records_change_nothing() {
    for name in ["tls13_mutual.client", "tls13_mutual.server", "tls12_mutual.client", "tls12_mutual.server"] {
        let bytes = recording(name);
        let mut direction = TlsDirection::new(TlsLimits::default());
        let mut events = Vec::new();
        let mut encrypted = false;
        for (start, len) in bodies(bytes) {
            let content_type = bytes[start - 5];
            direction.data(&bytes[start - 5..start], &mut events);
            if content_type == 23 || (encrypted && content_type != 20) {
                direction.gap(len as u64, &mut events);
            } else {
                direction.data(&bytes[start..start + len], &mut events);
            }
            encrypted |= content_type == 20;
        }
        assert!(events == events_of(name, &[bytes]), "{name}");
        assert_eq!(direction.counters().gaps, 0);
    }
}

#[test]
fn a_hole_inside_a_certificate_loses_that_message_only() {
    let bytes = recording("tls12_mutual.server");
    let (start, len) = bodies(bytes)[1];
    let (events, direction) = with_hole(bytes, start + 20, start + len - 20);
    let expected = [
        "ServerHello TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
        "Gap { in_sync: true }",
        "CertificateStatus 711",
        "ServerKeyExchange x25519",
        "CertificateRequest",
        "ServerHelloDone",
        "NewSessionTicket 480",
        "ChangeCipherSpec",
        "handshake 40",
        "alert 26",
    ];
    assert_eq!(briefs(&events), expected);
    assert_eq!((direction.counters().gaps, direction.counters().lost_messages), (1, 1));
}

#[test]
fn a_hole_over_a_message_header_is_left_at_the_next_record() {
    let bytes = recording("tls12_mutual.server");
    let (start, len) = bodies(bytes)[1];
    for to in [start + 1, start + 300, start + len] {
        let says = briefs(&with_hole(bytes, start, to).0);
        assert_eq!(
            says[1..4],
            ["Gap { in_sync: true }", "CertificateStatus 711", "ServerKeyExchange x25519"]
        );
    }
}

#[test]
fn a_hole_over_a_record_header_ends_the_direction() {
    let bytes = recording("tls12_mutual.server");
    let (start, len) = bodies(bytes)[1];
    let hello = "ServerHello TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384";
    for (from, to) in
        [(start - 5, start - 4), (start - 3, start), (start - 5, start + 9), (start + 9, start + len + 1)]
    {
        assert_eq!(briefs(&with_hole(bytes, from, to).0), [hello, "Gap { in_sync: false }"], "{from}..{to}");
    }
}

#[test]
fn every_hole_in_every_recording_is_reported_once_or_harmless() {
    for (name, bytes) in RECORDINGS {
        let whole = events_of("", &[bytes]);
        for from in (0..bytes.len()).step_by(3) {
            for len in [1, 4, 60, 700] {
                let to = (from + len).min(bytes.len());
                let (events, direction) = with_hole(bytes, from, to);
                let gaps = events.iter().filter(|event| matches!(event, TlsEvent::Gap { .. })).count();
                let harmless = events == whole;
                assert_eq!(gaps, usize::from(!harmless), "{name} {from}..{to}");
                assert_eq!(direction.counters().gaps, gaps as u64);
                let malformed = events.iter().any(|event| matches!(event, TlsEvent::Malformed(_)));
                assert!(!malformed, "{name} {from}..{to}: {:?}", briefs(&events));
            }
        }
    }
}

#[test]
fn two_holes_in_a_row_are_one() {
    let bytes = recording("tls12_mutual.server");
    let (start, _) = bodies(bytes)[1];
    let mut direction = TlsDirection::new(TlsLimits::default());
    let mut events = Vec::new();
    direction.data(&bytes[..start + 9], &mut events);
    direction.gap(10, &mut events);
    direction.gap(0, &mut events);
    direction.gap(10, &mut events);
    direction.data(&bytes[start + 29..], &mut events);
    assert_eq!(events.iter().filter(|event| matches!(event, TlsEvent::Gap { .. })).count(), 1);
}

#[test]
fn a_hole_in_an_alert_loses_it() {
    let (events, _) = with_hole(recording("version_refused.server"), 6, 7);
    assert_eq!(briefs(&events), ["Gap { in_sync: true }"]);
}
