//! The extension block of both hellos.

use super::codec::{Reader, field};
use super::codepoints::ExtensionType;
use super::error::TlsError;

/// Extensions that could be told apart, in the order sent, and the first problem met. The second of two extensions with
/// the same number is left out (RFC 8446 section 4.2 forbids it).
pub(super) fn split<'a>(r: &mut Reader<'a>) -> (Vec<(ExtensionType, &'a [u8])>, Option<TlsError>) {
    let mut found: Vec<(ExtensionType, &[u8])> = Vec::new();
    let mut seen = std::collections::HashSet::new();
    let (mut block, mut problem) = block(r);
    while !block.is_empty() {
        match one(&mut block) {
            Ok((extension, _)) if !seen.insert(extension) => {
                problem.get_or_insert(TlsError::DuplicateExtension);
            }
            Ok(extension) => found.push(extension),
            Err(error) => {
                problem.get_or_insert(error);
                break;
            }
        }
    }
    (found, problem)
}

/// The block itself; of a truncated one what is there.
fn block<'a>(r: &mut Reader<'a>) -> (Reader<'a>, Option<TlsError>) {
    let mut whole = *r;
    match whole.vec16(field!("extensions")) {
        Ok(bytes) => {
            *r = whole;
            (Reader::new(bytes), None)
        }
        Err(error) => {
            let mut rest = Reader::new(r.rest());
            // A lone length byte leaves nothing to read; a short block is read as far as it goes.
            let _ = rest.u16(field!("extensions"));
            (rest, Some(error))
        }
    }
}

fn one<'a>(r: &mut Reader<'a>) -> Result<(ExtensionType, &'a [u8]), TlsError> {
    let extension = ExtensionType(r.u16(field!("extension"))?);
    Ok((extension, r.vec16(field!("extension"))?))
}
