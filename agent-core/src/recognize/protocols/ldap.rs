//! LDAP (RFC 4511) and its StartTLS operation (section 4.14).

use crate::net::Side;
use crate::recognize::prefix::{check, starts};
use crate::recognize::{Detection, Protocol, Upgrade, UpgradeStatus};

/// LDAP.
pub(in crate::recognize) struct Ldap;

const START_TLS: &[u8] = b"1.3.6.1.4.1.1466.20037";

const BIND_REQUEST: u8 = 0x60;
const BIND_RESPONSE: u8 = 0x61;
const UNBIND_REQUEST: u8 = 0x42;
const SEARCH_REQUEST: u8 = 0x63;
const SEARCH_ENTRY: u8 = 0x64;
const SEARCH_DONE: u8 = 0x65;
const EXTENDED_REQUEST: u8 = 0x77;
const EXTENDED_RESPONSE: u8 = 0x78;

impl Protocol for Ldap {
    fn name(&self) -> &'static str {
        "ldap"
    }

    fn client(&self, prefix: &[u8]) -> Detection {
        check(|| {
            let Ok(m) = message(prefix)? else { return Some(false) };
            match m.operation {
                // version 3 (or 2), then a name.
                BIND_REQUEST => Some(matches!(m.body.first_chunk::<4>()?, [2, 1, 2 | 3, 4])),
                // A base object, then scope and aliases as enumerations.
                SEARCH_REQUEST => {
                    if *m.body.first()? != 4 {
                        return Some(false);
                    }
                    let Ok((len, header)) = length(m.body.get(1..)?)? else { return Some(false) };
                    let behind = m.body.get(header.saturating_add(1).saturating_add(len)..)?;
                    Some(matches!(behind.first_chunk::<6>()?, [10, 1, 0..=3, 10, 1, 0..=3]))
                }
                EXTENDED_REQUEST => {
                    if *m.body.first()? != 0x80 {
                        return Some(false);
                    }
                    let oid = m.body.get(2..)?;
                    match starts(oid, b"1.3.6.1.4.1.") {
                        Detection::NeedMore => None,
                        d => Some(d == Detection::Is),
                    }
                }
                _ => Some(false),
            }
        })
    }

    fn server(&self, prefix: &[u8]) -> Detection {
        check(|| {
            let Ok(m) = message(prefix)? else { return Some(false) };
            match m.operation {
                // A result code, then a matched DN.
                BIND_RESPONSE | SEARCH_DONE | EXTENDED_RESPONSE => {
                    Some(matches!(m.body.first_chunk::<4>()?, [10, 1, 0..=123, 4]))
                }
                // A DN, then a sequence of attributes.
                SEARCH_ENTRY => {
                    if *m.body.first()? != 4 {
                        return Some(false);
                    }
                    let Ok((len, header)) = length(m.body.get(1..)?)? else { return Some(false) };
                    let at = header.saturating_add(1).saturating_add(len);
                    Some(*m.body.get(at)? == 0x30)
                }
                _ => Some(false),
            }
        })
    }

    fn upgrade(&self) -> Option<fn() -> Box<dyn Upgrade>> {
        Some(|| Box::new(Session::default()))
    }
}

/// Longest message that is believed (2^24 bytes).
const MAX_MESSAGE: usize = 1 << 24;

struct NotBer;

/// A definite BER length (X.690 section 8.1.3) and the bytes it takes.
fn length(bytes: &[u8]) -> Option<Result<(usize, usize), NotBer>> {
    let first = *bytes.first()?;
    if first < 0x80 {
        return Some(Ok((usize::from(first), 1)));
    }
    let n = usize::from(first & 0x7f);
    if !(1..=4).contains(&n) {
        return Some(Err(NotBer));
    }
    let mut value = 0usize;
    for i in 1..=n {
        value = (value << 8) | usize::from(*bytes.get(i)?);
        if value > MAX_MESSAGE {
            return Some(Err(NotBer));
        }
    }
    Some(Ok((value, n.saturating_add(1))))
}

/// The beginning of one LDAPMessage.
struct Message<'a> {
    /// Length of the whole message.
    total: usize,
    id: &'a [u8],
    operation: u8,
    /// What is there of the operation's content, and how long it should be.
    body: &'a [u8],
    body_len: usize,
}

