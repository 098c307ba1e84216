//! Reads the TLS of a capture file with tlsight's own parser or with the crate `tls-parser`, and says what it found:
//! `parsers none|tlsight|tls-parser FILE`. With `none` the packets are taken apart and put in order, and nothing else is done:
//! what the others take longer is TLS. Timed by `cargo xtask bench --only capture`.
#![allow(
    missing_docs,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "it is run by a benchmark, and says what went wrong by panicking"
)]

use std::collections::HashMap;
use std::fs::File;
use std::process::ExitCode;

use agent_core::event::Event;
use agent_core::net::{ConnId, Direction};
use agent_core::time::Timestamp;
use agent_core::tls::{TlsDirection, TlsEvent, TlsLimits};
use tls_parser::{TlsMessage, TlsMessageHandshake, TlsRecordType};
use tlsight::source::pcap::counters::Counters;
use tlsight::source::pcap::file::CaptureFile;
use tlsight::source::pcap::flow::{FlowLimits, FlowTracker};
use tlsight::source::pcap::packet::dissect;

/// What both should find.
#[derive(Default)]
struct Found {
    client_hellos: u64,
    server_hellos: u64,
    certificates: u64,
}

/// One direction of a connection.
trait Parser {
    fn new() -> Self;
    fn data(&mut self, bytes: &[u8], found: &mut Found);
}

struct Nothing;

impl Parser for Nothing {
    fn new() -> Self {
        Self
    }
    fn data(&mut self, bytes: &[u8], _: &mut Found) {
        std::hint::black_box(bytes);
    }
}

struct Own(TlsDirection, Vec<TlsEvent>);

impl Parser for Own {
    fn new() -> Self {
        Self(TlsDirection::new(TlsLimits::default()), Vec::new())
    }

    fn data(&mut self, bytes: &[u8], found: &mut Found) {
        self.0.data(bytes, &mut self.1);
        for event in self.1.drain(..) {
            match std::hint::black_box(event) {
                TlsEvent::ClientHello(_) => found.client_hellos += 1,
                TlsEvent::ServerHello(_) | TlsEvent::HelloRetryRequest(_) => found.server_hellos += 1,
                TlsEvent::Certificate(chain) => found.certificates += chain.len() as u64,
                _ => {}
            }
        }
    }
}

/// What users of `tls-parser` have to do themselves: records that packets cut, and messages that records cut.
#[derive(Default)]
struct Theirs {
    records: Vec<u8>,
    messages: Vec<u8>,
    is_encrypted: bool,
    /// The next ChangeCipherSpec changes nothing: it comes behind a HelloRetryRequest (RFC 8446 appendix D.4).
    is_retry: bool,
}

/// `ServerHello.random` of a HelloRetryRequest begins like this (RFC 8446 section 4.1.3).
const RETRY: [u8; 4] = [0xcf, 0x21, 0xad, 0x74];

impl Parser for Theirs {
    fn new() -> Self {
        Self::default()
    }

    fn data(&mut self, bytes: &[u8], found: &mut Found) {
        self.records.extend_from_slice(bytes);
        let records = std::mem::take(&mut self.records);
        let mut rest = records.as_slice();
        while let Ok((after, record)) = tls_parser::parse_tls_raw_record(rest) {
            rest = after;
            match record.hdr.record_type {
                TlsRecordType::ChangeCipherSpec => self.is_encrypted = !std::mem::take(&mut self.is_retry),
                TlsRecordType::Handshake if !self.is_encrypted => {
                    self.messages.extend_from_slice(record.data);
                    self.take_messages(found);
                }
                _ => {}
            }
        }
        let left = records.len() - rest.len();
        self.records = records;
        self.records.drain(..left);
    }
}

impl Theirs {
    fn take_messages(&mut self, found: &mut Found) {
        let messages = std::mem::take(&mut self.messages);
        let mut rest = messages.as_slice();
        while let Ok((after, message)) = tls_parser::parse_tls_message_handshake(rest) {
            rest = after;
            let TlsMessage::Handshake(message) = std::hint::black_box(message) else { continue };
            let extensions = match message {
                TlsMessageHandshake::ClientHello(hello) => {
                    found.client_hellos += 1;
                    hello.ext
                }
                TlsMessageHandshake::ServerHello(hello) => {
                    found.server_hellos += 1;
                    self.is_retry = hello.random.starts_with(&RETRY);
                    hello.ext
                }
                TlsMessageHandshake::Certificate(certificate) => {
                    // Copied, as they are kept.
                    let chain: Vec<Vec<u8>> =
                        certificate.cert_chain.iter().map(|raw| raw.data.to_vec()).collect();
                    found.certificates += std::hint::black_box(chain).len() as u64;
                    None
                }
                _ => None,
            };
            if let Some(extensions) = extensions {
                let _ = std::hint::black_box(tls_parser::parse_tls_extensions(extensions));
            }
        }
        let left = messages.len() - rest.len();
        self.messages = messages;
        self.messages.drain(..left);
    }
}

/// Reads the file. Segments that come late are not put in order: the recorded connections have none.
fn read<P: Parser>(path: &str) -> Found {
    let mut file = CaptureFile::open(File::open(path).expect("a file")).expect("a capture file");
    let (mut flows, mut counters) = (FlowTracker::new(FlowLimits::default()), Counters::default());
    let (mut found, mut open) = (Found::default(), HashMap::<ConnId, [P; 2]>::new());
    let mut take = |event: Event<'_>, _: Timestamp| {
        match event {
            Event::Segment(segment) => {
                let parsers = open.entry(segment.conn).or_insert_with(|| [P::new(), P::new()]);
                parsers[usize::from(segment.direction == Direction::Ingress)]
                    .data(segment.payload, &mut found);
            }
            Event::Closed(closed) => drop(open.remove(&closed.conn)),
            _ => {}
        }
        Ok::<(), ()>(())
    };
    let mut last = Timestamp::default();
    while let Ok(Some(packet)) = file.next_packet() {
        last = packet.time;
        if let Some(segment) = dissect(&packet, &mut counters) {
            flows.segment(&segment, last, &mut counters, &mut take).expect("nothing fails");
        }
    }
    flows.finish(last, &mut take).expect("nothing fails");
    found
}

fn main() -> ExitCode {
    // `cargo bench` hands on `--bench`.
    let words: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    let found = match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["none", path] => read::<Nothing>(path),
        ["tlsight", path] => read::<Own>(path),
        ["tls-parser", path] => read::<Theirs>(path),
        _ => {
            eprintln!("usage: parsers none|tlsight|tls-parser FILE");
            return ExitCode::FAILURE;
        }
    };
    let Found { client_hellos, server_hellos, certificates } = found;
    println!("{client_hellos} ClientHello, {server_hellos} ServerHello, {certificates} certificates");
    ExitCode::SUCCESS
}
