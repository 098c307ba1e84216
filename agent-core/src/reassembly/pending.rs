//! Pieces of a stream that wait for the bytes in front of them: sorted, never overlapping.

use std::collections::BTreeMap;

/// A stretch of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Piece {
    /// Its bytes.
    Data(Vec<u8>),
    /// So many bytes that the source left out.
    Elided(u64),
}

impl Piece {
    pub(super) fn len(&self) -> u64 {
        match self {
            Piece::Data(bytes) => bytes.len() as u64,
            Piece::Elided(len) => *len,
        }
    }
}

/// Early pieces by stream offset.
#[derive(Clone, Debug, Default)]
pub(super) struct Pending {
    pieces: BTreeMap<u64, Piece>,
    bytes: usize,
}

impl Pending {
    pub(super) fn pieces(&self) -> usize {
        self.pieces.len()
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn first_start(&self) -> Option<u64> {
        self.pieces.first_key_value().map(|(start, _)| *start)
    }

    pub(super) fn pop_first(&mut self) -> Option<(u64, Piece)> {
        let (start, piece) = self.pieces.pop_first()?;
        if let Piece::Data(bytes) = &piece {
            self.bytes -= bytes.len();
        }
        Some((start, piece))
    }

    /// Keeps what is new of `len` bytes at `start`, of which only `payload` is there. Bytes that are there already win
    /// over later copies (an attacker who sends two versions gains nothing by the later one); bytes that had been left
    /// out are filled. Gives the number of bytes that were new.
    pub(super) fn insert(&mut self, start: u64, len: u64, payload: &[u8]) -> u64 {
        let data_end = start + payload.len() as u64;
        let mut new = 0;
        for (from, to) in self.holes(start, data_end, |piece| matches!(piece, Piece::Data(_))) {
            self.carve_elided(from, to);
            let range = (from - start) as usize..(to - start) as usize;
            let bytes = payload.get(range).unwrap_or_default().to_vec();
            self.bytes += bytes.len();
            new += to - from;
            self.pieces.insert(from, Piece::Data(bytes));
        }
        for (from, to) in self.holes(data_end, start + len, |_| true) {
            new += to - from;
            self.pieces.insert(from, Piece::Elided(to - from));
        }
        new
    }

    /// Forgets everything before `offset`.
    pub(super) fn drop_before(&mut self, offset: u64) {
        while self.first_start().is_some_and(|start| start < offset) {
            let Some((start, piece)) = self.pop_first() else { return };
            let end = start + piece.len();
            if end <= offset {
                continue;
            }
            match piece {
                Piece::Data(mut bytes) => {
                    let bytes = bytes.split_off((offset - start) as usize);
                    self.bytes += bytes.len();
                    self.pieces.insert(offset, Piece::Data(bytes));
                }
                Piece::Elided(_) => {
                    self.pieces.insert(offset, Piece::Elided(end - offset));
                }
            }
        }
    }

    /// The parts of `start..end` that no piece for which `blocks` holds covers.
    fn holes(&self, start: u64, end: u64, blocks: impl Fn(&Piece) -> bool) -> Vec<(u64, u64)> {
        let mut holes = Vec::new();
        let mut at = start;
        for (from, to) in self.overlapping(start, end).filter(|(_, _, p)| blocks(p)).map(|(f, t, _)| (f, t)) {
            if from > at {
                holes.push((at, from));
            }
            at = at.max(to);
        }
        if at < end {
            holes.push((at, end));
        }
        holes
    }

    fn overlapping(&self, start: u64, end: u64) -> impl Iterator<Item = (u64, u64, &Piece)> {
        // Pieces do not overlap, so at most one that begins before `start` reaches into it.
        let before = self.pieces.range(..start).next_back();
        before
            .into_iter()
            .chain(self.pieces.range(start..end.max(start)))
            .map(|(from, piece)| (*from, from + piece.len(), piece))
            .filter(move |(from, to, _)| *to > start && *from < end)
    }

    fn carve_elided(&mut self, start: u64, end: u64) {
        let hit: Vec<(u64, u64)> = self
            .overlapping(start, end)
            .filter(|(_, _, piece)| matches!(piece, Piece::Elided(_)))
            .map(|(from, to, _)| (from, to))
            .collect();
        for (from, to) in hit {
            self.pieces.remove(&from);
            if from < start {
                self.pieces.insert(from, Piece::Elided(start - from));
            }
            if to > end {
                self.pieces.insert(end, Piece::Elided(to - end));
            }
        }
    }
}
