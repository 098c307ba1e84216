//! Libraries that are named, not probed.

use std::path::Path;

use super::Unprobed;
use super::symbols::Symbols;

/// A function that only this library has, and no program that merely uses it.
const LIBRARIES: &[(&str, Unprobed)] = &[
    ("JNI_CreateJavaVM", Unprobed::Java),
    ("SSL_ImportFD", Unprobed::Nss),
    ("mbedtls_ssl_handshake", Unprobed::MbedTls),
    ("wolfSSL_CTX_new", Unprobed::WolfSsl),
    ("rustls_connection_process_new_packets", Unprobed::Rustls),
];

/// Names to look for.
pub(super) const NAMES: &[&str] = &[
    "JNI_CreateJavaVM",
    "SSL_ImportFD",
    "mbedtls_ssl_handshake",
    "wolfSSL_CTX_new",
    "rustls_connection_process_new_packets",
];

/// The library that this file is or has inside.
pub(super) fn named(symbols: &Symbols) -> Option<Unprobed> {
    LIBRARIES.iter().find(|(name, _)| symbols.defined(name).is_some()).map(|(_, library)| *library)
}

/// Whether a file that cannot be read here goes by the name of a TLS library. Every file of a foreign program is one that
/// cannot be read here; only those of a TLS library are a loss.
pub(super) fn sounds_like_tls(name: &Path) -> bool {
    let name = name.file_name().unwrap_or_default().as_encoded_bytes();
    [b"libssl.so".as_slice(), b"libssl-", b"libgnutls.so"].iter().any(|start| name.starts_with(start))
}
