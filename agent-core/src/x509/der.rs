//! Just enough DER to walk a certificate field by field, so that one bad field does not hide the others.

/// One tag-length-value element.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tlv<'a> {
    /// Identifier octet (tags above 30 do not occur in certificates).
    pub(super) tag: u8,
    /// Contents.
    pub(super) body: &'a [u8],
    /// The whole element.
    pub(super) raw: &'a [u8],
}

pub(super) const INTEGER: u8 = 0x02;
pub(super) const BIT_STRING: u8 = 0x03;
pub(super) const OCTET_STRING: u8 = 0x04;
pub(super) const OID: u8 = 0x06;
pub(super) const BOOLEAN: u8 = 0x01;
pub(super) const SEQUENCE: u8 = 0x30;

/// A run of elements.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// The next element; `None` when it is not whole.
    pub(super) fn next(&mut self) -> Option<Tlv<'a>> {
        let (tag, after_tag) = self.rest.split_first()?;
        if tag & 0x1f == 0x1f {
            return None;
        }
        let (first, after_len) = after_tag.split_first()?;
        let (len, content) = if first & 0x80 == 0 {
            (usize::from(*first), after_len)
        } else {
            // Four octets of length are more than any handshake message can hold.
            let octets = usize::from(first & 0x7f);
            if octets == 0 || octets > 4 {
                return None;
            }
            let (bytes, content) = after_len.split_at_checked(octets)?;
            (bytes.iter().fold(0usize, |n, b| n << 8 | usize::from(*b)), content)
        };
        let (body, rest) = content.split_at_checked(len)?;
        let raw = self.rest.get(..self.rest.len() - rest.len())?;
        self.rest = rest;
        Some(Tlv { tag: *tag, body, raw })
    }

    /// The next element if it has this tag; otherwise nothing is consumed.
    pub(super) fn next_if(&mut self, tag: u8) -> Option<Tlv<'a>> {
        let mut ahead = *self;
        let tlv = ahead.next().filter(|tlv| tlv.tag == tag)?;
        *self = ahead;
        Some(tlv)
    }
}
