//! Where a program's Go code begins: addresses in the table of functions are relative to it.

use std::ops::ControlFlow;

use super::pclntab::Table;
use crate::libraries::elf::Elf;
use crate::libraries::image::{Found, Numbers, chunks, piece};
use crate::libraries::symbols::pointers_to;

/// Offset of `text` in `runtime.moduledata`: a pointer, six slices and three numbers before it, in Go 1.16 to 1.27.
const TEXT: u64 = 8 + 6 * 24 + 3 * 8;
/// How much data is searched for it.
const MAX_SEARCH: u64 = 64 * 1024 * 1024;
/// The most places that are tried.
const MAX_PLACES: usize = 16;

/// A way to find addresses that code may begin at.
type Source = fn(&Elf<'_>, &Table) -> Found<Vec<u64>>;

/// The ways, the cheapest and likeliest first. Whoever uses an address proves it by what is there.
pub(super) const SOURCES: &[Source] = &[declared, from_relocations, from_data];

fn declared(elf: &Elf<'_>, table: &Table) -> Found<Vec<u64>> {
    // 0 is right for tables of absolute addresses.
    let text = elf.section(b".text").map(|section| section.address);
    Ok(table.text.into_iter().chain(text).chain([0]).collect())
}

/// `moduledata` begins with the address of the table; in a program that may be loaded anywhere, relocations have it.
fn from_relocations(elf: &Elf<'_>, table: &Table) -> Found<Vec<u64>> {
    let mut places: Vec<u64> =
        pointers_to(elf, &|_, target| target == table.address)?.into_iter().map(|(place, _)| place).collect();
    places.truncate(MAX_PLACES);
    if places.is_empty() {
        return Ok(Vec::new());
    }
    let texts = pointers_to(elf, &|at, _| places.iter().any(|place| place.wrapping_add(TEXT) == at))?;
    Ok(texts.into_iter().map(|(_, target)| target).collect())
}

/// In other programs the address itself is there, followed by that of the names.
fn from_data(elf: &Elf<'_>, table: &Table) -> Found<Vec<u64>> {
    let mut places = Vec::new();
    let mut left = MAX_SEARCH;
    for section in elf.sections.iter().filter(|section| section.is_data()) {
        let length = section.size.min(left);
        left -= length;
        chunks(elf.image, section.offset, length, 15, |chunk, at| {
            let skip = usize::try_from(at.wrapping_neg() & 7).unwrap_or_default();
            let aligned = chunk.get(skip..).unwrap_or_default();
            for (index, pair) in aligned.windows(16).step_by(8).enumerate() {
                if pair.u64_at(0) == Ok(table.address)
                    && pair.u64_at(8) == Ok(table.address.wrapping_add(table.names))
                {
                    places.push(at.saturating_add((skip + index * 8) as u64));
                }
            }
            if places.len() < MAX_PLACES { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })?;
    }
    places.truncate(MAX_PLACES);
    let text = |place: u64| piece(elf.image, place.checked_add(TEXT)?, 8).ok()?.u64_at(0).ok();
    Ok(places.into_iter().filter_map(text).collect())
}
