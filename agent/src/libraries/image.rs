//! A file, read in pieces: a program of a hundred megabytes must not pass through the agent's memory to find ten places
//! in it, and mapping it would make the agent die with whoever truncates it.

use std::cell::Cell;
use std::fs::File;
use std::io;
use std::ops::ControlFlow;
use std::os::unix::fs::FileExt;

use aho_corasick::{AhoCorasick, AhoCorasickKind};

use super::Unprobed;

/// What a search ends with: a reason is as good an answer as a place.
pub(super) type Found<T> = Result<T, Unprobed>;

/// How much is read at a time when something is gone through from end to end.
const CHUNK: usize = 256 * 1024;
/// The most that is ever held in one piece.
const MAX_PIECE: usize = 16 * 1024 * 1024;
/// The most that is read of one file, all in all. Large programs with all their symbols come to half of it. Every table is
/// bounded by itself, but nothing keeps a file from saying that it has thousands of them, all in the same place, and a
/// file may be far larger than what of it is on a disk.
pub(super) const MAX_READ: u64 = 512 * 1024 * 1024;
/// How often a window moves: a gigabyte in all, for a table whose entries point to and fro.
const MAX_MOVES: u32 = 4096;

/// Bytes with positions. Implemented by files and, for tests and the fuzz target, by slices.
pub trait Image {
    /// Reads up to the length of `into` at `offset`; 0 at and after the end.
    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<usize>;
    /// Number of bytes.
    fn size(&self) -> io::Result<u64>;
}

impl Image for File {
    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<usize> {
        FileExt::read_at(self, into, offset)
    }

    fn size(&self) -> io::Result<u64> {
        self.metadata().map(|metadata| metadata.len())
    }
}

impl Image for &[u8] {
    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<usize> {
        let rest = usize::try_from(offset).ok().and_then(|offset| self.get(offset..)).unwrap_or_default();
        let length = rest.len().min(into.len());
        if let (Some(to), Some(from)) = (into.get_mut(..length), rest.get(..length)) {
            to.copy_from_slice(from);
        }
        Ok(length)
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.len() as u64)
    }
}

/// An image of which no more than so much is read. Reading on is an error like any other, which is asked for afterwards,
/// so that nobody who reads has to tell the two apart.
pub(super) struct Metered<'a> {
    image: &'a dyn Image,
    left: Cell<u64>,
    is_used_up: Cell<bool>,
}

impl<'a> Metered<'a> {
    /// For one inspection of a file.
    pub(super) fn new(image: &'a dyn Image, most: u64) -> Self {
        Self { image, left: Cell::new(most), is_used_up: Cell::new(false) }
    }

    /// Whether something was not read because of the bound.
    pub(super) fn is_used_up(&self) -> bool {
        self.is_used_up.get()
    }
}

impl Image for Metered<'_> {
    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<usize> {
        let Some(left) = self.left.get().checked_sub(into.len() as u64) else {
            self.is_used_up.set(true);
            // Nor anything less after that.
            self.left.set(0);
            return Err(io::ErrorKind::FileTooLarge.into());
        };
        let read = self.image.read_at(into, offset)?;
        self.left.set(left);
        Ok(read)
    }

    fn size(&self) -> io::Result<u64> {
        self.image.size()
    }
}

/// Reads exactly `length` bytes; a file that does not have them is not what its headers say it is.
pub(super) fn piece(image: &dyn Image, offset: u64, length: u64) -> Found<Vec<u8>> {
    let end = offset.checked_add(length).ok_or(Unprobed::Unreadable)?;
    // Asked first, so that a header's lie allocates nothing.
    if end > image.size().map_err(|_| Unprobed::Unreadable)? {
        return Err(Unprobed::Unreadable);
    }
    let length = usize::try_from(length).ok().filter(|&l| l <= MAX_PIECE).ok_or(Unprobed::Unreadable)?;
    let mut bytes = vec![0; length];
    match fill(image, offset, &mut bytes)? {
        read if read == length => Ok(bytes),
        _ => Err(Unprobed::Unreadable),
    }
}

