//! XMPP (RFC 6120), client to server and server to server, and its STARTTLS (section 5).

use crate::net::Side;
use crate::recognize::prefix::{check, starts};
use crate::recognize::{Detection, Protocol, Upgrade, UpgradeStatus};

/// XMPP.
pub(in crate::recognize) struct Xmpp;

/// Longest stream header that is believed.
const MAX_HEADER: usize = 1024;

impl Protocol for Xmpp {
    fn name(&self) -> &'static str {
        "xmpp"
    }

    /// The initiating entity's stream header carries no id.
    fn client(&self, prefix: &[u8]) -> Detection {
        check(|| stream_header(prefix).map(|h| h.is_some_and(|tag| !has_id(tag))))
    }

    /// The receiving entity's stream header must carry one (section 4.7.3).
    fn server(&self, prefix: &[u8]) -> Detection {
        check(|| stream_header(prefix).map(|h| h.is_some_and(has_id)))
    }

    fn upgrade(&self) -> Option<fn() -> Box<dyn Upgrade>> {
        Some(|| Box::new(Stream::default()))
    }
}

/// The `<stream:stream ...>` tag behind an XML declaration and blanks. `Some(None)`: there is none.
fn stream_header(prefix: &[u8]) -> Option<Option<&[u8]>> {
    let mut rest = prefix;
    match starts(rest, b"<?xml") {
        Detection::Is => {
            if rest.len() > MAX_HEADER {
                return Some(None);
            }
            let end = rest.windows(2).position(|w| w == b"?>")?;
            rest = rest.get(end.saturating_add(2)..)?.trim_ascii_start();
        }
        Detection::NeedMore => return None,
        Detection::NotThis => {}
    }
    match starts(rest, b"<stream:stream") {
        Detection::NeedMore => return None,
        Detection::NotThis => return Some(None),
        Detection::Is => {}
    }
    let Some(end) = rest.iter().position(|b| *b == b'>') else {
        return (rest.len() >= MAX_HEADER).then_some(None);
    };
    let tag = rest.get(..end)?;
    Some(Some(tag).filter(|t| contains(t, b"jabber:") && end < MAX_HEADER))
}

fn has_id(tag: &[u8]) -> bool {
    contains(tag, b" id='") || contains(tag, b" id=\"")
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len().max(1)).any(|w| w == part)
}

/// Bytes kept of one tag.
const MAX_TAG: usize = 64;

/// Cuts one direction into tags.
#[derive(Default)]
struct Tags {
    at: u64,
    open: bool,
    quote: Option<u8>,
    tag: Vec<u8>,
    last: u8,
}

struct Tag {
    /// `name` or `/name`.
    name: Vec<u8>,
    empty: bool,
    end: u64,
}

impl Tags {
    fn next(&mut self, bytes: &mut &[u8]) -> Option<Tag> {
        loop {
            let (b, rest) = bytes.split_first()?;
            *bytes = rest;
            self.at = self.at.saturating_add(1);
            match (self.open, self.quote, *b) {
                (false, _, b'<') => {
                    self.open = true;
                    self.tag.clear();
                }
                (false, ..) => {}
                (true, Some(q), b) if q == b => self.quote = None,
                (true, Some(_), _) => {}
                (true, None, b'>') => {
                    self.open = false;
                    let name = self
                        .tag
                        .iter()
                        .copied()
                        .take_while(|b| !b.is_ascii_whitespace() && *b != b'>')
                        .collect();
                    return Some(Tag { name, empty: self.last == b'/', end: self.at });
                }
                (true, None, b @ (b'\'' | b'"')) => self.quote = Some(b),
                (true, None, b) => {
                    if self.tag.len() < MAX_TAG {
                        self.tag.push(b);
                    }
                    self.last = b;
                }
            }
        }
    }
}

#[derive(Default)]
struct Stream {
    client: Tags,
    server: Tags,
    asked: Option<u64>,
}

/// The end of `<word/>` or of `</word>`.
fn complete(tag: &Tag, word: &[u8]) -> bool {
    let (name, closing) = match tag.name.strip_prefix(b"/") {
        Some(name) => (name, true),
        None => (tag.name.strip_suffix(b"/").unwrap_or(&tag.name), false),
    };
    name == word && (closing || tag.empty)
}

impl Upgrade for Stream {
    fn data(&mut self, side: Side, mut bytes: &[u8]) -> UpgradeStatus {
        match side {
            Side::Client => {
                while self.asked.is_none() {
                    let Some(tag) = self.client.next(&mut bytes) else { break };
                    if complete(&tag, b"starttls") {
                        self.asked = Some(tag.end);
                    }
                    let goes_on: [&[u8]; 8] = [
                        b"auth",
                        b"authenticate",
                        b"iq",
                        b"message",
                        b"presence",
                        b"db:result",
                        b"db:verify",
                        b"handshake",
                    ];
                    if goes_on.contains(&tag.name.as_slice()) {
                        return UpgradeStatus::NotUsed;
                    }
                }
            }
            Side::Server => {
                while let Some(tag) = self.server.next(&mut bytes) {
                    let Some(client) = self.asked else { continue };
                    if complete(&tag, b"proceed") {
                        return UpgradeStatus::Upgraded { client, server: tag.end };
                    }
                    if complete(&tag, b"failure") {
                        return UpgradeStatus::Refused;
                    }
                }
            }
        }
        UpgradeStatus::Continue
    }

    fn hold_from(&self, side: Side) -> Option<u64> {
        match side {
            Side::Client => self.asked,
            Side::Server => None,
        }
    }
}

#[cfg(test)]
pub(in crate::recognize) fn samples() -> Vec<crate::recognize::testing::Sample> {
    use crate::recognize::testing::*;
    let open = b"<?xml version='1.0'?><stream:stream to='a' xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' version='1.0'>";
    let opened = b"<?xml version='1.0'?>\n<stream:stream from='a' id='x1' xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' version='1.0'><stream:features><starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'><required/></starttls></stream:features>";
    let start = b"<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>";
    vec![
        upgraded(
            "xmpp",
            &[
                C(open),
                S(opened),
                C(start),
                S(b"<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>"),
                C(HELLO),
            ],
        ),
        upgraded(
            "xmpp",
            &[
                C(open),
                S(opened),
                C(b"<starttls xmlns=\"urn:ietf:params:xml:ns:xmpp-tls\"></starttls>"),
                S(b"<proceed xmlns='>'></proceed>"),
                C(HELLO),
            ],
        ),
        starttls(
            "xmpp",
            REFUSED,
            &[C(open), S(opened), C(start), S(b"<failure xmlns='x'/></stream:stream>")],
        ),
        starttls("xmpp", NOT_USED, &[C(open), S(opened), C(b"<auth mechanism='PLAIN'>AAA=</auth>")]),
        plain("xmpp", &[C(open), S(opened)]),
    ]
}
