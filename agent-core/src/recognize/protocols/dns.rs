//! DNS over TCP (RFC 1035 section 4.2.2, RFC 7766): a two-byte length, a header, and exactly one question that parses.

use crate::recognize::prefix::{be16_at, check, u8_at};
use crate::recognize::{Detection, Protocol};

/// DNS.
pub(in crate::recognize) struct Dns;

impl Protocol for Dns {
    fn name(&self) -> &'static str {
        "dns"
    }

    fn client(&self, prefix: &[u8]) -> Detection {
        check(|| message(prefix, false))
    }

    fn server(&self, prefix: &[u8]) -> Detection {
        check(|| message(prefix, true))
    }
}

fn message(prefix: &[u8], response: bool) -> Option<bool> {
    let len = be16_at(prefix, 0)?;
    if len < 17 {
        return Some(false);
    }
    // QR, opcode QUERY or NOTIFY; the reserved Z bit is 0.
    let (flags, code) = (u8_at(prefix, 4)?, u8_at(prefix, 5)?);
    if (flags & 0x80 != 0) != response || !matches!((flags >> 3) & 0xf, 0 | 4) || code & 0x40 != 0 {
        return Some(false);
    }
    if !response && code & 0x0f != 0 {
        return Some(false);
    }
    if be16_at(prefix, 6)? != 1 {
        return Some(false);
    }
    // Answers in a query come with NOTIFY, authorities with IXFR; additional records are EDNS and TSIG.
    let most = if response { [4096, 256, 256] } else { [1, 1, 3] };
    for (at, most) in [8, 10, 12].into_iter().zip(most) {
        if be16_at(prefix, at)? > most {
            return Some(false);
        }
    }
    let mut at = 14usize;
    loop {
        let label = usize::from(u8_at(prefix, at)?);
        at = at.saturating_add(1);
        if label == 0 {
            break;
        }
        if label > 63 || at > 14 + 255 {
            return Some(false);
        }
        let text = prefix.get(at..)?;
        let text = text.get(..label).unwrap_or(text);
        // Host and service names, and those in use beyond (`*.`, `in-addr.arpa` delegations with a slash).
        if !text.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'*' | b'/')) {
            return Some(false);
        }
        at = at.saturating_add(label);
    }
    if at.saturating_add(2) > usize::from(len) {
        return Some(false);
    }
    let (kind, class) = (be16_at(prefix, at)?, be16_at(prefix, at.saturating_add(2))?);
    // The root alone leaves little: type NS, SOA, DNSKEY, AXFR or the like are what is asked of it.
    Some(matches!(kind, 1..=264 | 32768 | 32769) && matches!(class, 1 | 3 | 4 | 254 | 255))
}

#[cfg(test)]
pub(in crate::recognize) fn samples() -> Vec<crate::recognize::testing::Sample> {
    use crate::recognize::testing::*;
    let query = b"\0\x1d\x12\x34\x01\0\0\x01\0\0\0\0\0\0\x07example\x03com\0\0\x01\0\x01";
    let answer = b"\0\x2d\x12\x34\x81\x80\0\x01\0\x01\0\0\0\0\x07example\x03com\0\0\x01\0\x01\xc0\x0c\0\x01\0\x01\0\0\0\x3c\0\x04\x01\x02\x03\x04";
    vec![
        plain("dns", &[C(query), S(answer)]),
        plain(
            "dns",
            &[C(b"\0\x1c\xbe\xef\0\x20\0\x01\0\0\0\0\0\x01\0\0\x06\0\x01\0\0\x29\x04\xd0\0\0\0\0\0\0")],
        ),
    ]
}
