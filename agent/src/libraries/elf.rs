//! The outer form of a 64-bit little-endian ELF file: segments and sections. Tables with as many entries as a program has
//! symbols are not held here; they are gone through in chunks by those who look for something (`symbols`).

use super::Unprobed;
use super::image::{Found, Image, Numbers, piece};

/// The most program headers that are read. Programs have about a dozen.
const MAX_SEGMENTS: u64 = 256;
/// The most section headers that are read. Programs have about forty.
const MAX_SECTIONS: u64 = 4096;
/// The longest table of section names.
const MAX_SECTION_NAMES: u64 = 1024 * 1024;

const PT_LOAD: u32 = 1;
const PF_X: u32 = 1;
const SHF_WRITE: u64 = 1;
const SHF_ALLOC: u64 = 2;
const SHF_EXECINSTR: u64 = 4;
const SHT_NOBITS: u32 = 8;
/// `sh_type` of the whole symbol table, which `strip` removes.
pub(super) const SHT_SYMTAB: u32 = 2;
/// `sh_type` of relocations with addends.
pub(super) const SHT_RELA: u32 = 4;
/// `sh_type` of the symbols that the dynamic linker needs.
pub(super) const SHT_DYNSYM: u32 = 11;

/// A processor whose code and calling conventions are known here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Machine {
    /// AMD64.
    X86_64,
    /// 64-bit ARM.
    Aarch64,
}

impl Machine {
    /// The one this agent runs on.
    pub const fn here() -> Self {
        if cfg!(target_arch = "aarch64") { Machine::Aarch64 } else { Machine::X86_64 }
    }

    fn from_elf(e_machine: u16) -> Option<Self> {
        match e_machine {
            62 => Some(Machine::X86_64),
            183 => Some(Machine::Aarch64),
            _ => None,
        }
    }
}

/// What the first bytes of a file say.
pub(super) enum Opened<'a> {
    /// No ELF file.
    NotElf,
    /// ELF for 32 bits, big-endian, or an unknown processor.
    Foreign,
    /// One that can be read here.
    Elf(Elf<'a>),
}

/// A part of the file that is loaded into memory.
#[derive(Clone, Copy, Debug)]
pub(super) struct Segment {
    pub(super) executable: bool,
    pub(super) address: u64,
    pub(super) offset: u64,
    /// Bytes in the file.
    pub(super) size: u64,
}

/// A section header.
#[derive(Clone, Debug)]
pub(super) struct Section {
    pub(super) name: Vec<u8>,
    pub(super) kind: u32,
    pub(super) flags: u64,
    pub(super) address: u64,
    pub(super) offset: u64,
    pub(super) size: u64,
    /// `sh_link`: for symbols their names, for relocations their symbols.
    pub(super) link: u32,
}

impl Section {
    /// Whether instructions are in it.
    pub(super) fn is_code(&self) -> bool {
        self.flags & SHF_EXECINSTR != 0 && self.kind != SHT_NOBITS
    }

    /// Whether it is loaded and has bytes in the file that are no instructions.
    pub(super) fn is_data(&self) -> bool {
        self.flags & SHF_ALLOC != 0 && self.flags & SHF_EXECINSTR == 0 && self.kind != SHT_NOBITS
    }

    /// Whether it is data that the program does not write to, apart from relocations.
    pub(super) fn is_constant(&self) -> bool {
        self.is_data() && (self.flags & SHF_WRITE == 0 || self.name.starts_with(b".data.rel.ro"))
    }
}

/// An ELF file's headers.
pub(super) struct Elf<'a> {
    pub(super) image: &'a dyn Image,
    pub(super) machine: Machine,
    pub(super) segments: Vec<Segment>,
    pub(super) sections: Vec<Section>,
}

