//! ServerHello and HelloRetryRequest (RFC 8446 sections 4.1.3 and 4.1.4).

use super::codec::{Reader, field};
use super::codepoints::{CipherSuite, CompressionMethod, ExtensionType, NamedGroup, ProtocolVersion};
use super::error::TlsError;
use super::extensions;

/// `random` of a HelloRetryRequest: SHA-256 of "HelloRetryRequest" (RFC 8446 section 4.1.3).
const HELLO_RETRY_REQUEST_RANDOM: [u8; 32] = [
    0xCF, 0x21, 0xAD, 0x74, 0xE5, 0x9A, 0x61, 0x11, 0xBE, 0x1D, 0x8C, 0x02, 0x1E, 0x65, 0xB8, 0x91, 0xC2,
    0xA2, 0x11, 0x16, 0x7A, 0xBB, 0x8C, 0x5E, 0x07, 0x9E, 0x09, 0xE2, 0xC8, 0xA8, 0x33, 0x9C,
];

/// A ServerHello or HelloRetryRequest.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServerHello {
    /// `legacy_version`, which in TLS <= 1.2 is the version in force.
    pub legacy_version: ProtocolVersion,
    /// `random`.
    pub random: [u8; 32],
    /// `legacy_session_id_echo`, at most 32 bytes.
    pub session_id: Vec<u8>,
    /// The chosen cipher suite.
    pub cipher_suite: CipherSuite,
    /// The chosen compression method.
    pub compression_method: CompressionMethod,
    /// Extensions in the order sent.
    pub extensions: Vec<ExtensionType>,
    /// `supported_versions`: the version in force from TLS 1.3 on.
    pub selected_version: Option<ProtocolVersion>,
    /// Group of `key_share`; in a HelloRetryRequest the group the client shall use.
    pub key_share_group: Option<NamedGroup>,
    /// Index of the chosen identity in `pre_shared_key`: the session is resumed, or an external PSK is used.
    pub selected_psk: Option<u16>,
    /// Protocol name of ALPN (in the clear in TLS <= 1.2 only).
    pub alpn: Option<Vec<u8>>,
    /// `session_ticket` is sent: a NewSessionTicket will come (RFC 5077 section 3.2).
    pub session_ticket: bool,
    /// `extended_master_secret` is sent.
    pub extended_master_secret: bool,
    /// Payload-free name of the first thing in it that was not well-formed; everything else is what could be read.
    pub malformed: Option<&'static str>,
}

/// A mark that a server leaves in `random` when it speaks a later version than it chose (RFC 8446 section 4.1.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Downgrade {
    /// A TLS 1.3 server chose TLS 1.2.
    Tls12,
    /// A TLS 1.2 or 1.3 server chose TLS 1.1 or below.
    Tls11OrBelow,
}

impl ServerHello {
    /// Parses the body of a ServerHello message.
    ///
    /// # Errors
    /// When the fields before the extensions cannot be read; what is wrong in those is kept in
    /// [`ServerHello::malformed`].
    pub fn parse(body: &[u8]) -> Result<ServerHello, TlsError> {
        let mut r = Reader::new(body);
        let mut hello = ServerHello {
            legacy_version: ProtocolVersion(r.u16(field!("legacy_version"))?),
            random: r.array(field!("random"))?,
            ..ServerHello::default()
        };
        let session_id = r.vec8(field!("session_id"))?;
        if session_id.len() > 32 {
            return Err(TlsError::Invalid(field!("session_id")));
        }
        hello.session_id = session_id.to_vec();
        hello.cipher_suite = CipherSuite(r.u16(field!("cipher_suite"))?);
        hello.compression_method = CompressionMethod(r.u8(field!("compression_method"))?);
        // Without extensions the block itself may be absent (RFC 5246 section 7.4.1.3).
        if !r.is_empty() {
            hello.read_extensions(&mut r);
        }
        Ok(hello)
    }

    /// The version in force.
    pub fn negotiated_version(&self) -> ProtocolVersion {
        self.selected_version.unwrap_or(self.legacy_version)
    }

    /// Is this a HelloRetryRequest?
    pub fn is_hello_retry_request(&self) -> bool {
        self.random == HELLO_RETRY_REQUEST_RANDOM
    }

    /// The mark of a downgrade in `random`.
    pub fn downgrade(&self) -> Option<Downgrade> {
        match self.random.last_chunk::<8>() {
            Some(b"DOWNGRD\x01") => Some(Downgrade::Tls12),
            Some(b"DOWNGRD\x00") => Some(Downgrade::Tls11OrBelow),
            _ => None,
        }
    }

    /// Was the extension sent?
    pub fn has(&self, extension: ExtensionType) -> bool {
        self.extensions.contains(&extension)
    }

    fn note(&mut self, error: TlsError) {
        self.malformed.get_or_insert(error.reason());
    }

    fn read_extensions(&mut self, r: &mut Reader<'_>) {
        let (extensions, problem) = extensions::split(r);
        for (extension, body) in &extensions {
            self.extensions.push(*extension);
            if let Err(error) = self.read_extension(*extension, body) {
                self.note(error);
            }
        }
        if let Some(error) = problem.or(r.expect_empty(field!("server_hello")).err()) {
            self.note(error);
        }
    }

    fn read_extension(&mut self, extension: ExtensionType, body: &[u8]) -> Result<(), TlsError> {
        let mut r = Reader::new(body);
        match extension {
            ExtensionType::SUPPORTED_VERSIONS => {
                self.selected_version = Some(ProtocolVersion(r.u16(field!("supported_versions"))?));
                r.expect_empty(field!("supported_versions"))
            }
            ExtensionType::KEY_SHARE => {
                self.key_share_group = Some(NamedGroup(r.u16(field!("key_share"))?));
                // A HelloRetryRequest names the group alone (RFC 8446 section 4.2.8).
                if !self.is_hello_retry_request() {
                    r.vec16(field!("key_share"))?;
                }
                r.expect_empty(field!("key_share"))
            }
            ExtensionType::PRE_SHARED_KEY => {
                self.selected_psk = Some(r.u16(field!("pre_shared_key"))?);
                r.expect_empty(field!("pre_shared_key"))
            }
            ExtensionType::ALPN => {
                let mut names = Reader::new(r.vec16(field!("alpn"))?);
                self.alpn = Some(names.vec8(field!("alpn"))?.to_vec());
                names.expect_empty(field!("alpn"))?;
                r.expect_empty(field!("alpn"))
            }
            ExtensionType::SESSION_TICKET => {
                self.session_ticket = true;
                r.expect_empty(field!("session_ticket"))
            }
            ExtensionType::EXTENDED_MASTER_SECRET => {
                self.extended_master_secret = true;
                r.expect_empty(field!("extended_master_secret"))
            }
            _ => Ok(()),
        }
    }
}
