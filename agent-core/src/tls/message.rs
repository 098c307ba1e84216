//! From a handshake message to an event, and what a direction must remember for it.

use super::client_hello::ClientHello;
use super::codepoints::{CipherSuite, HandshakeType};
use super::error::TlsError;
use super::event::TlsEvent;
use super::server_hello::ServerHello;
use super::{certificate, certificate_status, new_session_ticket, server_key_exchange};

/// What the messages of a direction have told so far.
#[derive(Debug, Default)]
pub(super) struct Session {
    /// Handshake records are encrypted: a ChangeCipherSpec was sent, or the first bytes seen were not clear.
    pub(super) encrypted: bool,
    /// Some handshake message was read.
    pub(super) greeted: bool,
    /// A HelloRetryRequest was sent and not yet answered by the hello of this direction that follows it: until then a
    /// ChangeCipherSpec means nothing (RFC 8446 appendix D.4).
    pub(super) retrying: bool,
    suite: Option<CipherSuite>,
}

impl Session {
    /// The event a whole message makes.
    pub(super) fn message(&mut self, message: HandshakeType, body: &[u8]) -> TlsEvent {
        self.greeted = true;
        self.read(message, body).unwrap_or_else(TlsEvent::Malformed)
    }

    fn read(&mut self, message: HandshakeType, body: &[u8]) -> Result<TlsEvent, TlsError> {
        Ok(match message {
            HandshakeType::HELLO_REQUEST => TlsEvent::HelloRequest,
            HandshakeType::CLIENT_HELLO => {
                self.retrying = false;
                TlsEvent::ClientHello(Box::new(ClientHello::parse(body)?))
            }
            HandshakeType::SERVER_HELLO => {
                let hello = Box::new(ServerHello::parse(body)?);
                self.suite = Some(hello.cipher_suite);
                self.retrying = hello.is_hello_retry_request();
                if self.retrying { TlsEvent::HelloRetryRequest(hello) } else { TlsEvent::ServerHello(hello) }
            }
            HandshakeType::NEW_SESSION_TICKET => TlsEvent::NewSessionTicket(new_session_ticket::parse(body)?),
            HandshakeType::CERTIFICATE => TlsEvent::Certificate(certificate::parse(body)?),
            HandshakeType::CERTIFICATE_STATUS => {
                TlsEvent::CertificateStatus(certificate_status::parse(body)?)
            }
            HandshakeType::SERVER_KEY_EXCHANGE => {
                TlsEvent::ServerKeyExchange(server_key_exchange::parse(body, self.suite)?)
            }
            HandshakeType::CERTIFICATE_REQUEST => TlsEvent::CertificateRequest,
            HandshakeType::SERVER_HELLO_DONE => TlsEvent::ServerHelloDone,
            HandshakeType::CLIENT_KEY_EXCHANGE => TlsEvent::ClientKeyExchange,
            HandshakeType::CERTIFICATE_VERIFY => TlsEvent::CertificateVerify,
            HandshakeType(other) => TlsEvent::OtherHandshake(other),
        })
    }
}