impl<'a> Elf<'a> {
    /// Reads the headers.
    pub(super) fn open(image: &'a dyn Image) -> Found<Opened<'a>> {
        let Ok(header) = piece(image, 0, 64) else {
            // Shorter than any ELF file, unless it was cut off.
            let magic = piece(image, 0, 4);
            return if magic.is_ok_and(|m| m == *b"\x7fELF") {
                Err(Unprobed::Unreadable)
            } else {
                Ok(Opened::NotElf)
            };
        };
        if !header.starts_with(b"\x7fELF") {
            return Ok(Opened::NotElf);
        }
        // EI_CLASS 2: 64 bits; EI_DATA 1: little-endian.
        let machine =
            if header.get(4..6) == Some(&[2, 1]) { Machine::from_elf(header.u16_at(18)?) } else { None };
        let Some(machine) = machine else { return Ok(Opened::Foreign) };
        let segments = segments(image, &header)?;
        let sections = sections(image, &header)?;
        Ok(Opened::Elf(Self { image, machine, segments, sections }))
    }

    /// The section of that name.
    pub(super) fn section(&self, name: &[u8]) -> Option<&Section> {
        self.sections.iter().find(|section| section.name == name)
    }

    /// Where in the file the instruction at an address is: by the segments, as the kernel maps the file by them.
    pub(super) fn code_offset(&self, address: u64) -> Option<u64> {
        let offset = self.offset_in(address, 1, |segment| segment.executable)?;
        self.image.size().is_ok_and(|size| offset < size).then_some(offset)
    }

    /// `length` bytes of code at an address.
    pub(super) fn code(&self, address: u64, length: u64) -> Found<Vec<u8>> {
        let offset =
            self.offset_in(address, length, |segment| segment.executable).ok_or(Unprobed::Unreadable)?;
        piece(self.image, offset, length)
    }

    /// The file's position of `length` loaded bytes.
    pub(super) fn data_offset(&self, address: u64, length: u64) -> Option<u64> {
        self.offset_in(address, length, |_| true)
    }

    fn offset_in(&self, address: u64, length: u64, which: impl Fn(&Segment) -> bool) -> Option<u64> {
        let inside = |segment: &&Segment| {
            let from = address.checked_sub(segment.address);
            from.and_then(|from| from.checked_add(length)).is_some_and(|end| end <= segment.size)
                && which(segment)
        };
        let segment = self.segments.iter().find(inside)?;
        segment.offset.checked_add(address.checked_sub(segment.address)?)
    }
}

fn segments(image: &dyn Image, header: &[u8]) -> Found<Vec<Segment>> {
    let (at, size, count) =
        (header.u64_at(32)?, u64::from(header.u16_at(54)?), u64::from(header.u16_at(56)?));
    if count == 0 {
        return Ok(Vec::new());
    }
    if size != 56 || count > MAX_SEGMENTS {
        return Err(Unprobed::Unreadable);
    }
    let table = piece(image, at, size * count)?;
    let mut segments = Vec::new();
    for entry in table.chunks_exact(56).filter(|entry| entry.u32_at(0) == Ok(PT_LOAD)) {
        segments.push(Segment {
            executable: entry.u32_at(4)? & PF_X != 0,
            offset: entry.u64_at(8)?,
            address: entry.u64_at(16)?,
            size: entry.u64_at(32)?,
        });
    }
    Ok(segments)
}

fn sections(image: &dyn Image, header: &[u8]) -> Found<Vec<Section>> {
    let (at, size, count) =
        (header.u64_at(40)?, u64::from(header.u16_at(58)?), u64::from(header.u16_at(60)?));
    // None at all is legal (`sstrip`); nothing is found in such a file, which is the truth.
    if count == 0 || at == 0 {
        return Ok(Vec::new());
    }
    if size != 64 || count > MAX_SECTIONS {
        return Err(Unprobed::Unreadable);
    }
    let table = piece(image, at, size * count)?;
    let names_at = usize::from(header.u16_at(62)?) * 64;
    let (names_offset, names_size) = (table.u64_at(names_at + 24)?, table.u64_at(names_at + 32)?);
    let names = piece(image, names_offset, names_size.min(MAX_SECTION_NAMES))?;
    let mut sections = Vec::new();
    for entry in table.chunks_exact(64) {
        let name = names.get(entry.u32_at(0)? as usize..).unwrap_or_default();
        let name = name.split(|&byte| byte == 0).next().unwrap_or_default();
        sections.push(Section {
            // Longer ones are nothing that is looked for.
            name: name.get(..64).unwrap_or(name).to_vec(),
            kind: entry.u32_at(4)?,
            flags: entry.u64_at(8)?,
            address: entry.u64_at(16)?,
            offset: entry.u64_at(24)?,
            size: entry.u64_at(32)?,
            link: entry.u32_at(40)?,
        });
    }
    Ok(sections)
}
