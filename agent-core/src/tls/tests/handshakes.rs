//! What each recorded direction says, message by message and record by record.

use super::{RECORDINGS, briefs, events_of};
use crate::tls::{Ending, TlsDirection, TlsLimits};

fn says(name: &str) -> Vec<String> {
    let (_, bytes) = RECORDINGS.iter().find(|(recorded, _)| *recorded == name).unwrap();
    briefs(&events_of(name, &[bytes]))
}

#[test]
fn tls13_with_client_certificate() {
    let client = ["ClientHello", "ChangeCipherSpec", "715", "96", "69", "19"];
    assert_eq!(says("tls13_mutual.client"), client);
    let server = [
        "ServerHello TLS_AES_256_GCM_SHA384",
        "ChangeCipherSpec",
        "23",
        "90",
        "714",
        "97",
        "69",
        "554",
        "554",
        "19",
    ];
    assert_eq!(says("tls13_mutual.server"), server);
}

#[test]
fn tls13_hello_retry_request() {
    let client = ["ClientHello", "ChangeCipherSpec", "ClientHello", "69", "19"];
    assert_eq!(says("tls13_hello_retry.client"), client);
    let server = [
        "HelloRetryRequest TLS_AES_256_GCM_SHA384",
        "ChangeCipherSpec",
        "ServerHello TLS_AES_256_GCM_SHA384",
        "23",
        "714",
        "96",
        "69",
        "250",
        "250",
        "19",
    ];
    assert_eq!(says("tls13_hello_retry.server"), server);
}

#[test]
fn tls13_early_data_accepted() {
    let client = ["ClientHello", "ChangeCipherSpec", "27", "21", "69", "19"];
    assert_eq!(says("tls13_early_data.client"), client);
    let server = ["ServerHello TLS_AES_256_GCM_SHA384", "ChangeCipherSpec", "27", "69", "82", "19"];
    assert_eq!(says("tls13_early_data.server"), server);
}

/// The dummy ChangeCipherSpec and the early data come before the second ClientHello, which is in the clear all the same.
#[test]
fn tls13_early_data_rejected_by_hello_retry_request() {
    let client = ["ClientHello", "ChangeCipherSpec", "27", "ClientHello", "69", "19"];
    assert_eq!(says("tls13_early_data_retry.client"), client);
}

#[test]
fn a_client_is_told_late_of_a_hello_retry_request() {
    let (_, bytes) = RECORDINGS.iter().find(|(name, _)| *name == "tls13_early_data_retry.client").unwrap();
    let behind_early_data = 5 + 323 + 5 + 1 + 5 + 27;
    let mut direction = TlsDirection::new(TlsLimits::default());
    let mut events = Vec::new();
    direction.data(&bytes[..behind_early_data], &mut events);
    direction.hello_retry();
    direction.data(&bytes[behind_early_data..], &mut events);
    assert_eq!(briefs(&events), ["ClientHello", "ChangeCipherSpec", "27", "ClientHello", "69", "19"]);
}

#[test]
fn tls12_with_client_certificate_and_stapled_ocsp() {
    let client = [
        "ClientHello",
        "Certificate [296, 384]",
        "ClientKeyExchange",
        "CertificateVerify",
        "ChangeCipherSpec",
        "handshake 40",
        "alert 26",
    ];
    assert_eq!(says("tls12_mutual.client"), client);
    let server = [
        "ServerHello TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
        "Certificate [295, 384]",
        "CertificateStatus 711",
        "ServerKeyExchange x25519",
        "CertificateRequest",
        "ServerHelloDone",
        "NewSessionTicket 480",
        "ChangeCipherSpec",
        "handshake 40",
        "alert 26",
    ];
    assert_eq!(says("tls12_mutual.server"), server);
}

#[test]
fn tls12_client_certificate_declined() {
    let client = [
        "ClientHello",
        "Certificate []",
        "ClientKeyExchange",
        "ChangeCipherSpec",
        "handshake 40",
        "alert 26",
    ];
    assert_eq!(says("tls12_declined.client"), client);
}

#[test]
fn tls12_anonymous_finite_field_exchange_has_no_group() {
    let server = [
        "ServerHello TLS_DH_anon_WITH_AES_128_GCM_SHA256",
        "ServerKeyExchange",
        "ServerHelloDone",
        "NewSessionTicket 176",
        "ChangeCipherSpec",
        "handshake 40",
        "alert 26",
    ];
    assert_eq!(says("tls12_anonymous_dhe.server"), server);
}

