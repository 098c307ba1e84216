//! Exchanges recorded on loopback between programs that nobody here wrote: `testdata/<protocol>-<what>.txt` holds how
//! it was made, what must come out of it, and the turns in the order in which they were sent, each cut to 160 bytes.

use super::{protocols, recognizer};
use crate::net::Direction::{self, Egress, Ingress};
use crate::net::Side;
use crate::observation::StartTls;
use crate::recognize::{Kind, ProtocolRef, Recognizer, Verdict};

struct Recording {
    name: String,
    expect: Kind,
    turns: Vec<(Direction, Vec<u8>)>,
}

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|i| u8::from_str_radix(&text[i..i + 2], 16).unwrap()).collect()
}

fn expected(words: &[&str], protocol: ProtocolRef) -> Kind {
    let plain = |starttls| Kind::Plaintext { protocol, starttls };
    match words {
        ["plaintext"] => plain(None),
        ["not_used"] => plain(Some(StartTls::NotUsed)),
        ["refused"] => plain(Some(StartTls::Refused)),
        ["tls", client, server] => Kind::Tls {
            start: [client.parse().unwrap(), server.parse().unwrap()],
            upgraded_from: Some(protocol),
            hello: true,
        },
        other => panic!("unknown expectation {other:?}"),
    }
}

fn recordings() -> Vec<Recording> {
    let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/src/recognize/testdata");
    let mut out = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let (word, _) = name.split_once('-').unwrap();
        let protocol = protocols().into_iter().find(|p| p.name() == word).unwrap();
        let mut expect = None;
        let mut turns = Vec::new();
        for line in std::fs::read_to_string(&path).unwrap().lines() {
            let words: Vec<&str> = line.split_whitespace().collect();
            match words.as_slice() {
                ["expect", rest @ ..] => expect = Some(expected(rest, protocol)),
                ["C", hex] => turns.push((Egress, unhex(hex))),
                ["S", hex] => turns.push((Ingress, unhex(hex))),
                _ => assert!(line.starts_with('#'), "{name}: {line}"),
            }
        }
        out.push(Recording { name, expect: expect.unwrap(), turns });
    }
    assert!(!out.is_empty());
    out
}

fn run(mut r: Recognizer, turns: &[(Direction, Vec<u8>)], chunk: usize) -> Verdict {
    for (d, bytes) in turns {
        for c in bytes.chunks(chunk) {
            r.data(*d, c);
        }
    }
    r.end()
}

#[test]
fn recorded_exchanges_lead_to_their_verdict() {
    for rec in recordings() {
        let expect = Verdict { kind: rec.expect, proxy_protocol: None, client: Some(Egress) };
        for side in [None, Some(Side::Client)] {
            for chunk in [1, 2, 3, 5, 13, 64, 4096] {
                let got = run(recognizer(side), &rec.turns, chunk);
                assert_eq!(got, expect, "{} in chunks of {chunk}", rec.name);
            }
        }
    }
}

/// With the first bytes of one direction lost, a verdict may be less, never another.
#[test]
fn recorded_exchanges_with_a_missing_beginning_never_mislead() {
    for rec in recordings() {
        for lost in [Egress, Ingress] {
            let mut r = recognizer(Some(Side::Client));
            let mut skip = true;
            for (d, bytes) in &rec.turns {
                if *d == lost && std::mem::take(&mut skip) {
                    r.gap(*d, bytes.len() as u64);
                } else {
                    r.data(*d, bytes);
                }
            }
            let got = r.end().kind;
            let fine = match (got, rec.expect) {
                (Kind::MissingBytes { .. } | Kind::Unrecognized | Kind::TooFewBytes, _) => true,
                (Kind::Plaintext { protocol: a, .. }, Kind::Plaintext { protocol: b, .. }) => a == b,
                (Kind::Text, Kind::Plaintext { .. }) | (Kind::Tls { .. }, Kind::Tls { .. }) => true,
                _ => false,
            };
            assert!(fine, "{} without the first bytes of {lost:?}: {got:?}", rec.name);
        }
    }
}
