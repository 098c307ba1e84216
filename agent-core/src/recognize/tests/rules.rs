//! The stated rules and bounds, one by one.

use super::super::recognizer::RecognizeCounters;
use super::super::testing::{HELLO, SERVER_HELLO};
use super::super::*;
use super::{protocols, recognizer};
use crate::net::Direction::{Egress, Ingress};
use crate::net::{Direction, Side};
use crate::observation::StartTls;

fn named(name: &str) -> ProtocolRef {
    protocols().into_iter().find(|p| p.name() == name).unwrap()
}

fn tls(start: [u64; 2], hello: bool) -> Kind {
    Kind::Tls { start, upgraded_from: None, hello }
}

fn fed(local: Option<Side>, talk: &[(Direction, &[u8])]) -> Recognizer {
    let mut r = recognizer(local);
    for (d, b) in talk {
        r.data(*d, b);
    }
    r
}

fn verdict(kind: Kind, proxy_protocol: Option<u8>, client: Option<Direction>) -> Verdict {
    Verdict { kind, proxy_protocol, client }
}

#[test]
fn a_client_hello_tells_who_is_the_client() {
    let mut r = fed(None, &[(Ingress, HELLO)]);
    assert_eq!(*r.verdict(), verdict(tls([0, 0], true), None, Some(Ingress)));
    assert_eq!(r.take_tls(), vec![(Ingress, HELLO.to_vec())]);
    let r = fed(None, &[(Ingress, SERVER_HELLO)]);
    assert_eq!(*r.verdict(), verdict(tls([0, 0], true), None, Some(Egress)));
}

#[test]
fn the_sender_of_the_client_hello_counts_even_when_it_accepted_the_connection() {
    let r = fed(Some(Side::Server), &[(Egress, HELLO)]);
    assert_eq!(*r.verdict(), verdict(tls([0, 0], true), None, Some(Egress)));
}

#[test]
fn an_alert_at_the_start_is_tls_without_a_hello() {
    let r = fed(Some(Side::Server), &[(Egress, b"\x15\x03\x01\x00\x02\x02\x28")]);
    assert_eq!(*r.verdict(), verdict(tls([0, 0], false), None, Some(Ingress)));
}

#[test]
fn an_sslv2_hello_is_tls() {
    let hello = [b"\x80\x1f\x01\x03\x01\0\x06\0\0\0\x10\0\0\x2f\x01\0\x80".as_slice(), &[7; 16]].concat();
    let r = fed(None, &[(Egress, &hello)]);
    assert_eq!(*r.verdict(), verdict(tls([0, 0], true), None, Some(Egress)));
}

#[test]
fn an_encrypted_record_is_tls_only_where_the_start_was_missed() {
    let record = [b"\x17\x03\x03\x00\x45".as_slice(), &[0x9c; 69]].concat();
    let mut r = fed(Some(Side::Client), &[(Egress, &record)]);
    assert_eq!(r.end(), verdict(Kind::Unrecognized, None, Some(Egress)));
    let mut r = Recognizer::joined_in_the_middle(RecognizeLimits::default(), None);
    r.data(Ingress, &record);
    assert_eq!(*r.verdict(), verdict(tls([0, 0], false), None, None));
    assert_eq!(r.take_tls(), vec![(Ingress, record.clone())]);
    // A gap in front has the same effect on that direction.
    let mut r = recognizer(Some(Side::Client));
    r.gap(Egress, 100);
    r.data(Egress, &record);
    assert_eq!(*r.verdict(), verdict(tls([100, 0], false), None, Some(Egress)));
}

fn proxy_v2(len: u16) -> Vec<u8> {
    let mut header = b"\r\n\r\n\0\r\nQUIT\n\x21\x11".to_vec();
    header.extend_from_slice(&len.to_be_bytes());
    header.extend(vec![0xea; usize::from(len)]);
    header
}

