//! JA4, the TLS client fingerprint (its description is under the BSD 3-clause licence; the other fingerprints of that family
//! are not, and are left out).

use sha2::{Digest, Sha256};

use super::{Shape, hex, push_hex};
use crate::tls::client_hello::ClientHello;
use crate::tls::codepoints::{ExtensionType, ProtocolVersion};

/// What stands for the hash of an empty list.
const NOTHING: &str = "000000000000";

/// The fingerprint, like `t13d1516h2_8daaf6152771_e5627efa2ab1`.
pub fn hash(hello: &ClientHello) -> String {
    hash_of(&Shape::of(hello))
}

/// The same with the lists in place of their hashes (`JA4_r`).
pub fn string(hello: &ClientHello) -> String {
    let shape = Shape::of(hello);
    let (ciphers, extensions) = lists(&shape);
    format!("{}_{ciphers}_{extensions}", head(&shape))
}

pub(super) fn hash_of(shape: &Shape) -> String {
    let (ciphers, extensions) = lists(shape);
    format!("{}_{}_{}", head(shape), short_hash(&ciphers), short_hash(&extensions))
}

/// `t`, version, SNI or not, how many suites and extensions, and the first protocol of ALPN.
fn head(shape: &Shape) -> String {
    let (suites, extensions) = (shape.suites(), shape.extensions());
    let target = if extensions.contains(&ExtensionType::SERVER_NAME.0) { 'd' } else { 'i' };
    let counts = (suites.len().min(99), extensions.len().min(99));
    format!("t{}{target}{:02}{:02}{}", version(shape), counts.0, counts.1, alpn(shape.protocol))
}

fn version(shape: &Shape) -> &'static str {
    match shape.highest_version {
        Some(ProtocolVersion::TLS_1_3) => "13",
        Some(ProtocolVersion::TLS_1_2) => "12",
        Some(ProtocolVersion::TLS_1_1) => "11",
        Some(ProtocolVersion::TLS_1_0) => "10",
        Some(ProtocolVersion::SSL_3_0) => "s3",
        Some(ProtocolVersion::SSL_2_0) => "s2",
        _ => "00",
    }
}

/// First and last character of the first protocol; of its hex digits where either is not alphanumeric.
fn alpn(protocol: Option<(u8, u8)>) -> String {
    let Some((first, last)) = protocol else { return "00".to_owned() };
    if first.is_ascii_alphanumeric() && last.is_ascii_alphanumeric() {
        [first, last].map(char::from).iter().collect()
    } else {
        format!("{:x}{:x}", first >> 4, last & 0x0F)
    }
}

/// Both sorted lists; the extensions without SNI and ALPN, which the head already tells, and followed by the signature
/// algorithms as sent.
fn lists(shape: &Shape) -> (String, String) {
    let mut suites = shape.suites().to_vec();
    suites.sort_unstable();
    let told = [ExtensionType::SERVER_NAME.0, ExtensionType::ALPN.0];
    let mut extensions: Vec<u16> =
        shape.extensions().iter().copied().filter(|extension| !told.contains(extension)).collect();
    extensions.sort_unstable();
    let schemes = shape.schemes();
    let mut tail = String::with_capacity(5 * (extensions.len() + schemes.len()));
    list(&mut tail, &extensions);
    // Without extensions the hash is that of nothing, and there can be no signature algorithms either.
    if !schemes.is_empty() {
        tail.push('_');
        list(&mut tail, schemes);
    }
    let mut head = String::with_capacity(5 * suites.len());
    list(&mut head, &suites);
    (head, tail)
}

/// Adds the values in hex with commas in between.
fn list(text: &mut String, values: &[u16]) {
    for (at, value) in values.iter().enumerate() {
        if at > 0 {
            text.push(',');
        }
        value.to_be_bytes().into_iter().for_each(|byte| push_hex(text, byte));
    }
}

