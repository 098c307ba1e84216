//! JA3: version, cipher suites, extensions, groups and point formats in decimal, GREASE left out.

use md5::{Digest, Md5};

use super::{Shape, hex, push_decimal};
use crate::tls::client_hello::ClientHello;

/// The string that JA3 hashes. A hello in SSL 2.0 format has suites and a version only.
pub fn string(hello: &ClientHello) -> String {
    string_of(&Shape::of(hello))
}

/// The fingerprint: MD5 in 32 lower-case hex digits.
pub fn hash(hello: &ClientHello) -> String {
    hash_of(&Shape::of(hello))
}

pub(super) fn hash_of(shape: &Shape) -> String {
    hex(&Md5::digest(string_of(shape)))
}

fn string_of(shape: &Shape) -> String {
    let mut text = String::with_capacity(512);
    push_decimal(&mut text, shape.legacy_version.0);
    for list in [shape.suites(), shape.extensions(), shape.groups(), shape.formats()] {
        join(&mut text, list);
    }
    text
}

/// Adds a comma and the numbers with hyphens in between.
fn join(text: &mut String, numbers: &[u16]) {
    text.push(',');
    for (at, number) in numbers.iter().enumerate() {
        if at > 0 {
            text.push('-');
        }
        push_decimal(text, *number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::codepoints::{CipherSuite, EcPointFormat, ExtensionType, NamedGroup, ProtocolVersion};

    /// The examples of the JA3 description.
    #[test]
    fn published_examples() {
        let hello = ClientHello {
            legacy_version: ProtocolVersion(769),
            cipher_suites: [47, 53, 5, 10, 49161, 49162, 49171, 49172, 50, 56, 19, 4]
                .map(CipherSuite)
                .to_vec(),
            extensions: [0, 10, 11].map(ExtensionType).to_vec(),
            supported_groups: [23, 24, 25].map(NamedGroup).to_vec(),
            ec_point_formats: vec![EcPointFormat(0)],
            ..ClientHello::default()
        };
        assert_eq!(string(&hello), "769,47-53-5-10-49161-49162-49171-49172-50-56-19-4,0-10-11,23-24-25,0");
        assert_eq!(hash(&hello), "ada70206e40642a3e4461f35503241d5");

        let hello = ClientHello {
            legacy_version: ProtocolVersion(769),
            cipher_suites: [4, 5, 10, 9, 100, 98, 3, 6, 19, 18, 99].map(CipherSuite).to_vec(),
            ..ClientHello::default()
        };
        assert_eq!(string(&hello), "769,4-5-10-9-100-98-3-6-19-18-99,,,");
        assert_eq!(hash(&hello), "de350869b8c85de67a350c8d186f11e6");
    }
}
