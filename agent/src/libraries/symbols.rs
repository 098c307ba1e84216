//! Finds a handful of names among the hundred thousand symbols of a program without holding them.
//!
//! The table of strings is searched once for all names at a time; what is found are the numbers that entries of the symbol
//! table then have in their name field. Linkers share tails between strings (`SSL_new` may point into `wolfSSL_new`), so
//! that a number, not the beginning of a string, is what decides.

use std::collections::HashMap;
use std::ops::{ControlFlow, Range};
use std::sync::LazyLock;

use aho_corasick::AhoCorasick;

use super::elf::{Elf, SHT_DYNSYM, SHT_RELA, SHT_SYMTAB, Section};
use super::image::{Found, Numbers, chunks, search_for};
use super::{Unprobed, gnutls, openssl, others};

/// The longest table of strings that is searched; a program with all its debugging symbols has more in other sections.
const MAX_STRINGS: u64 = 256 * 1024 * 1024;
/// The most entries of a symbol table.
const MAX_SYMBOLS: u64 = 8 * 1024 * 1024;
/// The most relocations.
const MAX_RELOCATIONS: u64 = 8 * 1024 * 1024;
/// The most occurrences of names that are remembered.
const MAX_HITS: usize = 4096;
/// The most GOT slots, or addresses, of one name.
const MAX_SLOTS: usize = 64;
const SYMBOL: usize = 24;
const RELOCATION: usize = 24;

/// All names that anyone here asks for. A full stop instead of the end: compilers add suffixes such as `.part.0` and
/// `.lto_priv.0` to functions that they split or make local. None may be the tail of another, see the test.
static NAMES: LazyLock<Vec<(&'static str, u8)>> = LazyLock::new(|| {
    let whole = [openssl::NAMES, gnutls::NAMES, others::NAMES].concat();
    let split = openssl::HANDSHAKE_FUNCTIONS.iter().map(|name| (*name, b'.'));
    whole.into_iter().map(|name| (name, 0)).chain(split).collect()
});

static SEARCH: LazyLock<Option<AhoCorasick>> = LazyLock::new(|| {
    let pattern = |(name, end): &(&str, u8)| [name.as_bytes(), &[*end]].concat();
    search_for(NAMES.iter().map(pattern))
});

/// An entry of a symbol table.
#[derive(Clone, Copy, Debug)]
pub(super) struct Symbol {
    name: &'static str,
    /// Position in `.dynsym`; none in `.symtab`, to which no relocation of a linked file refers.
    dynamic: Option<u32>,
    defined: bool,
    function: bool,
    pub(super) address: u64,
    pub(super) size: u64,
}

/// Where the program jumps when it calls something.
#[derive(Clone, Debug, Default)]
pub(super) struct Callee {
    /// Its own address and those of its PLT stubs.
    pub(super) addresses: Vec<u64>,
    /// Addresses of pointers to it (GOT slots).
    pub(super) slots: Vec<u64>,
}

/// What was found of [`NAMES`].
pub(super) struct Symbols(Vec<Symbol>);

impl Symbols {
    /// Looks through both symbol tables.
    pub(super) fn find(elf: &Elf<'_>) -> Found<Self> {
        let mut found = Vec::new();
        for table in tables(elf) {
            let names = elf.sections.get(table.link as usize).ok_or(Unprobed::Unreadable)?;
            let hits = occurrences(elf, names)?;
            if hits.is_empty() {
                continue;
            }
            each_entry::<SYMBOL>(elf, table, MAX_SYMBOLS, |index, entry| {
                if let Some(name) = hits.get(&entry.u32_at(0)?).filter(|_| found.len() < MAX_HITS) {
                    let dynamic = (table.kind == SHT_DYNSYM).then_some(index);
                    found.push(Symbol { name, dynamic, ..symbol(entry)? });
                }
                Ok(())
            })?;
        }
        Ok(Self(found))
    }

    /// The function that is in this file under that name.
    pub(super) fn defined(&self, name: &str) -> Option<&Symbol> {
        self.functions(name).next()
    }

    /// All of that name, suffixes of compilers included, each once.
    pub(super) fn functions(&self, name: &str) -> impl Iterator<Item = &Symbol> {
        self.0.iter().filter(move |symbol| symbol.name == name && symbol.defined && symbol.function)
    }

    /// Everything that is a call of `name` when it is jumped to. Stubs are added by whoever reads code.
    pub(super) fn callee(&self, elf: &Elf<'_>, name: &str) -> Found<Callee> {
        let mut addresses: Vec<u64> = self.functions(name).map(|symbol| symbol.address).collect();
        addresses.sort_unstable();
        addresses.dedup();
        addresses.truncate(MAX_SLOTS);
        let indices = self.0.iter().filter(|symbol| symbol.name == name).filter_map(|symbol| symbol.dynamic);
        let slots = slots(elf, &indices.collect::<Vec<_>>())?;
        Ok(Callee { addresses, slots })
    }
}

/// The two symbol tables. "Currently, an object file may have only one section of each type" (System V ABI, sections).
fn tables<'a>(elf: &'a Elf<'_>) -> impl Iterator<Item = &'a Section> {
    [SHT_DYNSYM, SHT_SYMTAB]
        .into_iter()
        .filter_map(|kind| elf.sections.iter().find(|section| section.kind == kind))
}

