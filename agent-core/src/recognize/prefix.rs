//! Small looks at a prefix that may end anywhere.

use super::Detection;

/// Does `prefix` begin with `literal`?
pub(super) fn starts(prefix: &[u8], literal: &[u8]) -> Detection {
    compare(prefix, literal, |a, b| a == b)
}

/// Does `prefix` begin with `literal`, in any mixture of ASCII cases?
pub(super) fn starts_no_case(prefix: &[u8], literal: &[u8]) -> Detection {
    compare(prefix, literal, |a, b| a.eq_ignore_ascii_case(&b))
}

fn compare(prefix: &[u8], literal: &[u8], same: impl Fn(u8, u8) -> bool) -> Detection {
    if !prefix.iter().zip(literal).all(|(a, b)| same(*a, *b)) {
        Detection::NotThis
    } else if prefix.len() < literal.len() {
        Detection::NeedMore
    } else {
        Detection::Is
    }
}

/// Does `prefix` begin with one of `literals`, in any mixture of ASCII cases?
pub(super) fn starts_any_no_case(prefix: &[u8], literals: &[&[u8]]) -> Detection {
    literals.iter().fold(Detection::NotThis, |d, l| d.or(starts_no_case(prefix, l)))
}

/// The first line without its end, and the offset behind it; `None` while its LF is missing.
pub(super) fn line(prefix: &[u8]) -> Option<(&[u8], usize)> {
    let lf = prefix.iter().position(|b| *b == b'\n')?;
    let body = prefix.get(..lf)?;
    Some((body.strip_suffix(b"\r").unwrap_or(body), lf.saturating_add(1)))
}

/// Does `text` hold `word` (upper case), in any mixture of ASCII cases?
pub(super) fn contains_no_case(text: &[u8], word: &[u8]) -> bool {
    text.windows(word.len().max(1)).any(|w| w.eq_ignore_ascii_case(word))
}

pub(super) fn u8_at(bytes: &[u8], at: usize) -> Option<u8> {
    bytes.get(at).copied()
}

pub(super) fn be16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().map(|b| u16::from_be_bytes(*b))
}

pub(super) fn be32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|b| u32::from_be_bytes(*b))
}

pub(super) fn le16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().map(|b| u16::from_le_bytes(*b))
}

pub(super) fn le32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|b| u32::from_le_bytes(*b))
}

/// Printable ASCII, blank included.
pub(super) const fn is_printable(b: u8) -> bool {
    matches!(b, 0x20..=0x7e)
}

/// UTF-8 without control characters other than tab, CR and LF; may end in the middle of a character.
pub(super) fn is_text(bytes: &[u8]) -> bool {
    text_len(bytes) == bytes.len()
}

/// How many bytes at the beginning are text, an unfinished character at the end included.
pub(super) fn text_len(bytes: &[u8]) -> usize {
    let (valid, unfinished) = match std::str::from_utf8(bytes) {
        Ok(_) => (bytes.len(), false),
        Err(e) => (e.valid_up_to(), e.error_len().is_none()),
    };
    let whole = bytes.get(..valid).and_then(|b| std::str::from_utf8(b).ok()).unwrap_or_default();
    match whole.find(|c: char| c.is_control() && !matches!(c, '\t' | '\r' | '\n')) {
        Some(at) => at,
        None if unfinished => bytes.len(),
        None => valid,
    }
}

/// An unfinished check: turns the `None` of a field that is not there yet into [`Detection::NeedMore`].
pub(super) fn check(f: impl FnOnce() -> Option<bool>) -> Detection {
    match f() {
        None => Detection::NeedMore,
        Some(true) => Detection::Is,
        Some(false) => Detection::NotThis,
    }
}
