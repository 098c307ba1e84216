//! Where functions begin and end, also in a stripped library: exception handling needs to know it (`.eh_frame`).

use std::ops::Range;

use gimli::{BaseAddresses, EhFrame, EhFrameHdr, EhFrameOffset, LittleEndian, Pointer, UnwindSection};

use super::elf::Elf;
use super::image::piece;

/// The largest `.eh_frame`, and its index, that is read. That of libssl has 60 kB.
const MAX_EH_FRAME: u64 = 8 * 1024 * 1024;

/// How every linker begins the index: version 1, 32-bit relative pointers, a 32-bit number of entries.
const USUAL: [u8; 4] = [1, 0x1b, 0x03, 0x3b];

/// The unwind tables of a file.
pub(super) struct Functions {
    index: Vec<u8>,
    frames: Vec<u8>,
    frames_address: u64,
    bases: BaseAddresses,
}

impl Functions {
    /// Reads them; none where they are missing, damaged or large.
    pub(super) fn of(elf: &Elf<'_>) -> Option<Self> {
        let (index, frames) = (elf.section(b".eh_frame_hdr")?, elf.section(b".eh_frame")?);
        if index.size > MAX_EH_FRAME || frames.size > MAX_EH_FRAME {
            return None;
        }
        let bases = BaseAddresses::default().set_eh_frame_hdr(index.address).set_eh_frame(frames.address);
        let found = Self {
            index: piece(elf.image, index.offset, index.size).ok()?,
            frames: piece(elf.image, frames.offset, frames.size).ok()?,
            frames_address: frames.address,
            bases,
        };
        found.index.starts_with(&USUAL).then_some(found)
    }

    /// The function around an address.
    pub(super) fn around(&self, address: u64) -> Option<Range<u64>> {
        let index = EhFrameHdr::new(&self.index, LittleEndian).parse(&self.bases, 8).ok()?;
        let Pointer::Direct(entry) = index.table()?.lookup(address, &self.bases).ok()? else { return None };
        // Not by `fde_for_address`, which subtracts without a look.
        let offset = entry.checked_sub(self.frames_address)?;
        let offset = EhFrameOffset(usize::try_from(offset).ok()?);
        let frames = EhFrame::new(&self.frames, LittleEndian);
        let entry = frames.fde_from_offset(&self.bases, offset, EhFrame::cie_from_offset).ok()?;
        let range = entry.initial_address()..entry.initial_address().checked_add(entry.len())?;
        range.contains(&address).then_some(range)
    }
}