/// SEQUENCE { messageID INTEGER, protocolOp [APPLICATION n] ... }
fn message(bytes: &[u8]) -> Option<Result<Message<'_>, NotBer>> {
    if *bytes.first()? != 0x30 {
        return Some(Err(NotBer));
    }
    let Ok((len, header)) = length(bytes.get(1..)?)? else { return Some(Err(NotBer)) };
    let total = header.saturating_add(1).saturating_add(len);
    let inner = bytes.get(header.saturating_add(1)..)?;
    if *inner.first()? != 2 {
        return Some(Err(NotBer));
    }
    let id_len = usize::from(*inner.get(1)?);
    if !(1..=4).contains(&id_len) {
        return Some(Err(NotBer));
    }
    let id = inner.get(2..id_len.saturating_add(2))?;
    let operation = *inner.get(id_len.saturating_add(2))?;
    let Ok((body_len, body_header)) = length(inner.get(id_len.saturating_add(3)..)?)? else {
        return Some(Err(NotBer));
    };
    let before = id_len.saturating_add(3).saturating_add(body_header);
    if before.saturating_add(body_len) > len {
        return Some(Err(NotBer));
    }
    let body = inner.get(before..)?;
    Some(Ok(Message { total, id, operation, body: body.get(..body_len).unwrap_or(body), body_len }))
}

/// Bytes of a message that are looked at; the rest is stepped over.
const HEAD: usize = 64;

/// Cuts one direction into messages, keeping the head of each.
#[derive(Default)]
struct Messages {
    head: Vec<u8>,
    at: u64,
    skip: usize,
}

/// One message's head, copied out, and the stream offset behind the message.
struct Head {
    id: Vec<u8>,
    operation: u8,
    body: Vec<u8>,
    body_len: usize,
    end: u64,
}

impl Messages {
    /// The next message whose head is complete.
    fn next(&mut self, bytes: &mut &[u8]) -> Option<Result<Head, NotBer>> {
        loop {
            let skipped = self.skip.min(bytes.len());
            self.skip = self.skip.saturating_sub(skipped);
            self.at = self.at.saturating_add(skipped as u64);
            *bytes = bytes.get(skipped..).unwrap_or_default();
            let (b, rest) = bytes.split_first()?;
            *bytes = rest;
            self.at = self.at.saturating_add(1);
            self.head.push(*b);
            let m = match message(&self.head) {
                None if self.head.len() < HEAD => continue,
                None | Some(Err(NotBer)) => return Some(Err(NotBer)),
                Some(Ok(m)) => m,
            };
            if self.head.len() < m.total.min(HEAD) {
                continue;
            }
            self.skip = m.total.saturating_sub(self.head.len());
            let head = Head {
                id: m.id.to_vec(),
                operation: m.operation,
                body: m.body.to_vec(),
                body_len: m.body_len,
                end: self.at.saturating_add(self.skip as u64),
            };
            self.head.clear();
            return Some(Ok(head));
        }
    }
}

#[derive(Default)]
struct Session {
    client: Messages,
    server: Messages,
    /// The request's message id, and the offset behind it.
    asked: Option<(Vec<u8>, u64)>,
    /// A SASL bind may end in a security layer (RFC 4513 section 5.2.1.5): what the client sends next tells.
    sasl: bool,
}

impl Session {
    fn client(&mut self, mut bytes: &[u8]) -> UpgradeStatus {
        while self.asked.is_none() {
            // A security layer puts four bytes of length in front of its buffers.
            let boundary = self.client.head.is_empty() && self.client.skip == 0;
            if self.sasl && boundary && bytes.first() == Some(&0) {
                return UpgradeStatus::EncryptedNotTls;
            }
            let m = match self.client.next(&mut bytes) {
                None => break,
                Some(Err(NotBer)) => return UpgradeStatus::Unknown("malformed_ldap"),
                Some(Ok(m)) => m,
            };
            match m.operation {
                EXTENDED_REQUEST if m.body.get(2..) == Some(START_TLS) => self.asked = Some((m.id, m.end)),
                BIND_REQUEST if sasl_layer(&m.body) => self.sasl = true,
                // Reading the root DSE is how a client learns what the server offers (RFC 4512 section 5.1).
                SEARCH_REQUEST if m.body.starts_with(&[4, 0, 10, 1, 0]) => {}
                EXTENDED_REQUEST | UNBIND_REQUEST => {}
                _ => return UpgradeStatus::NotUsed,
            }
        }
        UpgradeStatus::Continue
    }

