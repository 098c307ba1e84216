//! IMAP4 (RFC 9051) and its STARTTLS (section 6.2.1).

use super::lines::Lines;
use crate::net::Side;
use crate::recognize::prefix::{contains_no_case, line, starts_any_no_case};
use crate::recognize::{Detection, Protocol, Upgrade, UpgradeStatus};

/// IMAP.
pub(in crate::recognize) struct Imap;

const MAX_TAG: usize = 32;
const COMMANDS: [&[u8]; 9] =
    [b"CAPABILITY", b"STARTTLS", b"LOGIN", b"AUTHENTICATE", b"ID", b"NOOP", b"LOGOUT", b"ENABLE", b"SELECT"];

impl Protocol for Imap {
    fn name(&self) -> &'static str {
        "imap"
    }

    fn client(&self, prefix: &[u8]) -> Detection {
        let tag = prefix
            .iter()
            .take_while(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_'))
            .count();
        if tag == prefix.len() && tag <= MAX_TAG {
            return Detection::NeedMore;
        }
        let (Some(b' '), 1..=MAX_TAG) = (prefix.get(tag), tag) else { return Detection::NotThis };
        let behind = prefix.get(tag.saturating_add(1)..).unwrap_or_default();
        starts_any_no_case(behind, &COMMANDS).unsure()
    }

    fn server(&self, prefix: &[u8]) -> Detection {
        let greetings: [&[u8]; 3] = [b"* OK ", b"* PREAUTH ", b"* BYE "];
        match (starts_any_no_case(prefix, &greetings), line(prefix)) {
            (Detection::Is, Some((banner, _))) if contains_no_case(banner, b"IMAP") => Detection::Is,
            (d, _) => d.unsure(),
        }
    }

    fn both(&self, client: &[u8], server: &[u8]) -> Detection {
        let each = self.client(client).and(self.server(server));
        let confirmed = each == Detection::NeedMore && line(client).is_some() && line(server).is_some();
        if confirmed { Detection::Is } else { each }
    }

    fn upgrade(&self) -> Option<fn() -> Box<dyn Upgrade>> {
        Some(|| Box::new(Session::default()))
    }
}

#[derive(Default)]
struct Session {
    client: Lines,
    server: Lines,
    /// The request's tag, and the offset behind it.
    asked: Option<(Vec<u8>, u64)>,
}

impl Upgrade for Session {
    fn data(&mut self, side: Side, mut bytes: &[u8]) -> UpgradeStatus {
        match side {
            Side::Client => {
                while self.asked.is_none() {
                    let Some((line, end)) = self.client.next(&mut bytes) else { break };
                    let mut words = line.split(|b| *b == b' ');
                    let tag = words.next().unwrap_or_default();
                    match words.next().unwrap_or_default().to_ascii_uppercase().as_slice() {
                        b"STARTTLS" => self.asked = Some((tag.to_vec(), end)),
                        b"LOGIN" | b"AUTHENTICATE" | b"SELECT" | b"EXAMINE" | b"LIST" | b"STATUS"
                        | b"APPEND" => {
                            return UpgradeStatus::NotUsed;
                        }
                        _ => {}
                    }
                }
            }
            Side::Server => {
                while let Some((line, end)) = self.server.next(&mut bytes) {
                    let Some((asked, client)) = &self.asked else { continue };
                    let mut words = line.split(|b| *b == b' ');
                    if words.next() != Some(asked.as_slice()) {
                        continue;
                    }
                    return if words.next().is_some_and(|w| w.eq_ignore_ascii_case(b"OK")) {
                        UpgradeStatus::Upgraded { client: *client, server: end }
                    } else {
                        UpgradeStatus::Refused
                    };
                }
            }
        }
        UpgradeStatus::Continue
    }

    fn hold_from(&self, side: Side) -> Option<u64> {
        match side {
            Side::Client => self.asked.as_ref().map(|(_, end)| *end),
            Side::Server => None,
        }
    }

    fn lines_cut(&self) -> u64 {
        self.client.cut.saturating_add(self.server.cut)
    }
}

#[cfg(test)]
pub(in crate::recognize) fn samples() -> Vec<crate::recognize::testing::Sample> {
    use crate::recognize::testing::*;
    let banner = b"* OK [CAPABILITY IMAP4rev1 STARTTLS] Dovecot ready.\r\n";
    vec![
        upgraded("imap", &[S(banner), C(b"a1 STARTTLS\r\n"), S(b"a1 OK Begin\r\n"), C(HELLO)]),
        upgraded(
            "imap",
            &[
                S(b"* OK hello\r\n"),
                C(b". capability\r\n"),
                S(b"* CAPABILITY IMAP4rev1 STARTTLS\r\n. OK done\r\n"),
                C(&[b"x starttls\r\n", HELLO].concat()),
                S(b"x OK go\r\n"),
            ],
        ),
        starttls("imap", REFUSED, &[S(banner), C(b"a STARTTLS\r\n"), S(b"a BAD unknown\r\n")]),
        starttls("imap", NOT_USED, &[S(banner), C(b"A001 LOGIN u p\r\n"), S(b"A001 OK\r\n")]),
        plain("imap", &[S(b"* BYE IMAP server is full\r\n")]),
    ]
}