/// Reads until `into` is full or the file ends.
fn fill(image: &dyn Image, offset: u64, into: &mut [u8]) -> Found<usize> {
    let mut done = 0;
    while let Some(rest) = into.get_mut(done..).filter(|rest| !rest.is_empty()) {
        let at = offset.checked_add(done as u64).ok_or(Unprobed::Unreadable)?;
        match image.read_at(rest, at) {
            Ok(0) => break,
            Ok(read) => done += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return Err(Unprobed::Unreadable),
        }
    }
    Ok(done)
}

/// Goes through `length` bytes from `offset` in chunks, each of which begins with the last `overlap` bytes of the one
/// before, so that nothing up to `overlap + 1` long is cut. `each` gets a chunk and the position of its first byte.
/// Stops early at the end of the file.
pub(super) fn chunks(
    image: &dyn Image,
    offset: u64,
    length: u64,
    overlap: usize,
    mut each: impl FnMut(&[u8], u64) -> ControlFlow<()>,
) -> Found<()> {
    let size = image.size().map_err(|_| Unprobed::Unreadable)?;
    let end = offset.saturating_add(length).min(size);
    let mut buffer = vec![0; CHUNK.min(usize::try_from(end.saturating_sub(offset)).unwrap_or(CHUNK))];
    let mut at = offset;
    while at < end {
        let want = usize::try_from(end - at).unwrap_or(CHUNK).min(buffer.len());
        let read = match buffer.get_mut(..want) {
            Some(into) => fill(image, at, into)?,
            None => 0,
        };
        let Some(chunk) = buffer.get(..read).filter(|chunk| !chunk.is_empty()) else { break };
        if each(chunk, at).is_break() {
            break;
        }
        let next = at.saturating_add(read as u64);
        if next >= end {
            break;
        }
        // Always forward, also where a file shrinks while it is read.
        at = next.saturating_sub(overlap as u64).max(at.saturating_add(1));
    }
    Ok(())
}

/// A search for several byte strings at a time, none of which may be inside another. One table look-up for each byte: what
/// the default does first, looking for rare bytes, is three times as slow where all there is are names of functions.
pub(super) fn search_for(patterns: impl IntoIterator<Item = Vec<u8>>) -> Option<AhoCorasick> {
    AhoCorasick::builder().kind(Some(AhoCorasickKind::DFA)).prefilter(false).build(patterns).ok()
}

/// A window that follows mostly forward reads, so that a table of a hundred thousand small things costs few calls.
pub(super) struct Window<'a> {
    image: &'a dyn Image,
    start: u64,
    bytes: Vec<u8>,
    moves: u32,
}

impl<'a> Window<'a> {
    /// An empty window.
    pub(super) fn new(image: &'a dyn Image) -> Self {
        Self { image, start: 0, bytes: Vec::new(), moves: 0 }
    }

    /// `length` bytes at `offset`, at most [`CHUNK`].
    pub(super) fn get(&mut self, offset: u64, length: usize) -> Found<&[u8]> {
        let inside = offset.checked_sub(self.start).and_then(|from| usize::try_from(from).ok());
        let inside =
            inside.filter(|from| from.checked_add(length).is_some_and(|end| end <= self.bytes.len()));
        let from = match inside {
            Some(from) => from,
            None if self.moves >= MAX_MOVES => return Err(Unprobed::Unreadable),
            None => {
                self.moves += 1;
                self.bytes.resize(CHUNK, 0);
                let read = fill(self.image, offset, &mut self.bytes)?;
                self.bytes.truncate(read);
                self.start = offset;
                0
            }
        };
        self.bytes.get(from..).and_then(|rest| rest.get(..length)).ok_or(Unprobed::Unreadable)
    }
}

/// Little-endian numbers at positions of a slice.
pub(super) trait Numbers {
    fn u16_at(&self, at: usize) -> Found<u16>;
    fn u32_at(&self, at: usize) -> Found<u32>;
    fn u64_at(&self, at: usize) -> Found<u64>;
}

