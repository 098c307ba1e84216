//! Recorded handshakes, whole and in every cut.

use std::path::Path;

use super::*;
use crate::observation::{AlertFact, ClientCertificate, StartTls};
use crate::tls::codepoints::{AlertDescription, AlertLevel};

type Chunk = (Side, Vec<u8>);

pub(super) fn recorded(name: &str) -> Vec<Chunk> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/streams").join(format!("{name}.stream"));
    let text = std::fs::read_to_string(path).expect("recorded stream");
    text.lines()
        .map(|line| {
            let (side, hex) = line.split_once(' ').expect("side and bytes");
            let byte = |i| u8::from_str_radix(&hex[i..i + 2], 16).expect("hex");
            let side = if side == "C" { Side::Client } else { Side::Server };
            (side, (0..hex.len()).step_by(2).map(byte).collect())
        })
        .collect()
}

pub(super) fn play(rig: &mut Rig, chunks: &[Chunk]) {
    for (side, bytes) in chunks {
        rig.send(*side, bytes);
    }
}

fn whole(name: &str, local: Side) -> Rig {
    let mut rig = Rig::fresh(local);
    play(&mut rig, &recorded(name));
    rig.close(CloseKind::Finished);
    rig
}

/// What a verdict says, in one line.
pub(super) fn line(o: &Observation) -> String {
    let tls = o.tls.as_ref().expect("tls facts");
    let or_dash = |s: Option<String>| s.unwrap_or_else(|| "-".to_owned());
    format!(
        "{} {} {} | {} {} {} est={} res={} client={} chains={}/{} alert={}",
        o.security.as_str(),
        o.source.map_or("-", Source::as_str),
        o.reason.map_or("-", Reason::as_str),
        or_dash(tls.negotiated_version.map(|v| v.to_string())),
        or_dash(tls.cipher.map(|c| c.to_string())),
        or_dash(tls.group.map(|g| g.to_string())),
        or_dash(tls.established.map(|e| e.to_string())),
        or_dash(tls.resumed.map(|r| r.to_string())),
        tls.client_certificate.as_str(),
        tls.server_chain.len(),
        tls.client_chain.len(),
        or_dash(tls.alert.map(|a| match a.content {
            Some((_, description)) => format!("{}:{description}", a.sender.as_str()),
            None => format!("{}:encrypted", a.sender.as_str()),
        })),
    )
}

