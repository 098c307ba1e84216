//! Every protocol's samples through the whole recognizer, and against every other protocol.

mod recorded;
mod rules;

use super::registry::samples;
use super::testing::*;
use super::*;
use crate::net::{Direction, Side};

fn protocols() -> Vec<ProtocolRef> {
    PROTOCOLS.iter().map(|p| ProtocolRef(*p)).collect()
}

fn recognizer(side: Option<Side>) -> Recognizer {
    Recognizer::new(RecognizeLimits::default(), side)
}

#[test]
fn every_protocol_has_samples_and_a_name_of_its_own() {
    let all = samples();
    for (i, p) in protocols().iter().enumerate() {
        assert!(all.iter().any(|s| s.protocol == p.name()), "{p:?}");
        assert_eq!(protocols().iter().position(|q| q == p), Some(i));
    }
}

#[test]
fn samples_lead_to_their_verdict_in_every_chunking_and_orientation() {
    for s in samples() {
        for client in [Direction::Egress, Direction::Ingress] {
            let local = if client == Direction::Egress { Side::Client } else { Side::Server };
            let expected = s.verdict(&protocols(), client);
            for chunk in (1..40).chain([64, 100, 1 << 20]) {
                let (verdict, tls) = s.run(recognizer(Some(local)), client, chunk);
                assert_eq!(verdict, expected, "chunks of {chunk}: {s:?}");
                if let Expect::Upgraded(c, srv) = s.expect {
                    let c = &s.bytes(Side::Client)[usize::try_from(c).unwrap()..];
                    let srv = &s.bytes(Side::Server)[usize::try_from(srv).unwrap()..];
                    assert_eq!(tls[client.index()], c, "chunks of {chunk}: {s:?}");
                    assert_eq!(tls[client.reverse().index()], srv, "chunks of {chunk}: {s:?}");
                }
            }
        }
    }
}

#[test]
fn samples_lead_to_their_verdict_when_the_sides_are_unknown() {
    for s in samples() {
        for client in [Direction::Egress, Direction::Ingress] {
            for chunk in [1, 3, 1 << 20] {
                let (verdict, _) = s.run(recognizer(None), client, chunk);
                let expected = s.verdict(&protocols(), client);
                // SSH and AMQP 1.0 begin alike on both sides.
                let either = matches!(s.protocol, "ssh" | "amqp" | "");
                if either && verdict.client.is_none() {
                    assert_eq!(verdict.kind.protocol(), expected.kind.protocol(), "{s:?}");
                } else {
                    assert_eq!(verdict, expected, "chunks of {chunk}: {s:?}");
                }
            }
        }
    }
}

#[test]
fn samples_lead_to_their_verdict_at_every_split() {
    for s in samples() {
        let expected = s.verdict(&protocols(), Direction::Egress);
        for (turn, (_, bytes)) in s.talk.iter().enumerate() {
            for at in 1..bytes.len() {
                let mut split = s.clone();
                let (side, bytes) = split.talk[turn].clone();
                split.talk[turn] = (side, bytes[..at].to_vec());
                split.talk.insert(turn + 1, (side, bytes[at..].to_vec()));
                let (verdict, _) = split.run(recognizer(Some(Side::Client)), Direction::Egress, 1 << 20);
                assert_eq!(verdict, expected, "turn {turn} split at {at}: {s:?}");
            }
        }
    }
}

