//! Handshakes put together by hand: hellos of a recording with another cipher suite, and encrypted records of which only the
//! lengths matter.

use super::recorded::{play, recorded};
use super::*;
use crate::observation::{AlertFact, ClientCertificate, TlsFacts};
use crate::tls::codepoints::CipherSuite;

type Verdict = (Security, Option<Source>, Option<Reason>);

/// A recording in which the server chose this suite.
fn with_suite(name: &str, suite: CipherSuite) -> Vec<(Side, Vec<u8>)> {
    let mut chunks = recorded(name);
    let (_, hello) = &mut chunks[1];
    // Record header, message header, legacy_version, random, session id.
    let at = 5 + 4 + 2 + 32;
    let at = at + 1 + usize::from(hello[at]);
    hello[at..at + 2].copy_from_slice(&suite.0.to_be_bytes());
    chunks
}

fn said(rig: &Rig) -> Verdict {
    let last = rig.last();
    (last.security, last.source, last.reason)
}

fn facts(rig: &Rig) -> &TlsFacts {
    rig.last().tls.as_ref().expect("tls facts")
}

#[test]
fn null_suites_are_plaintext_whatever_was_proven() {
    let readable = (Security::Plaintext, Some(Source::Wire), Some(Reason::NullCipher));
    for (name, suite) in [
        ("tls12_none", CipherSuite::TLS_RSA_WITH_NULL_SHA256),
        ("tls12_sent", CipherSuite::TLS_ECDHE_ECDSA_WITH_NULL_SHA),
        ("tls12_ticket", CipherSuite::TLS_ECDHE_ECDSA_WITH_NULL_SHA),
        ("tls12_none", CipherSuite::TLS_ECDH_anon_WITH_NULL_SHA),
        // Its Finished is as long as that of the recording's suite.
        ("tls13_none", CipherSuite::TLS_SHA256_SHA256),
        ("tls13_resumed", CipherSuite::TLS_SHA256_SHA256),
    ] {
        let mut rig = Rig::fresh(Side::Client);
        play(&mut rig, &with_suite(name, suite));
        assert_eq!(said(&rig), readable, "{name} {suite}");
        assert_eq!((facts(&rig).cipher, facts(&rig).established), (Some(suite), Some(true)));
    }
}

#[test]
fn suites_without_certificates_say_so() {
    for (suite, reason) in [
        (CipherSuite::TLS_DH_anon_WITH_AES_128_GCM_SHA256, Some(Reason::Anonymous)),
        (CipherSuite::TLS_ECDH_anon_WITH_AES_128_CBC_SHA, Some(Reason::Anonymous)),
        (CipherSuite::TLS_PSK_WITH_AES_128_GCM_SHA256, Some(Reason::PreSharedKey)),
        (CipherSuite::TLS_DHE_PSK_WITH_AES_128_GCM_SHA256, Some(Reason::PreSharedKey)),
        (CipherSuite::TLS_ECDHE_PSK_WITH_AES_128_CBC_SHA, Some(Reason::PreSharedKey)),
        (CipherSuite::TLS_RSA_PSK_WITH_AES_128_GCM_SHA256, None),
    ] {
        let mut rig = Rig::fresh(Side::Server);
        play(&mut rig, &with_suite("tls12_none", suite));
        assert_eq!(said(&rig), (Security::Tls, Some(Source::Wire), reason), "{suite}");
    }
    // Nobody knows who began the session, but under this suite nobody can have shown a certificate.
    let mut rig = Rig::fresh(Side::Client);
    play(&mut rig, &with_suite("tls12_ticket", CipherSuite::TLS_PSK_WITH_AES_128_GCM_SHA256));
    assert_eq!(said(&rig), (Security::Tls, Some(Source::Resumed), Some(Reason::PreSharedKey)));
}

const OPENSSL: &[u16] = &[23, 85, 852, 97, 69];

/// Hellos of TLS 1.3 with SHA-384, then the server's flight in records of these lengths.
fn tls13(local: Side, server_flight: &[u16]) -> Rig {
    let mut rig = Rig::fresh(local);
    hellos(&mut rig, "tls13_none");
    records(&mut rig, Side::Server, server_flight);
    rig
}

