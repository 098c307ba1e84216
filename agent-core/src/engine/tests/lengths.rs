//! Handshakes put together by hand: hellos of a recording with another cipher suite, and encrypted records of which only the
//! lengths matter.

use super::recorded::{play, recorded};
use super::*;
use crate::observation::TlsFacts;
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
