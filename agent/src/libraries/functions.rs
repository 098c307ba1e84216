//! Where functions begin and end, also in a stripped library: exception handling needs to know it (`.eh_frame`).

use std::ops::Range;

use gimli::{BaseAddresses, EhFrame, EhFrameHdr, LittleEndian, UnwindSection};

use super::elf::Elf;
use super::image::piece;

/// The largest `.eh_frame`, and its index, that is read. That of libssl has 60 kB.
const MAX_EH_FRAME: u64 = 8 * 1024 * 1024;

/// The unwind tables of a file.
pub(super) struct Functions {
    index: Vec<u8>,
    frames: Vec<u8>,
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
        let read = |offset, size| piece(elf.image, offset, size).ok();
        Some(Self {
            index: read(index.offset, index.size)?,
            frames: read(frames.offset, frames.size)?,
            bases,
        })
    }

    /// The function around an address.
    pub(super) fn around(&self, address: u64) -> Option<Range<u64>> {
        let index = EhFrameHdr::new(&self.index, LittleEndian).parse(&self.bases, 8).ok()?;
        let frames = EhFrame::new(&self.frames, LittleEndian);
        let entry =
            index.table()?.fde_for_address(&frames, &self.bases, address, EhFrame::cie_from_offset).ok()?;
        let range = entry.initial_address()..entry.initial_address().checked_add(entry.len())?;
        range.contains(&address).then_some(range)
    }
}