#[test]
fn a_proxy_header_is_stepped_over_in_every_chunking() {
    let v1 = b"PROXY TCP4 192.0.2.1 192.0.2.2 56324 443\r\n".to_vec();
    let unknown = b"PROXY UNKNOWN\r\n".to_vec();
    // The last one is longer than what is kept of a stream.
    for (version, header) in [(1, v1), (1, unknown), (2, proxy_v2(12)), (2, proxy_v2(3000))] {
        let all = [header.as_slice(), HELLO].concat();
        for local in [None, Some(Side::Server)] {
            for chunk in [1, 2, 7, 100, 1024, 5000] {
                let mut r = recognizer(local);
                let mut handed = Vec::new();
                for c in all.chunks(chunk) {
                    if r.verdict().kind.is_final() {
                        handed.push((Ingress, c.to_vec()));
                    }
                    r.data(Ingress, c);
                    handed.extend(r.take_tls());
                }
                let expected = verdict(tls([0, header.len() as u64], true), Some(version), Some(Ingress));
                assert_eq!(*r.verdict(), expected);
                let handed: Vec<u8> = handed.into_iter().flat_map(|(_, b)| b).collect();
                assert_eq!(handed, HELLO);
                assert_eq!(r.counters(), RecognizeCounters::default());
            }
        }
    }
}

#[test]
fn plaintext_and_upgrades_behind_a_proxy_header_are_followed() {
    let talk: [(Direction, &[u8]); 2] =
        [(Ingress, b"PROXY TCP6 ::1 ::1 1 2\r\n"), (Ingress, b"GET / HTTP/1.1\r\n\r\n")];
    let kind = Kind::Plaintext { protocol: named("http"), starttls: None };
    assert_eq!(*fed(None, &talk).verdict(), verdict(kind, Some(1), Some(Ingress)));
    let header = proxy_v2(12);
    let mut r = fed(
        Some(Side::Server),
        &[(Ingress, &header), (Ingress, b"\0\0\0\x08\x04\xd2\x16\x2f"), (Egress, b"S")],
    );
    r.data(Ingress, HELLO);
    let kind = Kind::Tls { start: [1, 36], upgraded_from: Some(named("postgresql")), hello: true };
    assert_eq!(*r.verdict(), verdict(kind, Some(2), Some(Ingress)));
}

#[test]
fn a_proxy_header_alone_is_no_data() {
    let mut r = fed(None, &[(Egress, b"PROXY UNKNOWN\r\n")]);
    assert_eq!(r.end(), verdict(Kind::NoData, Some(1), Some(Egress)));
}

#[test]
fn what_begins_like_a_proxy_header_and_is_none_is_text() {
    let line = [b"PROXY TCP4 ".as_slice(), &[b'a'; 200]].concat();
    assert_eq!(fed(Some(Side::Client), &[(Egress, &line)]).verdict().kind, Kind::Text);
}

#[test]
fn text_needs_enough_bytes_of_the_client_while_the_connection_goes_on() {
    let line = [b'a'; 64];
    let mut r = fed(Some(Side::Client), &[(Egress, &line[1..])]);
    assert_eq!(r.verdict().kind, Kind::NeedMore);
    r.data(Egress, b"!");
    assert_eq!(r.verdict().kind, Kind::Text);
    // A server that has begun to speak is heard out.
    let mut r = fed(Some(Side::Client), &[(Ingress, b"fifteen  bytes."), (Egress, &line)]);
    assert_eq!(r.verdict().kind, Kind::NeedMore);
    r.data(Ingress, b"!");
    assert_eq!(r.verdict().kind, Kind::Text);
    // Who is not known to be the client counts as the server too.
    let mut r = fed(None, &[(Egress, &line)]);
    assert_eq!(r.verdict().kind, Kind::NeedMore);
    r.data(Ingress, &line);
    assert_eq!(r.verdict().kind, Kind::Text);
}

#[test]
fn the_server_alone_is_text_only_at_the_end() {
    let mut r = fed(Some(Side::Client), &[(Ingress, &[b'a'; 500])]);
    assert_eq!(r.verdict().kind, Kind::NeedMore);
    assert_eq!(r.end().kind, Kind::Text);
}

#[test]
fn the_server_alone_is_no_text_when_the_clients_bytes_were_lost() {
    let mut r = fed(Some(Side::Client), &[(Ingress, b"welcome to this machine\r\n")]);
    r.gap(Egress, 10);
    assert_eq!(r.end().kind, Kind::MissingBytes { protocol: None });
}

