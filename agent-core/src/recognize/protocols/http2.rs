//! HTTP/2 with prior knowledge (RFC 9113), which is what gRPC without TLS speaks.

use crate::recognize::prefix::{be16_at, check, starts, u8_at};
use crate::recognize::{Detection, Protocol};

/// HTTP/2.
pub(in crate::recognize) struct Http2;

/// RFC 9113 section 3.4.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Settings in one frame; six bytes each.
const MAX_SETTINGS_LEN: u8 = 240;

impl Protocol for Http2 {
    fn name(&self) -> &'static str {
        "http2"
    }

    fn client(&self, prefix: &[u8]) -> Detection {
        starts(prefix, PREFACE)
    }

    /// The server's preface is a SETTINGS frame, not an acknowledgement, on stream 0. An empty one has little to show:
    /// it needs the client's preface.
    fn server(&self, prefix: &[u8]) -> Detection {
        check(|| {
            if u8_at(prefix, 0)? != 0 || u8_at(prefix, 1)? != 0 {
                return Some(false);
            }
            let len = u8_at(prefix, 2)?;
            if len % 6 != 0 || len > MAX_SETTINGS_LEN {
                return Some(false);
            }
            for (at, expected) in [(3, 4), (4, 0), (5, 0), (6, 0), (7, 0), (8, 0)] {
                if u8_at(prefix, at)? != expected {
                    return Some(false);
                }
            }
            if len == 0 {
                return None;
            }
            Some(matches!(be16_at(prefix, 9)?, 1..=9))
        })
    }
}

#[cfg(test)]
pub(in crate::recognize) fn samples() -> Vec<crate::recognize::testing::Sample> {
    use crate::recognize::testing::*;
    let settings: &[u8] = &[0, 0, 6, 4, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 100];
    vec![
        plain("http2", &[C(PREFACE), C(&[0, 0, 0, 4, 0, 0, 0, 0, 0]), S(settings)]),
        plain("http2", &[S(settings), C(PREFACE)]),
        plain("http2", &[S(&[0, 0, 0, 4, 0, 0, 0, 0, 0]), C(PREFACE)]),
    ]
}