fn hellos(rig: &mut Rig, name: &str) {
    let chunks = recorded(name);
    let (_, server) = chunks.iter().find(|(side, _)| *side == Side::Server).expect("server");
    let hello = 5 + usize::from(u16::from_be_bytes([server[3], server[4]]));
    play(rig, &chunks[..1]);
    rig.send(Side::Server, &server[..hello]);
}

fn records(rig: &mut Rig, side: Side, lengths: &[u16]) {
    for len in lengths {
        let [high, low] = len.to_be_bytes();
        rig.send_partial(side, &[23, 3, 3, high, low], 5 + usize::from(*len));
    }
}

const SENT: Verdict = (Security::Mtls, Some(Source::RecordLength), None);
const NOT_SENT: Verdict = (Security::Tls, Some(Source::RecordLength), None);
const CANNOT_TELL: Verdict = (Security::Tls, Some(Source::RecordLength), Some(Reason::ClientIdentityUnknown));
const FAILED: Verdict = (Security::Unknown, Some(Source::RecordLength), Some(Reason::HandshakeFailed));
const INCOMPLETE: Verdict = (Security::Unknown, None, Some(Reason::HandshakeIncomplete));

/// Flight of the client and what follows from both, and the verdict at the end.
type Course = (&'static [(Side, &'static [u16])], Verdict);

fn check(server_flight: &[u16], courses: &[Course]) {
    use Side::{Client, Server};
    for local in [Client, Server] {
        for (course, want) in courses {
            let mut rig = tls13(local, server_flight);
            for (side, lengths) in *course {
                records(&mut rig, *side, lengths);
                rig.wait(Duration::from_millis(20));
            }
            rig.close(CloseKind::Finished);
            assert_eq!(said(&rig), *want, "{course:?} at the {}", local.as_str());
        }
    }
}

#[test]
fn padded_records_are_not_taken_for_a_certificate() {
    use Side::{Client, Server};
    check(
        &[23, 852, 97, 69],
        &[
            // record_padding 512: Finished, then requests
            (&[(Client, &[528]), (Server, &[250, 250]), (Client, &[528])], CANNOT_TELL),
            (&[(Client, &[528, 528]), (Server, &[250, 250, 300])], CANNOT_TELL),
            // and a close_notify in the end
            (&[(Client, &[528]), (Server, &[250]), (Client, &[528]), (Server, &[19])], CANNOT_TELL),
            (&[(Client, &[528]), (Server, &[250, 19])], CANNOT_TELL),
            (&[(Client, &[528, 1040, 528, 528]), (Server, &[250])], CANNOT_TELL),
            // blocks of 256 and 1000
            (&[(Client, &[272, 272, 528]), (Server, &[250]), (Client, &[272])], CANNOT_TELL),
            (&[(Client, &[1016, 2016]), (Server, &[250])], CANNOT_TELL),
        ],
    );
    // Nothing comes from the client at all: the verdict does not wait for ever.
    let mut rig = tls13(Side::Client, &[23, 852, 97, 69]);
    records(&mut rig, Side::Client, &[528]);
    records(&mut rig, Side::Server, &[250, 250]);
    assert!(rig.observations().is_empty());
    rig.wait(Duration::from_secs(2));
    assert_eq!(said(&rig), CANNOT_TELL);
    assert_eq!(facts(&rig).client_certificate, ClientCertificate::Unknown);
}

#[test]
fn a_certificate_whose_length_fills_a_block_is_one_all_the_same() {
    use Side::{Client, Server};
    check(
        OPENSSL,
        &[
            (&[(Client, &[528, 96, 69]), (Server, &[682])], SENT),
            (&[(Client, &[528, 272, 69]), (Server, &[682])], SENT),
            // in fragments
            (&[(Client, &[528, 528, 528, 300, 97, 69]), (Server, &[682])], SENT),
            // in one record with all of the flight, then a request
            (&[(Client, &[592]), (Server, &[682]), (Client, &[60])], SENT),
            (&[(Client, &[573]), (Server, &[682])], SENT),
        ],
    );
}

#[test]
fn a_fragment_as_long_as_a_padded_finished_is_not_taken_for_it() {
    use Side::{Client, Server};
    check(OPENSSL, &[(&[(Client, &[85, 85, 85, 85, 60, 69]), (Server, &[250])], CANNOT_TELL)]);
    check(
        &[39, 900, 112, 85],
        &[
            (&[(Client, &[85]), (Server, &[250])], NOT_SENT),
            (&[(Client, &[85, 60])], NOT_SENT),
            (&[(Client, &[85])], NOT_SENT),
        ],
    );
}

