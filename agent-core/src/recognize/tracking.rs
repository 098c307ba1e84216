//! One connection of a recognized protocol on its way to TLS, or not.

use super::{ProtocolRef, Upgrade, UpgradeStatus};
use crate::net::{Direction, Side};

/// Bytes that a piece counts at least.
const PIECE: usize = 64;

/// A recognized protocol and its upgrade tracker, and the bytes that may turn out to be TLS.
pub(super) struct Tracking {
    pub(super) protocol: ProtocolRef,
    pub(super) client: Direction,
    pub(super) upgrade: Box<dyn Upgrade>,
    /// Stream offset of the protocol's first byte, by direction.
    base: [u64; 2],
    /// Stream offset of the next byte to feed, by direction.
    at: [u64; 2],
    pub(super) fed: u64,
    held: Vec<(Direction, u64, Vec<u8>)>,
    held_len: usize,
    pub(super) held_cut: bool,
    /// The beginning of a direction was missed: answers may be matched with the wrong requests.
    partial: bool,
}

impl Tracking {
    /// `base`: stream offset of the protocol's first byte, by direction. `partial`: a beginning was missed.
    pub(super) fn new(
        protocol: ProtocolRef,
        client: Direction,
        upgrade: Box<dyn Upgrade>,
        base: [u64; 2],
        partial: bool,
    ) -> Self {
        Self {
            protocol,
            client,
            upgrade,
            base,
            at: base,
            fed: 0,
            held: Vec::new(),
            held_len: 0,
            held_cut: false,
            partial,
        }
    }

    /// Not settled, and something may have been overlooked.
    pub(super) fn in_doubt(&self) -> bool {
        self.partial || self.held_cut || !self.held.is_empty()
    }

    pub(super) fn feed(&mut self, from: Direction, side: Side, bytes: &[u8]) -> UpgradeStatus {
        if let Some(at) = self.at.get_mut(from.index()) {
            *at = at.saturating_add(bytes.len() as u64);
        }
        self.fed = self.fed.saturating_add(bytes.len() as u64);
        self.upgrade.data(side, bytes)
    }

    fn at(&self, d: Direction) -> u64 {
        self.at.get(d.index()).copied().unwrap_or_default()
    }

    fn base(&self, d: Direction) -> u64 {
        self.base.get(d.index()).copied().unwrap_or_default()
    }

    /// Keeps the part of the chunk just fed that may be TLS; returns how many bytes had no room.
    pub(super) fn hold(&mut self, from: Direction, side: Side, bytes: &[u8], limit: usize) -> u64 {
        let Some(hold_from) = self.upgrade.hold_from(side) else { return 0 };
        let end = self.at(from);
        let tail = tail(bytes, end, self.base(from).saturating_add(hold_from));
        if tail.is_empty() {
            return 0;
        }
        // Pieces of one byte take as much as longer ones.
        let takes = tail.len().max(PIECE);
        if self.held_cut || self.held_len.saturating_add(takes) > limit {
            self.held_cut = true;
            return tail.len() as u64;
        }
        self.held_len = self.held_len.saturating_add(takes);
        self.held.push((from, end, tail.to_vec()));
        0
    }

    /// Bytes held that may be TLS.
    pub(super) const fn held_bytes(&self) -> usize {
        self.held_len
    }

    pub(super) fn start(&self, client: u64, server: u64) -> [u64; 2] {
        let mut start = self.base;
        for (d, offset) in [(self.client, client), (self.client.reverse(), server)] {
            if let Some(s) = start.get_mut(d.index()) {
                *s = s.saturating_add(offset);
            }
        }
        start
    }

    pub(super) fn tls_bytes(
        &mut self,
        start: [u64; 2],
        from: Direction,
        last: &[u8],
    ) -> Vec<(Direction, Vec<u8>)> {
        let end = self.at(from);
        let mut out = Vec::new();
        let held = std::mem::take(&mut self.held);
        let held = held.iter().map(|(d, end, bytes)| (*d, *end, bytes.as_slice()));
        for (d, end, bytes) in held.chain([(from, end, last)]) {
            let tail = tail(bytes, end, start.get(d.index()).copied().unwrap_or_default());
            if !tail.is_empty() {
                out.push((d, tail.to_vec()));
            }
        }
        out
    }
}

/// The part of `bytes`, which end at stream offset `end`, that lies at or behind offset `from`.
fn tail(bytes: &[u8], end: u64, from: u64) -> &[u8] {
    let len = usize::try_from(end.saturating_sub(from)).unwrap_or(usize::MAX).min(bytes.len());
    bytes.get(bytes.len().saturating_sub(len)..).unwrap_or_default()
}
