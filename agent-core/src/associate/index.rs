//! Handshakes that certificates may still come for, by `ClientHello.random` and by process.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::time::Duration;

use super::counters::AssociationCounters;
use crate::net::ConnId;
use crate::time::Timestamp;

/// Connection ends found by one random: two ends and a few proxies. More is somebody replaying a hello.
const PER_RANDOM: usize = 16;

/// Bounds of the index.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AssociationLimits {
    pub(crate) handshakes: usize,
    /// How long evidence is kept after the verdict.
    pub(crate) keep: Duration,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    random: Option<[u8; 32]>,
    process: Option<u32>,
    /// The certificates that its process parses are missing.
    wanted: bool,
}

/// The index.
#[derive(Debug)]
pub(crate) struct Index {
    limits: AssociationLimits,
    entries: HashMap<ConnId, Entry>,
    by_random: HashMap<[u8; 32], Vec<ConnId>>,
    /// Those whose certificates are missing; under `None` those whose owner is not known.
    by_process: HashMap<Option<u32>, BTreeSet<ConnId>>,
    /// Those whose verdict is known, and until when certificates may come.
    ending: VecDeque<(Timestamp, ConnId)>,
}

impl Index {
    pub(crate) fn new(limits: AssociationLimits) -> Self {
        Self {
            limits,
            entries: HashMap::new(),
            by_random: HashMap::new(),
            by_process: HashMap::new(),
            ending: VecDeque::new(),
        }
    }

    /// A handshake began. False when there is no room for it.
    pub(crate) fn insert(
        &mut self,
        conn: ConnId,
        random: Option<[u8; 32]>,
        process: Option<u32>,
        counters: &mut AssociationCounters,
    ) -> bool {
        self.remove(conn);
        if self.entries.len() >= self.limits.handshakes {
            counters.handshakes_not_indexed += 1;
            return false;
        }
        self.entries.insert(conn, Entry { random, process, wanted: true });
        self.by_process.entry(process).or_default().insert(conn);
        if let Some(random) = random {
            let same = self.by_random.entry(random).or_default();
            if same.len() < PER_RANDOM {
                same.push(conn);
            } else {
                counters.randoms_cut += 1;
            }
        }
        true
    }

    /// Its owner is another one than was thought.
    pub(crate) fn set_process(&mut self, conn: ConnId, process: Option<u32>) {
        let Some(entry) = self.entries.get_mut(&conn) else { return };
        let before = std::mem::replace(&mut entry.process, process);
        if entry.wanted && before != process {
            self.leave(conn, before);
            self.by_process.entry(process).or_default().insert(conn);
        }
    }

    /// The certificates that its process parses are there, or will never be.
    pub(crate) fn satisfy(&mut self, conn: ConnId) {
        let Some(entry) = self.entries.get_mut(&conn) else { return };
        if std::mem::take(&mut entry.wanted) {
            let process = entry.process;
            self.leave(conn, process);
        }
    }

    /// Its verdict is known: certificates are expected for a while only.
    pub(crate) fn ending(&mut self, conn: ConnId, now: Timestamp) {
        self.ending.push_back((now + self.limits.keep, conn));
    }

    /// The next one for which no certificates are expected any more.
    pub(crate) fn pop_ended(&mut self, now: Timestamp, counters: &mut AssociationCounters) -> Option<ConnId> {
        let (due, _) = self.ending.front()?;
        if *due > now {
            if self.ending.len() <= self.limits.handshakes {
                return None;
            }
            counters.evidence_dropped += 1;
        }
        self.ending.pop_front().map(|(_, conn)| conn)
    }

    pub(crate) fn remove(&mut self, conn: ConnId) {
        let Some(entry) = self.entries.remove(&conn) else { return };
        if entry.wanted {
            self.leave(conn, entry.process);
        }
        if let Some(random) = entry.random
            && let Some(same) = self.by_random.get_mut(&random)
        {
            same.retain(|other| *other != conn);
            if same.is_empty() {
                self.by_random.remove(&random);
            }
        }
    }

    pub(crate) fn with_random(&self, random: &[u8; 32]) -> &[ConnId] {
        self.by_random.get(random).map_or(&[], Vec::as_slice)
    }

    /// Those of a process, or of nobody known, whose certificates are missing.
    pub(crate) fn wanted_by(&self, process: Option<u32>) -> impl Iterator<Item = ConnId> {
        self.by_process.get(&process).into_iter().flatten().copied()
    }

    fn leave(&mut self, conn: ConnId, process: Option<u32>) {
        if let Some(conns) = self.by_process.get_mut(&process) {
            conns.remove(&conn);
            if conns.is_empty() {
                self.by_process.remove(&process);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn index(handshakes: usize) -> (Index, AssociationCounters) {
        let limits = AssociationLimits { handshakes, keep: Duration::from_secs(2) };
        (Index::new(limits), AssociationCounters::default())
    }

    fn wanted(index: &Index, process: Option<u32>) -> Vec<u64> {
        index.wanted_by(process).map(|conn| conn.0).collect()
    }

    #[test]
    fn finds_by_random_and_by_process_until_removed() {
        let (mut index, mut counters) = index(9);
        assert!(index.insert(ConnId(1), Some([1; 32]), Some(7), &mut counters));
        assert!(index.insert(ConnId(2), Some([1; 32]), None, &mut counters));
        assert_eq!(index.with_random(&[1; 32]), [ConnId(1), ConnId(2)]);
        assert_eq!((wanted(&index, Some(7)), wanted(&index, None)), (vec![1], vec![2]));
        index.set_process(ConnId(2), Some(7));
        assert_eq!((wanted(&index, Some(7)), wanted(&index, None)), (vec![1, 2], vec![]));
        index.satisfy(ConnId(1));
        index.set_process(ConnId(1), Some(8));
        assert_eq!((wanted(&index, Some(7)), wanted(&index, Some(8))), (vec![2], vec![]));
        index.remove(ConnId(1));
        index.remove(ConnId(2));
        assert!(index.entries.is_empty() && index.by_random.is_empty() && index.by_process.is_empty());
    }

    #[test]
    fn every_bound_is_counted() {
        let (mut index, mut counters) = index(20);
        for conn in 0..25 {
            index.insert(ConnId(conn), Some([1; 32]), Some(1), &mut counters);
        }
        assert_eq!((counters.handshakes_not_indexed, counters.randoms_cut), (5, 4));
        assert_eq!(index.with_random(&[1; 32]).len(), 16);
        for conn in 0..22 {
            index.ending(ConnId(conn), Timestamp(0));
        }
        let mut ended = Vec::new();
        while let Some(conn) = index.pop_ended(Timestamp(1), &mut counters) {
            ended.push(conn.0);
        }
        assert_eq!((ended, counters.evidence_dropped), (vec![0, 1], 2));
        assert_eq!(index.pop_ended(Timestamp::from_secs(2), &mut counters), Some(ConnId(2)));
        assert_eq!(counters.evidence_dropped, 2);
    }
}
