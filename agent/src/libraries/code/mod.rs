//! Machine code, as far as it has to be understood: which instructions of a function call what.
//!
//! A breakpoint inside an instruction would change what the program does. So an instruction counts only when decoding its
//! function from the first byte arrives at it and everything before it was an instruction.

mod aarch64;
mod x86_64;

use std::ops::{ControlFlow, Range};

use super::elf::{Elf, Machine};
use super::image::{Found, chunks, piece};
use super::symbols::Callee;

/// The longest function that is decoded.
const MAX_FUNCTION: u64 = 1024 * 1024;
/// The most code that is searched for calls.
const MAX_CODE: u64 = 256 * 1024 * 1024;
/// The largest PLT.
const MAX_PLT: u64 = 4 * 1024 * 1024;
/// The most stubs of one function. There are three or so; every call that is found is compared with each.
const MAX_ADDRESSES: usize = 128;
/// The most calls of one function that are looked at.
const MAX_CALLS: usize = 1024;

/// Where a call or a tail call goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Target {
    /// To this address.
    Address(u64),
    /// To the address that is stored at this one.
    Slot(u64),
}

/// A call, or a jump that may be one to another function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Branch {
    /// Address of the instruction.
    pub(super) at: u64,
    /// Where it goes.
    pub(super) to: Target,
}

impl Callee {
    /// Whether a branch is a call of it.
    pub(super) fn is_called_by(&self, branch: &Branch) -> bool {
        match branch.to {
            Target::Address(address) => self.addresses.contains(&address),
            Target::Slot(slot) => self.slots.contains(&slot),
        }
    }

    /// Adds the PLT stubs that jump through its slots.
    pub(super) fn add_stubs(&mut self, elf: &Elf<'_>) -> Found<()> {
        if self.slots.is_empty() {
            return Ok(());
        }
        // `.plt`, `.plt.sec`, `.plt.got`, whichever the linker made.
        for section in elf.sections.iter().filter(|s| s.is_code() && s.name.starts_with(b".plt")) {
            let bytes = piece(elf.image, section.offset, section.size.min(MAX_PLT))?;
            match elf.machine {
                Machine::X86_64 => x86_64::stubs(&bytes, section.address, &self.slots, &mut self.addresses),
                Machine::Aarch64 => aarch64::stubs(&bytes, section.address, &self.slots, &mut self.addresses),
            }
            self.addresses.truncate(MAX_ADDRESSES);
        }
        Ok(())
    }
}

/// The calls and jumps of a function in order, or nothing if some of its bytes are no instruction.
pub(super) fn branches(elf: &Elf<'_>, function: &Range<u64>) -> Option<Vec<Branch>> {
    let length = function.end.checked_sub(function.start).filter(|&length| length <= MAX_FUNCTION)?;
    let bytes = elf.code(function.start, length).ok()?;
    match elf.machine {
        Machine::X86_64 => x86_64::branches(&bytes, function.start),
        Machine::Aarch64 => aarch64::branches(&bytes, function.start),
    }
}

/// Where a probe sees the arguments as at the function's entry and costs least: kernels run some instructions that have a
/// breakpoint themselves, among them `push` (Linux 5.0), and step over all others, which is a second trap, and in a virtual
/// machine one that leaves it. The entry where no such instruction is known.
pub(super) fn entry(elf: &Elf<'_>, function: &Range<u64>) -> u64 {
    let begin = || match elf.machine {
        Machine::X86_64 => x86_64::push_of_frame(&elf.code(function.start, 32).ok()?, function.start),
        Machine::Aarch64 => None,
    };
    begin().filter(|at| function.contains(at)).unwrap_or(function.start)
}

/// Addresses of bytes that look like a call, for choosing the functions that are worth decoding. Not places for probes.
pub(super) fn candidates(elf: &Elf<'_>, callee: &Callee) -> Found<Vec<u64>> {
    let mut found = Vec::new();
    let code = elf.sections.iter().filter(|s| s.is_code() && !s.name.starts_with(b".plt"));
    for section in code {
        chunks(elf.image, section.offset, section.size.min(MAX_CODE), 8, |chunk, at| {
            let address = section.address.wrapping_add(at.wrapping_sub(section.offset));
            match elf.machine {
                Machine::X86_64 => x86_64::candidates(chunk, address, callee, &mut found),
                Machine::Aarch64 => aarch64::candidates(chunk, address, callee, &mut found),
            }
            if found.len() < MAX_CALLS { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })?;
    }
    found.sort_unstable();
    found.dedup();
    found.truncate(MAX_CALLS);
    Ok(found)
}
