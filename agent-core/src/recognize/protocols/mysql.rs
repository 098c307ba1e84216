//! MySQL and MariaDB: the server greets first; a client that wants TLS answers with a shortened response
//! (MySQL internals, "Protocol::SSLRequest").

use crate::net::Side;
use crate::recognize::prefix::{check, is_printable, le16_at, le32_at, u8_at};
use crate::recognize::{Detection, Protocol, Upgrade, UpgradeStatus};

/// MySQL.
pub(in crate::recognize) struct MySql;

const CLIENT_PROTOCOL_41: u32 = 0x200;
const CLIENT_SSL: u32 = 0x800;
/// Packet header, then capabilities, packet size, character set and 23 reserved bytes.
const SSL_REQUEST_LEN: usize = 4 + 32;
const MAX_GREETING: u32 = 512;
const MAX_RESPONSE: u32 = 1 << 16;

impl Protocol for MySql {
    fn name(&self) -> &'static str {
        "mysql"
    }

    /// HandshakeResponse41 or SSLRequest: 19 of its bytes are zero (MariaDB uses the last four of the reserved ones).
    fn client(&self, prefix: &[u8]) -> Detection {
        check(|| {
            let len = packet_len(prefix)?;
            if u8_at(prefix, 3)? != 1 || !(32..=MAX_RESPONSE).contains(&len) {
                return Some(false);
            }
            if le32_at(prefix, 4)? & CLIENT_PROTOCOL_41 == 0 {
                return Some(false);
            }
            let reserved = prefix.get(13..)?;
            let reserved = reserved.get(..19).unwrap_or(reserved);
            if reserved.iter().any(|b| *b != 0) {
                return Some(false);
            }
            (prefix.len() >= SSL_REQUEST_LEN).then_some(true)
        })
    }

    /// HandshakeV10, or an error in its place ("Host is not allowed", "Too many connections").
    fn server(&self, prefix: &[u8]) -> Detection {
        check(|| {
            let len = packet_len(prefix)?;
            if u8_at(prefix, 3)? != 0 {
                return Some(false);
            }
            match u8_at(prefix, 4)? {
                10 => greeting(prefix, len),
                0xff => error(prefix, len),
                _ => Some(false),
            }
        })
    }

    fn upgrade(&self) -> Option<fn() -> Box<dyn Upgrade>> {
        Some(|| Box::new(Handshake::default()))
    }
}

fn packet_len(prefix: &[u8]) -> Option<u32> {
    le32_at(prefix, 0).map(|n| n & 0x00ff_ffff)
}

/// Version text, thread id, 8 bytes of salt, a zero; then capabilities, character set, status and 10 zeros or nearly so.
fn greeting(prefix: &[u8], len: u32) -> Option<bool> {
    if !(30..=MAX_GREETING).contains(&len) || !u8_at(prefix, 5)?.is_ascii_digit() {
        return Some(false);
    }
    let version = prefix.get(5..)?;
    let text = version.iter().take_while(|b| is_printable(**b)).count();
    if text > 128 {
        return Some(false);
    }
    if *version.get(text)? != 0 || !version.get(..text)?.contains(&b'.') {
        return Some(false);
    }
    // NUL, thread id (4), salt (8), filler.
    Some(*version.get(text.saturating_add(13))? == 0)
}

/// Error code and text; no SQL state before the handshake, in some servers.
fn error(prefix: &[u8], len: u32) -> Option<bool> {
    if !(12..=MAX_GREETING).contains(&len) || !(1000..=4999).contains(&le16_at(prefix, 5)?) {
        return Some(false);
    }
    let end = usize::try_from(len).ok()?.saturating_add(4);
    let text = prefix.get(7..)?;
    let text = text.get(..end.saturating_sub(7)).unwrap_or(text);
    // Messages are translated: everything but control characters.
    if text.iter().any(|b| *b < 0x20) {
        return Some(false);
    }
    (prefix.len() >= end).then_some(true)
}

#[derive(Default)]
struct Handshake {
    client: Vec<u8>,
    client_at: usize,
    server: Vec<u8>,
    server_at: u64,
}

impl Upgrade for Handshake {
    fn data(&mut self, side: Side, bytes: &[u8]) -> UpgradeStatus {
        match side {
            Side::Server => {
                self.server_at = self.server_at.saturating_add(bytes.len() as u64);
                self.server.extend(bytes.iter().take(5usize.saturating_sub(self.server.len())));
                if self.server.get(4) == Some(&0xff) {
                    return UpgradeStatus::NotUsed;
                }
                UpgradeStatus::Continue
            }
            Side::Client => {
                self.client_at = self.client_at.saturating_add(bytes.len());
                self.client.extend(bytes.iter().take(8usize.saturating_sub(self.client.len())));
                let (Some(len), Some(capabilities)) = (packet_len(&self.client), le32_at(&self.client, 4))
                else {
                    return UpgradeStatus::Continue;
                };
                if capabilities & CLIENT_SSL == 0 {
                    return UpgradeStatus::NotUsed;
                }
                if usize::try_from(len).is_ok_and(|n| n.saturating_add(4) != SSL_REQUEST_LEN) {
                    return UpgradeStatus::Unknown("mysql_ssl_request_length");
                }
                if self.client_at < SSL_REQUEST_LEN {
                    return UpgradeStatus::Continue;
                }
                // The greeting is all that a server says before TLS.
                let server =
                    packet_len(&self.server).map_or(self.server_at, |n| u64::from(n).saturating_add(4));
                UpgradeStatus::Upgraded { client: SSL_REQUEST_LEN as u64, server }
            }
        }
    }

    fn hold_from(&self, side: Side) -> Option<u64> {
        // Whatever comes behind the greeting is TLS, if it comes to that.
        let greeting = packet_len(&self.server).filter(|_| side == Side::Server)?;
        Some(u64::from(greeting).saturating_add(4))
    }
}

#[cfg(test)]
pub(in crate::recognize) fn samples() -> Vec<crate::recognize::testing::Sample> {
    use crate::recognize::testing::*;
    let mut greeting = b"\0\0\0\0\x0a5.5.5-10.11.6-MariaDB-0+deb12u1\0\x08\0\0\0;Yl9}Gqk\0\xfe\xff\x2d\x02\0\xff\x81\x15\0\0\0\0\0\0\x1d\0\0\0:7e)|3Rm<jvK\0mysql_native_password\0".to_vec();
    greeting[0] = u8::try_from(greeting.len() - 4).unwrap();
    let ssl = [b"\x20\0\0\x01\x85\xae\xbf\x20\0\0\0\x40\x21".as_slice(), &[0; 23]].concat();
    let plain_response =
        [b"\x26\0\0\x01\x85\xa6\xbf\x20\0\0\0\x40\x21".as_slice(), &[0; 23], b"root\0\0"].concat();
    vec![
        starttls("mysql", NOT_USED, &[S(&greeting), C(&plain_response)]),
        upgraded("mysql", &[S(&greeting), C(&ssl), C(HELLO), S(SERVER_HELLO)]),
        upgraded("mysql", &[S(&greeting), C(&[&ssl, HELLO].concat())]),
        starttls("mysql", NOT_USED, &[S(b"\x17\0\0\0\xff\x10\x04Too many connections")]),
    ]
}
