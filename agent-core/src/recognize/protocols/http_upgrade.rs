//! `Upgrade: TLS/1.0` in a request of HTTP/1, answered with 101 (RFC 2817).

use super::lines::Lines;
use crate::net::Side;
use crate::recognize::prefix::{contains_no_case, starts};
use crate::recognize::{Detection, Upgrade, UpgradeStatus};

/// Longest request header that is looked through for `Upgrade`. What asks for TLS has little else to say.
const MAX_REQUEST_HEADER: u64 = 8192;

/// The first request of a connection, and its answer.
#[derive(Default)]
pub(super) struct UpgradeToTls {
    client: Lines,
    client_at: u64,
    request_line: bool,
    asked: bool,
    header_ended: bool,
    server: Lines,
    /// The status of the response whose header is being read is 101.
    switching: Option<bool>,
    /// Behind the request and behind the header of the 101.
    switched: Option<(u64, u64)>,
    first: Vec<u8>,
}

impl UpgradeToTls {
    /// The request names TLS to upgrade to.
    pub(super) fn asked(&self) -> bool {
        self.asked
    }

    fn client(&mut self, mut bytes: &[u8]) -> UpgradeStatus {
        if let Some((client, server)) = self.switched {
            let room = 2usize.saturating_sub(self.first.len());
            self.first.extend_from_slice(bytes.get(..room).unwrap_or(bytes));
            return match starts(&self.first, &[22, 3]) {
                Detection::NeedMore => UpgradeStatus::Continue,
                Detection::NotThis => UpgradeStatus::NotApplicable,
                Detection::Is => UpgradeStatus::Upgraded { client, server },
            };
        }
        self.client_at = self.client_at.saturating_add(bytes.len() as u64);
        while !self.header_ended {
            let Some((line, end)) = self.client.next(&mut bytes) else { break };
            if end > MAX_REQUEST_HEADER {
                return UpgradeStatus::NotApplicable;
            }
            if !self.request_line {
                self.request_line = !line.is_empty();
            } else if line.is_empty() {
                self.header_ended = true;
            } else {
                self.asked |= names_tls(&line);
            }
        }
        let endless = !self.header_ended && self.client_at > MAX_REQUEST_HEADER;
        if endless || self.header_ended && !self.asked {
            UpgradeStatus::NotApplicable
        } else {
            UpgradeStatus::Continue
        }
    }

    fn server(&mut self, mut bytes: &[u8]) -> UpgradeStatus {
        // An answer to what was not seen, or the server speaks first behind its 101: no TLS does.
        if self.client_at == 0 || self.switched.is_some() {
            return UpgradeStatus::NotApplicable;
        }
        while let Some((line, end)) = self.server.next(&mut bytes) {
            match self.switching {
                None => match line.get(9..12) {
                    Some(b"101") => self.switching = Some(true),
                    // Others of 1xx come ahead of the answer.
                    Some([b'1', ..]) => self.switching = Some(false),
                    _ => return UpgradeStatus::NotApplicable,
                },
                Some(_) if !line.is_empty() => {}
                Some(false) => self.switching = None,
                Some(true) if !self.header_ended => return UpgradeStatus::Unknown("answer_inside_request"),
                Some(true) if !bytes.is_empty() => return UpgradeStatus::NotApplicable,
                Some(true) => self.switched = Some((self.client_at, end)),
            }
        }
        UpgradeStatus::Continue
    }
}

/// `Upgrade: TLS/1.0`, maybe with others (RFC 9110 section 7.8).
fn names_tls(field: &[u8]) -> bool {
    let mut parts = field.splitn(2, |b| *b == b':');
    let name = parts.next().unwrap_or_default();
    name.eq_ignore_ascii_case(b"Upgrade") && contains_no_case(parts.next().unwrap_or_default(), b"TLS/")
}

impl Upgrade for UpgradeToTls {
    fn data(&mut self, side: Side, bytes: &[u8]) -> UpgradeStatus {
        match side {
            _ if bytes.is_empty() => UpgradeStatus::Continue,
            Side::Client => self.client(bytes),
            Side::Server => self.server(bytes),
        }
    }

    fn hold_from(&self, side: Side) -> Option<u64> {
        match side {
            Side::Client => self.switched.map(|(client, _)| client),
            Side::Server => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn followed(talk: &[(Side, &[u8])]) -> UpgradeStatus {
        let mut whole = UpgradeToTls::default();
        let mut bytewise = UpgradeToTls::default();
        let mut status = UpgradeStatus::Continue;
        for (side, bytes) in talk {
            status = whole.data(*side, bytes);
            let each = bytes
                .iter()
                .map(|b| bytewise.data(*side, &[*b]))
                .find(|s| *s != UpgradeStatus::Continue)
                .unwrap_or(UpgradeStatus::Continue);
            assert_eq!(status, each);
            if status != UpgradeStatus::Continue {
                break;
            }
        }
        status
    }

    const ASKS: &[u8] = b"POST / HTTP/1.1\r\nupgrade: foo, tls/1.2\r\nContent-Length: 2\r\n\r\nab";
    const GO: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 101 Switching\r\nUpgrade: TLS/1.2\r\n\r\n";

    #[test]
    fn tls_begins_behind_the_body_of_the_request() {
        let talk = [(Side::Client, ASKS), (Side::Server, GO), (Side::Client, b"\x16\x03\x01".as_slice())];
        let (client, server) = (ASKS.len() as u64, GO.len() as u64);
        assert_eq!(followed(&talk), UpgradeStatus::Upgraded { client, server });
    }

    #[test]
    fn no_tls_follows_what_was_not_asked_or_not_granted() {
        let websocket = b"GET / HTTP/1.1\r\nUpgrade: websocket\r\nX: TLS/1.2\r\n\r\n";
        assert_eq!(followed(&[(Side::Client, websocket)]), UpgradeStatus::NotApplicable);
        let no = b"HTTP/1.1 200 OK\r\n";
        assert_eq!(followed(&[(Side::Client, ASKS), (Side::Server, no)]), UpgradeStatus::NotApplicable);
        let talk = [(Side::Client, ASKS), (Side::Server, GO), (Side::Client, b"ab".as_slice())];
        assert_eq!(followed(&talk), UpgradeStatus::NotApplicable);
        let talk = [(Side::Client, ASKS), (Side::Server, GO), (Side::Server, b"ab".as_slice())];
        assert_eq!(followed(&talk), UpgradeStatus::NotApplicable);
    }

    #[test]
    fn looks_through_so_much_of_a_request_header() {
        let fill = "a".repeat(usize::try_from(MAX_REQUEST_HEADER).unwrap());
        let long = format!("GET / HTTP/1.1\r\nCookie: {fill}\r\nUpgrade: TLS/1.0\r\n\r\n");
        assert_eq!(followed(&[(Side::Client, long.as_bytes())]), UpgradeStatus::NotApplicable);
    }

    #[test]
    fn an_answer_inside_the_request_proves_nothing() {
        let talk = [(Side::Client, b"GET / HTTP/1.1\r\n".as_slice()), (Side::Server, GO)];
        assert_eq!(followed(&talk), UpgradeStatus::Unknown("answer_inside_request"));
    }
}
