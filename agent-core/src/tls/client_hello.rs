//! ClientHello (RFC 8446 section 4.1.2), also in SSL 2.0 format (RFC 5246 appendix E.2).

use super::codec::{Reader, field, u16_items};
use super::codepoints::{
    CipherSuite, CompressionMethod, EcPointFormat, ExtensionType, NamedGroup, ProtocolVersion,
    PskKeyExchangeMode, SignatureScheme, Sslv2Cipher,
};
use super::error::TlsError;
use super::extensions;

/// A ClientHello. Lists are as sent, GREASE included, and empty where the extension is absent; whether an extension was
/// sent at all is in [`ClientHello::extensions`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientHello {
    /// The hello came in SSL 2.0 format.
    pub sslv2: bool,
    /// `legacy_version`, which in TLS <= 1.2 is the highest version the client speaks.
    pub legacy_version: ProtocolVersion,
    /// `random`; of an SSL 2.0 hello its challenge, with zeros before it.
    pub random: [u8; 32],
    /// `legacy_session_id`, at most 32 bytes.
    pub session_id: Vec<u8>,
    /// Cipher suites in the client's order.
    pub cipher_suites: Vec<CipherSuite>,
    /// Cipher kinds of SSL 2.0 in the client's order (its TLS suites are in `cipher_suites`).
    pub sslv2_ciphers: Vec<Sslv2Cipher>,
    /// Compression methods.
    pub compression_methods: Vec<CompressionMethod>,
    /// Extensions in the order sent.
    pub extensions: Vec<ExtensionType>,
    /// `server_name` of type host_name (RFC 6066 section 3), as sent; with ECH that of the outer hello.
    pub server_name: Option<String>,
    /// `supported_versions`.
    pub supported_versions: Vec<ProtocolVersion>,
    /// `supported_groups`.
    pub supported_groups: Vec<NamedGroup>,
    /// Groups of the key shares.
    pub key_share_groups: Vec<NamedGroup>,
    /// `ec_point_formats`.
    pub ec_point_formats: Vec<EcPointFormat>,
    /// `signature_algorithms`.
    pub signature_algorithms: Vec<SignatureScheme>,
    /// Protocol names of ALPN (RFC 7301), which are bytes.
    pub alpn: Vec<Vec<u8>>,
    /// `psk_key_exchange_modes`.
    pub psk_key_exchange_modes: Vec<PskKeyExchangeMode>,
    /// Number of identities in `pre_shared_key`, where that is sent.
    pub psk_identities: Option<usize>,
    /// `early_data` is sent: 0-RTT data follows.
    pub early_data: bool,
    /// `encrypted_client_hello` is sent (GREASE ECH looks the same from outside).
    pub encrypted_client_hello: bool,
    /// Length of the ticket in `session_ticket` (RFC 5077), where that is sent; 0 asks for a new one.
    pub session_ticket_len: Option<usize>,
    /// The ticket itself, where it is not empty: what ties a resumed handshake to the one that made the session.
    pub session_ticket: Option<Vec<u8>>,
    /// `extended_master_secret` is sent.
    pub extended_master_secret: bool,
    /// Payload-free name of the first thing in it that was not well-formed; everything else is what could be read.
    pub malformed: Option<&'static str>,
}

impl ClientHello {
    /// Parses the body of a ClientHello message.
    ///
    /// # Errors
    /// When the fields before the compression methods cannot be read; what is wrong behind them is kept in
    /// [`ClientHello::malformed`].
    pub fn parse(body: &[u8]) -> Result<ClientHello, TlsError> {
        let mut r = Reader::new(body);
        let mut hello = ClientHello {
            legacy_version: ProtocolVersion(r.u16(field!("legacy_version"))?),
            random: r.array(field!("random"))?,
            ..ClientHello::default()
        };
        let session_id = r.vec8(field!("session_id"))?;
        if session_id.len() > 32 {
            return Err(TlsError::Invalid(field!("session_id")));
        }
        hello.session_id = session_id.to_vec();
        let suites = r.vec16(field!("cipher_suites"))?;
        hello.cipher_suites = u16_items(suites, field!("cipher_suites"), CipherSuite)?;
        if let Err(error) = hello.read_optional(&mut r) {
            hello.note(error);
        }
        Ok(hello)
    }

