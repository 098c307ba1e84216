//! The MongoDB wire protocol.

use crate::recognize::prefix::{check, is_printable, le32_at, u8_at};
use crate::recognize::{Detection, Protocol};

/// MongoDB.
pub(in crate::recognize) struct MongoDb;

/// `maxMessageSizeBytes`.
const MAX_MESSAGE: u32 = 48_000_000;
const OP_REPLY: u32 = 1;
const OP_QUERY: u32 = 2004;
const OP_COMPRESSED: u32 = 2012;
const OP_MSG: u32 = 2013;

impl Protocol for MongoDb {
    fn name(&self) -> &'static str {
        "mongodb"
    }

    /// A request answers nothing: `responseTo` is 0.
    fn client(&self, prefix: &[u8]) -> Detection {
        check(|| {
            let len = message_len(prefix)?;
            if le32_at(prefix, 8)? != 0 {
                return Some(false);
            }
            match le32_at(prefix, 12)? {
                OP_MSG => op_msg(prefix, len),
                OP_COMPRESSED => op_compressed(prefix),
                OP_QUERY => {
                    let name = prefix.get(20..)?;
                    let name = name.iter().take(8).copied().take_while(|b| *b != 0);
                    Some(le32_at(prefix, 16)? < 0x100 && len > 24 && name.clone().all(is_printable))
                }
                _ => Some(false),
            }
        })
    }

    fn server(&self, prefix: &[u8]) -> Detection {
        check(|| {
            let len = message_len(prefix)?;
            if le32_at(prefix, 8)? == 0 {
                return Some(false);
            }
            let opcode = le32_at(prefix, 12)?;
            if is_mysql_version(prefix) {
                return Some(false);
            }
            match opcode {
                OP_MSG => op_msg(prefix, len),
                OP_COMPRESSED => op_compressed(prefix),
                OP_REPLY => Some(len >= 36 && le32_at(prefix, 16)? <= 0xf && le32_at(prefix, 28)? == 0),
                _ => Some(false),
            }
        })
    }
}

/// The message length; 0 when it is out of range.
fn message_len(prefix: &[u8]) -> Option<u32> {
    le32_at(prefix, 0).map(|n| if (21..=MAX_MESSAGE).contains(&n) { n } else { 0 })
}

/// A greeting of MySQL, of which `requestID` and `responseTo` would be `10`, `8.0.33` and zero, and `opCode` the number of the
/// connection: it is known for one before all that is looked at here has come, and stays one.
fn is_mysql_version(prefix: &[u8]) -> bool {
    let Some([10, text @ ..]) = prefix.get(4..12) else { return false };
    let Some(end) = text.iter().position(|b| *b == 0) else { return false };
    let text = text.get(..end).unwrap_or_default();
    text.first().is_some_and(u8::is_ascii_digit)
        && text.contains(&b'.')
        && text.iter().copied().all(is_printable)
}

/// flagBits, then a section of kind 0 (one document) or 1 (a document sequence) that fits the message.
fn op_msg(prefix: &[u8], len: u32) -> Option<bool> {
    if len < 26 || le32_at(prefix, 16)? & !0x0001_0003 != 0 || u8_at(prefix, 20)? > 1 {
        return Some(false);
    }
    let section = le32_at(prefix, 21)?;
    Some(section >= 5 && section <= len.saturating_sub(21))
}

/// originalOpcode, uncompressedSize, compressorId.
fn op_compressed(prefix: &[u8]) -> Option<bool> {
    Some(
        message_len(prefix)? >= 25
            && matches!(le32_at(prefix, 16)?, OP_REPLY | 2001..=2013)
            && le32_at(prefix, 20)? <= MAX_MESSAGE
            && u8_at(prefix, 24)? <= 3,
    )
}

#[cfg(test)]
pub(in crate::recognize) fn samples() -> Vec<crate::recognize::testing::Sample> {
    use crate::recognize::testing::*;
    let hello = b"\x3f\0\0\0\x01\0\0\0\0\0\0\0\xd4\x07\0\0\0\0\0\0admin.$cmd\0\0\0\0\0\xff\xff\xff\xff\x18\0\0\0\x10isMaster\0\x01\0\0\0\0";
    let reply =
        b"\x3a\0\0\0\x09\0\0\0\x01\0\0\0\x01\0\0\0\x08\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01\0\0\0\x16\0\0\0";
    let msg = b"\x2b\0\0\0\x02\0\0\0\0\0\0\0\xdd\x07\0\0\0\0\0\0\0\x16\0\0\0\x10ping\0\x01\0\0\0";
    let answer = b"\x2b\0\0\0\x0a\0\0\0\x02\0\0\0\xdd\x07\0\0\0\0\0\0\0\x16\0\0\0\x01ok\0";
    vec![
        plain("mongodb", &[C(hello), S(reply)]),
        plain("mongodb", &[C(msg), S(answer)]),
        plain("mongodb", &[C(b"\x20\0\0\0\x02\0\0\0\0\0\0\0\xdc\x07\0\0\xdd\x07\0\0\x30\0\0\0\x02\x78")]),
    ]
}