#[test]
fn a_client_hello_behind_the_text_of_an_unknown_protocol_is_tls() {
    for command in [&b"STARTTLS\r\n"[..], b"UPGRADE TLS\r\n", b"go private\n", b"x"] {
        for banner in [&b"# node at machine.example ready\n"[..], b"yes?"] {
            for local in [None, Some(Side::Client)] {
                for chunk in [1, 2, 3, 7, 100] {
                    let mut r = recognizer(local);
                    let mut handed = Vec::new();
                    let talk = [
                        (Ingress, banner),
                        (Egress, command),
                        (Ingress, b"go on\n"),
                        (Egress, HELLO),
                        (Ingress, SERVER_HELLO),
                    ];
                    for (d, bytes) in talk {
                        for c in bytes.chunks(chunk) {
                            if r.verdict().kind.is_final() {
                                handed.push((d, c.to_vec()));
                            }
                            r.data(d, c);
                            handed.extend(r.take_tls());
                        }
                    }
                    let start = [command.len() as u64, banner.len() as u64 + 6];
                    assert_eq!(*r.verdict(), verdict(tls(start, true), None, Some(Egress)));
                    for (side, hello) in [(Egress, HELLO), (Ingress, SERVER_HELLO)] {
                        let got: Vec<u8> =
                            handed.iter().filter(|(d, _)| *d == side).flat_map(|(_, b)| b.clone()).collect();
                        assert_eq!(got, hello);
                    }
                }
            }
        }
    }
}

#[test]
fn a_client_hello_behind_a_greeting_is_tls_behind_it() {
    for chunk in [1, 100] {
        let mut r = fed(Some(Side::Client), &[(Ingress, b"go ahead\n")]);
        HELLO.chunks(chunk).for_each(|c| r.data(Egress, c));
        assert_eq!(*r.verdict(), verdict(tls([0, 9], true), None, Some(Egress)));
    }
}

#[test]
fn a_client_hello_as_payload_of_a_text_protocol_is_not_tls() {
    let mut r = fed(Some(Side::Client), &[(Egress, b"FORWARD 517\r\n"), (Egress, HELLO)]);
    assert_eq!(r.end().kind, Kind::Unrecognized);
}

#[test]
fn what_follows_text_that_spoke_of_tls_must_be_text_too() {
    let long = [b"we may talk of TLS ".as_slice(), &[b'a'; 100]].concat();
    let talk: [(Direction, &[u8]); 3] = [(Ingress, &long), (Egress, b"please\n"), (Egress, b"\x80\x81")];
    assert_eq!(fed(Some(Side::Client), &talk).end().kind, Kind::Unrecognized);
    let mut r = fed(Some(Side::Client), &[(Ingress, &long), (Egress, b"please\n"), (Egress, b"\x16")]);
    r.data(Ingress, b"soon");
    assert_eq!(r.end().kind, Kind::Unrecognized);
    // The beginning of a ClientHello.
    let talk: [(Direction, &[u8]); 4] =
        [(Ingress, &long), (Egress, b"please\n"), (Ingress, b"go\n"), (Egress, b"\x16\x03")];
    assert_eq!(fed(Some(Side::Client), &talk).end().kind, Kind::TooFewBytes);
}

#[test]
fn text_that_spoke_of_tls_past_what_is_kept_is_missing_bytes_unless_one_way() {
    let long = [b"we may talk of TLS ".as_slice(), &[b'a'; 2000]].concat();
    let mut r = fed(Some(Side::Client), &[(Egress, &long), (Ingress, b"ok\n")]);
    assert_eq!(r.end().kind, Kind::MissingBytes { protocol: None });
    assert_eq!(fed(Some(Side::Client), &[(Egress, &long)]).end().kind, Kind::Text);
}

#[test]
fn text_at_the_end_needs_four_bytes() {
    assert_eq!(fed(None, &[(Egress, b"hey")]).end().kind, Kind::TooFewBytes);
    assert_eq!(fed(None, &[(Egress, b"hey\n")]).end().kind, Kind::Text);
    assert_eq!(fed(None, &[(Egress, "žluť\n".as_bytes())]).end().kind, Kind::Text);
    assert_eq!(fed(None, &[(Egress, b"hey\x01 and some more")]).end().kind, Kind::Unrecognized);
}

#[test]
fn text_that_speaks_of_an_upgrade_waits_for_what_follows() {
    let long = [b"OK ".as_slice(), &[b'a'; 100], b"\r\n"].concat();
    let talk: [(Direction, &[u8]); 3] = [(Egress, &long), (Ingress, b"upgrade (ssl)\r\n"), (Ingress, &long)];
    let mut r = fed(Some(Side::Server), &talk);
    assert_eq!(r.verdict().kind, Kind::NeedMore);
    assert_eq!(r.end().kind, Kind::Text);
}

#[test]
fn text_one_way_and_binary_the_other_is_unrecognized() {
    let r =
        fed(None, &[(Egress, b"well"), (Ingress, b"\x01\x02\x03\x04"), (Egress, b"hello there my friend")]);
    assert_eq!(r.verdict().kind, Kind::Unrecognized);
}

