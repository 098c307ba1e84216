//! What the core says about one connection end.

use std::sync::Arc;
use std::time::Duration;

use crate::event::{Bytes, CloseKind, Process, TlsLibrary};
use crate::net::{ConnId, FiveTuple, Side};
use crate::time::Timestamp;
use crate::tls::codepoints::{AlertDescription, AlertLevel, CipherSuite, NamedGroup, ProtocolVersion};
use crate::tls::fingerprint::Fingerprints;
use crate::x509::{CertificateSummary, OcspResponse};

/// All that is known of one connection end. Emitted when the verdict is known ([`Phase::Verdict`]) and again, complete,
/// when the connection is over ([`Phase::Final`]). Facts that are not known are absent.
#[derive(Clone, Debug)]
pub struct Observation {
    /// The connection end.
    pub conn: ConnId,
    /// When it came into view.
    pub time: Timestamp,
    /// Verdict or final.
    pub phase: Phase,
    /// Addresses and ports, local end first.
    pub tuple: FiveTuple,
    /// The part the local end plays, once known.
    pub local_side: Option<Side>,
    /// Who owns the local end.
    pub process: Option<Arc<Process>>,
    /// How the connection is protected.
    pub security: Security,
    /// What the verdict rests on.
    pub source: Option<Source>,
    /// Why the verdict is `unknown`, or what of it could not be told.
    pub reason: Option<Reason>,
    /// The plaintext (or STARTTLS) protocol in OpenTelemetry's `network.protocol.name` spelling: `http`, `postgresql` ...
    pub protocol: Option<&'static str>,
    /// What became of an upgrade to TLS inside a plaintext protocol.
    pub starttls: Option<StartTls>,
    /// A PROXY protocol header came first (1 or 2 is its version).
    pub proxy_protocol: Option<u8>,
    /// What the TLS handshake showed.
    pub tls: Option<Arc<TlsFacts>>,
    /// Payload bytes, on the final observation where the source counts them.
    pub bytes: Option<Bytes>,
    /// How it ended, on the final observation.
    pub closed: Option<CloseKind>,
    /// From the first sight of the connection to its end, on the final observation.
    pub duration: Option<Duration>,
}

impl Observation {
    /// What the handshake showed, to be changed: of this observation only.
    pub fn tls_mut(&mut self) -> Option<&mut TlsFacts> {
        self.tls.as_mut().map(Arc::make_mut)
    }

    /// The local end finished a full handshake of TLS 1.3 in which it must have parsed certificates of its peer, and no probe
    /// showed them. Certain of the final observation only: until then they may still come.
    pub fn misses_peer_certificates(&self) -> bool {
        let Some(tls) = &self.tls else { return false };
        let parsed = match self.local_side {
            Some(Side::Client) => true,
            Some(Side::Server) => tls.client_certificate == ClientCertificate::Sent,
            None => false,
        };
        let full = tls.encrypts_certificates()
            && tls.established == Some(true)
            && tls.resumed == Some(false)
            && matches!(self.security, Security::Tls | Security::Mtls);
        let chain_is_missing = self.local_side.is_some_and(|local| tls.chain(local.peer()).is_empty());
        parsed && full && chain_is_missing
    }
}

/// Certificates that a probe saw a process parse, and that no single connection of the process fits: facts about the
/// process, pinned on no connection.
#[derive(Clone, Debug)]
pub struct ProcessCertificates {
    /// When the process parsed them.
    pub time: Timestamp,
    /// The process.
    pub process: Arc<Process>,
    /// The library it used.
    pub library: TlsLibrary,
    /// Whose certificates they are, where known.
    pub peer: Option<Side>,
    /// The chain, leaf first.
    pub chain: Vec<Arc<CertificateSummary>>,
    /// Why they are not tied to a connection.
    pub reason: NotTied,
}

/// Why certificates from a probe are not tied to a connection. A closed set, usable as a label.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum NotTied {
    /// Of no connection of the process that is observed it is proven that it fits.
    NoConnection,
    /// Several connections of the process fit, and nothing tells them apart.
    SeveralConnections,
}

impl NotTied {
    /// `no_connection` or `several_connections`.
    pub const fn as_str(self) -> &'static str {
        match self {
            NotTied::NoConnection => "no_connection",
            NotTied::SeveralConnections => "several_connections",
        }
    }
}

/// When an observation is emitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// The verdict became known; the connection goes on.
    Verdict,
    /// The connection is over; nothing follows.
    Final,
}

