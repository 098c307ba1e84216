//! TLS from the first bytes of one direction.

use super::Detection;
use super::prefix::{be16_at, check, u8_at};

/// What a TLS stream begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum First {
    /// A ClientHello, in TLS or SSL 2.0 format.
    ClientHello,
    /// A ServerHello.
    ServerHello,
    /// An alert.
    Alert,
    /// A record whose content is encrypted: the stream was joined in the middle.
    Encrypted,
}

/// Longest record body: 2^14 + 2048 (RFC 5246 section 6.2.3).
const MAX_RECORD: u16 = 18_432;

/// Looks at the first bytes of one direction. `middle`: the start of the stream was missed.
pub(super) fn look(prefix: &[u8], middle: bool) -> (Detection, Option<First>) {
    let mut best = Detection::NotThis;
    for (detection, first) in [
        (hello(prefix, 1), First::ClientHello),
        (hello(prefix, 2), First::ServerHello),
        (alert(prefix), First::Alert),
        (sslv2_client_hello(prefix), First::ClientHello),
        (if middle { encrypted(prefix) } else { Detection::NotThis }, First::Encrypted),
    ] {
        if detection == Detection::Is {
            return (detection, Some(first));
        }
        best = best.or(detection);
    }
    (best, None)
}

fn record(prefix: &[u8], content_type: u8) -> Option<bool> {
    if u8_at(prefix, 0)? != content_type || u8_at(prefix, 1)? != 3 || u8_at(prefix, 2)? > 4 {
        return Some(false);
    }
    // The high byte is judged alone: an answer as early as possible.
    if u16::from(u8_at(prefix, 3)?) > MAX_RECORD >> 8 {
        return Some(false);
    }
    Some((1..=MAX_RECORD).contains(&be16_at(prefix, 3)?))
}

/// A handshake record whose first message is of type `kind` (RFC 8446 section 4) with a length that fits it.
fn hello(prefix: &[u8], kind: u8) -> Detection {
    check(|| {
        if !record(prefix, 22)? || u8_at(prefix, 5)? != kind {
            return Some(false);
        }
        // 2^16 bytes are far beyond any hello; the smallest has version, random and four lengths.
        if u8_at(prefix, 6)? != 0 {
            return Some(false);
        }
        Some(be16_at(prefix, 7)? >= 38)
    })
}

/// An alert record in the clear (RFC 8446 section 6).
fn alert(prefix: &[u8]) -> Detection {
    check(|| Some(record(prefix, 21)? && be16_at(prefix, 3)? == 2 && matches!(u8_at(prefix, 5)?, 1 | 2)))
}

/// A record of an established connection: application data, an encrypted alert or handshake message. Its header is
/// fixed to 25 bits and a length.
fn encrypted(prefix: &[u8]) -> Detection {
    check(|| {
        let content_type = u8_at(prefix, 0)?;
        if !matches!(content_type, 21..=23) || u8_at(prefix, 1)? != 3 || !matches!(u8_at(prefix, 2)?, 1..=3) {
            return Some(false);
        }
        Some((16..=MAX_RECORD).contains(&be16_at(prefix, 3)?))
    })
}

/// An SSL 2.0 CLIENT-HELLO (RFC 5246 appendix E.2): the lengths inside must add up to the length in front.
fn sslv2_client_hello(prefix: &[u8]) -> Detection {
    check(|| {
        if u8_at(prefix, 0)? & 0x80 == 0 {
            return Some(false);
        }
        let length = be16_at(prefix, 0)? & 0x7fff;
        if !(9 + 3 + 16..=9 + 3 * 256 + 32 + 32).contains(&length) || u8_at(prefix, 2)? != 1 {
            return Some(false);
        }
        match (u8_at(prefix, 3)?, u8_at(prefix, 4)?) {
            (0, 2) | (3, 0..=4) => {}
            _ => return Some(false),
        }
        let (ciphers, session, challenge) = (be16_at(prefix, 5)?, be16_at(prefix, 7)?, be16_at(prefix, 9)?);
        Some(
            ciphers != 0
                && ciphers % 3 == 0
                && matches!(session, 0 | 16 | 32)
                && (16..=32).contains(&challenge)
                && u32::from(length)
                    == 9u32.saturating_add(u32::from(ciphers) + u32::from(session) + u32::from(challenge)),
        )
    })
}
