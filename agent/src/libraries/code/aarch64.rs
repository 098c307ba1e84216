//! 64-bit ARM: all instructions have four bytes, and the tool chains put no data between them. What a processor would
//! refuse is therefore not looked for; a word of all zeros is refused as it is what damaged files are full of.

use super::{Branch, Callee, Target};
use crate::libraries::image::Numbers;

const BTI_C: u32 = 0xd503_245f;

/// Decodes from the first word to the last.
pub(super) fn branches(bytes: &[u8], address: u64) -> Option<Vec<Branch>> {
    if !address.is_multiple_of(4) || !bytes.len().is_multiple_of(4) {
        return None;
    }
    let mut branches = Vec::new();
    // Go's linker fills up with zeros to where the next function begins.
    let code = bytes.iter().rposition(|&byte| byte != 0).map_or(0, |last| last / 4 + 1);
    for (at, word) in words(bytes, address).take(code) {
        if word == 0 {
            return None;
        }
        branches.extend(target(word, at).map(|to| Branch { at, to }));
    }
    Some(branches)
}

fn words(bytes: &[u8], address: u64) -> impl Iterator<Item = (u64, u32)> {
    let words = bytes.chunks_exact(4).map(|word| word.u32_at(0).unwrap_or_default());
    words.enumerate().map(move |(index, word)| (address.wrapping_add(index as u64 * 4), word))
}

/// `bl` and `b`, with 26 bits of distance in words.
fn target(word: u32, at: u64) -> Option<Target> {
    if !matches!(word >> 26, 0b10_0101 | 0b00_0101) {
        return None;
    }
    let words = (word << 6).cast_signed() >> 6;
    Some(Target::Address(at.wrapping_add_signed(i64::from(words) * 4)))
}

/// Words that are calls.
pub(super) fn candidates(bytes: &[u8], address: u64, callee: &Callee, found: &mut Vec<u64>) {
    // Chunks of a file need not begin with a word.
    let skip = address.wrapping_neg() & 3;
    let bytes = bytes.get(usize::try_from(skip).unwrap_or_default()..).unwrap_or_default();
    for (at, word) in words(bytes, address.wrapping_add(skip)) {
        if target(word, at).is_some_and(|to| callee.is_called_by(&Branch { at, to })) {
            found.push(at);
        }
    }
}

/// Addresses of stubs: `adrp x16, page; ldr x17, [x16, #offset]`, before them perhaps `bti c`.
pub(super) fn stubs(plt: &[u8], address: u64, slots: &[u64], found: &mut Vec<u64>) {
    let words: Vec<(u64, u32)> = words(plt, address).collect();
    for pair in words.windows(2) {
        let [(at, adrp), (_, ldr)] = *pair else { continue };
        // adrp x16; ldr x17, [x16, #imm12 * 8].
        if adrp & 0x9f00_001f != 0x9000_0010 || ldr & 0xffc0_03ff != 0xf940_0211 {
            continue;
        }
        let pages = ((adrp >> 5 & 0x7_ffff) << 2 | (adrp >> 29 & 3)) << 11;
        let page = (at & !0xfff).wrapping_add_signed(i64::from(pages.cast_signed() >> 11) << 12);
        let slot = page.wrapping_add(u64::from(ldr >> 10 & 0xfff) * 8);
        if slots.contains(&slot) {
            found.push(at);
            let before = at.wrapping_sub(4);
            if words.binary_search(&(before, BTI_C)).is_ok() {
                found.push(before);
            }
        }
    }
    found.sort_unstable();
    found.dedup();
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(words: &[u32]) -> Vec<u8> {
        words.iter().flat_map(|word| word.to_le_bytes()).collect()
    }

    #[test]
    fn branches_go_forwards_and_backwards() {
        // bl .+8; b .-4; ret; nop
        let code = code(&[0x9400_0002, 0x17ff_ffff, 0xd65f_03c0, 0xd503_201f]);
        let expected = [
            Branch { at: 0x1000, to: Target::Address(0x1008) },
            Branch { at: 0x1004, to: Target::Address(0x1000) },
        ];
        assert_eq!(branches(&code, 0x1000), Some(expected.to_vec()));
        assert_eq!(branches(&code, 0x1002), None);
        assert_eq!(branches(&code[..7], 0x1000), None);
        assert_eq!(branches(&[&[0; 4], &code[..]].concat(), 0x1000), None);
        assert_eq!(branches(&[&code[..], &[0; 8]].concat(), 0x1000), Some(expected.to_vec()));
    }

    #[test]
    fn stubs_with_and_without_a_landing_pad_are_found() {
        // bti c; adrp x16, 0x20000; ldr x17, [x16, #0xff8]; add x16, x16, #0xff8; br x17
        let plt = code(&[BTI_C, 0x9000_0090, 0xf947_fe11, 0x913f_e210, 0xd61f_0220]);
        let mut found = Vec::new();
        stubs(&plt, 0x1_0000, &[0x2_0ff8], &mut found);
        assert_eq!(found, [0x1_0000, 0x1_0004]);
    }
}
