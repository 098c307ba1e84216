//! The extension block of both hellos.

use std::collections::HashSet;

use super::codec::{Reader, field};
use super::codepoints::ExtensionType;
use super::error::TlsError;

/// Extensions in a hello of which hardly any program sends more.
const USUAL: usize = 32;

/// Extensions that could be told apart, in the order sent, and the first problem met. The second of two extensions with
/// the same number is left out (RFC 8446 section 4.2 forbids it).
pub(super) fn split<'a>(r: &mut Reader<'a>) -> (Vec<(ExtensionType, &'a [u8])>, Option<TlsError>) {
    let mut found: Vec<(ExtensionType, &[u8])> = Vec::with_capacity(USUAL);
    // Only of more than anybody sends: looking through a few is faster than hashing them.
    let mut seen = HashSet::new();
    let (mut block, mut problem) = block(r);
    while !block.is_empty() {
        let (extension, body) = match one(&mut block) {
            Ok(extension) => extension,
            Err(error) => {
                problem.get_or_insert(error);
                break;
            }
        };
        if found.len() == USUAL && seen.is_empty() {
            seen.extend(found.iter().map(|(known, _)| *known));
        }
        let is_new = match found.len() < USUAL {
            true => !found.iter().any(|(known, _)| *known == extension),
            false => seen.insert(extension),
        };
        if is_new {
            found.push((extension, body));
        } else {
            problem.get_or_insert(TlsError::DuplicateExtension);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_of_two_is_left_out_however_many_there_are() {
        for count in [2_u16, 31, 32, 33, 1000] {
            for again in [0, count / 2, count - 1] {
                let mut block = Vec::new();
                for number in (0..count).chain([again, count]) {
                    block.extend(number.to_be_bytes());
                    block.extend([0, 0]);
                }
                let mut bytes = u16::try_from(block.len()).expect("short").to_be_bytes().to_vec();
                bytes.extend(block);
                let (found, problem) = split(&mut Reader::new(&bytes));
                let found: Vec<u16> = found.iter().map(|(extension, _)| extension.0).collect();
                assert_eq!(found, (0..=count).collect::<Vec<_>>());
                assert_eq!(problem, Some(TlsError::DuplicateExtension), "{count} {again}");
            }
        }
    }
}
