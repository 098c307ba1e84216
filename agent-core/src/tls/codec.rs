//! Reading TLS presentation language (RFC 8446 section 3): big-endian numbers and length-prefixed vectors.

use super::error::TlsError;

/// The name of a field and of what can be wrong with it, spelled out at compile time so that errors carry no payload.
#[derive(Debug, PartialEq, Eq)]
pub struct Field {
    /// The field in the RFC's spelling.
    pub name: &'static str,
    /// `truncated_<name>`.
    pub truncated: &'static str,
    /// `trailing_bytes_in_<name>`.
    pub trailing: &'static str,
    /// `invalid_<name>`.
    pub invalid: &'static str,
}

/// A `&'static Field` from its name.
macro_rules! field {
    ($name:literal) => {
        const {
            &$crate::tls::codec::Field {
                name: $name,
                truncated: concat!("truncated_", $name),
                trailing: concat!("trailing_bytes_in_", $name),
                invalid: concat!("invalid_", $name),
            }
        }
    };
}
pub(crate) use field;

/// A cursor over bytes that names what it could not read.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a> {
    left: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Reads from the start of `bytes`.
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { left: bytes }
    }

    /// Is nothing left?
    pub const fn is_empty(&self) -> bool {
        self.left.is_empty()
    }

    /// The next `len` bytes.
    pub fn take(&mut self, len: usize, field: &'static Field) -> Result<&'a [u8], TlsError> {
        let (taken, left) = self.left.split_at_checked(len).ok_or(TlsError::Truncated(field))?;
        self.left = left;
        Ok(taken)
    }

    /// The next `N` bytes as an array.
    pub fn array<const N: usize>(&mut self, field: &'static Field) -> Result<[u8; N], TlsError> {
        let (taken, left) = self.left.split_first_chunk::<N>().ok_or(TlsError::Truncated(field))?;
        self.left = left;
        Ok(*taken)
    }

    /// One byte.
    pub fn u8(&mut self, field: &'static Field) -> Result<u8, TlsError> {
        self.array::<1>(field).map(|[byte]| byte)
    }

    /// Two bytes.
    pub fn u16(&mut self, field: &'static Field) -> Result<u16, TlsError> {
        self.array(field).map(u16::from_be_bytes)
    }

    /// Three bytes.
    pub fn u24(&mut self, field: &'static Field) -> Result<u32, TlsError> {
        self.array::<3>(field).map(|[a, b, c]| u32::from_be_bytes([0, a, b, c]))
    }

    /// A vector with a length of one byte.
    pub fn vec8(&mut self, field: &'static Field) -> Result<&'a [u8], TlsError> {
        let len = self.u8(field)?;
        self.take(usize::from(len), field)
    }

    /// A vector with a length of two bytes.
    pub fn vec16(&mut self, field: &'static Field) -> Result<&'a [u8], TlsError> {
        let len = self.u16(field)?;
        self.take(usize::from(len), field)
    }

    /// A vector with a length of three bytes.
    pub fn vec24(&mut self, field: &'static Field) -> Result<&'a [u8], TlsError> {
        let [a, b, c] = self.array::<3>(field)?;
        let len = usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c);
        self.take(len, field)
    }

    /// Everything that is left.
    pub fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.left)
    }

    /// Says so when something is left.
    pub fn expect_empty(&self, field: &'static Field) -> Result<(), TlsError> {
        if self.is_empty() { Ok(()) } else { Err(TlsError::TrailingBytes(field)) }
    }
}

/// The big-endian two-byte items of a vector; a lone byte at its end makes it invalid.
pub fn u16_items<T>(bytes: &[u8], field: &'static Field, make: fn(u16) -> T) -> Result<Vec<T>, TlsError> {
    let mut reader = Reader::new(bytes);
    let mut items = Vec::with_capacity(bytes.len() / 2);
    while !reader.is_empty() {
        items.push(make(reader.u16(field).map_err(|_| TlsError::Invalid(field))?));
    }
    Ok(items)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_numbers_and_vectors_in_order() {
        let mut r = Reader::new(&[1, 0, 2, 0, 0, 3, 1, 9, 0, 2, 8, 7, 0, 0, 1, 6, 5]);
        let f = field!("x");
        assert_eq!((r.u8(f), r.u16(f), r.u24(f)), (Ok(1), Ok(2), Ok(3)));
        assert_eq!(r.vec8(f), Ok(&[9][..]));
        assert_eq!(r.vec16(f), Ok(&[8, 7][..]));
        assert_eq!(r.vec24(f), Ok(&[6][..]));
        assert_eq!(r.expect_empty(f), Err(TlsError::TrailingBytes(f)));
        assert_eq!(r.rest(), &[5]);
        assert_eq!(r.expect_empty(f), Ok(()));
    }

    #[test]
    fn names_the_field_that_is_truncated() {
        let mut r = Reader::new(&[3, 1, 2]);
        let error = r.vec8(field!("session_id")).unwrap_err();
        assert_eq!(
            (error.reason(), error.to_string().as_str()),
            ("truncated_session_id", "session_id is truncated")
        );
    }

    #[test]
    fn rejects_half_an_item() {
        assert_eq!(u16_items(&[0, 1, 2], field!("list"), |v| v), Err(TlsError::Invalid(field!("list"))));
    }
}