impl Numbers for [u8] {
    fn u16_at(&self, at: usize) -> Found<u16> {
        array(self, at).map(u16::from_le_bytes)
    }

    fn u32_at(&self, at: usize) -> Found<u32> {
        array(self, at).map(u32::from_le_bytes)
    }

    fn u64_at(&self, at: usize) -> Found<u64> {
        array(self, at).map(u64::from_le_bytes)
    }
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> Found<[u8; N]> {
    bytes.get(at..).and_then(|rest| rest.first_chunk()).copied().ok_or(Unprobed::Unreadable)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_overlap_so_that_nothing_is_cut() {
        let bytes: Vec<u8> = (0..(CHUNK * 3 + 17)).map(|i| (i % 251) as u8).collect();
        let mut seen = Vec::new();
        let image: &dyn Image = &bytes.as_slice();
        let collect = |chunk: &[u8], at: u64| {
            let at = at as usize;
            assert_eq!(chunk, &bytes[at..at + chunk.len()]);
            assert!(at <= seen.len() && (at == 0 || seen.len() - at == 7));
            seen.truncate(at);
            seen.extend_from_slice(chunk);
            ControlFlow::Continue(())
        };
        chunks(image, 0, u64::MAX, 7, collect).unwrap();
        assert_eq!(seen, bytes);
    }

    #[test]
    fn a_piece_that_the_file_does_not_have_is_refused_before_it_is_allocated() {
        let bytes = [1u8, 2, 3];
        let image: &dyn Image = &bytes.as_slice();
        assert_eq!(piece(image, 1, 2), Ok(vec![2, 3]));
        assert_eq!(piece(image, 1, 3), Err(Unprobed::Unreadable));
        assert_eq!(piece(image, 0, u64::MAX), Err(Unprobed::Unreadable));
        assert_eq!(piece(image, u64::MAX, 1), Err(Unprobed::Unreadable));
    }

    #[test]
    fn no_more_than_the_bound_is_read_of_one_file() {
        /// Zeros without end.
        struct Endless;
        impl Image for Endless {
            fn read_at(&self, into: &mut [u8], _: u64) -> io::Result<usize> {
                Ok(into.len())
            }
            fn size(&self) -> io::Result<u64> {
                Ok(u64::MAX)
            }
        }
        let image = Metered::new(&Endless, MAX_READ);
        let mut read = 0;
        let count = |chunk: &[u8], _| {
            read += chunk.len() as u64;
            ControlFlow::Continue(())
        };
        assert_eq!(chunks(&image, 0, MAX_READ, 0, count), Ok(()));
        assert_eq!((read, image.is_used_up()), (MAX_READ, false));
        assert_eq!(piece(&image, 0, 1), Err(Unprobed::Unreadable));
        assert!(image.is_used_up());
    }

    #[test]
    fn a_window_moves_in_both_directions_and_ends_with_the_file() {
        let bytes: Vec<u8> = (0..(CHUNK * 2)).map(|i| (i % 13) as u8).collect();
        let image: &dyn Image = &bytes.as_slice();
        let mut window = Window::new(image);
        for at in [0, CHUNK as u64 - 2, 5, CHUNK as u64 * 2 - 4] {
            assert_eq!(window.get(at, 4), Ok(&bytes[at as usize..at as usize + 4]));
        }
        assert_eq!(window.get(CHUNK as u64 * 2 - 3, 4), Err(Unprobed::Unreadable));
    }

    #[test]
    fn a_window_that_is_sent_to_and_fro_gives_up() {
        let bytes = vec![0u8; CHUNK + 8];
        let image: &dyn Image = &bytes.as_slice();
        let mut window = Window::new(image);
        let moves = (0..=u64::from(MAX_MOVES)).take_while(|i| window.get((i % 2) * CHUNK as u64, 8).is_ok());
        assert_eq!(moves.count(), MAX_MOVES as usize);
    }
}
