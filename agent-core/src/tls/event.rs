//! What the TLS layer hands up: one message or record at a time, per direction.

use super::client_hello::ClientHello;
use super::codepoints::{AlertDescription, AlertLevel, ContentType, NamedGroup};
use super::error::TlsError;
use super::server_hello::ServerHello;

/// One thing seen in one direction of a TLS stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TlsEvent {
    /// A ClientHello, in TLS or in SSL 2.0 format (see [`ClientHello::sslv2`]).
    ClientHello(Box<ClientHello>),
    /// A ServerHello that is not a HelloRetryRequest.
    ServerHello(Box<ServerHello>),
    /// A HelloRetryRequest (a ServerHello with the magic random of RFC 8446 section 4.1.3).
    HelloRetryRequest(Box<ServerHello>),
    /// Certificate of TLS <= 1.2: DER certificates, leaf first; empty when the client declines.
    Certificate(Vec<Vec<u8>>),
    /// CertificateStatus (RFC 6066 section 8): the DER OCSP response.
    CertificateStatus(Vec<u8>),
    /// ServerKeyExchange; the group where it is ECDHE with a named curve, or an RFC 7919 group recognized by its prime
    /// length is not guessed: `None`.
    ServerKeyExchange(Option<NamedGroup>),
    /// CertificateRequest of TLS <= 1.2.
    CertificateRequest,
    /// ServerHelloDone.
    ServerHelloDone,
    /// ClientKeyExchange.
    ClientKeyExchange,
    /// CertificateVerify.
    CertificateVerify,
    /// NewSessionTicket of TLS <= 1.2 (RFC 5077): the ticket.
    NewSessionTicket(Vec<u8>),
    /// HelloRequest.
    HelloRequest,
    /// A handshake message of another type, in the clear.
    OtherHandshake(u8),
    /// ChangeCipherSpec. From here on, in TLS <= 1.2, the direction's records are encrypted.
    ChangeCipherSpec,
    /// An alert in the clear.
    Alert(AlertLevel, AlertDescription),
    /// A record whose body cannot be read: its outer content type and its length field in bytes (without the 5-byte header).
    Encrypted(ContentType, u16),
    /// The bytes are not well-formed. After [`TlsError::is_fatal`] errors this direction yields nothing more.
    Malformed(TlsError),
    /// Bytes the layer needed never came (a gap inside a header or a clear-text message). `true` when it can go on behind
    /// the gap because record boundaries are still known.
    Gap {
        /// Records can still be told apart behind the gap.
        in_sync: bool,
    },
}
