//! The small registries.

use super::codepoint;

codepoint! {
    /// Content type of a record (IANA "TLS ContentType").
    pub struct ContentType(u8);
    CHANGE_CIPHER_SPEC = 20 => "change_cipher_spec",
    ALERT = 21 => "alert",
    HANDSHAKE = 22 => "handshake",
    APPLICATION_DATA = 23 => "application_data",
    HEARTBEAT = 24 => "heartbeat",
}

codepoint! {
    /// Type of a handshake message (IANA "TLS HandshakeType").
    pub struct HandshakeType(u8);
    HELLO_REQUEST = 0 => "hello_request",
    CLIENT_HELLO = 1 => "client_hello",
    SERVER_HELLO = 2 => "server_hello",
    NEW_SESSION_TICKET = 4 => "new_session_ticket",
    END_OF_EARLY_DATA = 5 => "end_of_early_data",
    HELLO_RETRY_REQUEST = 6 => "hello_retry_request",
    ENCRYPTED_EXTENSIONS = 8 => "encrypted_extensions",
    CERTIFICATE = 11 => "certificate",
    SERVER_KEY_EXCHANGE = 12 => "server_key_exchange",
    CERTIFICATE_REQUEST = 13 => "certificate_request",
    SERVER_HELLO_DONE = 14 => "server_hello_done",
    CERTIFICATE_VERIFY = 15 => "certificate_verify",
    CLIENT_KEY_EXCHANGE = 16 => "client_key_exchange",
    FINISHED = 20 => "finished",
    CERTIFICATE_URL = 21 => "certificate_url",
    CERTIFICATE_STATUS = 22 => "certificate_status",
    SUPPLEMENTAL_DATA = 23 => "supplemental_data",
    KEY_UPDATE = 24 => "key_update",
    COMPRESSED_CERTIFICATE = 25 => "compressed_certificate",
    EKT_KEY = 26 => "ekt_key",
    NEXT_PROTOCOL = 67 => "next_protocol",
    MESSAGE_HASH = 254 => "message_hash",
}

codepoint! {
    /// Compression method (IANA "TLS Compression Method Identifiers").
    pub struct CompressionMethod(u8);
    NULL = 0 => "NULL",
    DEFLATE = 1 => "DEFLATE",
    LZS = 64 => "LZS",
}

codepoint! {
    /// Elliptic curve point format (IANA "TLS EC Point Formats").
    pub struct EcPointFormat(u8);
    UNCOMPRESSED = 0 => "uncompressed",
    ANSIX962_COMPRESSED_PRIME = 1 => "ansiX962_compressed_prime",
    ANSIX962_COMPRESSED_CHAR2 = 2 => "ansiX962_compressed_char2",
}

codepoint! {
    /// PSK key exchange mode (IANA "TLS PskKeyExchangeMode").
    pub struct PskKeyExchangeMode(u8);
    PSK_KE = 0 => "psk_ke",
    PSK_DHE_KE = 1 => "psk_dhe_ke",
}

codepoint! {
    /// A cipher kind of SSL 2.0, three bytes on the wire (RFC 5246 appendix E.2). Those whose first byte is zero are TLS
    /// cipher suites instead.
    pub struct Sslv2Cipher(u32);
    RC4_128_WITH_MD5 = 0x01_0080 => "SSL_CK_RC4_128_WITH_MD5",
    RC4_128_EXPORT40_WITH_MD5 = 0x02_0080 => "SSL_CK_RC4_128_EXPORT40_WITH_MD5",
    RC2_128_CBC_WITH_MD5 = 0x03_0080 => "SSL_CK_RC2_128_CBC_WITH_MD5",
    RC2_128_CBC_EXPORT40_WITH_MD5 = 0x04_0080 => "SSL_CK_RC2_128_CBC_EXPORT40_WITH_MD5",
    IDEA_128_CBC_WITH_MD5 = 0x05_0080 => "SSL_CK_IDEA_128_CBC_WITH_MD5",
    DES_64_CBC_WITH_MD5 = 0x06_0040 => "SSL_CK_DES_64_CBC_WITH_MD5",
    DES_192_EDE3_CBC_WITH_MD5 = 0x07_00C0 => "SSL_CK_DES_192_EDE3_CBC_WITH_MD5",
    RC4_64_WITH_MD5 = 0x08_0080 => "SSL_CK_RC4_64_WITH_MD5",
}