    fn server(&mut self, mut bytes: &[u8]) -> UpgradeStatus {
        if self.sasl && self.server.head.is_empty() && self.server.skip == 0 && bytes.first() == Some(&0) {
            return UpgradeStatus::EncryptedNotTls;
        }
        loop {
            let m = match self.server.next(&mut bytes) {
                None => return UpgradeStatus::Continue,
                Some(Err(NotBer)) => return UpgradeStatus::Unknown("malformed_ldap"),
                Some(Ok(m)) => m,
            };
            let Some((id, client)) = &self.asked else { continue };
            if m.operation == EXTENDED_RESPONSE && m.id == *id {
                let granted = m.body_len >= 3 && m.body.starts_with(&[10, 1, 0]);
                return if granted {
                    UpgradeStatus::Upgraded { client: *client, server: m.end }
                } else {
                    UpgradeStatus::Refused
                };
            }
        }
    }
}

/// A bind by a SASL mechanism that can negotiate a security layer.
fn sasl_layer(body: &[u8]) -> bool {
    let mechanisms: [&[u8]; 3] = [b"GSSAPI", b"GSS-SPNEGO", b"DIGEST-MD5"];
    mechanisms.iter().any(|m| body.windows(m.len()).any(|w| w == *m))
}

impl Upgrade for Session {
    fn data(&mut self, side: Side, bytes: &[u8]) -> UpgradeStatus {
        match side {
            Side::Client => self.client(bytes),
            Side::Server => self.server(bytes),
        }
    }

    fn hold_from(&self, side: Side) -> Option<u64> {
        match side {
            Side::Client => self.asked.as_ref().map(|(_, end)| *end),
            Side::Server => None,
        }
    }
}

#[cfg(test)]
pub(in crate::recognize) fn samples() -> Vec<crate::recognize::testing::Sample> {
    use crate::recognize::testing::*;
    let start = b"\x30\x1d\x02\x01\x01\x77\x18\x80\x161.3.6.1.4.1.1466.20037";
    let granted = b"\x30\x0c\x02\x01\x01\x78\x07\x0a\x01\x00\x04\x00\x04\x00";
    let refused = b"\x30\x0c\x02\x01\x01\x78\x07\x0a\x01\x34\x04\x00\x04\x00";
    let bind = b"\x30\x0c\x02\x01\x01\x60\x07\x02\x01\x03\x04\x00\x80\x00";
    let bound = b"\x30\x84\0\0\0\x10\x02\x01\x01\x61\x84\0\0\0\x07\x0a\x01\x00\x04\x00\x04\x00";
    let root = b"\x30\x25\x02\x01\x01\x63\x20\x04\x00\x0a\x01\x00\x0a\x01\x00\x02\x01\x00\x02\x01\x00\x01\x01\x00\x87\x0bobjectclass\x30\x00";
    let mut root = root.to_vec();
    root[1] = u8::try_from(root.len() - 2).unwrap();
    root[6] = u8::try_from(root.len() - 7).unwrap();
    let entry =
        [b"\x30\x81\xa0\x02\x01\x01\x64\x81\x9a\x04\x00\x30\x81\x95".as_slice(), &[b'a'; 0x95]].concat();
    let done = b"\x30\x0c\x02\x01\x01\x65\x07\x0a\x01\x00\x04\x00\x04\x00";
    let spnego = b"\x30\x1d\x02\x01\x02\x60\x18\x02\x01\x03\x04\x00\xa3\x11\x04\x0aGSS-SPNEGO\x04\x03abc";
    vec![
        upgraded("ldap", &[C(start), S(granted), C(HELLO)]),
        upgraded("ldap", &[C(&root), S(&entry), S(done), C(&[start.as_slice(), HELLO].concat()), S(granted)]),
        starttls("ldap", REFUSED, &[C(start), S(refused)]),
        starttls("ldap", NOT_USED, &[C(bind), S(bound)]),
        encrypted("ldap", &[C(spnego), S(bound), C(b"\0\0\0\x40\x60\x38\x05\x04")]),
    ]
}
