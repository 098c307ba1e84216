//! Fingerprints of TLS clients, from their first ClientHello.

pub mod ja3;
pub mod ja4;

use std::sync::OnceLock;

use super::client_hello::ClientHello;
use super::codepoints::ProtocolVersion;

/// Numbers that are kept of a hello to make its fingerprints of; clients in use send half of it. With more they are made at once
/// and the numbers let go, of which there may be tens of thousands.
const MAX_KEPT: usize = 256;

/// Both fingerprints of a client, made when somebody asks for them: most connections are only counted.
#[derive(Clone, Debug, Default)]
pub struct Fingerprints {
    shape: Shape,
    ja3: OnceLock<String>,
    ja4: OnceLock<String>,
}

impl Fingerprints {
    /// Of the client that sent this as its first hello.
    pub fn of(hello: &ClientHello) -> Self {
        let made = Self { shape: Shape::of(hello), ..Self::default() };
        if made.shape.numbers.len() <= MAX_KEPT {
            return made;
        }
        Self::known(made.ja3(), made.ja4())
    }

    /// Bytes of memory that they take.
    pub fn bytes(&self) -> usize {
        let text = |text: &OnceLock<String>| text.get().map_or(0, String::capacity);
        size_of::<Self>() + size_of_val(&*self.shape.numbers) + text(&self.ja3) + text(&self.ja4)
    }

    /// Fingerprints that are known already.
    pub fn known(ja3: impl Into<String>, ja4: impl Into<String>) -> Self {
        Self { shape: Shape::default(), ja3: OnceLock::from(ja3.into()), ja4: OnceLock::from(ja4.into()) }
    }

    /// JA3: MD5, 32 lower-case hex digits.
    pub fn ja3(&self) -> &str {
        self.ja3.get_or_init(|| ja3::hash_of(&self.shape))
    }

    /// JA4, like `t13d1516h2_8daaf6152771_e5627efa2ab1`.
    pub fn ja4(&self) -> &str {
        self.ja4.get_or_init(|| ja4::hash_of(&self.shape))
    }
}

/// What fingerprints are made of, GREASE left out (RFC 8701).
#[derive(Clone, Debug, Default)]
struct Shape {
    legacy_version: ProtocolVersion,
    highest_version: Option<ProtocolVersion>,
    /// First and last byte of the first protocol of ALPN.
    protocol: Option<(u8, u8)>,
    /// Cipher suites, extensions, groups, point formats and signature schemes as sent, one after the other.
    numbers: Box<[u16]>,
    /// Where each of them but the last ends.
    ends: [usize; 4],
}

impl Shape {
    fn of(hello: &ClientHello) -> Self {
        let most = hello.cipher_suites.len()
            + hello.extensions.len()
            + hello.supported_groups.len()
            + hello.ec_point_formats.len()
            + hello.signature_algorithms.len();
        let mut numbers = Vec::with_capacity(most);
        numbers.extend(hello.cipher_suites.iter().filter(|suite| !suite.is_grease()).map(|suite| suite.0));
        let suites = numbers.len();
        numbers.extend(hello.extensions.iter().filter(|extension| !extension.is_grease()).map(|e| e.0));
        let extensions = numbers.len();
        numbers.extend(hello.supported_groups.iter().filter(|group| !group.is_grease()).map(|g| g.0));
        let groups = numbers.len();
        numbers.extend(hello.ec_point_formats.iter().map(|format| u16::from(format.0)));
        let formats = numbers.len();
        numbers.extend(hello.signature_algorithms.iter().filter(|scheme| !scheme.is_grease()).map(|s| s.0));
        let first = hello.alpn.first();
        Self {
            legacy_version: hello.legacy_version,
            highest_version: hello.highest_version(),
            protocol: first.and_then(|name| Some((*name.first()?, *name.last()?))),
            numbers: numbers.into_boxed_slice(),
            ends: [suites, extensions, groups, formats],
        }
    }

    fn part(&self, from: usize, to: usize) -> &[u16] {
        self.numbers.get(from..to).unwrap_or_default()
    }

    fn suites(&self) -> &[u16] {
        self.part(0, self.ends[0])
    }

    fn extensions(&self) -> &[u16] {
        self.part(self.ends[0], self.ends[1])
    }

    fn groups(&self) -> &[u16] {
        self.part(self.ends[1], self.ends[2])
    }

    fn formats(&self) -> &[u16] {
        self.part(self.ends[2], self.ends[3])
    }

    fn schemes(&self) -> &[u16] {
        self.part(self.ends[3], self.numbers.len())
    }
}

/// Lower-case hex.
fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 2);
    bytes.iter().for_each(|byte| push_hex(&mut text, *byte));
    text
}

/// Adds two lower-case hex digits. By hand, as the decimals below: `format!` for each number was most of what a ClientHello
/// costs (docs/performance.md).
fn push_hex(text: &mut String, byte: u8) {
    for digit in [byte >> 4, byte & 0x0F] {
        text.push(char::from(digit + if digit < 10 { b'0' } else { b'a' - 10 }));
    }
}

/// Adds a decimal number.
fn push_decimal(text: &mut String, number: u16) {
    let mut scale = 10_000;
    while scale > 1 && number < scale {
        scale /= 10;
    }
    while scale > 0 {
        // One digit: below ten.
        text.push(char::from(b'0' + (number / scale % 10) as u8));
        scale /= 10;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_as_everybody_writes_them() {
        for number in 0..=u16::MAX {
            let (mut decimal, [high, low]) = (String::new(), number.to_be_bytes());
            push_decimal(&mut decimal, number);
            assert_eq!(decimal, number.to_string());
            assert_eq!(hex(&[high, low]), format!("{number:04x}"));
        }
    }
}