fn short_hash(list: &str) -> String {
    if list.is_empty() {
        return NOTHING.to_owned();
    }
    let mut digits = hex(&Sha256::digest(list));
    digits.truncate(NOTHING.len());
    digits
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::codepoints::{CipherSuite, SignatureScheme};

    /// The example of the JA4 description.
    fn chrome() -> ClientHello {
        ClientHello {
            legacy_version: ProtocolVersion::TLS_1_2,
            supported_versions: [0x0A0A, 0x0304, 0x0303].map(ProtocolVersion).to_vec(),
            cipher_suites: [
                0x1A1A, 0x1301, 0x1302, 0x1303, 0xC02B, 0xC02F, 0xC02C, 0xC030, 0xCCA9, 0xCCA8, 0xC013,
                0xC014, 0x009C, 0x009D, 0x002F, 0x0035,
            ]
            .map(CipherSuite)
            .to_vec(),
            extensions: [
                0x2A2A, 0x001B, 0x0000, 0x0033, 0x0010, 0x4469, 0x0017, 0x002D, 0x000D, 0x0005, 0x0023,
                0x0012, 0x002B, 0xFF01, 0x000B, 0x000A, 0x0015,
            ]
            .map(ExtensionType)
            .to_vec(),
            signature_algorithms: [0x0403, 0x0804, 0x0401, 0x0503, 0x0805, 0x0501, 0x0806, 0x0601]
                .map(SignatureScheme)
                .to_vec(),
            alpn: vec![b"h2".to_vec(), b"http/1.1".to_vec()],
            ..ClientHello::default()
        }
    }

    #[test]
    fn published_example() {
        assert_eq!(hash(&chrome()), "t13d1516h2_8daaf6152771_e5627efa2ab1");
        assert_eq!(
            string(&chrome()),
            "t13d1516h2_002f,0035,009c,009d,1301,1302,1303,c013,c014,c02b,c02c,c02f,c030,cca8,cca9_0005,000a,000b,\
             000d,0012,0015,0017,001b,0023,002b,002d,0033,4469,ff01_0403,0804,0401,0503,0805,0501,0806,0601"
        );
    }

    /// As published for Chrome 143: it sends no padding, new ALPS and GREASE ECH.
    #[test]
    fn published_chrome_143() {
        let extensions = [45, 51, 16, 65037, 23, 17613, 0, 11, 10, 43, 65281, 35, 18, 5, 13, 27]
            .map(ExtensionType)
            .to_vec();
        let hello = ClientHello { extensions, ..chrome() };
        assert_eq!(hash(&hello), "t13d1516h2_8daaf6152771_d8a2da3f94cd");
    }

    #[test]
    fn published_example_without_signature_algorithms() {
        let hello = ClientHello { signature_algorithms: vec![], ..chrome() };
        assert_eq!(hash(&hello), "t13d1516h2_8daaf6152771_6d807ffa2a79");
    }

    #[test]
    fn empty_lists_have_no_hash() {
        let hello = ClientHello { legacy_version: ProtocolVersion::SSL_3_0, ..ClientHello::default() };
        assert_eq!(hash(&hello), "ts3i000000_000000000000_000000000000");
        let hello = ClientHello {
            legacy_version: ProtocolVersion(0x0102),
            extensions: vec![ExtensionType::SERVER_NAME, ExtensionType::ALPN],
            ..ClientHello::default()
        };
        assert_eq!(hash(&hello), "t00d000200_000000000000_000000000000");
    }

    #[test]
    fn counts_stop_at_99() {
        let hello = ClientHello {
            cipher_suites: (0..120).map(CipherSuite).collect(),
            extensions: (100..220).map(ExtensionType).collect(),
            ..chrome()
        };
        assert!(hash(&hello).starts_with("t13i9999h2_"));
    }

    /// The examples of the JA4 description.
    #[test]
    fn protocols_that_are_not_alphanumeric_are_told_by_their_hex_digits() {
        let alpn = |protocol: &[u8]| {
            alpn(Shape::of(&ClientHello { alpn: vec![protocol.to_vec()], ..ClientHello::default() }).protocol)
        };
        assert_eq!(alpn(b"h"), "hh");
        assert_eq!(alpn(b"http/1.1"), "h1");
        assert_eq!(alpn(b""), "00");
        assert_eq!(alpn(&[0xAB]), "ab");
        assert_eq!(alpn(&[0xAB, 0xCD]), "ad");
        assert_eq!(alpn(&[0x30, 0xAB]), "3b");
        assert_eq!(alpn(&[0x30, 0x31, 0xAB, 0xCD]), "3d");
        assert_eq!(alpn(&[0x30, 0xAB, 0xCD, 0x31]), "01");
    }
}
