//! Cipher suites and their parts.

use serde_json::{Value, json};

use super::algorithms::{self, Algorithm};
use super::set;
use crate::report::algorithms::suite_of;

/// A cipher suite as CycloneDX has it.
pub(super) fn cipher_suite(name: &str) -> Value {
    let algorithms: Vec<String> =
        parts(name).iter().map(|part| format!("crypto/algorithm/{}", part.name)).collect();
    let mut suite = json!({"name": name, "algorithms": algorithms});
    if let Some(number) = suite_of(name) {
        set(
            &mut suite,
            "identifiers",
            json!([format!("0x{:02X}", number.0 >> 8), format!("0x{:02X}", number.0 & 0xff)]),
        );
    }
    suite
}

/// The algorithms that a suite's IANA name says it is made of.
pub(super) fn parts(name: &str) -> Vec<Algorithm> {
    let Some(rest) = name.strip_prefix("TLS_") else { return Vec::new() };
    let (exchange, rest) = match rest.split_once("_WITH_") {
        Some((exchange, rest)) => (Some(exchange), rest),
        None => (None, rest),
    };
    let mut parts: Vec<Algorithm> = exchange.into_iter().flat_map(key_exchange).collect();
    let (cipher, hash) = match rest.rsplit_once('_') {
        Some((cipher, hash)) if algorithms::is_hash(hash) => (cipher, Some(hash)),
        _ => (rest, None),
    };
    // CCM suites of TLS 1.2 do not name their hash; it is SHA-256 (RFC 6655 section 3).
    let hash = hash.or_else(|| cipher.contains("CCM").then_some("SHA256"));
    parts.extend(algorithms::cipher(cipher));
    parts.extend(hash.map(algorithms::hash));
    parts
}

/// `ECDHE_RSA`: how keys are agreed on, and how the server signs.
fn key_exchange(name: &str) -> Vec<Algorithm> {
    let name = name.trim_end_matches("_EXPORT").trim_end_matches("_EXPORT1024");
    name.split('_').filter_map(algorithms::exchange_word).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(suite: &str) -> Vec<String> {
        parts(suite).into_iter().map(|part| part.name).collect()
    }

    #[test]
    fn names_say_what_suites_are_made_of() {
        assert_eq!(names("TLS_AES_256_GCM_SHA384"), ["AES-256-GCM", "SHA-384"]);
        assert_eq!(names("TLS_CHACHA20_POLY1305_SHA256"), ["ChaCha20-Poly1305", "SHA-256"]);
        assert_eq!(names("TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA"), ["ECDHE", "RSA", "AES-128-CBC", "SHA-1"]);
        assert_eq!(names("TLS_RSA_WITH_3DES_EDE_CBC_SHA"), ["RSA", "3DES-EDE-CBC", "SHA-1"]);
        assert_eq!(
            names("TLS_ECDHE_ECDSA_WITH_AES_128_CCM_8"),
            ["ECDHE", "ECDSA", "AES-128-CCM-8", "SHA-256"]
        );
        assert_eq!(names("TLS_AES_128_CCM_8_SHA256"), ["AES-128-CCM-8", "SHA-256"]);
        assert_eq!(names("TLS_DH_anon_WITH_AES_128_CBC_SHA256"), ["DH", "AES-128-CBC", "SHA-256"]);
        assert_eq!(names("TLS_RSA_WITH_NULL_SHA256"), ["RSA", "SHA-256"]);
        assert_eq!(names("0xBEEF"), [""; 0]);
    }

    #[test]
    fn suites_have_their_two_numbers() {
        let suite = cipher_suite("TLS_AES_128_GCM_SHA256");
        assert_eq!(suite["identifiers"], json!(["0x13", "0x01"]));
        assert!(cipher_suite("no such suite").get("identifiers").is_none());
    }
}