/// How a connection is protected: what the bytes prove, never more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Security {
    /// Application bytes cross the wire readable.
    Plaintext,
    /// TLS; the client did not prove who it is in this handshake (with `reason` `client_identity_unknown`: it could not
    /// be told whether it did).
    Tls,
    /// TLS, and the client sent a certificate that the server accepted.
    Mtls,
    /// None of these is proven; `reason` says why.
    Unknown,
}

impl Security {
    /// `plaintext`, `tls`, `mtls` or `unknown`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Security::Plaintext => "plaintext",
            Security::Tls => "tls",
            Security::Mtls => "mtls",
            Security::Unknown => "unknown",
        }
    }
}

/// What a verdict rests on, in order of certainty.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Source {
    /// Messages sent in the clear.
    Wire,
    /// Lengths of encrypted TLS 1.3 records.
    RecordLength,
    /// As `RecordLength`, and a probe in a TLS library handed over certificates of this handshake: whose they are is known, and
    /// a chain of the client proves that one was sent.
    Probe,
    /// A session was resumed: no certificates crossed the wire.
    Resumed,
}

impl Source {
    /// `wire`, `record_length`, `probe` or `resumed`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Source::Wire => "wire",
            Source::RecordLength => "record_length",
            Source::Probe => "probe",
            Source::Resumed => "resumed",
        }
    }
}

/// Why a verdict is `unknown`, or what of it could not be told. A closed set, usable as a label.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Reason {
    /// The connection is older than the agent and its bytes since then prove nothing.
    StartedBeforeAgent,
    /// No payload byte was seen.
    NoData,
    /// Fewer bytes were seen than any verdict needs.
    TooFewBytes,
    /// The bytes are of no protocol known here and are not text.
    UnrecognizedProtocol,
    /// Encrypted by something that is not TLS (SSH, GSSAPI ...).
    EncryptedNotTls,
    /// Bytes that the verdict needs were lost or cut: a gap in the stream, a capture's snap length, a limit.
    MissingBytes,
    /// The handshake failed; nothing was exchanged under it. See the alert, if any.
    HandshakeFailed,
    /// The connection ended in the middle of the handshake, or before anything showed whether the server accepted the client.
    HandshakeIncomplete,
    /// Bytes that should be TLS are not well-formed.
    MalformedTls,
    /// TLS is proven; whether the client proved who it is cannot be told (resumption, a record length that fits nothing).
    ClientIdentityUnknown,
    /// The agent had no room left for this connection.
    LimitReached,
    /// TLS that does not encrypt: the chosen suite has a NULL cipher, so that its records are readable.
    NullCipher,
    /// TLS of an anonymous suite: nobody proved who they are, the server neither.
    Anonymous,
    /// TLS up to 1.2 that rests on a pre-shared key alone: both ends hold it, nobody showed a certificate.
    PreSharedKey,
}

impl Reason {
    /// The reason in snake case.
    pub const fn as_str(self) -> &'static str {
        match self {
            Reason::StartedBeforeAgent => "started_before_agent",
            Reason::NoData => "no_data",
            Reason::TooFewBytes => "too_few_bytes",
            Reason::UnrecognizedProtocol => "unrecognized_protocol",
            Reason::EncryptedNotTls => "encrypted_not_tls",
            Reason::MissingBytes => "missing_bytes",
            Reason::HandshakeFailed => "handshake_failed",
            Reason::HandshakeIncomplete => "handshake_incomplete",
            Reason::MalformedTls => "malformed_tls",
            Reason::ClientIdentityUnknown => "client_identity_unknown",
            Reason::LimitReached => "limit_reached",
            Reason::NullCipher => "null_cipher",
            Reason::Anonymous => "anonymous",
            Reason::PreSharedKey => "pre_shared_key",
        }
    }
}

/// What became of an upgrade to TLS inside a plaintext protocol (STARTTLS, PostgreSQL's SSLRequest ...).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StartTls {
    /// The protocol knows an upgrade; the client did not ask for it before it went on in plaintext.
    NotUsed,
    /// Asked for, and the server refused.
    Refused,
    /// Asked for, granted, and TLS followed.
    Upgraded,
}

impl StartTls {
    /// `not_used`, `refused` or `upgraded`.
    pub const fn as_str(self) -> &'static str {
        match self {
            StartTls::NotUsed => "not_used",
            StartTls::Refused => "refused",
            StartTls::Upgraded => "upgraded",
        }
    }
}