#[test]
fn an_undecided_greeting_stays_open_and_is_text_at_the_end() {
    let mut r = fed(Some(Side::Client), &[(Ingress, b"220 welcome to this machine\r\n")]);
    assert_eq!(r.verdict().kind, Kind::NeedMore);
    assert_eq!(r.end().kind, Kind::Text);
}

#[test]
fn the_client_tells_smtp_from_ftp() {
    let greeting: (Direction, &[u8]) = (Ingress, b"220 welcome\r\n");
    let smtp = fed(Some(Side::Client), &[greeting, (Egress, b"EHLO a\r\n")]);
    assert_eq!(smtp.verdict().kind, Kind::Upgradable(named("smtp")));
    let ftp = fed(Some(Side::Client), &[greeting, (Egress, b"AUTH TLS\r\n")]);
    assert_eq!(ftp.verdict().kind, Kind::Upgradable(named("ftp")));
}

/// Found by fuzzing: the number of MySQL's first connection is MongoDB's opcode of an answer, and a salt of zeros the rest of it.
#[test]
fn a_greeting_of_mysql_is_no_answer_of_mongodb_however_much_of_it_comes_at_once() {
    let greeting = [b"\x28\0\0\0\x0a8.0.33\0\x01\0\0\0".as_slice(), &[0; 28]].concat();
    for chunk in [1, greeting.len()] {
        let cut: Vec<(Direction, &[u8])> = greeting.chunks(chunk).map(|bytes| (Ingress, bytes)).collect();
        let r = fed(Some(Side::Client), &cut);
        assert_eq!(r.verdict().kind, Kind::Upgradable(named("mysql")), "{chunk} bytes a segment");
    }
}

#[test]
fn nothing_is_no_data_and_a_little_is_too_few_bytes() {
    assert_eq!(recognizer(None).end().kind, Kind::NoData);
    assert_eq!(fed(None, &[(Egress, b"\x16\x03\x01")]).end().kind, Kind::TooFewBytes);
}

#[test]
fn a_gap_before_a_verdict_is_missing_bytes() {
    let mut r = fed(Some(Side::Client), &[(Egress, b"\0\0\0\x08")]);
    r.gap(Egress, 4);
    r.data(Egress, b"whatever");
    assert_eq!(r.end().kind, Kind::MissingBytes { protocol: None });
    let mut r = recognizer(None);
    r.gap(Egress, 4);
    assert_eq!(r.end().kind, Kind::MissingBytes { protocol: None });
}

#[test]
fn a_gap_before_the_upgrade_is_settled_is_missing_bytes() {
    let mut r = fed(Some(Side::Client), &[(Ingress, b"220 a ESMTP\r\n"), (Egress, b"EHLO a\r\n")]);
    r.gap(Ingress, 10);
    assert_eq!(r.verdict().kind, Kind::MissingBytes { protocol: Some(named("smtp")) });
}

#[test]
fn a_gap_in_a_request_header_leaves_it_plaintext_unless_it_asked_for_tls() {
    let mut r = fed(Some(Side::Client), &[(Egress, b"GET / HTTP/1.1\r\nCookie: a")]);
    assert_eq!(r.verdict().kind, Kind::Upgradable(named("http")));
    r.gap(Egress, 10);
    assert_eq!(r.verdict().kind, Kind::Plaintext { protocol: named("http"), starttls: None });
    let mut r = fed(Some(Side::Client), &[(Egress, b"GET / HTTP/1.1\r\nUpgrade: TLS/1.0\r\nCookie: a")]);
    r.gap(Egress, 10);
    assert_eq!(r.verdict().kind, Kind::MissingBytes { protocol: Some(named("http")) });
}

#[test]
fn a_gap_in_one_direction_does_not_hide_what_the_other_proves() {
    let mut r = recognizer(Some(Side::Client));
    r.gap(Egress, 500);
    r.data(Ingress, b"HTTP/1.1 200 OK\r\n");
    assert_eq!(r.verdict().kind, Kind::Plaintext { protocol: named("http"), starttls: None });
}

#[test]
fn bytes_after_a_final_verdict_are_ignored() {
    let mut r = fed(None, &[(Egress, b"SSH-2.0-x\r\n"), (Egress, HELLO)]);
    r.gap(Egress, 9);
    assert_eq!(r.end().kind, Kind::EncryptedNotTls(named("ssh")));
}

