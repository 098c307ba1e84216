//! Everything that is not TLS.

use super::*;
use crate::observation::StartTls;

fn plaintext(
    protocol: Option<&'static str>,
) -> (Security, Option<Source>, Option<Reason>, Option<&'static str>) {
    (Security::Plaintext, Some(Source::Wire), None, protocol)
}

fn said(rig: &Rig) -> (Security, Option<Source>, Option<Reason>, Option<&'static str>) {
    let last = rig.last();
    (last.security, last.source, last.reason, last.protocol)
}

#[test]
fn a_request_is_plaintext_at_once_and_nothing_more_is_needed() {
    let mut rig = Rig::fresh(Side::Client);
    rig.send(Side::Client, b"GET / HTTP/1.1\r\nHost: example.com\r\n\r\n");
    assert_eq!(said(&rig), plaintext(Some("http")));
    assert!(matches!(rig.outputs.as_slice(), [Output::Observation(_), Output::CaptureDone(ConnId(1))]));
    rig.send(Side::Server, b"HTTP/1.1 200 OK\r\n\r\n");
    assert_eq!(rig.engine.counters().segments_after_verdict, 1);
    rig.close(CloseKind::Finished);
    assert_eq!(rig.verdicts().len(), 2);
    assert_eq!(said(&rig), plaintext(Some("http")));
}

#[test]
fn the_client_of_a_connection_with_unknown_sides_is_who_sent_the_request() {
    let mut rig = Rig::bare(EngineConfig::default());
    rig.connect(None);
    rig.send(Side::Server, b"GET / HTTP/1.1\r\nHost: example.com\r\n\r\n");
    assert_eq!(rig.last().local_side, Some(Side::Server));
}

#[test]
fn a_greeting_alone_waits_for_the_client() {
    let mut rig = Rig::fresh(Side::Client);
    rig.send(Side::Server, b"220 mail.test ESMTP\r\n");
    rig.wait(Duration::from_secs(60));
    assert!(rig.observations().is_empty());
    rig.send(Side::Client, b"EHLO me\r\n");
    rig.send(Side::Server, b"250-mail.test\r\n250 STARTTLS\r\n");
    rig.send(Side::Client, b"MAIL FROM:<a@example.com>\r\n");
    assert_eq!(said(&rig), plaintext(Some("smtp")));
    assert_eq!(rig.last().starttls, Some(StartTls::NotUsed));
    let hints: Vec<_> = rig.outputs.iter().filter(|o| !matches!(o, Output::Observation(_))).collect();
    assert!(matches!(hints.as_slice(), [Output::CaptureMore(_), Output::CaptureDone(_)]), "{hints:?}");
}

#[test]
fn silence_decides_what_the_first_bytes_are() {
    let mut rig = Rig::fresh(Side::Client);
    rig.send(Side::Client, b"GE");
    let due = rig.engine.poll_deadline().expect("waits");
    assert_eq!(due, rig.now + Duration::from_secs(5));
    rig.wait(Duration::from_secs(5));
    assert_eq!(said(&rig), (Security::Unknown, None, Some(Reason::TooFewBytes), None));
    assert_eq!(rig.engine.poll_deadline(), None);
}

#[test]
fn ssh_is_encrypted_but_not_tls() {
    let mut rig = Rig::fresh(Side::Server);
    rig.send(Side::Server, b"SSH-2.0-OpenSSH_9.2\r\n");
    rig.send(Side::Client, b"SSH-2.0-OpenSSH_9.2\r\n");
    rig.close(CloseKind::Finished);
    assert_eq!(
        said(&rig),
        (Security::Unknown, Some(Source::Wire), Some(Reason::EncryptedNotTls), Some("ssh"))
    );
}

#[test]
fn binary_bytes_of_nothing_known_stay_unknown() {
    let mut rig = Rig::fresh(Side::Client);
    rig.send(Side::Client, &[0xf3, 0x9a, 0x01, 0xc7, 0x80, 0xff, 0xee, 0x11].repeat(8));
    rig.close(CloseKind::Finished);
    assert_eq!(rig.last().security, Security::Unknown);
    assert_eq!(rig.last().reason, Some(Reason::UnrecognizedProtocol));
}

#[test]
fn bytes_that_never_came_are_the_reason() {
    let mut rig = Rig::fresh(Side::Client);
    rig.send_partial(Side::Client, b"", 100);
    rig.send(Side::Client, &[1, 2, 3]);
    rig.close(CloseKind::Finished);
    assert_eq!(said(&rig), (Security::Unknown, None, Some(Reason::MissingBytes), None));
}

#[test]
fn a_proxy_header_is_remembered() {
    let mut rig = Rig::fresh(Side::Server);
    rig.send(Side::Client, b"PROXY TCP4 192.0.2.9 192.0.2.1 5555 80\r\n");
    rig.send(Side::Client, b"GET / HTTP/1.1\r\nHost: example.com\r\n\r\n");
    assert_eq!(said(&rig), plaintext(Some("http")));
    assert_eq!(rig.last().proxy_protocol, Some(1));
}