/// Did the client send a certificate?
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum ClientCertificate {
    /// Yes.
    Sent,
    /// The server asked, the client sent an empty list.
    Declined,
    /// The server did not ask.
    NotRequested,
    /// Cannot be told (yet).
    #[default]
    Unknown,
}

impl ClientCertificate {
    /// `sent`, `declined`, `not_requested` or `unknown`.
    pub const fn as_str(self) -> &'static str {
        match self {
            ClientCertificate::Sent => "sent",
            ClientCertificate::Declined => "declined",
            ClientCertificate::NotRequested => "not_requested",
            ClientCertificate::Unknown => "unknown",
        }
    }
}

/// What a TLS handshake showed.
#[derive(Clone, Debug, Default)]
pub struct TlsFacts {
    /// Version in force (`supported_versions` of the ServerHello where present, else its `legacy_version`).
    pub negotiated_version: Option<ProtocolVersion>,
    /// The first hello came in the SSL 2.0 format (RFC 5246 appendix E.2).
    pub sslv2_hello: bool,
    /// Cipher suite the server chose.
    pub cipher: Option<CipherSuite>,
    /// Key exchange group: of the ServerHello's key_share, or the ServerKeyExchange of TLS <= 1.2.
    pub group: Option<NamedGroup>,
    /// The handshake completed (true), failed (false), or it is not known.
    pub established: Option<bool>,
    /// A session was resumed (a PSK selected in TLS 1.3, where one that both ends were given looks the same; an abbreviated
    /// handshake in <= 1.2).
    pub resumed: Option<bool>,
    /// ALPN protocol the server chose, where sent in the clear (TLS <= 1.2).
    pub next_protocol: Option<String>,
    /// ALPN protocols the client offered.
    pub offered_protocols: Vec<String>,
    /// SNI as sent (RFC 6066 section 3); of the outer hello where ECH was offered.
    pub server_name: Option<String>,
    /// Versions the client offered.
    pub offered_versions: Vec<ProtocolVersion>,
    /// Cipher suites the client offered, GREASE left out.
    pub offered_ciphers: Vec<CipherSuite>,
    /// Groups the client offered, GREASE left out.
    pub offered_groups: Vec<NamedGroup>,
    /// The client sent an encrypted_client_hello extension.
    pub ech_offered: bool,
    /// The client offered a PSK (TLS 1.3), a session ticket or a session id.
    pub resumption_offered: bool,
    /// The client offered early data (0-RTT).
    pub early_data_offered: bool,
    /// The server sent a HelloRetryRequest.
    pub hello_retry_request: bool,
    /// Fingerprints of the client, once its hello was seen.
    pub fingerprints: Option<Box<Fingerprints>>,
    /// The first fatal (or else the last warning) alert that was not a close_notify.
    pub alert: Option<AlertFact>,
    /// Did the client send a certificate?
    pub client_certificate: ClientCertificate,
    /// Chain the server sent, leaf first.
    pub server_chain: Vec<Arc<CertificateSummary>>,
    /// Chain the client sent, leaf first.
    pub client_chain: Vec<Arc<CertificateSummary>>,
    /// The server showed certificates that there was no room for: its chain is empty.
    pub server_chain_not_kept: bool,
    /// The client did.
    pub client_chain_not_kept: bool,
    /// A stapled OCSP response came with the server's certificate (DER).
    pub ocsp_response: Option<Arc<OcspResponse>>,
    /// When the first ClientHello was complete.
    pub handshake_started: Option<Timestamp>,
    /// From then to the end of the handshake as seen at the observed end.
    pub handshake_duration: Option<Duration>,
    /// Payload-free name of the first thing in the TLS bytes that was not well-formed.
    pub malformed: Option<&'static str>,
}

impl TlsFacts {
    /// The chain of one side.
    pub(crate) fn chain(&self, side: Side) -> &[Arc<CertificateSummary>] {
        match side {
            Side::Client => &self.client_chain,
            Side::Server => &self.server_chain,
        }
    }

    /// A version that encrypts certificates: TLS 1.3, or a draft of it.
    pub(crate) fn encrypts_certificates(&self) -> bool {
        self.negotiated_version.is_some_and(|v| v == ProtocolVersion::TLS_1_3 || v.0 >> 8 == 0x7f)
    }
}

/// An alert message (RFC 8446 section 6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AlertFact {
    /// Who sent it.
    pub sender: Side,
    /// Level and description; absent when the alert was encrypted and only its length shows what it is.
    pub content: Option<(AlertLevel, AlertDescription)>,
}