    /// Parses a ClientHello in SSL 2.0 format: `record` is what follows its two-byte length.
    ///
    /// # Errors
    /// When a field cannot be read.
    pub fn parse_sslv2(record: &[u8]) -> Result<ClientHello, TlsError> {
        let mut r = Reader::new(record);
        if r.u8(field!("sslv2_msg_type"))? != 1 {
            return Err(TlsError::Invalid(field!("sslv2_msg_type")));
        }
        let legacy_version = ProtocolVersion(r.u16(field!("sslv2_version"))?);
        let cipher_spec_len = r.u16(field!("sslv2_cipher_spec_length"))?;
        let session_id_len = r.u16(field!("sslv2_session_id_length"))?;
        let challenge_len = r.u16(field!("sslv2_challenge_length"))?;
        if cipher_spec_len % 3 != 0 {
            return Err(TlsError::Invalid(field!("sslv2_cipher_spec_length")));
        }
        let mut ciphers = Reader::new(r.take(usize::from(cipher_spec_len), field!("sslv2_cipher_specs"))?);
        let session_id = r.take(usize::from(session_id_len), field!("sslv2_session_id"))?;
        let challenge = r.take(usize::from(challenge_len), field!("sslv2_challenge"))?;
        let mut hello = ClientHello {
            sslv2: true,
            legacy_version,
            session_id: session_id.to_vec(),
            ..ClientHello::default()
        };
        while !ciphers.is_empty() {
            let kind = ciphers.u24(field!("sslv2_cipher_specs"))?;
            match u16::try_from(kind) {
                Ok(suite) => hello.cipher_suites.push(CipherSuite(suite)),
                Err(_) => hello.sslv2_ciphers.push(Sslv2Cipher(kind)),
            }
        }
        match hello.random.len().checked_sub(challenge.len()).and_then(|at| hello.random.get_mut(at..)) {
            Some(place) => place.copy_from_slice(challenge),
            None => hello.note(TlsError::Invalid(field!("sslv2_challenge"))),
        }
        if let Err(error) = r.expect_empty(field!("client_hello")) {
            hello.note(error);
        }
        Ok(hello)
    }

    /// Versions the client speaks, GREASE left out: `supported_versions` where sent, else `legacy_version` alone, which
    /// stands for itself and the ones below it.
    pub fn offered_versions(&self) -> Vec<ProtocolVersion> {
        if self.supported_versions.is_empty() {
            vec![self.legacy_version]
        } else {
            self.supported_versions.iter().copied().filter(|version| !version.is_grease()).collect()
        }
    }

    /// The highest version offered; `None` where nothing but GREASE is.
    pub fn highest_version(&self) -> Option<ProtocolVersion> {
        self.offered_versions().into_iter().max()
    }

    /// Was the extension sent?
    pub fn has(&self, extension: ExtensionType) -> bool {
        self.extensions.contains(&extension)
    }

    fn note(&mut self, error: TlsError) {
        self.malformed.get_or_insert(error.reason());
    }

    fn read_optional(&mut self, r: &mut Reader<'_>) -> Result<(), TlsError> {
        let methods = r.vec8(field!("compression_methods"))?;
        self.compression_methods = methods.iter().copied().map(CompressionMethod).collect();
        // Extensions came with TLS 1.0 (RFC 3546); before that, and in minimal clients, the hello ends here.
        if r.is_empty() {
            return Ok(());
        }
        let (extensions, problem) = extensions::split(r);
        for (extension, body) in &extensions {
            self.extensions.push(*extension);
            if let Err(error) = self.read_extension(*extension, body) {
                self.note(error);
            }
        }
        match problem {
            Some(error) => Err(error),
            None => r.expect_empty(field!("client_hello")),
        }
    }

