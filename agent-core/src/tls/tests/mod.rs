//! Recorded handshakes of real programs, whole, cut, with holes, and noise. See `testdata/README.md`.

mod handshakes;
mod hellos;
mod holes;
mod segmentation;

use super::codepoints::ContentType;
use super::event::TlsEvent;
use super::{TlsDirection, TlsLimits};

macro_rules! recorded {
    ($name:literal) => {
        include_bytes!(concat!("../testdata/", $name, ".bin")).as_slice()
    };
}

/// Every recording, and whether its client has to be told of a HelloRetryRequest.
const RECORDINGS: &[(&str, &[u8])] = &[
    ("tls13_mutual.client", recorded!("tls13_mutual.client")),
    ("tls13_mutual.server", recorded!("tls13_mutual.server")),
    ("tls13_hello_retry.client", recorded!("tls13_hello_retry.client")),
    ("tls13_hello_retry.server", recorded!("tls13_hello_retry.server")),
    ("tls13_early_data.client", recorded!("tls13_early_data.client")),
    ("tls13_early_data.server", recorded!("tls13_early_data.server")),
    ("tls13_early_data_retry.client", recorded!("tls13_early_data_retry.client")),
    ("tls13_early_data_retry.server", recorded!("tls13_early_data_retry.server")),
    ("tls12_mutual.client", recorded!("tls12_mutual.client")),
    ("tls12_mutual.server", recorded!("tls12_mutual.server")),
    ("tls12_declined.client", recorded!("tls12_declined.client")),
    ("tls12_declined.server", recorded!("tls12_declined.server")),
    ("tls12_anonymous_dhe.client", recorded!("tls12_anonymous_dhe.client")),
    ("tls12_anonymous_dhe.server", recorded!("tls12_anonymous_dhe.server")),
    ("tls12_resumed.client", recorded!("tls12_resumed.client")),
    ("tls12_resumed.server", recorded!("tls12_resumed.server")),
    ("version_refused.client", recorded!("version_refused.client")),
    ("version_refused.server", recorded!("version_refused.server")),
    ("chrome131.client", recorded!("chrome131.client")),
];

/// A direction that is told of the HelloRetryRequest behind the first ClientHello, when there is one to tell of.
struct Fed {
    direction: TlsDirection,
    retry: bool,
    events: Vec<TlsEvent>,
}

impl Fed {
    fn new(retry: bool) -> Self {
        Self { direction: TlsDirection::new(TlsLimits::default()), retry, events: Vec::new() }
    }

    /// The HelloRetryRequest comes between two segments; a segment that holds the first hello ends with it.
    fn data(&mut self, bytes: &[u8]) {
        if !self.retry {
            return self.direction.data(bytes, &mut self.events);
        }
        for byte in bytes {
            self.direction.data(&[*byte], &mut self.events);
            if self.retry && matches!(self.events.last(), Some(TlsEvent::ClientHello(_))) {
                self.direction.hello_retry();
                self.retry = false;
            }
        }
    }
}

fn events_of(name: &str, pieces: &[&[u8]]) -> Vec<TlsEvent> {
    let mut fed = Fed::new(name.ends_with("retry.client"));
    for piece in pieces {
        fed.data(piece);
    }
    fed.events
}

/// An event in a word, with what matters of it.
fn brief(event: &TlsEvent) -> String {
    match event {
        TlsEvent::ClientHello(_) => "ClientHello".to_owned(),
        TlsEvent::ServerHello(hello) => format!("ServerHello {}", hello.cipher_suite),
        TlsEvent::HelloRetryRequest(hello) => format!("HelloRetryRequest {}", hello.cipher_suite),
        TlsEvent::Certificate(chain) => {
            format!("Certificate {:?}", chain.iter().map(Vec::len).collect::<Vec<_>>())
        }
        TlsEvent::CertificateStatus(response) => format!("CertificateStatus {}", response.len()),
        TlsEvent::ServerKeyExchange(Some(group)) => format!("ServerKeyExchange {group}"),
        TlsEvent::ServerKeyExchange(None) => "ServerKeyExchange".to_owned(),
        TlsEvent::NewSessionTicket(ticket) => format!("NewSessionTicket {}", ticket.len()),
        TlsEvent::Alert(level, description) => format!("Alert {level} {description}"),
        TlsEvent::Encrypted(ContentType::APPLICATION_DATA, len) => len.to_string(),
        TlsEvent::Encrypted(content_type, len) => format!("{content_type} {len}"),
        TlsEvent::Malformed(error) => format!("Malformed {}", error.reason()),
        other => format!("{other:?}"),
    }
}

fn briefs(events: &[TlsEvent]) -> Vec<String> {
    events.iter().map(brief).collect()
}

/// xorshift64*: the same noise in every run.
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() >> 33).unwrap() % bound
    }
}