/// The verdict on each recording that stands on its own, the same at both ends.
const CASES: &[(&str, &str)] = &[
    (
        "tls10_none",
        "tls wire - | TLS 1.0 TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA x25519 est=true res=false client=not_requested chains=2/0 alert=-",
    ),
    (
        "tls12_none",
        "tls wire - | TLS 1.2 TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384 x25519 est=true res=false client=not_requested chains=2/0 alert=-",
    ),
    (
        "tls12_declined",
        "tls wire - | TLS 1.2 TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384 x25519 est=true res=false client=declined chains=2/0 alert=-",
    ),
    (
        "tls12_sent",
        "mtls wire - | TLS 1.2 TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384 x25519 est=true res=false client=sent chains=2/1 alert=-",
    ),
    (
        "tls12_required_missing",
        "unknown wire handshake_failed | TLS 1.2 TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384 x25519 est=false res=false client=declined chains=2/0 alert=server:handshake_failure",
    ),
    (
        "tls12_stranger",
        "unknown wire handshake_failed | TLS 1.2 TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384 x25519 est=false res=false client=sent chains=2/1 alert=server:unknown_ca",
    ),
    (
        "tls12_client_rejects",
        "unknown wire handshake_failed | TLS 1.2 TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384 x25519 est=false res=false client=not_requested chains=2/0 alert=client:unknown_ca",
    ),
    (
        "tls12_rsa_kx_chacha",
        "tls wire - | TLS 1.2 TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256 x25519 est=true res=false client=not_requested chains=2/0 alert=-",
    ),
    (
        "tls12_ticket",
        "tls resumed client_identity_unknown | TLS 1.2 TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384 - est=true res=true client=unknown chains=0/0 alert=-",
    ),
    (
        "tls12_id",
        "tls resumed client_identity_unknown | TLS 1.2 TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384 - est=true res=true client=unknown chains=0/0 alert=-",
    ),
    (
        "tls13_none",
        "tls record_length - | TLS 1.3 TLS_AES_256_GCM_SHA384 x25519 est=true res=false client=not_requested chains=0/0 alert=-",
    ),
    (
        "tls13_declined",
        "tls record_length - | TLS 1.3 TLS_AES_256_GCM_SHA384 x25519 est=true res=false client=declined chains=0/0 alert=-",
    ),
    (
        "tls13_sent",
        "mtls record_length - | TLS 1.3 TLS_AES_256_GCM_SHA384 x25519 est=true res=false client=sent chains=0/0 alert=-",
    ),
    (
        "tls13_sent_no_tickets",
        "mtls record_length - | TLS 1.3 TLS_AES_256_GCM_SHA384 x25519 est=true res=false client=sent chains=0/0 alert=-",
    ),
    (
        "tls13_sha256",
        "tls record_length - | TLS 1.3 TLS_AES_128_GCM_SHA256 x25519 est=true res=false client=not_requested chains=0/0 alert=-",
    ),
    (
        "tls13_ccm8_declined",
        "tls record_length - | TLS 1.3 TLS_AES_128_CCM_8_SHA256 x25519 est=true res=false client=declined chains=0/0 alert=-",
    ),
    (
        "tls13_required_missing",
        "unknown record_length handshake_failed | TLS 1.3 TLS_AES_256_GCM_SHA384 x25519 est=false res=false client=declined chains=0/0 alert=server:encrypted",
    ),
    (
        "tls13_stranger",
        "unknown record_length handshake_failed | TLS 1.3 TLS_AES_256_GCM_SHA384 x25519 est=false res=false client=sent chains=0/0 alert=server:encrypted",
    ),
    (
        "tls13_client_rejects",
        "unknown wire handshake_failed | TLS 1.3 TLS_AES_256_GCM_SHA384 x25519 est=false res=false client=unknown chains=0/0 alert=client:unknown_ca",
    ),
    (
        "tls13_retry_none",
        "tls record_length - | TLS 1.3 TLS_AES_256_GCM_SHA384 secp384r1 est=true res=false client=not_requested chains=0/0 alert=-",
    ),
    (
        "tls13_retry_sent",
        "mtls record_length - | TLS 1.3 TLS_AES_256_GCM_SHA384 secp384r1 est=true res=false client=sent chains=0/0 alert=-",
    ),
    (
        "tls13_resumed",
        "tls resumed client_identity_unknown | TLS 1.3 TLS_AES_256_GCM_SHA384 x25519 est=true res=true client=unknown chains=0/0 alert=-",
    ),
    (
        "tls13_early_data",
        "tls resumed client_identity_unknown | TLS 1.3 TLS_AES_256_GCM_SHA384 x25519 est=true res=true client=unknown chains=0/0 alert=-",
    ),
    (
        "version_mismatch",
        "unknown wire handshake_failed | - - - est=false res=- client=unknown chains=0/0 alert=server:protocol_version",
    ),
    (
        "http_answers_tls",
        "unknown wire handshake_failed | - - - est=false res=- client=unknown chains=0/0 alert=-",
    ),
    (
        "smtp_starttls",
        "tls record_length - | TLS 1.3 TLS_AES_256_GCM_SHA384 x25519 est=true res=false client=not_requested chains=0/0 alert=-",
    ),
    (
        "postgres_tls",
        "tls record_length - | TLS 1.3 TLS_AES_256_GCM_SHA384 x25519 est=true res=false client=not_requested chains=0/0 alert=-",
    ),
];

#[test]
fn says_the_same_at_both_ends() {
    for (name, want) in CASES {
        for local in [Side::Client, Side::Server] {
            let rig = whole(name, local);
            assert_eq!(line(rig.last()), *want, "{name} at the {}", local.as_str());
            assert_eq!(rig.last().local_side, Some(local), "{name}");
            let phases: Vec<_> = rig.observations().iter().map(|o| o.phase).collect();
            let decided_at_close = ["tls13_required_missing", "tls13_stranger"].contains(name);
            let want: &[_] = if decided_at_close { &[Phase::Final] } else { &[Phase::Verdict, Phase::Final] };
            assert_eq!(phases, want, "{name}");
        }
    }
}

#[test]
fn says_the_same_of_one_byte_a_segment() {
    for (name, want) in CASES {
        let mut rig = Rig::fresh(Side::Client);
        for (side, bytes) in recorded(name) {
            for byte in bytes {
                rig.send(side, &[byte]);
            }
        }
        rig.close(CloseKind::Finished);
        assert_eq!(line(rig.last()), *want, "{name}");
    }
}

