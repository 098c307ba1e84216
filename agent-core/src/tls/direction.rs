//! One direction of a TLS stream.

use super::client_hello::ClientHello;
use super::codepoints::{AlertDescription, AlertLevel, ContentType, ProtocolVersion};
use super::error::TlsError;
use super::event::TlsEvent;
use super::handshake::{Joined, Joiner};
use super::message::Session;
use super::record::{Deframer, LostPart, Part};

/// Bounds of one direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TlsLimits {
    /// Longest handshake message that is put together, in bytes without its header; longer ones are skipped.
    pub max_handshake_message: u32,
}

impl Default for TlsLimits {
    fn default() -> Self {
        Self { max_handshake_message: 128 * 1024 }
    }
}

/// What one direction has seen and what it had to leave out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TlsCounters {
    /// Records whose header was read.
    pub records: u64,
    /// Handshake messages put together, understood or not.
    pub handshake_messages: u64,
    /// Handshake messages skipped because they are longer than [`TlsLimits::max_handshake_message`].
    pub oversized_messages: u64,
    /// Handshake messages lost, whole or in part, to gaps and interruptions.
    pub lost_messages: u64,
    /// Gaps that took bytes the layer needed.
    pub gaps: u64,
}

/// How a direction stood when its stream ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Between two records, with no handshake message begun.
    Clean,
    /// Inside a record or a handshake message.
    Incomplete,
    /// Record boundaries had been lost before.
    OutOfSync,
}

/// What is done with the body of the record under way.
#[derive(Debug)]
enum Body {
    /// Nothing: it cannot be read or says nothing.
    Skip,
    /// It is an alert in the clear.
    Alert(Vec<u8>),
    /// It is handshake messages in the clear, in a record of this length.
    Handshake(u16),
    /// It is a ClientHello in SSL 2.0 format.
    Sslv2(Vec<u8>),
}

/// Reads one direction of a TLS stream: bytes in, however they are cut, [`TlsEvent`]s out. Keeps at most one handshake
/// message and one header.
#[derive(Debug)]
pub struct TlsDirection {
    deframer: Deframer,
    joiner: Joiner,
    session: Session,
    body: Body,
    /// The last thing that came was a gap that has been reported.
    in_gap: bool,
    counters: TlsCounters,
}

impl TlsDirection {
    /// A direction at its first byte, or at the first record seen of it.
    pub fn new(limits: TlsLimits) -> Self {
        Self {
            deframer: Deframer::new(),
            joiner: Joiner::new(limits.max_handshake_message),
            session: Session::default(),
            body: Body::Skip,
            in_gap: false,
            counters: TlsCounters::default(),
        }
    }

    /// The next bytes of the stream.
    pub fn data(&mut self, bytes: &[u8], out: &mut Vec<TlsEvent>) {
        let mut input = bytes;
        self.in_gap &= input.is_empty();
        while let Some(part) = self.deframer.next(&mut input) {
            match part {
                Ok(Part::Header { content_type, len }) => self.begin(content_type, len, out),
                Ok(Part::Sslv2Header { start }) => {
                    self.counters.records += 1;
                    self.body = Body::Sslv2(start.to_vec());
                }
                Ok(Part::Body(piece)) => self.body(piece, out),
                Ok(Part::End) => self.end(out),
                Err(error) => out.push(TlsEvent::Malformed(error)),
            }
        }
    }

    /// The next `len` bytes of the stream were on the wire and are not known. Inside a body that cannot be read anyway
    /// that does no harm.
    pub fn gap(&mut self, len: u64, out: &mut Vec<TlsEvent>) {
        let mut left = len;
        let mut harm = None;
        while let Some(part) = self.deframer.lose(&mut left) {
            match part {
                LostPart::Body(lost) => {
                    if self.lose(lost) {
                        harm = Some(true);
                    }
                }
                LostPart::End => self.end(out),
                LostPart::Header => harm = Some(false),
            }
        }
        let Some(in_sync) = harm else { return };
        // Two gaps in a row are one.
        if !(self.in_gap && in_sync) {
            self.counters.gaps += 1;
            out.push(TlsEvent::Gap { in_sync });
        }
        self.in_gap = true;
    }

    /// The server sent a HelloRetryRequest: a ChangeCipherSpec in this direction, past or to come, is the dummy of
    /// RFC 8446 appendix D.4, and the next ClientHello is in the clear. Only the client's direction needs to be told.
    pub fn hello_retry(&mut self) {
        self.session.retrying = true;
        self.session.encrypted = false;
    }

    /// The stream ended. Nothing more is read.
    pub fn close(&mut self) -> Ending {
        let ending = if self.deframer.is_stopped() {
            Ending::OutOfSync
        } else if self.deframer.is_at_boundary() && self.joiner.is_at_boundary() {
            Ending::Clean
        } else {
            Ending::Incomplete
        };
        self.deframer.stop();
        self.body = Body::Skip;
        ending
    }

    /// Bytes held of a message that is not whole yet.
    pub fn held_bytes(&self) -> usize {
        let body = match &self.body {
            Body::Sslv2(bytes) => bytes.capacity(),
            Body::Skip | Body::Alert(_) | Body::Handshake(_) => 0,
        };
        self.joiner.held_bytes() + body
    }

    /// There is no room to wait until the message under way is whole: it counts as lost, what follows it does not.
    pub fn give_up_message(&mut self, out: &mut Vec<TlsEvent>) {
        if let Body::Sslv2(_) = self.body {
            self.body = Body::Skip;
        }
        self.joiner.give_up_message();
        self.counters.gaps += 1;
        out.push(TlsEvent::Gap { in_sync: true });
    }