    fn read_extension(&mut self, extension: ExtensionType, body: &[u8]) -> Result<(), TlsError> {
        let mut r = Reader::new(body);
        match extension {
            ExtensionType::SERVER_NAME => return self.read_server_name(body),
            ExtensionType::SUPPORTED_VERSIONS => {
                let list = r.vec8(field!("supported_versions"))?;
                self.supported_versions = u16_items(list, field!("supported_versions"), ProtocolVersion)?;
                return r.expect_empty(field!("supported_versions"));
            }
            ExtensionType::SUPPORTED_GROUPS => {
                let list = r.vec16(field!("supported_groups"))?;
                self.supported_groups = u16_items(list, field!("supported_groups"), NamedGroup)?;
                return r.expect_empty(field!("supported_groups"));
            }
            ExtensionType::SIGNATURE_ALGORITHMS => {
                let list = r.vec16(field!("signature_algorithms"))?;
                self.signature_algorithms = u16_items(list, field!("signature_algorithms"), SignatureScheme)?;
                return r.expect_empty(field!("signature_algorithms"));
            }
            ExtensionType::EC_POINT_FORMATS => {
                let list = r.vec8(field!("ec_point_formats"))?;
                self.ec_point_formats = list.iter().copied().map(EcPointFormat).collect();
                return r.expect_empty(field!("ec_point_formats"));
            }
            ExtensionType::PSK_KEY_EXCHANGE_MODES => {
                let list = r.vec8(field!("psk_key_exchange_modes"))?;
                self.psk_key_exchange_modes = list.iter().copied().map(PskKeyExchangeMode).collect();
                return r.expect_empty(field!("psk_key_exchange_modes"));
            }
            ExtensionType::KEY_SHARE => {
                let mut shares = Reader::new(r.vec16(field!("key_share"))?);
                while !shares.is_empty() {
                    let group = NamedGroup(shares.u16(field!("key_share"))?);
                    shares.vec16(field!("key_share"))?;
                    self.key_share_groups.push(group);
                }
                return r.expect_empty(field!("key_share"));
            }
            ExtensionType::ALPN => {
                let mut names = Reader::new(r.vec16(field!("alpn"))?);
                while !names.is_empty() {
                    self.alpn.push(names.vec8(field!("alpn"))?.to_vec());
                }
                return r.expect_empty(field!("alpn"));
            }
            ExtensionType::PRE_SHARED_KEY => {
                // Sent is sent, readable or not.
                self.psk_identities = Some(0);
                let mut identities = Reader::new(r.vec16(field!("psk_identities"))?);
                let mut count = 0;
                while !identities.is_empty() {
                    identities.vec16(field!("psk_identities"))?;
                    identities.take(4, field!("psk_identities"))?;
                    count += 1;
                    self.psk_identities = Some(count);
                }
                r.vec16(field!("psk_binders"))?;
                return r.expect_empty(field!("pre_shared_key"));
            }
            ExtensionType::SESSION_TICKET => {
                self.session_ticket_len = Some(body.len());
                self.session_ticket = (!body.is_empty()).then(|| body.to_vec());
            }
            ExtensionType::EARLY_DATA => self.early_data = true,
            ExtensionType::ENCRYPTED_CLIENT_HELLO => self.encrypted_client_hello = true,
            ExtensionType::EXTENDED_MASTER_SECRET => self.extended_master_secret = true,
            _ => {}
        }
        Ok(())
    }

    fn read_server_name(&mut self, body: &[u8]) -> Result<(), TlsError> {
        const HOST_NAME: u8 = 0;
        /// No name of a host is longer (RFC 1035 section 2.3.4).
        const MAX_NAME: usize = 255;
        let mut r = Reader::new(body);
        let mut names = Reader::new(r.vec16(field!("server_name"))?);
        while !names.is_empty() {
            let name_type = names.u8(field!("server_name"))?;
            let name = names.vec16(field!("server_name"))?;
            if name_type != HOST_NAME || self.server_name.is_some() {
                return Err(TlsError::Invalid(field!("server_name")));
            }
            // RFC 6066 section 3: ASCII without a trailing dot; anything else must not reach a label or a terminal.
            match std::str::from_utf8(name) {
                Ok(text)
                    if (1..=MAX_NAME).contains(&text.len())
                        && text.bytes().all(|byte| byte.is_ascii_graphic()) =>
                {
                    self.server_name = Some(text.to_owned());
                }
                _ => return Err(TlsError::Invalid(field!("server_name"))),
            }
        }
        r.expect_empty(field!("server_name"))
    }
}
