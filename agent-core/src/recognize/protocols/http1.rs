//! HTTP/1.0 and HTTP/1.1 (RFC 9112), every method; the tunnel that CONNECT makes is followed into TLS, and so is
//! `Upgrade: TLS/1.0` of the first request.

use super::http_upgrade::UpgradeToTls;
use crate::net::Side;
use crate::recognize::prefix::{check, is_printable, starts, u8_at};
use crate::recognize::{Detection, Protocol, Upgrade, UpgradeStatus};

/// HTTP/1.
pub(in crate::recognize) struct Http1;

/// Longest method token of the IANA registry is 17 (`UPDATEREDIRECTREF`).
const MAX_METHOD: usize = 24;
/// A request target of a common method that is this long is enough without the version behind it.
const LONG_TARGET: usize = 256;

const COMMON_METHODS: [&[u8]; 9] =
    [b"GET", b"HEAD", b"POST", b"PUT", b"DELETE", b"OPTIONS", b"PATCH", b"PROPFIND", b"REPORT"];

impl Protocol for Http1 {
    fn name(&self) -> &'static str {
        "http"
    }

    fn client(&self, prefix: &[u8]) -> Detection {
        check(|| request_line(prefix))
    }

    fn server(&self, prefix: &[u8]) -> Detection {
        check(|| match starts(prefix, b"HTTP/1.") {
            Detection::NeedMore => None,
            Detection::NotThis => Some(false),
            Detection::Is => Some(
                u8_at(prefix, 7)?.is_ascii_digit()
                    && u8_at(prefix, 8)? == b' '
                    && matches!(u8_at(prefix, 9)?, b'1'..=b'5')
                    && u8_at(prefix, 10)?.is_ascii_digit()
                    && u8_at(prefix, 11)?.is_ascii_digit()
                    && matches!(u8_at(prefix, 12)?, b' ' | b'\r' | b'\n'),
            ),
        })
    }

    fn upgrade(&self) -> Option<fn() -> Box<dyn Upgrade>> {
        Some(|| Box::new(Session::default()))
    }
}

/// `METHOD SP target SP HTTP/1.x` (RFC 9112 section 3).
fn request_line(prefix: &[u8]) -> Option<bool> {
    let token = prefix.iter().take_while(|b| b.is_ascii_uppercase() || **b == b'-').count();
    if token == prefix.len() && token <= MAX_METHOD {
        return None;
    }
    if token == 0 || token > MAX_METHOD || prefix.get(token) != Some(&b' ') {
        return Some(false);
    }
    let behind = prefix.get(token.saturating_add(1)..)?;
    let first = u8_at(behind, 0)?;
    if !(first.is_ascii_alphanumeric() || matches!(first, b'/' | b'*' | b'[')) {
        return Some(false);
    }
    let target = behind.iter().take_while(|b| is_printable(**b) && **b != b' ').count();
    if target == behind.len() {
        let common = prefix.get(..token).is_some_and(|m| COMMON_METHODS.contains(&m));
        return (common && first == b'/' && target >= LONG_TARGET).then_some(true);
    }
    match starts(behind.get(target..)?, b" HTTP/1.") {
        Detection::NeedMore => None,
        Detection::NotThis => Some(false),
        Detection::Is => Some(
            u8_at(behind, target.saturating_add(8))?.is_ascii_digit()
                && matches!(u8_at(behind, target.saturating_add(9))?, b'\r' | b'\n'),
        ),
    }
}

/// The two ways to TLS, looked for side by side. What a way does not apply to, it is dropped from.
struct Session {
    tunnel: Option<Tunnel>,
    upgrade: Option<UpgradeToTls>,
}

impl Default for Session {
    fn default() -> Self {
        Self { tunnel: Some(Tunnel::default()), upgrade: Some(UpgradeToTls::default()) }
    }
}

impl Upgrade for Session {
    fn data(&mut self, side: Side, bytes: &[u8]) -> UpgradeStatus {
        match self.tunnel.as_mut().map(|t| t.data(side, bytes)) {
            None | Some(UpgradeStatus::Continue) => {}
            Some(UpgradeStatus::NotApplicable) => self.tunnel = None,
            Some(settled) => return settled,
        }
        match self.upgrade.as_mut().map(|u| u.data(side, bytes)) {
            None | Some(UpgradeStatus::Continue) => {}
            Some(UpgradeStatus::NotApplicable) => self.upgrade = None,
            Some(settled) => return settled,
        }
        if self.tunnel.is_none() && self.upgrade.is_none() {
            UpgradeStatus::NotApplicable
        } else {
            UpgradeStatus::Continue
        }
    }

