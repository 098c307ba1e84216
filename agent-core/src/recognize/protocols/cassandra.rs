//! Cassandra's CQL native protocol, versions 3 to 5 (native_protocol_v5.spec section 2).

use crate::recognize::prefix::{be16_at, be32_at, check, u8_at};
use crate::recognize::{Detection, Protocol};

/// CQL.
pub(in crate::recognize) struct Cassandra;

const ERROR: u8 = 0;
const STARTUP: u8 = 1;
const READY: u8 = 2;
const AUTHENTICATE: u8 = 3;
const OPTIONS: u8 = 5;
const SUPPORTED: u8 = 6;
const MAX_BODY: u32 = 1 << 16;

impl Protocol for Cassandra {
    fn name(&self) -> &'static str {
        "cassandra"
    }

    /// STARTUP names options in capitals; an empty OPTIONS is only a few small numbers and waits for its answer.
    fn client(&self, prefix: &[u8]) -> Detection {
        check(|| {
            if !header(prefix, 0)? {
                return Some(false);
            }
            match u8_at(prefix, 4)? {
                STARTUP => {
                    let body = be32_at(prefix, 5)?;
                    if !(6..=MAX_BODY).contains(&body) {
                        return Some(false);
                    }
                    Some((1..=16).contains(&be16_at(prefix, 9)?) && capitals(prefix, 11)?)
                }
                OPTIONS if be32_at(prefix, 5)? == 0 => None,
                _ => Some(false),
            }
        })
    }

    fn server(&self, prefix: &[u8]) -> Detection {
        check(|| {
            if !header(prefix, 0x80)? {
                return Some(false);
            }
            let opcode = u8_at(prefix, 4)?;
            let body = be32_at(prefix, 5)?;
            match opcode {
                SUPPORTED if (2..=MAX_BODY).contains(&body) => {
                    Some((1..=64).contains(&be16_at(prefix, 9)?) && capitals(prefix, 11)?)
                }
                READY if body == 0 => None,
                ERROR | AUTHENTICATE if (2..=MAX_BODY).contains(&body) => None,
                _ => Some(false),
            }
        })
    }

    fn both(&self, client: &[u8], server: &[u8]) -> Detection {
        let each = self.client(client).and(self.server(server));
        // A STARTUP and a SUPPORTED speak for themselves, as soon as enough of them is there.
        let open = client.len() < 9 || server.len() < 9;
        let telling = u8_at(client, 4) != Some(OPTIONS) || u8_at(server, 4) == Some(SUPPORTED);
        if each != Detection::NeedMore || open || telling {
            return each;
        }
        // Both are well-formed: the answer must be on the request's stream.
        if be16_at(client, 2) == be16_at(server, 2) { Detection::Is } else { Detection::NotThis }
    }
}

/// version, flags (compression, tracing, custom payload, warning, beta), stream.
fn header(prefix: &[u8], direction: u8) -> Option<bool> {
    Some(matches!(u8_at(prefix, 0)? ^ direction, 3..=5) && u8_at(prefix, 1)? & !0x1f == 0)
}

/// A short string of capitals (`CQL_VERSION`, `COMPRESSION`, `PROTOCOL_VERSIONS` ...).
fn capitals(prefix: &[u8], at: usize) -> Option<bool> {
    let len = usize::from(be16_at(prefix, at)?);
    if !(3..=64).contains(&len) {
        return Some(false);
    }
    let start = at.saturating_add(2);
    let name = prefix.get(start..)?;
    let name = name.get(..len).unwrap_or(name);
    if !name.iter().all(|b| b.is_ascii_uppercase() || *b == b'_') {
        return Some(false);
    }
    (name.len() == len).then_some(true)
}

#[cfg(test)]
pub(in crate::recognize) fn samples() -> Vec<crate::recognize::testing::Sample> {
    use crate::recognize::testing::*;
    let startup = b"\x04\0\0\x01\x01\0\0\0\x16\0\x01\0\x0bCQL_VERSION\0\x053.0.0";
    let supported = b"\x84\0\0\x07\x06\0\0\0\x20\0\x01\0\x0bCOMPRESSION\0\x01\0\x03lz4";
    vec![
        plain("cassandra", &[C(startup), S(b"\x84\0\0\x01\x02\0\0\0\0")]),
        plain("cassandra", &[C(b"\x05\x10\0\x07\x05\0\0\0\0"), S(b"\x84\0\0\x07\x00\0\0\0\x30\0\0\0\x0a")]),
        plain("cassandra", &[C(b"\x04\0\0\x07\x05\0\0\0\0"), S(supported)]),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_alone_do_not_convince() {
        let options = b"\x04\0\0\x07\x05\0\0\0\0";
        assert_eq!(Cassandra.client(options), Detection::NeedMore);
        assert_eq!(Cassandra.both(options, b"\x84\0\0\x08\x02\0\0\0\0"), Detection::NotThis);
    }

    #[test]
    fn an_answer_is_not_believed_before_its_body_is_there() {
        let options = b"\x04\0\0\x07\x05\0\0\0\0";
        let empty = b"\x84\0\0\x07\x06\0\0\0\x02\0\0";
        assert_eq!(Cassandra.both(options, &empty[..9]), Detection::NeedMore);
        assert_eq!(Cassandra.both(options, empty), Detection::NotThis);
    }
}
