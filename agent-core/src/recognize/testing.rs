//! Conversations with the verdict that they must lead to.

use super::{Kind, ProtocolRef, Recognizer, Verdict};
use crate::net::{Direction, Side};
use crate::observation::StartTls;

/// Bytes of one side.
#[derive(Clone, Copy)]
pub(super) enum Turn<'a> {
    C(&'a [u8]),
    S(&'a [u8]),
}
pub(super) use Turn::{C, S};

pub(super) const REFUSED: StartTls = StartTls::Refused;
pub(super) const NOT_USED: StartTls = StartTls::NotUsed;

/// The beginning of a ClientHello and of a ServerHello.
pub(super) const HELLO: &[u8] = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03random";
pub(super) const SERVER_HELLO: &[u8] = b"\x16\x03\x03\x00\x7a\x02\x00\x00\x76\x03\x03random";

/// One conversation.
#[derive(Clone, Debug)]
pub(super) struct Sample {
    pub(super) protocol: &'static str,
    pub(super) talk: Vec<(Side, Vec<u8>)>,
    pub(super) expect: Expect,
}

/// What it must lead to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Expect {
    Plain(Option<StartTls>),
    /// TLS from these offsets on: client's, server's.
    Upgraded(u64, u64),
    Encrypted,
    Text,
}

fn sample(protocol: &'static str, expect: Expect, turns: &[Turn<'_>]) -> Sample {
    let talk = turns
        .iter()
        .map(|t| match t {
            C(b) => (Side::Client, b.to_vec()),
            S(b) => (Side::Server, b.to_vec()),
        })
        .collect();
    Sample { protocol, talk, expect }
}

pub(super) fn plain(protocol: &'static str, turns: &[Turn<'_>]) -> Sample {
    sample(protocol, Expect::Plain(None), turns)
}

pub(super) fn starttls(protocol: &'static str, outcome: StartTls, turns: &[Turn<'_>]) -> Sample {
    sample(protocol, Expect::Plain(Some(outcome)), turns)
}

pub(super) fn encrypted(protocol: &'static str, turns: &[Turn<'_>]) -> Sample {
    sample(protocol, Expect::Encrypted, turns)
}

pub(super) fn text(turns: &[Turn<'_>]) -> Sample {
    sample("", Expect::Text, turns)
}

/// TLS must begin where the hellos lie.
pub(super) fn upgraded(protocol: &'static str, turns: &[Turn<'_>]) -> Sample {
    let s = sample(protocol, Expect::Text, turns);
    let find = |side, hello: &[u8]| {
        let all = s.bytes(side);
        all.windows(hello.len()).position(|w| w == hello).unwrap_or(all.len()) as u64
    };
    let expect = Expect::Upgraded(find(Side::Client, HELLO), find(Side::Server, SERVER_HELLO));
    Sample { expect, ..s }
}

impl Sample {
    pub(super) fn bytes(&self, side: Side) -> Vec<u8> {
        self.talk.iter().filter(|(s, _)| *s == side).flat_map(|(_, b)| b.clone()).collect()
    }

    /// The whole verdict it must lead to when the client sends in direction `client`.
    pub(super) fn verdict(&self, protocols: &[ProtocolRef], client: Direction) -> Verdict {
        let protocol = || {
            *protocols
                .iter()
                .find(|p| p.name() == self.protocol)
                .expect("the sample's protocol is registered")
        };
        let kind = match self.expect {
            Expect::Plain(starttls) => Kind::Plaintext { protocol: protocol(), starttls },
            Expect::Upgraded(c, s) => {
                let start = if client == Direction::Egress { [c, s] } else { [s, c] };
                Kind::Tls { start, upgraded_from: Some(protocol()), hello: true }
            }
            Expect::Encrypted => Kind::EncryptedNotTls(protocol()),
            Expect::Text => Kind::Text,
        };
        Verdict { kind, proxy_protocol: None, client: Some(client) }
    }

    /// Feeds the conversation in chunks of `chunk` bytes and returns the final verdict, and what TLS was handed.
    pub(super) fn run(&self, mut r: Recognizer, client: Direction, chunk: usize) -> (Verdict, [Vec<u8>; 2]) {
        let mut tls = [Vec::new(), Vec::new()];
        let mut taken = false;
        for (side, bytes) in &self.talk {
            let d = if *side == Side::Client { client } else { client.reverse() };
            for bytes in bytes.chunks(chunk) {
                if taken {
                    tls[d.index()].extend_from_slice(bytes);
                    continue;
                }
                r.data(d, bytes);
                if matches!(r.verdict().kind, Kind::Tls { .. }) {
                    taken = true;
                    for (d, b) in r.take_tls() {
                        tls[d.index()].extend(b);
                    }
                }
            }
        }
        (r.end(), tls)
    }
}