    fn hold_from(&self, side: Side) -> Option<u64> {
        let tunnel = self.tunnel.as_ref().and_then(|t| t.hold_from(side));
        tunnel.or_else(|| self.upgrade.as_ref().and_then(|u| u.hold_from(side)))
    }

    /// A request whose header is only known in part stays one in plaintext, unless that part asked for more.
    fn gap(&self) -> UpgradeStatus {
        match (&self.tunnel, &self.upgrade) {
            (None, Some(u)) if !u.asked() => UpgradeStatus::NotApplicable,
            _ => UpgradeStatus::Unknown("gap"),
        }
    }
}

/// Longest response header that is looked through for its end.
const MAX_RESPONSE_HEADER: u64 = 16_384;

/// A CONNECT request (RFC 9110 section 9.3.6): behind a 2xx response the tunnel begins, and TLS in most of them.
#[derive(Default)]
struct Tunnel {
    request: Vec<u8>,
    request_end: Option<u64>,
    client_at: u64,
    /// The last bytes of the client's header, to find its end over any chunking.
    client_end: HeaderEnd,
    server_at: u64,
    server_end: HeaderEnd,
    status: Vec<u8>,
    established: Option<u64>,
    first: Vec<u8>,
}

/// Finds the empty line that ends a header.
#[derive(Default)]
struct HeaderEnd {
    line_empty: bool,
}

impl HeaderEnd {
    fn push(&mut self, b: u8) -> bool {
        match b {
            b'\n' if self.line_empty => return true,
            b'\n' => self.line_empty = true,
            b'\r' => {}
            _ => self.line_empty = false,
        }
        false
    }
}

impl Upgrade for Tunnel {
    fn data(&mut self, side: Side, bytes: &[u8]) -> UpgradeStatus {
        for b in bytes {
            let status = match side {
                Side::Client => self.client(*b),
                Side::Server => self.server(*b),
            };
            if status != UpgradeStatus::Continue {
                return status;
            }
        }
        UpgradeStatus::Continue
    }

    fn hold_from(&self, side: Side) -> Option<u64> {
        match side {
            Side::Client => self.request_end,
            Side::Server => None,
        }
    }
}

impl Tunnel {
    fn client(&mut self, b: u8) -> UpgradeStatus {
        self.client_at = self.client_at.saturating_add(1);
        if let Some(request_end) = self.request_end {
            return self.tunnelled(b, request_end);
        }
        if self.request.len() < 8 {
            self.request.push(b);
            if starts(&self.request, b"CONNECT ") == Detection::NotThis {
                return UpgradeStatus::NotApplicable;
            }
        }
        if self.client_end.push(b) {
            self.request_end = Some(self.client_at);
        }
        UpgradeStatus::Continue
    }

    /// The client's bytes behind its request: a ClientHello, or something else that the tunnel carries.
    fn tunnelled(&mut self, b: u8, request_end: u64) -> UpgradeStatus {
        if self.first.len() < 3 {
            self.first.push(b);
        }
        let tls = starts(&self.first, &[22, 3]);
        match self.established {
            _ if tls == Detection::NotThis => UpgradeStatus::NotApplicable,
            Some(server) if tls == Detection::Is => UpgradeStatus::Upgraded { client: request_end, server },
            _ => UpgradeStatus::Continue,
        }
    }

    fn server(&mut self, b: u8) -> UpgradeStatus {
        if self.established.is_some() {
            // The server of the tunnel speaks first: that is not TLS.
            return UpgradeStatus::NotApplicable;
        }
        if self.request.is_empty() {
            return UpgradeStatus::NotApplicable;
        }
        self.server_at = self.server_at.saturating_add(1);
        if self.server_at > MAX_RESPONSE_HEADER {
            return UpgradeStatus::Unknown("http_header_too_long");
        }
        if self.status.len() < 10 {
            self.status.push(b);
            if self.status.len() == 10 && b != b'2' {
                return UpgradeStatus::NotApplicable;
            }
        }
        if self.server_end.push(b) {
            self.established = Some(self.server_at);
            if let (Some(client), Detection::Is) = (self.request_end, starts(&self.first, &[22, 3])) {
                return UpgradeStatus::Upgraded { client, server: self.server_at };
            }
        }
        UpgradeStatus::Continue
    }
}

