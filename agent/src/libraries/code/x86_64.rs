//! AMD64.

use iced_x86::{Code, Decoder, DecoderOptions, Instruction, Register};

use super::{Branch, Callee, Target};
use crate::libraries::image::Numbers;

const ENDBR64: [u8; 4] = [0xf3, 0x0f, 0x1e, 0xfa];

/// Decodes from the first byte to the last.
pub(super) fn branches(bytes: &[u8], address: u64) -> Option<Vec<Branch>> {
    let mut decoder = Decoder::with_ip(64, bytes, address, DecoderOptions::NONE);
    let mut instruction = Instruction::default();
    let mut branches = Vec::new();
    while decoder.can_decode() {
        decoder.decode_out(&mut instruction);
        if instruction.is_invalid() {
            return None;
        }
        if let Some(to) = target(&instruction) {
            branches.push(Branch { at: instruction.ip(), to });
        }
    }
    Some(branches)
}

/// A conditional jump is none: a probe there would also see when it is not taken.
fn target(instruction: &Instruction) -> Option<Target> {
    match instruction.code() {
        Code::Call_rel32_64 | Code::Jmp_rel32_64 => Some(Target::Address(instruction.near_branch_target())),
        Code::Call_rm64 | Code::Jmp_rm64 if instruction.memory_base() == Register::RIP => {
            Some(Target::Slot(instruction.memory_displacement64()))
        }
        _ => None,
    }
}

/// The `push %rbp` of a function of Go, if nothing is before it but the look whether the stack must grow. Growing begins the
/// function again, so that it comes here once.
pub(super) fn push_of_frame(bytes: &[u8], address: u64) -> Option<u64> {
    /// Address of the stack's end, comparison, conditional jump.
    const BEFORE: usize = 3;
    let mut decoder = Decoder::with_ip(64, bytes, address, DecoderOptions::NONE);
    for _ in 0..=BEFORE {
        let instruction = decoder.can_decode().then(|| decoder.decode())?;
        match instruction.code() {
            Code::Push_r64 if instruction.op0_register() == Register::RBP => return Some(instruction.ip()),
            Code::Lea_r64_m if instruction.op0_register() == Register::R12 => {}
            Code::Cmp_r64_rm64 | Code::Jbe_rel8_64 | Code::Jbe_rel32_64 => {}
            _ => return None,
        }
    }
    None
}

/// `call rel32`, `jmp rel32`, `call *slot(%rip)`, `jmp *slot(%rip)` at any byte.
pub(super) fn candidates(bytes: &[u8], address: u64, callee: &Callee, found: &mut Vec<u64>) {
    for (at, window) in bytes.windows(6).enumerate() {
        let ip = address.wrapping_add(at as u64);
        let to = match *window {
            [0xe8 | 0xe9, ..] => relative(window, 1, ip).map(Target::Address),
            [0xff, 0x15 | 0x25, ..] => relative(window, 2, ip).map(Target::Slot),
            _ => continue,
        };
        if to.is_some_and(|to| callee.is_called_by(&Branch { at: ip, to })) {
            found.push(ip);
        }
    }
}

/// What the four bytes at `at`, the last of an instruction, say relative to the next one.
fn relative(instruction: &[u8], at: usize, ip: u64) -> Option<u64> {
    let displacement = instruction.u32_at(at).ok()?.cast_signed();
    Some(ip.wrapping_add(at as u64 + 4).wrapping_add_signed(i64::from(displacement)))
}

/// Addresses of stubs that jump through one of the slots: `jmp *slot(%rip)`, before it perhaps `bnd` and `endbr64`.
pub(super) fn stubs(plt: &[u8], address: u64, slots: &[u64], found: &mut Vec<u64>) {
    for (at, window) in plt.windows(6).enumerate() {
        let ip = address.wrapping_add(at as u64);
        if !window.starts_with(&[0xff, 0x25])
            || !relative(window, 2, ip).is_some_and(|slot| slots.contains(&slot))
        {
            continue;
        }
        // Any of these may be what a call goes to; none is where a probe is put.
        let before = plt.get(..at).unwrap_or_default();
        found.push(ip);
        let (before, mut start) = match before.strip_suffix(&[0xf2]) {
            Some(before) => (before, ip.wrapping_sub(1)),
            None => (before, ip),
        };
        found.push(start);
        if before.ends_with(&ENDBR64) {
            start = start.wrapping_sub(4);
            found.push(start);
        }
    }
    found.sort_unstable();
    found.dedup();
}