#[test]
fn tls12_resumed() {
    let server = [
        "ServerHello TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
        "ChangeCipherSpec",
        "handshake 40",
        "alert 26",
    ];
    assert_eq!(says("tls12_resumed.server"), server);
    assert_eq!(says("tls12_resumed.client"), ["ClientHello", "ChangeCipherSpec", "handshake 40", "alert 26"]);
}

#[test]
fn a_refusal_is_an_alert_in_the_clear() {
    assert_eq!(says("version_refused.server"), ["Alert fatal protocol_version"]);
}

#[test]
fn an_alert_in_the_clear_behind_change_cipher_spec_is_read() {
    let (_, server) = RECORDINGS.iter().find(|(name, _)| *name == "tls13_mutual.server").unwrap();
    let bytes = [&server[..5 + 122 + 6], &[21, 3, 3, 0, 2, 2, 80][..]].concat();
    let says = briefs(&events_of("", &[&bytes]));
    assert_eq!(
        says,
        ["ServerHello TLS_AES_256_GCM_SHA384", "ChangeCipherSpec", "Alert fatal internal_error"]
    );
}

#[test]
fn joined_in_the_middle_everything_is_encrypted() {
    let bytes = [
        &[23, 3, 3, 0, 3, 1, 2, 3][..],
        &[22, 3, 3, 0, 5, 1, 2, 3, 4, 5],
        &[20, 3, 3, 0, 2, 1, 2],
        &[21, 3, 3, 0, 3, 1, 2, 3],
        &[24, 3, 3, 0, 1, 9],
    ];
    let says = briefs(&events_of("", &[&bytes.concat()]));
    assert_eq!(says, ["3", "handshake 5", "change_cipher_spec 2", "alert 3", "heartbeat 1"]);
    let says = briefs(&events_of("", &[&[22, 3, 3, 0, 5, 0xA1, 2, 3, 4, 5, 22, 3, 3, 0, 1, 1]]));
    assert_eq!(says, ["handshake 5", "handshake 1"]);
}

#[test]
fn records_that_break_the_rules_are_named_and_the_next_one_is_read() {
    let hello = [22, 3, 3, 0, 4, 14, 0, 0, 0];
    let says = |rest: &[u8]| briefs(&events_of("", &[&hello, rest, &hello]));
    assert_eq!(says(&[22, 3, 3, 0, 0]), ["ServerHelloDone", "Malformed empty_record", "ServerHelloDone"]);
    assert_eq!(says(&[21, 3, 3, 0, 0]), ["ServerHelloDone", "Malformed empty_record", "ServerHelloDone"]);
    let says_alert = says(&[21, 3, 3, 0, 3, 1, 2, 3]);
    assert_eq!(says_alert, ["ServerHelloDone", "Malformed invalid_alert_length", "ServerHelloDone"]);
    let says_change = says(&[20, 3, 3, 0, 2, 1, 1]);
    assert_eq!(says_change, ["ServerHelloDone", "Malformed invalid_change_cipher_spec", "ServerHelloDone"]);
    let interrupted = says(&[22, 3, 3, 0, 2, 11, 0, 24, 3, 3, 0, 0]);
    assert_eq!(
        interrupted,
        ["ServerHelloDone", "Malformed interrupted_message", "heartbeat 0", "ServerHelloDone"]
    );
    assert_eq!(says(&[22, 3, 3, 0x50, 0]), ["ServerHelloDone", "Malformed record_too_long"]);
}

#[test]
fn a_message_over_the_limit_is_skipped_and_counted() {
    let mut direction = TlsDirection::new(TlsLimits { max_handshake_message: 3 });
    let mut events = Vec::new();
    let bytes = [22, 3, 3, 0, 16, 14, 0, 0, 0, 11, 0, 0, 4, 1, 2, 3, 4, 14, 0, 0, 0];
    direction.data(&bytes, &mut events);
    assert_eq!(briefs(&events), ["ServerHelloDone", "Malformed message_too_long", "ServerHelloDone"]);
    let counters = direction.counters();
    assert_eq!((counters.records, counters.handshake_messages, counters.oversized_messages), (1, 2, 1));
}

#[test]
fn how_a_direction_ended() {
    for (name, bytes) in RECORDINGS {
        for len in 0..=bytes.len() {
            let mut direction = TlsDirection::new(TlsLimits::default());
            direction.data(&bytes[..len], &mut Vec::new());
            let ending = direction.close();
            assert_ne!(ending, Ending::OutOfSync, "{name} {len}");
            if len == bytes.len() {
                assert_eq!(ending, Ending::Clean, "{name}");
            }
        }
    }
    let mut direction = TlsDirection::new(TlsLimits::default());
    direction.data(&[22, 3, 3], &mut Vec::new());
    assert_eq!(direction.close(), Ending::Incomplete);
}