/// Positions in a table of strings at which a wanted name begins.
fn occurrences(elf: &Elf<'_>, names: &Section) -> Found<HashMap<u32, &'static str>> {
    let mut hits = HashMap::new();
    let Some(search) = SEARCH.as_ref() else { return Ok(hits) };
    let longest = search.max_pattern_len();
    chunks(elf.image, names.offset, names.size.min(MAX_STRINGS), longest, |chunk, at| {
        for hit in search.find_iter(chunk) {
            let position = at.saturating_sub(names.offset).saturating_add(hit.start() as u64);
            if let (Ok(position), Some((name, _))) =
                (u32::try_from(position), NAMES.get(hit.pattern().as_usize()))
            {
                hits.insert(position, *name);
            }
        }
        if hits.len() < MAX_HITS { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })?;
    Ok(hits)
}

fn symbol(entry: &[u8]) -> Found<Symbol> {
    let kind = entry.get(4).copied().unwrap_or_default() & 0xf;
    Ok(Symbol {
        name: "",
        dynamic: None,
        defined: entry.u16_at(6)? != 0,
        // STT_FUNC, and STT_GNU_IFUNC, whose address is that of a resolver: no function of those names.
        function: kind == 2,
        address: entry.u64_at(8)?,
        size: entry.u64_at(16)?,
    })
}

/// GOT slots that the dynamic linker fills with the address of one of these symbols.
fn slots(elf: &Elf<'_>, indices: &[u32]) -> Found<Vec<u64>> {
    let mut slots = Vec::new();
    if indices.is_empty() {
        return Ok(slots);
    }
    // R_X86_64_GLOB_DAT and JUMP_SLOT; R_AARCH64_GLOB_DAT and JUMP_SLOT.
    let fills = |kind: u32| matches!(kind, 6 | 7 | 1025 | 1026);
    for table in elf.sections.iter().filter(|section| section.kind == SHT_RELA) {
        each_entry::<RELOCATION>(elf, table, MAX_RELOCATIONS, |_, entry| {
            let (kind, symbol) = (entry.u32_at(8)?, entry.u32_at(12)?);
            if symbol != 0 && indices.contains(&symbol) && fills(kind) && slots.len() < MAX_SLOTS {
                slots.push(entry.u64_at(0)?);
            }
            Ok(())
        })?;
    }
    Ok(slots)
}

/// Where the dynamic linker stores an address that is `wanted` relative to where the file is loaded
/// (R_X86_64_RELATIVE, R_AARCH64_RELATIVE), in a file that may be loaded anywhere.
pub(super) fn pointers_to(elf: &Elf<'_>, wanted: &dyn Fn(u64, u64) -> bool) -> Found<Vec<(u64, u64)>> {
    let mut found = Vec::new();
    for table in elf.sections.iter().filter(|section| section.kind == SHT_RELA) {
        each_entry::<RELOCATION>(elf, table, MAX_RELOCATIONS, |_, entry| {
            let (place, kind, target) = (entry.u64_at(0)?, entry.u32_at(8)?, entry.u64_at(16)?);
            if matches!(kind, 8 | 1027) && found.len() < MAX_SLOTS && wanted(place, target) {
                found.push((place, target));
            }
            Ok(())
        })?;
    }
    Ok(found)
}

/// A function that a symbol table bounds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Bounds {
    pub(super) range: Range<u64>,
    /// Whether `.dynsym` names it.
    pub(super) exported: bool,
}

/// The functions of both symbol tables that contain one of `places`, which are in order, for each place.
pub(super) fn functions_around(elf: &Elf<'_>, places: &[u64]) -> Found<Vec<(u64, Bounds)>> {
    let mut found = Vec::new();
    for table in tables(elf) {
        each_entry::<SYMBOL>(elf, table, MAX_SYMBOLS, |_, entry| {
            let symbol = symbol(entry)?;
            let range = symbol.address..symbol.address.saturating_add(symbol.size);
            if symbol.defined && symbol.function {
                let exported = table.kind == SHT_DYNSYM;
                let first = places.partition_point(|place| *place < range.start);
                let inside = places.get(first..).unwrap_or_default().iter();
                let inside = inside.take_while(|place| **place < range.end).take(MAX_HITS - found.len());
                found.extend(inside.map(|place| (*place, Bounds { range: range.clone(), exported })));
            }
            Ok(())
        })?;
    }
    Ok(found)
}

/// Goes through a table of entries of `N` bytes.
fn each_entry<const N: usize>(
    elf: &Elf<'_>,
    table: &Section,
    most: u64,
    mut each: impl FnMut(u32, &[u8]) -> Found<()>,
) -> Found<()> {
    let mut index = 0u32;
    let mut outcome = Ok(());
    // What is left of a chunk after its last whole entry comes again with the next one.
    let mut next = table.offset;
    let length = table.size.min(most.saturating_mul(N as u64));
    chunks(elf.image, table.offset, length, N - 1, |chunk, at| {
        let skip = usize::try_from(next.saturating_sub(at)).unwrap_or(usize::MAX);
        for entry in chunk.get(skip..).unwrap_or_default().chunks_exact(N) {
            outcome = each(index, entry);
            if outcome.is_err() {
                return ControlFlow::Break(());
            }
            index = index.saturating_add(1);
            next = next.saturating_add(N as u64);
        }
        ControlFlow::Continue(())
    })?;
    outcome
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_is_the_tail_of_another() {
        // A search that does not overlap would find only the longer one.
        for (one, _) in NAMES.iter() {
            for (other, _) in NAMES.iter() {
                assert!(one == other || !one.ends_with(other), "{other} is the tail of {one}");
            }
        }
    }
}
