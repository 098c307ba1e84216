//! Go's table of functions, in its forms since Go 1.16 (`runtime.pcHeader` and `runtime._func`).

use std::ops::{ControlFlow, Range};

use crate::libraries::Unprobed;
use crate::libraries::elf::{Elf, Machine, Section};
use crate::libraries::image::{Found, Numbers, Window, chunks, piece, search_for};

/// The most functions a program may have. Large ones have 200,000.
const MAX_FUNCTIONS: u64 = 4 * 1024 * 1024;
/// The most bytes of names that are searched.
const MAX_NAMES: u64 = 256 * 1024 * 1024;
/// How far a table that is in no section of its own is looked for.
const MAX_SEARCH: u64 = 256 * 1024 * 1024;

/// The table's form, by its first four bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// Go 1.2 to 1.15.
    Old,
    /// Go 1.16 and 1.17: addresses are absolute.
    Go116,
    /// Go 1.18 and later: addresses are relative to where code begins. 1.20 has another number for another reason.
    Go118,
}

impl Form {
    fn of(magic: u32) -> Option<Self> {
        match magic {
            0xffff_fffb => Some(Form::Old),
            0xffff_fffa => Some(Form::Go116),
            0xffff_fff0 | 0xffff_fff1 => Some(Form::Go118),
            _ => None,
        }
    }
}

/// A table that was found.
pub(super) struct Table {
    form: Form,
    /// Position in the file.
    offset: u64,
    /// Address in memory.
    pub(super) address: u64,
    functions: u64,
    /// `pcHeader.textStart`: zero from Go 1.26 on, and in older programs that may be loaded anywhere.
    pub(super) text: Option<u64>,
    /// Offset of the names from the table's beginning.
    pub(super) names: u64,
    names_end: u64,
    /// Offset of the list of functions.
    list: u64,
}

impl Table {
    /// Finds the table of a program of Go.
    pub(super) fn find(elf: &Elf<'_>) -> Found<Self> {
        let own =
            [b".gopclntab".as_slice(), b".data.rel.ro.gopclntab"].iter().find_map(|name| elf.section(name));
        let table = match own {
            Some(section) => Self::read(elf, section.offset, section.address)?,
            None => search(elf)?,
        };
        let table = table.ok_or(Unprobed::GoUnknownLayout)?;
        if table.form == Form::Old { Err(Unprobed::GoTooOld) } else { Ok(table) }
    }

    /// Reads a header; nothing if there is none.
    fn read(elf: &Elf<'_>, offset: u64, address: u64) -> Found<Option<Self>> {
        let Ok(header) = piece(elf.image, offset, 72) else { return Ok(None) };
        let quantum = match elf.machine {
            Machine::X86_64 => 1,
            Machine::Aarch64 => 4,
        };
        // Two zero bytes, the smallest size of an instruction, the size of a pointer.
        let Some(form) =
            Form::of(header.u32_at(0)?).filter(|_| header.get(4..8) == Some(&[0, 0, quantum, 8]))
        else {
            return Ok(None);
        };
        let functions = header.u64_at(8)?;
        let (text, offsets) = match form {
            Form::Old | Form::Go116 => (None, 24),
            Form::Go118 => (Some(header.u64_at(24)?).filter(|&text| text != 0), 32),
        };
        let (names, names_end, list) =
            (header.u64_at(offsets)?, header.u64_at(offsets + 8)?, header.u64_at(offsets + 32)?);
        let plausible = form == Form::Old
            || (functions > 0
                && functions <= MAX_FUNCTIONS
                && names < names_end
                && names_end - names <= MAX_NAMES
                && names_end <= list
                && elf.data_offset(address, list) == Some(offset));
        Ok(plausible.then_some(Self { form, offset, address, functions, text, names, names_end, list }))
    }

