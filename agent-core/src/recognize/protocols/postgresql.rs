//! PostgreSQL's frontend/backend protocol 3: SSLRequest, GSSENCRequest and StartupMessage
//! (PostgreSQL documentation, "Message Flow": SSL and GSSAPI session encryption).

use crate::net::Side;
use crate::recognize::prefix::{be32_at, check, starts, u8_at};
use crate::recognize::{Detection, Protocol, Upgrade, UpgradeStatus};

/// PostgreSQL.
pub(in crate::recognize) struct PostgreSql;

const SSL_REQUEST: u32 = 80_877_103;
const GSSENC_REQUEST: u32 = 80_877_104;
const CANCEL_REQUEST: u32 = 80_877_102;
/// `MAX_STARTUP_PACKET_LENGTH`.
const MAX_STARTUP: u32 = 10_000;
/// 3.0 to 3.9; 3.2 is the newest.
const VERSIONS: std::ops::RangeInclusive<u32> = 0x3_0000..=0x3_0009;

impl Protocol for PostgreSql {
    fn name(&self) -> &'static str {
        "postgresql"
    }

    fn client(&self, prefix: &[u8]) -> Detection {
        check(|| {
            if u8_at(prefix, 0)? != 0 || u8_at(prefix, 1)? != 0 {
                return Some(false);
            }
            let len = be32_at(prefix, 0)?;
            match (len, be32_at(prefix, 4)?) {
                (8, SSL_REQUEST | GSSENC_REQUEST) => Some(true),
                (16..=268, CANCEL_REQUEST) => Some(true),
                (9..=MAX_STARTUP, version) if VERSIONS.contains(&version) => {
                    // The first parameter's name, or the end of an empty list.
                    let name = prefix.get(8..)?;
                    let text = name.iter().take_while(|b| b.is_ascii_graphic()).count();
                    if text > 63 || (text == 0 && !name.is_empty()) {
                        return Some(false);
                    }
                    Some(*name.get(text)? == 0)
                }
                _ => Some(false),
            }
        })
    }

    /// Up to two answers of one byte to requests for encryption (the second byte may be TLS already), then an
    /// authentication request or an error.
    fn server(&self, prefix: &[u8]) -> Detection {
        let mut rest = prefix;
        for _ in 0..2 {
            match rest {
                [b'S' | b'G'] | [] => return Detection::NeedMore,
                // Whatever is agreed on may follow: the client's request is what tells.
                [b'S', 22 | 21, ..] => return Detection::NeedMore,
                [b'G', 0, ..] => return Detection::NeedMore,
                [b'N', behind @ ..] => rest = behind,
                _ => break,
            }
        }
        check(|| {
            let kind = u8_at(rest, 0)?;
            if !matches!(kind, b'R' | b'E' | b'v') || u8_at(rest, 1)? != 0 || u8_at(rest, 2)? != 0 {
                return Some(false);
            }
            let len = be32_at(rest, 1)?;
            match kind {
                b'R' => Some((8..=8192).contains(&len) && be32_at(rest, 5)? <= 12),
                // Fields: a code each; severity comes first.
                b'E' => {
                    if u8_at(rest, 5)? != b'S' || len < 8 {
                        return Some(false);
                    }
                    let severities: [&[u8]; 3] = [b"ERROR\0", b"FATAL\0", b"PANIC\0"];
                    let behind = rest.get(6..)?;
                    match severities.iter().fold(Detection::NotThis, |d, s| d.or(starts(behind, s))) {
                        Detection::NeedMore => None,
                        d => Some(d == Detection::Is),
                    }
                }
                _ => Some(len >= 12 && VERSIONS.contains(&be32_at(rest, 5)?)),
            }
        })
    }

    fn upgrade(&self) -> Option<fn() -> Box<dyn Upgrade>> {
        Some(|| Box::new(Startup::default()))
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Asked {
    Ssl,
    Gss,
}

#[derive(Default)]
struct Startup {
    client: Vec<u8>,
    client_at: u64,
    server_at: u64,
    asked: Option<Asked>,
    refused: bool,
}

impl Startup {
    fn settled(&self) -> UpgradeStatus {
        if self.refused { UpgradeStatus::Refused } else { UpgradeStatus::NotUsed }
    }
}

impl Upgrade for Startup {
    fn data(&mut self, side: Side, bytes: &[u8]) -> UpgradeStatus {
        for b in bytes {
            match side {
                Side::Client => {
                    // Behind a request, only an answer tells what the bytes are.
                    if self.asked.is_some() {
                        return UpgradeStatus::Continue;
                    }
                    self.client_at = self.client_at.saturating_add(1);
                    self.client.push(*b);
                    if self.client.len() < 8 {
                        continue;
                    }
                    match be32_at(&self.client, 4) {
                        Some(SSL_REQUEST) => self.asked = Some(Asked::Ssl),
                        Some(GSSENC_REQUEST) => self.asked = Some(Asked::Gss),
                        _ => return self.settled(),
                    }
                    self.client.clear();
                }
                Side::Server => {
                    self.server_at = self.server_at.saturating_add(1);
                    match (self.asked.take(), b) {
                        (Some(Asked::Ssl), b'S') => {
                            return UpgradeStatus::Upgraded {
                                client: self.client_at,
                                server: self.server_at,
                            };
                        }
                        (Some(Asked::Gss), b'G') => return UpgradeStatus::EncryptedNotTls,
                        (Some(Asked::Ssl), b'N' | b'E') => self.refused = true,
                        (Some(Asked::Gss), b'N') => {}
                        // An error instead of an answer, or the answer to a request that was not seen.
                        _ => return self.settled(),
                    }
                    if *b == b'E' {
                        return UpgradeStatus::Refused;
                    }
                }
            }
        }
        UpgradeStatus::Continue
    }

    fn hold_from(&self, side: Side) -> Option<u64> {
        (side == Side::Client && self.asked.is_some()).then_some(self.client_at)
    }

    fn end(&self) -> UpgradeStatus {
        if self.refused { UpgradeStatus::Refused } else { UpgradeStatus::Continue }
    }
}

#[cfg(test)]
pub(in crate::recognize) fn samples() -> Vec<crate::recognize::testing::Sample> {
    use crate::recognize::testing::*;
    let ssl = b"\0\0\0\x08\x04\xd2\x16\x2f";
    let gss = b"\0\0\0\x08\x04\xd2\x16\x30";
    let startup = b"\0\0\0\x1c\0\x03\0\0user\0a\0database\0a\0\0\0\0";
    let auth = b"R\0\0\0\x17\0\0\0\x0aSCRAM-SHA-256\0\0";
    let error = b"E\0\0\0\x64SFATAL\0VFATAL\0C28000\0Mno pg_hba.conf entry\0\0";
    vec![
        starttls("postgresql", NOT_USED, &[C(startup), S(auth)]),
        upgraded("postgresql", &[C(ssl), S(b"S"), C(HELLO), S(SERVER_HELLO)]),
        upgraded("postgresql", &[C(gss), S(b"N"), C(ssl), S(b"S"), C(HELLO)]),
        starttls("postgresql", REFUSED, &[C(ssl), S(b"N"), C(startup), S(auth)]),
        starttls("postgresql", REFUSED, &[C(ssl), S(b"N")]),
        starttls("postgresql", REFUSED, &[C(gss), S(b"N"), C(ssl), S(b"N"), C(startup), S(error)]),
        starttls("postgresql", NOT_USED, &[C(gss), S(b"N"), C(startup), S(error)]),
        encrypted("postgresql", &[C(gss), S(b"G"), C(b"\0\0\x02\0\x60")]),
        starttls("postgresql", NOT_USED, &[C(b"\0\0\0\x10\x04\xd2\x16\x2e\0\0\0\x07\x12\x34\x56\x78")]),
    ]
}