#[cfg(test)]
mod tests {
    use super::*;

    fn callee() -> Callee {
        Callee { addresses: vec![0x1000], slots: vec![0x3000] }
    }

    #[test]
    fn calls_and_tail_calls_of_all_forms_are_found_where_they_begin() {
        let code = [
            &[0x90][..],                                // 2000 nop
            &[0xe8, 0xfa, 0xef, 0xff, 0xff],            // 2001 call 1000
            &[0xe9, 0xf5, 0xef, 0xff, 0xff],            // 2006 jmp 1000
            &[0xff, 0x15, 0xef, 0x0f, 0x00, 0x00],      // 200b call *3000
            &[0xff, 0x25, 0xe9, 0x0f, 0x00, 0x00],      // 2011 jmp *3000
            &[0x67, 0xe8, 0xe3, 0xef, 0xff, 0xff], // 2017 addr32 call 1000, what a linker makes of call *3000
            &[0x0f, 0x84, 0xdd, 0xef, 0xff, 0xff], // 201d je 1000
            &[0x74, 0x00],                         // 2023 je 2025
            &[0xb8, 0xe8, 0xd0, 0xef, 0xff, 0xff][..5], // 2025 mov, with a call's first byte inside
            &[0xc3],
        ]
        .concat();
        let branches = branches(&code, 0x2000).unwrap();
        let calls: Vec<u64> = branches.iter().filter(|b| callee().is_called_by(b)).map(|b| b.at).collect();
        assert_eq!(calls, [0x2001, 0x2006, 0x200b, 0x2011, 0x2017]);
    }

    #[test]
    fn the_push_behind_the_look_at_the_stack_is_where_a_function_of_go_is_probed() {
        let small = [0x49, 0x3b, 0x66, 0x10, 0x76, 0x20, 0x55, 0x48, 0x89, 0xe5];
        assert_eq!(push_of_frame(&small, 0x1000), Some(0x1006));
        let large = [
            &[0x4c, 0x8d, 0xa4, 0x24, 0x00, 0xff, 0xff, 0xff][..], // lea -0x100(%rsp), %r12
            &[0x4d, 0x3b, 0x66, 0x10],                             // cmp 0x10(%r14), %r12
            &[0x0f, 0x86, 0x00, 0x10, 0x00, 0x00],                 // jbe
            &[0x55, 0x48, 0x89, 0xe5],                             // push %rbp; mov %rsp, %rbp
        ]
        .concat();
        assert_eq!(push_of_frame(&large, 0x1000), Some(0x1012));
        // Go up to 1.20: sub $0x10, %rsp. Cut. A push that saves an argument's register.
        let old = [0x49, 0x3b, 0x66, 0x10, 0x76, 0x20, 0x48, 0x83, 0xec, 0x10, 0x55];
        assert_eq!(push_of_frame(&old, 0x1000), None);
        assert_eq!(push_of_frame(&small[..6], 0x1000), None);
        assert_eq!(push_of_frame(&[0x49, 0x3b, 0x66, 0x10, 0x76, 0x20, 0x53], 0x1000), None);
        assert_eq!(push_of_frame(&[], 0x1000), None);
    }

    #[test]
    fn code_with_bytes_that_are_no_instruction_has_no_branches() {
        // 06 is invalid in 64-bit mode.
        assert_eq!(branches(&[0xe8, 0, 0, 0, 0, 0x06, 0x90], 0), None);
        // Cut off.
        assert_eq!(branches(&[0xe8, 0, 0, 0], 0), None);
        assert_eq!(branches(&[], 0), Some(Vec::new()));
    }

    #[test]
    fn stubs_of_all_linkers_are_known_by_each_of_their_first_bytes() {
        let plain = [0xff, 0x25, 0xfa, 0x1f, 0x00, 0x00, 0x68, 0, 0, 0, 0];
        let mut found = Vec::new();
        stubs(&plain, 0x1000, &[0x3000], &mut found);
        assert_eq!(found, [0x1000]);
        // endbr64; bnd jmp
        let secure = [0xf3, 0x0f, 0x1e, 0xfa, 0xf2, 0xff, 0x25, 0xf5, 0x1f, 0x00, 0x00];
        let mut found = Vec::new();
        stubs(&secure, 0x1000, &[0x3000], &mut found);
        assert_eq!(found, [0x1000, 0x1004, 0x1005]);
    }
}