    /// The functions of these names that the program has, relative to where code begins.
    pub(super) fn functions(
        &self,
        elf: &Elf<'_>,
        names: &[&'static str],
    ) -> Found<Vec<(&'static str, Range<u64>)>> {
        let wanted = self.wanted(elf, names)?;
        let mut found = Vec::new();
        if wanted.is_empty() {
            return Ok(found);
        }
        let (mut list, mut details) = (Window::new(elf.image), Window::new(elf.image));
        let start = self.offset.saturating_add(self.list);
        let size = match self.form {
            Form::Go118 => 4,
            Form::Old | Form::Go116 => 8,
        };
        // The offset of a name follows a function's address.
        for index in 0..self.functions {
            // An entry is an address and where the details are; the next one's address is where the function ends.
            let entry = list.get(start.saturating_add(index * 2 * size as u64), size * 3)?;
            let (from, detail, to) =
                (number(entry, 0, size)?, number(entry, size, size)?, number(entry, size * 2, size)?);
            let name = details.get(start.saturating_add(detail).saturating_add(size as u64), 4)?.u32_at(0)?;
            if let Some((_, name)) = wanted.iter().find(|(offset, _)| *offset == name) {
                // A name that is there twice would be one too many to know which it is.
                if to <= from || found.iter().any(|(other, _)| other == name) {
                    return Err(Unprobed::GoUnknownLayout);
                }
                found.push((*name, from..to));
            }
        }
        Ok(found)
    }

    /// Offsets in the table of names at which these begin.
    fn wanted(&self, elf: &Elf<'_>, names: &[&'static str]) -> Found<Vec<(u32, &'static str)>> {
        let patterns = names.iter().map(|name| [name.as_bytes(), b"\0"].concat());
        let Some(search) = search_for(patterns) else { return Ok(Vec::new()) };
        let mut wanted = Vec::new();
        let (start, length) =
            (self.offset.saturating_add(self.names), self.names_end.saturating_sub(self.names));
        // One byte more than the longest, because the byte before a name is looked at.
        chunks(elf.image, start, length, search.max_pattern_len() + 1, |chunk, at| {
            for hit in search.find_iter(chunk) {
                // A vendored copy's name ends with that of the original: the byte before must end another name.
                let before = hit.start().checked_sub(1).and_then(|before| chunk.get(before));
                let position = at.saturating_sub(start).saturating_add(hit.start() as u64);
                let begins = before.map_or(position == 0, |&byte| byte == 0);
                if let (true, Ok(position), Some(name)) =
                    (begins, u32::try_from(position), names.get(hit.pattern().as_usize()))
                    && !wanted.contains(&(position, *name))
                {
                    wanted.push((position, *name));
                }
            }
            if wanted.len() <= names.len() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })?;
        Ok(wanted)
    }
}

fn number(bytes: &[u8], at: usize, size: usize) -> Found<u64> {
    if size == 8 { bytes.u64_at(at) } else { bytes.u32_at(at).map(u64::from) }
}

/// Looks for the table in constant data: system linkers put it there in programs that may be loaded anywhere.
fn search(elf: &Elf<'_>) -> Found<Option<Table>> {
    let mut left = MAX_SEARCH;
    for section in elf.sections.iter().filter(|section| section.is_constant()) {
        let length = section.size.min(left);
        left -= length;
        if let Some(table) = search_section(elf, section, length)? {
            return Ok(Some(table));
        }
    }
    Ok(None)
}

fn search_section(elf: &Elf<'_>, section: &Section, length: u64) -> Found<Option<Table>> {
    let mut outcome = Ok(None);
    chunks(elf.image, section.offset, length, 8, |chunk, at| {
        let skip = usize::try_from(at.wrapping_neg() & 7).unwrap_or_default();
        for (index, word) in chunk.get(skip..).unwrap_or_default().chunks_exact(8).enumerate() {
            if word.u32_at(0).ok().and_then(Form::of).is_none() || word.u16_at(4) != Ok(0) {
                continue;
            }
            let offset = at.saturating_add((skip + index * 8) as u64);
            let address = section.address.wrapping_add(offset.wrapping_sub(section.offset));
            outcome = Table::read(elf, offset, address);
            if !matches!(outcome, Ok(None)) {
                return ControlFlow::Break(());
            }
        }
        ControlFlow::Continue(())
    })?;
    outcome
}