    /// What was seen and left out.
    pub fn counters(&self) -> TlsCounters {
        TlsCounters { lost_messages: self.joiner.lost, ..self.counters }
    }

    fn begin(&mut self, content_type: ContentType, len: u16, out: &mut Vec<TlsEvent>) {
        self.counters.records += 1;
        self.body = Body::Skip;
        match content_type {
            ContentType::CHANGE_CIPHER_SPEC => self.begin_change_cipher_spec(len, out),
            ContentType::ALERT => self.begin_alert(len, out),
            ContentType::HANDSHAKE => self.begin_handshake(len, out),
            _ => {
                self.interrupt(out);
                // Data without a hello before it: the start was not seen, and what follows is encrypted too.
                self.session.encrypted |=
                    content_type == ContentType::APPLICATION_DATA && !self.session.greeted;
                out.push(TlsEvent::Encrypted(content_type, len));
            }
        }
    }

    fn begin_change_cipher_spec(&mut self, len: u16, out: &mut Vec<TlsEvent>) {
        self.interrupt(out);
        // The one byte of its body is 1 in every version: nothing to wait for.
        if len == 1 {
            self.session.encrypted |= !self.session.retrying;
            out.push(TlsEvent::ChangeCipherSpec);
        } else if self.is_opaque() {
            out.push(TlsEvent::Encrypted(ContentType::CHANGE_CIPHER_SPEC, len));
        } else {
            out.push(TlsEvent::Malformed(TlsError::InvalidChangeCipherSpec(len)));
        }
    }

    fn begin_alert(&mut self, len: u16, out: &mut Vec<TlsEvent>) {
        // Two bytes are an alert in the clear even after ChangeCipherSpec: in TLS <= 1.2 encryption makes it longer, and
        // a TLS 1.3 server that fails before it has keys sends its alert behind the dummy ChangeCipherSpec.
        if len == 2 {
            self.body = Body::Alert(Vec::with_capacity(2));
        } else if self.is_opaque() {
            out.push(TlsEvent::Encrypted(ContentType::ALERT, len));
        } else if len == 0 {
            out.push(TlsEvent::Malformed(TlsError::EmptyRecord));
        } else {
            out.push(TlsEvent::Malformed(TlsError::InvalidAlertLength(len)));
        }
    }

    fn begin_handshake(&mut self, len: u16, out: &mut Vec<TlsEvent>) {
        if self.session.encrypted {
            out.push(TlsEvent::Encrypted(ContentType::HANDSHAKE, len));
        } else if len == 0 {
            out.push(TlsEvent::Malformed(TlsError::EmptyRecord));
        } else {
            self.body = Body::Handshake(len);
            self.joiner.start_record(len);
        }
    }

    fn body(&mut self, mut piece: &[u8], out: &mut Vec<TlsEvent>) {
        match &mut self.body {
            Body::Skip => {}
            Body::Alert(bytes) | Body::Sslv2(bytes) => bytes.extend_from_slice(piece),
            Body::Handshake(len) => {
                let len = *len;
                while let Some(joined) = self.joiner.next(&mut piece) {
                    out.push(match joined {
                        Joined::Message(message, body) => {
                            self.counters.handshake_messages += 1;
                            self.session.message(message, &body)
                        }
                        Joined::TooLong(length) => {
                            self.counters.oversized_messages += 1;
                            TlsEvent::Malformed(TlsError::MessageTooLong(length))
                        }
                        Joined::NotClear => {
                            self.session.encrypted = true;
                            self.body = Body::Skip;
                            TlsEvent::Encrypted(ContentType::HANDSHAKE, len)
                        }
                    });
                }
            }
        }
    }

    fn end(&mut self, out: &mut Vec<TlsEvent>) {
        match std::mem::replace(&mut self.body, Body::Skip) {
            Body::Skip => {}
            Body::Handshake(_) => self.joiner.end_record(),
            Body::Alert(bytes) => {
                if let [level, description] = bytes.as_slice() {
                    out.push(TlsEvent::Alert(AlertLevel(*level), AlertDescription(*description)));
                }
            }
            Body::Sslv2(bytes) => {
                self.session.greeted = true;
                out.push(match ClientHello::parse_sslv2(&bytes) {
                    Ok(hello) => {
                        // What follows a hello that offers nothing newer is in SSL 2.0 format too, which is not read.
                        if hello.legacy_version == ProtocolVersion::SSL_2_0 {
                            self.deframer.stop();
                        }
                        TlsEvent::ClientHello(Box::new(hello))
                    }
                    Err(error) => TlsEvent::Malformed(error),
                });
            }
        }
    }

    /// Passes over lost bytes of a body; says whether they were needed.
    fn lose(&mut self, len: u64) -> bool {
        match self.body {
            Body::Skip => false,
            Body::Handshake(_) => {
                self.joiner.lose(len);
                true
            }
            Body::Alert(_) | Body::Sslv2(_) => {
                self.body = Body::Skip;
                true
            }
        }
    }

    fn interrupt(&mut self, out: &mut Vec<TlsEvent>) {
        if self.joiner.interrupt() {
            out.push(TlsEvent::Malformed(TlsError::InterruptedMessage));
        }
    }

    /// Records may be encrypted: they are, or the start was not seen.
    fn is_opaque(&self) -> bool {
        self.session.encrypted || !self.session.greeted
    }
}