#[test]
fn reads_hello_facts() {
    let rig = whole("tls12_sent", Side::Server);
    let tls = rig.last().tls.as_ref().expect("tls");
    assert_eq!(tls.server_name.as_deref(), Some("server.test"));
    assert_eq!(tls.server_chain[0].subject.as_deref(), Some("CN=server,O=tlsight"));
    assert_eq!(tls.client_chain[0].subject.as_deref(), Some("CN=client,O=tlsight"));
    let fingerprints = tls.fingerprints.as_ref().expect("a hello was seen");
    assert_eq!(fingerprints.ja3().len(), 32);
    assert!(fingerprints.ja4().starts_with("t13d"), "{}", fingerprints.ja4());
    assert!(!tls.resumption_offered && !tls.early_data_offered && !tls.hello_retry_request);
    // ClientHello and Finished are four events apart.
    assert_eq!(tls.handshake_duration, Some(Duration::from_millis(3)));
    let stapled = whole("tls12_status", Side::Client);
    let response = stapled.last().tls.as_ref().and_then(|tls| tls.ocsp_response.clone());
    assert!(response.is_some_and(|der| der.starts_with(&[0x30, 0x82])));
    let retry = whole("tls13_retry_none", Side::Client);
    assert!(retry.last().tls.as_ref().is_some_and(|tls| tls.hello_retry_request));
    let early = whole("tls13_early_data", Side::Client);
    let tls = early.last().tls.as_ref().expect("tls");
    assert!(tls.early_data_offered && tls.resumption_offered);
}

#[test]
fn a_server_that_rejects_says_so_even_while_the_connection_stays_open() {
    for name in ["tls13_required_missing", "tls13_stranger"] {
        let mut rig = Rig::fresh(Side::Client);
        play(&mut rig, &recorded(name));
        assert!(rig.observations().is_empty());
        rig.wait(Duration::from_secs(2));
        let failed =
            (Phase::Verdict, Security::Unknown, Some(Source::RecordLength), Some(Reason::HandshakeFailed));
        assert_eq!(rig.verdicts(), [failed]);
        let alert = rig.last().tls.as_ref().and_then(|tls| tls.alert);
        assert_eq!(alert, Some(AlertFact { sender: Side::Server, content: None }));
    }
}

#[test]
fn a_server_that_rejects_the_hello_behind_its_own_hello_says_so_at_once() {
    let chunks = recorded("tls13_none");
    let mut rig = Rig::fresh(Side::Server);
    rig.send(Side::Client, &chunks[0].1);
    let hello = 5 + usize::from(u16::from_be_bytes([chunks[1].1[3], chunks[1].1[4]]));
    rig.send(Side::Server, &chunks[1].1[..hello]);
    assert!(rig.observations().is_empty());
    let alert = [&[23, 3, 3, 0, 19][..], &[0xa5; 19]].concat();
    rig.send(Side::Server, &alert);
    assert_eq!(
        line(rig.last()),
        "unknown record_length handshake_failed | TLS 1.3 TLS_AES_256_GCM_SHA384 x25519 est=false res=false \
         client=unknown chains=0/0 alert=server:encrypted"
    );
}

#[test]
fn a_silent_server_has_accepted_the_certificate_after_its_time_to_object() {
    let mut rig = Rig::fresh(Side::Server);
    let chunks = recorded("tls13_sent");
    play(&mut rig, &chunks[..3]);
    assert!(rig.observations().is_empty());
    assert!(rig.engine.poll_deadline().is_some());
    rig.wait(Duration::from_secs(2));
    let accepted = (Phase::Verdict, Security::Mtls, Some(Source::RecordLength), None);
    assert_eq!(rig.verdicts(), [accepted]);
    let done = |rig: &Rig| rig.outputs.iter().any(|output| matches!(output, Output::CaptureDone(_)));
    assert!(!done(&rig), "it may still object");
    rig.wait(Duration::from_secs(58));
    assert_eq!(rig.verdicts(), [accepted]);
    assert_eq!(rig.engine.poll_deadline(), None);
    assert!(done(&rig));
}