#[test]
fn an_upgrade_of_unknown_sides_is_followed_from_the_first_to_speak() {
    let mut r = fed(None, &[(Ingress, b"AMQP\x02\x01\0\0"), (Egress, b"AMQP\x02\x01\0\0")]);
    let kind = Kind::Tls { start: [8, 8], upgraded_from: Some(named("amqp")), hello: true };
    assert_eq!(r.verdict().kind, kind);
    assert_eq!(r.take_tls(), vec![]);
}

#[test]
fn a_request_for_tls_without_an_answer_stays_open_until_the_end() {
    let mut r = fed(Some(Side::Client), &[(Ingress, b"* OK IMAP\r\n"), (Egress, b"a STARTTLS\r\n")]);
    assert_eq!(r.verdict().kind, Kind::Upgradable(named("imap")));
    assert_eq!(r.end().kind, Kind::Plaintext { protocol: named("imap"), starttls: None });
    let mut r = fed(Some(Side::Client), &[(Egress, b"\0\0\0\x08\x04\xd2\x16\x2f"), (Ingress, b"N")]);
    assert_eq!(
        r.end().kind,
        Kind::Plaintext { protocol: named("postgresql"), starttls: Some(StartTls::Refused) }
    );
}

#[test]
fn the_side_may_become_known_later() {
    let mut r = recognizer(None);
    r.set_local_side(Side::Server);
    assert_eq!(r.verdict().client, Some(Ingress));
}

fn limited(limits: RecognizeLimits) -> Recognizer {
    Recognizer::new(limits, Some(Side::Client))
}

#[test]
fn the_prefix_is_bounded_and_counted() {
    let mut r = limited(RecognizeLimits { prefix: 4, ..RecognizeLimits::default() });
    r.data(Egress, b"GET / HTTP/1.1\r\n");
    assert_eq!(r.counters(), RecognizeCounters { prefix_cut_bytes: 12, ..RecognizeCounters::default() });
    assert_eq!(r.verdict().kind, Kind::NeedMore);
    // Both directions full: nothing can change any more.
    r.data(Ingress, b"HTTP/1.1");
    assert_eq!(r.verdict().kind, Kind::Text);
}

#[test]
fn following_an_upgrade_is_bounded_and_counted() {
    let mut r = limited(RecognizeLimits { upgrade: 64, ..RecognizeLimits::default() });
    r.data(Ingress, b"220 a ESMTP\r\n");
    r.data(Egress, &b"NOOP\r\n".repeat(10));
    assert_eq!(r.verdict().kind, Kind::MissingBytes { protocol: Some(named("smtp")) });
    assert_eq!(r.counters(), RecognizeCounters { upgrade_given_up: 1, ..RecognizeCounters::default() });
}

#[test]
fn held_bytes_are_bounded_and_counted() {
    let mut r = limited(RecognizeLimits { held: 8, ..RecognizeLimits::default() });
    r.data(Ingress, b"220 a ESMTP\r\n");
    r.data(Egress, b"STARTTLS\r\n");
    r.data(Egress, HELLO);
    r.data(Ingress, b"220 go\r\n");
    assert_eq!(r.verdict().kind, Kind::MissingBytes { protocol: Some(named("smtp")) });
    let held_cut_bytes = HELLO.len() as u64;
    assert_eq!(r.counters(), RecognizeCounters { held_cut_bytes, ..RecognizeCounters::default() });
}

#[test]
fn turns_between_the_directions_are_bounded_and_counted() {
    let mut r = limited(RecognizeLimits::default());
    // An IMAP greeting and a tag, one byte a turn: both stay possible.
    let greeting = [b"* OK ".as_slice(), &[b'x'; 30]].concat();
    for b in &greeting {
        r.data(Ingress, &[*b]);
        r.data(Egress, b"a");
    }
    assert_eq!(r.counters().runs_cut, 1);
    assert_eq!(r.end().kind, Kind::Text);
}

#[test]
fn lines_of_an_upgrade_are_bounded_and_counted() {
    let mut r = limited(RecognizeLimits::default());
    r.data(Ingress, b"220 a ESMTP\r\n");
    r.data(Egress, &[b"NOOP ".as_slice(), &[b'a'; 900], b"\r\nMAIL FROM:<>\r\n"].concat());
    let kind = Kind::Plaintext { protocol: named("smtp"), starttls: Some(StartTls::NotUsed) };
    assert_eq!(r.verdict().kind, kind);
    assert_eq!(r.counters(), RecognizeCounters { lines_cut: 1, ..RecognizeCounters::default() });
}
