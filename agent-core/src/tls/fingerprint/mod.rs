//! Fingerprints of TLS clients, from their first ClientHello.

pub mod ja3;
pub mod ja4;

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