#[test]
fn an_answer_never_changes_with_more_bytes() {
    for s in samples() {
        for p in protocols() {
            for side in [Side::Client, Side::Server] {
                let bytes = s.bytes(side);
                // Both roles are asked of both sides' bytes: the orientation may be unknown.
                for role in [Side::Client, Side::Server] {
                    let ask = |n: usize| match role {
                        Side::Client => p.client(&bytes[..n]),
                        Side::Server => p.server(&bytes[..n]),
                    };
                    assert_eq!(ask(0), Detection::NeedMore, "{p:?}");
                    for n in 1..=bytes.len() {
                        if ask(n - 1) != Detection::NeedMore {
                            assert_eq!(ask(n), ask(n - 1), "{p:?} as {role:?} at {n} of {bytes:?}");
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn no_protocol_denies_a_prefix_of_its_own() {
    for s in samples() {
        let Some(p) = protocols().into_iter().find(|p| p.name() == s.protocol) else {
            continue;
        };
        let (c, v) = (s.bytes(Side::Client), s.bytes(Side::Server));
        for n in 0..=c.len() {
            assert_ne!(p.client(&c[..n]), Detection::NotThis, "{p:?} client at {n}: {s:?}");
        }
        for n in 0..=v.len() {
            assert_ne!(p.server(&v[..n]), Detection::NotThis, "{p:?} server at {n}: {s:?}");
        }
    }
}

#[test]
fn no_other_protocol_says_is() {
    for s in samples() {
        let (c, v) = (s.bytes(Side::Client), s.bytes(Side::Server));
        for p in protocols() {
            if p.name() == s.protocol {
                continue;
            }
            for (client, server) in [(&c, &v), (&v, &c)] {
                assert_ne!(p.client(client), Detection::Is, "{p:?} of {s:?}");
                assert_ne!(p.server(server), Detection::Is, "{p:?} of {s:?}");
                assert_ne!(p.both(client, server), Detection::Is, "{p:?} of {s:?}");
            }
        }
    }
}

/// SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn bytes(&mut self, max: u64) -> Vec<u8> {
        let n = self.next() % max;
        (0..n).map(|_| self.next().to_le_bytes()[0]).collect()
    }
}

#[test]
fn random_bytes_are_never_anything() {
    let mut random = Random(1);
    for _ in 0..100_000 {
        let (a, b) = (random.bytes(64), random.bytes(64));
        let mut r = recognizer(None);
        r.data(Direction::Egress, &a);
        r.data(Direction::Ingress, &b);
        let kind = r.end().kind;
        let fits = match kind {
            Kind::Unrecognized | Kind::NoData | Kind::TooFewBytes => true,
            Kind::Text => a.len().max(b.len()) < 16,
            _ => false,
        };
        assert!(fits, "{kind:?} of {a:?} and {b:?}");
    }
}

/// Turns of all samples, put together at random: what the bytes prove must not depend on how they were cut.
#[test]
fn mixed_turns_lead_to_one_verdict_in_every_chunking() {
    let mut random = Random(3);
    let turns: Vec<Vec<u8>> = samples().into_iter().flat_map(|s| s.talk).map(|(_, bytes)| bytes).collect();
    let mut pick = |n: usize| usize::try_from(random.next() % n as u64).unwrap();
    for _ in 0..5_000 {
        let talk: Vec<_> = (0..2 + pick(5))
            .map(|_| ([Side::Client, Side::Server][pick(2)], turns[pick(turns.len())].clone()))
            .collect();
        let side = [None, Some(Side::Client)][pick(2)];
        let s = Sample { protocol: "", talk, expect: Expect::Text };
        let (bytewise, tls_bytewise) = s.run(recognizer(side), Direction::Egress, 1);
        // Text is judged by what is there at the time: the one verdict that more bytes at once may prevent.
        if bytewise.kind != Kind::Text {
            let (whole, tls) = s.run(recognizer(side), Direction::Egress, 1 << 20);
            assert_eq!((whole, tls), (bytewise, tls_bytewise), "{s:?}");
        }
    }
}

#[test]
fn mutated_samples_never_panic() {
    let mut random = Random(2);
    let all = samples();
    for _ in 0..20_000 {
        let mut s = all[usize::try_from(random.next()).unwrap_or(0) % all.len()].clone();
        for (_, bytes) in &mut s.talk {
            for _ in 0..random.next() % 4 {
                let at = usize::try_from(random.next()).unwrap_or(0) % bytes.len();
                bytes[at] = random.next().to_le_bytes()[0];
            }
        }
        let chunk = usize::try_from(random.next() % 32).unwrap() + 1;
        s.run(recognizer(None), Direction::Egress, chunk);
    }
}
