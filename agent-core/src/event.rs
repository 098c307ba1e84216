//! What the decoders of every source (kernel ring buffer, capture files) hand to the engine.

use std::sync::Arc;
use std::time::Duration;

use crate::net::{ConnId, Direction, FiveTuple, SeqNumber, Side};

/// One fact from a source, in the order in which the source saw it. Per connection: `Opened` first, then any mix of
/// the others, `Closed` last. The engine tolerates every other order (events may be lost), and says so in counters.
#[derive(Clone, Debug)]
pub enum Event<'a> {
    /// A connection end came into view.
    Opened(Opened),
    /// The three-way handshake is complete.
    Established(Established),
    /// Payload bytes of one segment (or a part of one).
    Segment(Segment<'a>),
    /// Who owns this end was learnt, or learnt better, after it was opened.
    Owner {
        /// The connection.
        conn: ConnId,
        /// Its owner.
        process: Arc<Process>,
    },
    /// A TLS library on this host parses certificates of its peer.
    PeerCertificates(PeerCertificates<'a>),
    /// The connection is over.
    Closed(Closed),
}

/// A connection end came into view.
#[derive(Clone, Debug)]
pub struct Opened {
    /// The connection end.
    pub conn: ConnId,
    /// Addresses and ports.
    pub tuple: FiveTuple,
    /// The part the local end plays, where the source knows (who called connect, who listened).
    pub local_side: Option<Side>,
    /// Whether the source saw the connection begin.
    pub origin: Origin,
    /// Who owns the local end, where known.
    pub process: Option<Arc<Process>>,
}

/// Whether the source saw the connection begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// From its first segment.
    Fresh,
    /// It existed when the source started.
    BeforeStart,
}

/// The three-way handshake is complete.
#[derive(Clone, Copy, Debug)]
pub struct Established {
    /// The connection end.
    pub conn: ConnId,
    /// Sequence number of the first payload byte sent by the local end (initial sequence number + 1).
    pub egress_start: SeqNumber,
    /// Sequence number of the first payload byte received by the local end.
    pub ingress_start: SeqNumber,
}

/// Payload of one segment, or the part of it that the source let through. `payload` is a prefix of the `wire_len`
/// bytes that were on the wire; the rest was elided on purpose (the body of an encrypted record, a capture's snap
/// length) and will never come.
#[derive(Clone, Copy, Debug)]
pub struct Segment<'a> {
    /// The connection end.
    pub conn: ConnId,
    /// Which way it went.
    pub direction: Direction,
    /// Sequence number of the first byte of `payload`.
    pub seq: SeqNumber,
    /// Payload length on the wire in bytes, `>= payload.len()`.
    pub wire_len: u32,
    /// The bytes that are there.
    pub payload: &'a [u8],
}

/// A TLS library on this host parses certificates of its peer: a probe saw it, in a process, not on a connection.
#[derive(Clone, Debug)]
pub struct PeerCertificates<'a> {
    /// The process.
    pub process: Arc<Process>,
    /// The library.
    pub library: TlsLibrary,
    /// Whose certificates they are, where the probe tells: of the server in a client, of the client in a server.
    pub peer: Option<Side>,
    /// The connection end that the parsing thread read from last, where known. Strong evidence, not proof.
    pub last_read: Option<ConnId>,
    /// The other one that it read from before that.
    pub read_before: Option<EarlierRead>,
    /// `ClientHello.random` of the handshake, where the probe has it. Proof.
    pub client_random: Option<[u8; 32]>,
    /// Length in bytes of `certificate_list` (RFC 8446 section 4.4.2) on the wire, where known.
    pub list_len: Option<u32>,
    /// Entries of `certificate_list`, leaf first: a 24-bit length and the DER certificate each, then, with
    /// `has_extensions`, a 16-bit length and the extensions.
    pub entries: &'a [u8],
    /// Entries have their extensions behind them.
    pub has_extensions: bool,
    /// Entries, or the end of one, are missing at the end.
    pub is_cut: bool,
}

/// A connection that a thread read from before it read from another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EarlierRead {
    /// The connection end.
    pub conn: ConnId,
    /// How long ago it was last read from.
    pub ago: Duration,
}

/// A TLS library that probes can be attached to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum TlsLibrary {
    /// OpenSSL.
    OpenSsl,
    /// GnuTLS.
    GnuTls,
    /// Go's crypto/tls.
    Go,
}

impl TlsLibrary {
    /// `openssl`, `gnutls` or `go`.
    pub const fn as_str(self) -> &'static str {
        match self {
            TlsLibrary::OpenSsl => "openssl",
            TlsLibrary::GnuTls => "gnutls",
            TlsLibrary::Go => "go",
        }
    }
}

/// The connection is over.
#[derive(Clone, Copy, Debug)]
pub struct Closed {
    /// The connection end.
    pub conn: ConnId,
    /// How it ended.
    pub how: CloseKind,
    /// Payload bytes sent and received by the local end, without retransmissions, where the source counts them.
    pub bytes: Option<Bytes>,
}

/// How a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CloseKind {
    /// Never established: refused, timed out or given up.
    NeverEstablished,
    /// By FIN from either end.
    Finished,
    /// By RST.
    Reset,
    /// The source ended first (end of a capture file, the agent stops).
    SourceEnded,
    /// The source does not tell.
    Unknown,
}

/// Payload bytes of one connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bytes {
    /// Sent by the local end.
    pub egress: u64,
    /// Received by the local end.
    pub ingress: u64,
}

/// A process that owns a connection end.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Process {
    /// Process id (thread group id) in the agent's pid namespace.
    pub pid: u32,
    /// Name of the executable file, without its directory; the kernel's `comm` where the file is out of reach.
    pub executable_name: String,
}