#[test]
fn an_answer_as_long_as_an_alert_is_none_if_anything_follows() {
    use Side::{Client, Server};
    check(
        OPENSSL,
        &[
            // The plain case: nothing follows but the end, or a close_notify in return.
            (&[(Client, &[462, 97, 69]), (Server, &[19])], FAILED),
            (&[(Client, &[462, 97, 69, 60]), (Server, &[19])], FAILED),
            (&[(Client, &[462, 97, 69]), (Server, &[19]), (Client, &[19])], FAILED),
            // `ok`, and more of it, or a close_notify
            (&[(Client, &[462, 97, 69, 40]), (Server, &[19]), (Client, &[40]), (Server, &[19])], SENT),
            (&[(Client, &[462, 97, 69, 40]), (Server, &[19, 19, 19])], SENT),
            // Either that, or the alert and close_notify of GnuTLS
            (&[(Client, &[462, 97, 69, 40]), (Server, &[19, 19])], INCOMPLETE),
            (&[(Client, &[462, 97, 69]), (Server, &[19, 19])], INCOMPLETE),
            (&[(Client, &[462, 97, 69, 40]), (Server, &[19]), (Client, &[40])], INCOMPLETE),
            // 18 bytes of a server that does not pad
            (&[(Client, &[462, 97, 69, 40]), (Server, &[35])], SENT),
        ],
    );
    // JSSE, with a Finished of its own and with a flight in one record
    for flight in [&[39, 85, 900, 112, 85][..], &[69, 1100]] {
        check(flight, &[(&[(Client, &[842, 112, 85]), (Server, &[35])], FAILED)]);
    }
    let mut rig = tls13(Side::Client, OPENSSL);
    records(&mut rig, Side::Client, &[462, 97, 69, 40]);
    records(&mut rig, Side::Server, &[19]);
    rig.close(CloseKind::Reset);
    assert_eq!(facts(&rig).alert, Some(AlertFact { sender: Side::Server, content: None }));
    let mut rig = tls13(Side::Client, OPENSSL);
    records(&mut rig, Side::Client, &[462, 97, 69, 40]);
    records(&mut rig, Side::Server, &[19]);
    rig.wait(Duration::from_millis(20));
    records(&mut rig, Side::Client, &[40]);
    rig.close(CloseKind::Finished);
    assert_eq!((facts(&rig).alert, facts(&rig).established), (None, None));
}

#[test]
fn an_alert_length_that_answers_a_close_is_neither_acceptance_nor_rejection() {
    use Side::{Client, Server};
    check(
        OPENSSL,
        &[
            // `s_client </dev/null` without a certificate, or with one: closed before the server's alert, or close_notify, is in
            (&[(Client, &[25, 69, 19]), (Server, &[19])], INCOMPLETE),
            (&[(Client, &[462, 97, 69, 19]), (Server, &[19])], INCOMPLETE),
            // with the alert and close_notify of GnuTLS
            (&[(Client, &[25, 69, 19]), (Server, &[19, 19])], INCOMPLETE),
            // with a request that was on its way just as well
            (&[(Client, &[462, 97, 69, 40, 19]), (Server, &[19])], INCOMPLETE),
            // The server spoke first: it had nothing to answer.
            (&[(Client, &[25, 69]), (Server, &[19]), (Client, &[19])], FAILED),
            // Tickets, an answer, or a client that got no objection while it could have.
            (&[(Client, &[25, 69]), (Server, &[250, 250]), (Client, &[19]), (Server, &[19])], NOT_SENT),
            (&[(Client, &[462, 97, 69, 19]), (Server, &[250, 19])], SENT),
            (&[(Client, &[462, 97, 69]), (Client, &[40]), (Client, &[19]), (Server, &[19])], SENT),
            // Not asked for a certificate, a client gives the server nothing to object to.
            (&[(Client, &[69, 19]), (Server, &[19])], NOT_SENT),
        ],
    );
    let mut rig = tls13(Side::Client, OPENSSL);
    records(&mut rig, Side::Client, &[25, 69, 19]);
    records(&mut rig, Side::Server, &[19]);
    assert!(rig.observations().is_empty());
    // Nobody closes the connection: time does not tell more, and the question is closed all the same.
    rig.wait(Duration::from_secs(59));
    assert!(rig.observations().is_empty());
    rig.wait(Duration::from_secs(2));
    assert_eq!(said(&rig), INCOMPLETE);
    assert_eq!(
        (facts(&rig).established, facts(&rig).alert, facts(&rig).client_certificate),
        (None, None, ClientCertificate::Declined)
    );
    // Accepted by silence before it closes.
    let mut rig = tls13(Side::Server, OPENSSL);
    records(&mut rig, Side::Client, &[462, 97, 69]);
    rig.wait(Duration::from_secs(3));
    records(&mut rig, Side::Client, &[19]);
    records(&mut rig, Side::Server, &[19]);
    rig.close(CloseKind::Finished);
    assert_eq!((said(&rig), facts(&rig).established), (SENT, Some(true)));
}

