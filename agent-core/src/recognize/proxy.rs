//! The PROXY protocol header that a load balancer puts in front of the client's bytes (HAProxy's proxy-protocol.txt).

use super::Detection;
use super::prefix::{be16_at, line, starts, u8_at};

/// A look at the start of the client's bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Header {
    /// It may become one.
    NeedMore,
    /// There is none.
    None,
    /// A header of `len` bytes, of which more may still have to come (v2 carries up to 64 KiB).
    Found { version: u8, len: u32 },
}

const V2_SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// Longest v1 line, CRLF included (section 2.1).
const V1_MAX: usize = 107;

/// Is there a header at the start of `prefix`?
pub(super) fn look(prefix: &[u8]) -> Header {
    match v1(prefix) {
        Header::None => v2(prefix),
        other => other,
    }
}

fn v1(prefix: &[u8]) -> Header {
    match starts(prefix, b"PROXY ") {
        Detection::NotThis => return Header::None,
        Detection::NeedMore => return Header::NeedMore,
        Detection::Is => {}
    }
    let families: [&[u8]; 3] = [b"PROXY TCP4 ", b"PROXY TCP6 ", b"PROXY UNKNOWN"];
    match families.iter().fold(Detection::NotThis, |d, f| d.or(starts(prefix, f))) {
        Detection::NotThis => Header::None,
        Detection::NeedMore => Header::NeedMore,
        Detection::Is => match line(prefix) {
            Some((_, len)) if len <= V1_MAX => {
                Header::Found { version: 1, len: u32::try_from(len).unwrap_or(u32::MAX) }
            }
            None if prefix.len() < V1_MAX => Header::NeedMore,
            _ => Header::None,
        },
    }
}

fn v2(prefix: &[u8]) -> Header {
    match starts(prefix, V2_SIGNATURE) {
        Detection::NotThis => return Header::None,
        Detection::NeedMore => return Header::NeedMore,
        Detection::Is => {}
    }
    let (Some(version_command), Some(len)) = (u8_at(prefix, 12), be16_at(prefix, 14)) else {
        return Header::NeedMore;
    };
    if matches!(version_command, 0x20 | 0x21) {
        Header::Found { version: 2, len: u32::from(len).saturating_add(16) }
    } else {
        Header::None
    }
}