#[test]
fn a_server_that_accepts_late_is_not_news() {
    let mut rig = Rig::fresh(Side::Client);
    let chunks = recorded("tls13_sent");
    play(&mut rig, &chunks[..3]);
    rig.wait(Duration::from_secs(2));
    play(&mut rig, &chunks[3..]);
    assert_eq!(rig.verdicts().len(), 1);
    assert!(matches!(rig.outputs.last(), Some(Output::CaptureDone(_))));
    rig.close(CloseKind::Finished);
    assert_eq!((rig.verdicts().len(), rig.last().security), (2, Security::Mtls));
}

#[test]
fn a_server_that_rejects_late_corrects_the_verdict() {
    let given = (Phase::Verdict, Security::Mtls, Some(Source::RecordLength), None);
    let failed =
        |phase| (phase, Security::Unknown, Some(Source::RecordLength), Some(Reason::HandshakeFailed));
    for stays_open in [false, true] {
        let mut rig = Rig::fresh(Side::Client);
        let chunks = recorded("tls13_stranger");
        play(&mut rig, &chunks[..3]);
        rig.wait(Duration::from_secs(5));
        assert_eq!(rig.verdicts(), [given]);
        play(&mut rig, &chunks[3..]);
        if stays_open {
            rig.wait(Duration::from_secs(2));
            assert_eq!(rig.verdicts(), [given, failed(Phase::Verdict)]);
        }
        rig.close(CloseKind::Finished);
        assert_eq!(rig.verdicts().last(), Some(&failed(Phase::Final)));
        let tls = rig.last().tls.as_ref().expect("tls facts");
        assert_eq!((tls.established, tls.handshake_duration), (Some(false), None));
        assert_eq!(tls.alert, Some(AlertFact { sender: Side::Server, content: None }));
    }
}

#[test]
fn an_end_before_the_server_answers_the_certificate_proves_nothing() {
    for how in [CloseKind::Reset, CloseKind::Finished, CloseKind::SourceEnded] {
        for name in ["tls13_sent", "tls13_declined"] {
            let mut rig = Rig::fresh(Side::Client);
            play(&mut rig, &recorded(name)[..3]);
            rig.close(how);
            let want = (Phase::Final, Security::Unknown, None, Some(Reason::HandshakeIncomplete));
            assert_eq!(rig.verdicts(), [want], "{name} {how:?}");
        }
    }
}

#[test]
fn two_close_notifies_are_no_rejection_and_no_acceptance() {
    // Client: flight, then close_notify; the server has nothing to say but close_notify. By length it may be an alert.
    let chunks = recorded("tls13_sent_no_tickets");
    let mut rig = Rig::fresh(Side::Client);
    play(&mut rig, &chunks[..3]);
    rig.send(Side::Client, &chunks[5].1);
    rig.send(Side::Server, &chunks[6].1);
    rig.close(CloseKind::Finished);
    let want = (Phase::Final, Security::Unknown, None, Some(Reason::HandshakeIncomplete));
    assert_eq!(rig.verdicts(), [want]);
    assert_eq!(rig.last().tls.as_ref().and_then(|tls| tls.established), None);
}

#[test]
fn a_resumed_session_inherits_what_its_beginning_showed() {
    for name in ["tls12_ticket", "tls12_id"] {
        let mut rig = Rig::fresh(Side::Client);
        play(&mut rig, &recorded(&format!("{name}_first")));
        rig.id = ConnId(2);
        rig.connect(Some(Side::Client));
        play(&mut rig, &recorded(name));
        rig.close(CloseKind::Finished);
        assert_eq!(
            line(rig.last()),
            "mtls resumed - | TLS 1.2 TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384 - est=true res=true client=sent chains=2/1 alert=-",
            "{name}"
        );
        assert_eq!(rig.engine.counters().sessions_found, 1);
        assert_eq!(rig.engine.counters().certificates.misses, 3);
    }
}

#[test]
fn rejected_early_data_is_told_from_finished_only_where_the_order_is_exact() {
    let suite = "TLS 1.3 TLS_AES_256_GCM_SHA384 x25519 est=true res=false";
    for (name, exact) in [
        (
            "tls13_early_data_rejected",
            format!("tls record_length - | {suite} client=not_requested chains=0/0 alert=-"),
        ),
        (
            "tls13_early_data_rejected_sent",
            // A Certificate's length is one that early data may have too.
            format!("tls record_length client_identity_unknown | {suite} client=unknown chains=0/0 alert=-"),
        ),
    ] {
        assert_eq!(line(whole(name, Side::Client).last()), exact);
        let unknown =
            format!("tls record_length client_identity_unknown | {suite} client=unknown chains=0/0 alert=-");
        assert_eq!(line(whole(name, Side::Server).last()), unknown);
        let mut rig = Rig::bare(EngineConfig { seen_at_local_end: false, ..EngineConfig::default() });
        rig.connect(Some(Side::Client));
        play(&mut rig, &recorded(name));
        rig.close(CloseKind::Finished);
        assert_eq!(line(rig.last()), unknown);
    }
}