/// A connection whose client sends this much early data before and after the server's hello and flight.
fn early_data(local: Side, name: &str, before: usize, server_flight: &[u16], after: &[u16]) -> Rig {
    let mut rig = Rig::fresh(local);
    let chunks = recorded(name);
    let hello = &chunks[0].1;
    let end = 5 + usize::from(u16::from_be_bytes([hello[3], hello[4]]));
    rig.send(Side::Client, &hello[..end]);
    records(&mut rig, Side::Client, &vec![8209; before]);
    let (_, server) = chunks.iter().find(|(side, _)| *side == Side::Server).expect("server");
    rig.send(Side::Server, &server[..5 + usize::from(u16::from_be_bytes([server[3], server[4]]))]);
    records(&mut rig, Side::Server, server_flight);
    records(&mut rig, Side::Client, after);
    rig
}

#[test]
fn early_data_that_goes_on_behind_the_servers_flight_is_no_certificate() {
    let name = "tls13_early_data_rejected";
    for (after, want) in [
        (&[8209, 8209, 69][..], CANNOT_TELL),
        (&[462, 97, 69], CANNOT_TELL),
        // 2 bytes of early data are no alert of the client
        (&[19, 69], CANNOT_TELL),
        (&[69, 40], NOT_SENT),
        (&[25, 69], NOT_SENT),
    ] {
        for before in [1, 12] {
            let mut rig = early_data(Side::Client, name, before, &[23, 853, 96, 69], after);
            records(&mut rig, Side::Server, &[258, 258]);
            rig.close(CloseKind::Finished);
            assert_eq!(said(&rig), want, "{after:?} after {before}");
        }
    }
}

#[test]
fn early_data_of_many_records_is_a_resumed_session() {
    let resumed = (Security::Tls, Some(Source::Resumed), Some(Reason::ClientIdentityUnknown));
    let name = "tls13_early_data";
    for local in [Side::Client, Side::Server] {
        let rig = early_data(local, name, 12, &[27, 69], &[21, 69]);
        assert_eq!((said(&rig), facts(&rig).established), (resumed, Some(true)));
        // More than is shown: at once.
        let rig = early_data(local, name, 24, &[27, 69], &[]);
        assert_eq!((said(&rig), facts(&rig).established), (resumed, None));
        assert_eq!(facts(&rig).resumed, Some(true));
        // The end of the flight was not seen.
        let mut rig = early_data(local, name, 5, &[27, 69], &[]);
        rig.close(CloseKind::Reset);
        assert_eq!((said(&rig), facts(&rig).established), (resumed, None));
    }
    let mut rig = early_data(Side::Client, "tls13_early_data_rejected", 24, &[23, 853, 96, 69], &[]);
    rig.close(CloseKind::Finished);
    let cut = (Security::Unknown, None, Some(Reason::MissingBytes));
    assert_eq!((said(&rig), facts(&rig).established), (cut, None));
}

#[test]
fn a_client_that_sends_without_end_was_accepted() {
    let mut rig = tls13(Side::Client, OPENSSL);
    records(&mut rig, Side::Client, &[462, 97, 69]);
    records(&mut rig, Side::Client, &[500; 77]);
    assert_eq!((said(&rig), rig.observations().len()), (SENT, 1));
    assert_eq!(rig.engine.counters().encrypted_record_limits, 1);
}
