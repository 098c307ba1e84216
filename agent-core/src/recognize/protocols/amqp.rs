//! AMQP 0-9-1 and 1.0. The TLS protocol header of 1.0 (AMQP 1.0 part 5.2) is followed as an upgrade.

use crate::net::Side;
use crate::recognize::prefix::{be32_at, check, starts, u8_at};
use crate::recognize::{Detection, Protocol, Upgrade, UpgradeStatus};

/// AMQP.
pub(in crate::recognize) struct Amqp;

const HEADERS: [&[u8]; 6] = [
    b"AMQP\0\0\x09\x01",
    b"AMQP\x01\x01\x00\x09",
    b"AMQP\x01\x01\x00\x0a",
    b"AMQP\0\x01\0\0",
    b"AMQP\x02\x01\0\0",
    b"AMQP\x03\x01\0\0",
];

fn header(prefix: &[u8]) -> Detection {
    HEADERS.iter().fold(Detection::NotThis, |d, h| d.or(starts(prefix, h)))
}

impl Protocol for Amqp {
    fn name(&self) -> &'static str {
        "amqp"
    }

    fn client(&self, prefix: &[u8]) -> Detection {
        header(prefix)
    }

    /// A header (1.0, or a refusal), or a method frame of 0-9-1 on channel 0: Connection.Start version 0-9.
    fn server(&self, prefix: &[u8]) -> Detection {
        header(prefix).or(check(|| {
            if u8_at(prefix, 0)? != 1 || u8_at(prefix, 1)? != 0 || u8_at(prefix, 2)? != 0 {
                return Some(false);
            }
            if be32_at(prefix, 3)? > 0x1_0000 {
                return Some(false);
            }
            match starts(prefix.get(7..)?, b"\0\x0a\0\x0a\0\x09") {
                Detection::NeedMore => None,
                d => Some(d == Detection::Is),
            }
        }))
    }

    fn upgrade(&self) -> Option<fn() -> Box<dyn Upgrade>> {
        Some(|| Box::new(Negotiation::default()))
    }
}

const TLS_HEADER: &[u8] = b"AMQP\x02\x01\0\0";

/// Both send the TLS header, then TLS begins.
#[derive(Default)]
struct Negotiation {
    client: Vec<u8>,
    server: Vec<u8>,
}

impl Upgrade for Negotiation {
    fn data(&mut self, side: Side, bytes: &[u8]) -> UpgradeStatus {
        let seen = match side {
            Side::Client => &mut self.client,
            Side::Server => &mut self.server,
        };
        seen.extend(bytes.iter().take(8usize.saturating_sub(seen.len())));
        match (starts(&self.client, TLS_HEADER), starts(&self.server, TLS_HEADER)) {
            (Detection::NotThis, _) => UpgradeStatus::NotApplicable,
            (_, Detection::NotThis) => UpgradeStatus::Refused,
            (Detection::Is, Detection::Is) => UpgradeStatus::Upgraded { client: 8, server: 8 },
            _ => UpgradeStatus::Continue,
        }
    }

    fn hold_from(&self, _: Side) -> Option<u64> {
        Some(8)
    }
}

#[cfg(test)]
pub(in crate::recognize) fn samples() -> Vec<crate::recognize::testing::Sample> {
    use crate::recognize::testing::*;
    vec![
        plain("amqp", &[C(b"AMQP\0\0\x09\x01"), S(b"\x01\0\0\0\0\x02\x0a\0\x0a\0\x0a\0\x09\0\0\x01\xe5")]),
        plain("amqp", &[C(b"AMQP\x03\x01\0\0"), S(b"AMQP\x03\x01\0\0\0\0\0\x3f\x02\x01\0\0")]),
        upgraded("amqp", &[C(b"AMQP\x02\x01\0\0"), S(b"AMQP\x02\x01\0\0"), C(HELLO)]),
        starttls("amqp", REFUSED, &[C(b"AMQP\x02\x01\0\0"), S(b"AMQP\0\x01\0\0")]),
    ]
}