#[test]
fn an_upgraded_protocol_is_named() {
    for (name, protocol) in [("smtp_starttls", "smtp"), ("postgres_tls", "postgresql")] {
        let rig = whole(name, Side::Client);
        assert_eq!(rig.last().protocol, Some(protocol));
        assert_eq!(rig.last().starttls, Some(StartTls::Upgraded));
        assert!(matches!(rig.outputs.first(), Some(Output::CaptureMore(ConnId(1)))), "{name}");
    }
    assert_eq!(whole("http_answers_tls", Side::Client).last().protocol, Some("http"));
}

#[test]
fn the_sender_of_the_client_hello_is_the_client() {
    let chunks = recorded("tls12_none");
    for claimed in [None, Some(Side::Server)] {
        let mut rig = Rig::bare(EngineConfig::default());
        rig.connect(claimed);
        rig.client = Direction::Egress;
        play(&mut rig, &chunks);
        assert_eq!(rig.last().local_side, Some(Side::Client), "claimed {claimed:?}");
        assert_eq!(rig.last().security, Security::Tls);
    }
}

#[test]
fn a_fatal_alert_carries_its_level_and_name() {
    let rig = whole("version_mismatch", Side::Server);
    let alert = rig.last().tls.as_ref().and_then(|tls| tls.alert);
    let content = Some((AlertLevel::FATAL, AlertDescription::PROTOCOL_VERSION));
    assert_eq!(alert, Some(AlertFact { sender: Side::Server, content }));
}

#[test]
fn a_connection_that_ends_inside_the_handshake_is_incomplete() {
    for name in ["tls12_sent", "tls13_sent", "tls12_none", "tls13_none"] {
        for chunks in 1..3 {
            let mut rig = Rig::fresh(Side::Client);
            play(&mut rig, &recorded(name)[..chunks]);
            rig.close(CloseKind::Reset);
            let want = (Phase::Final, Security::Unknown, None, Some(Reason::HandshakeIncomplete));
            assert_eq!(rig.verdicts(), [want], "{name} {chunks}");
            let tls = rig.last().tls.as_ref().expect("facts are kept");
            assert_eq!(tls.established, Some(false));
            assert_eq!(tls.server_name.as_deref(), Some("server.test"));
        }
    }
}

#[test]
fn bodies_of_encrypted_records_are_not_needed() {
    // What the kernel side sends: clear-text records whole, of encrypted ones the header.
    for (name, want) in CASES.iter().filter(|(name, _)| name.starts_with("tls13")) {
        let mut rig = Rig::fresh(Side::Client);
        for (side, bytes) in recorded(name) {
            let mut rest = bytes.as_slice();
            while let [kind, _, _, high, low, ..] = rest {
                let len = 5 + usize::from(u16::from_be_bytes([*high, *low]));
                let (record, after) = rest.split_at(len);
                let shown = if *kind == 23 { 5 } else { len };
                rig.send_partial(side, &record[..shown], len);
                rest = after;
            }
        }
        rig.close(CloseKind::Finished);
        assert_eq!(line(rig.last()), *want, "{name}");
    }
}

#[test]
fn a_lost_client_certificate_is_not_taken_for_none() {
    // The client's whole second flight but its ChangeCipherSpec and Finished is lost.
    let chunks = recorded("tls12_sent");
    let mut rig = Rig::fresh(Side::Client);
    play(&mut rig, &chunks[..2]);
    let flight = &chunks[2].1;
    let ccs = flight.windows(6).position(|w| w == [20, 3, 3, 0, 1, 1]).expect("change_cipher_spec");
    rig.send_partial(Side::Client, &[], ccs);
    rig.send(Side::Client, &flight[ccs..]);
    play(&mut rig, &chunks[3..]);
    rig.close(CloseKind::Finished);
    let last = rig.last();
    assert_eq!(last.tls.as_ref().map(|tls| tls.client_certificate), Some(ClientCertificate::Unknown));
    assert_eq!((last.security, last.reason), (Security::Tls, Some(Reason::ClientIdentityUnknown)));
}