#[cfg(test)]
pub(in crate::recognize) fn samples() -> Vec<crate::recognize::testing::Sample> {
    use crate::recognize::testing::*;
    let ok = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    vec![
        plain("http", &[C(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"), S(ok)]),
        plain(
            "http",
            &[C(b"POST /x?y=1 HTTP/1.0\r\nContent-Length: 1\r\n\r\n{"), S(b"HTTP/1.0 404 Not Found\r\n\r\n")],
        ),
        plain("http", &[C(b"PROPFIND http://a/dav HTTP/1.1\r\n\r\n"), S(b"HTTP/1.1 207\r\n\r\n")]),
        plain("http", &[C(b"OPTIONS * HTTP/1.1\r\n\r\n"), S(ok)]),
        plain(
            "http",
            &[C(b"CONNECT a:22 HTTP/1.1\r\n\r\n"), S(b"HTTP/1.1 200 OK\r\n\r\n"), S(b"SSH-2.0-x\r\n")],
        ),
        plain("http", &[C(b"CONNECT a:22 HTTP/1.1\r\n\r\n"), S(b"HTTP/1.1 403 No\r\n\r\n")]),
        upgraded(
            "http",
            &[
                C(b"CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n"),
                S(b"HTTP/1.1 200 Connection established\r\n\r\n"),
                C(HELLO),
            ],
        ),
        upgraded(
            "http",
            &[
                C(b"OPTIONS * HTTP/1.1\r\nHost: a\r\nUpgrade: TLS/1.0\r\nConnection: Upgrade\r\n\r\n"),
                S(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: TLS/1.0, HTTP/1.1\r\n\r\n"),
                C(HELLO),
            ],
        ),
        plain("http", &[C(b"OPTIONS * HTTP/1.1\r\nUpgrade: TLS/1.0\r\n\r\n"), S(ok)]),
        plain(
            "http",
            &[
                C(b"GET /ws HTTP/1.1\r\nUpgrade: websocket\r\n\r\n"),
                S(b"HTTP/1.1 101 Switching Protocols\r\n\r\n"),
                C(b"\x81\x80abcd"),
            ],
        ),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepts_every_method() {
        for m in ["GET", "M-SEARCH", "VERSION-CONTROL", "UPDATEREDIRECTREF", "QUERY", "PURGE"] {
            assert_eq!(Http1.client(format!("{m} /a HTTP/1.1\r\n").as_bytes()), Detection::Is);
        }
    }

    #[test]
    fn a_long_target_of_a_common_method_is_enough() {
        let target = "a".repeat(LONG_TARGET);
        assert_eq!(Http1.client(format!("GET /{target}").as_bytes()), Detection::Is);
        assert_eq!(Http1.client(format!("FROB /{target}").as_bytes()), Detection::NeedMore);
    }

    #[test]
    fn rejects_what_only_looks_like_a_request() {
        for not in [
            &b"get / HTTP/1.1\r\n"[..],
            b"GET foo\r\n",
            b"OPTIONS rtsp://a RTSP/1.0\r\n",
            b"PRI * HTTP/2.0\r\n",
            b"CONNECT {\"verbose\":false}\r\n",
            b"HTTP/2 200\r\n",
        ] {
            assert_eq!(Http1.client(not), Detection::NotThis, "{not:?}");
        }
        assert_eq!(Http1.server(b"HTTP/2.0 200"), Detection::NotThis);
    }

    #[test]
    fn gives_up_on_an_endless_response_header() {
        let mut t = Tunnel::default();
        assert_eq!(t.data(Side::Client, b"CONNECT a:443 HTTP/1.1\r\n\r\n"), UpgradeStatus::Continue);
        assert_eq!(t.data(Side::Server, b"HTTP/1.1 200 OK\r\n"), UpgradeStatus::Continue);
        let endless = vec![b'a'; usize::try_from(MAX_RESPONSE_HEADER).unwrap()];
        assert_eq!(t.data(Side::Server, &endless), UpgradeStatus::Unknown("http_header_too_long"));
    }
}
