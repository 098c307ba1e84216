//! Chains that are not tied yet.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::evidence::MessageLength;
use crate::event::{Process, TlsLibrary};
use crate::net::{ConnId, Side};
use crate::time::Timestamp;
use crate::x509::{CertificateSummary, OcspResponse};

/// Time to the second look; each further one is four times as far from the first.
const FIRST_WAIT: Duration = Duration::from_millis(1);

/// A chain on its way to a connection.
#[derive(Clone, Debug)]
pub(crate) struct Pending {
    /// When the process parsed it.
    pub(crate) time: Timestamp,
    pub(crate) process: Arc<Process>,
    pub(crate) library: TlsLibrary,
    pub(crate) peer: Option<Side>,
    pub(crate) last_read: Option<ConnId>,
    /// The connection that the thread read from before that one, and when.
    pub(crate) read_before: Option<(ConnId, Timestamp)>,
    pub(crate) client_random: Option<[u8; 32]>,
    pub(crate) message: MessageLength,
    pub(crate) chain: Vec<Arc<CertificateSummary>>,
    pub(crate) ocsp_response: Option<Arc<OcspResponse>>,
    /// Connections that fitted when it was last looked at.
    pub(crate) candidates: Vec<ConnId>,
    /// One of those went away untied, or they are too many: which one is left says nothing.
    pub(crate) is_spoiled: bool,
    /// The contradicted hint was counted.
    pub(crate) hint_counted: bool,
    /// Times it was looked at.
    pub(crate) looks: u32,
}

impl Pending {
    /// Is it a chain of the same certificates, parsed in the same process, for the same side?
    pub(crate) fn is_alike(&self, other: &Pending) -> bool {
        self.process.pid == other.process.pid
            && self.peer == other.peer
            && self.message == other.message
            && self.chain.iter().map(|c| c.sha256).eq(other.chain.iter().map(|c| c.sha256))
    }

    fn next_look(&self, wait: Duration) -> Timestamp {
        let pause = FIRST_WAIT.saturating_mul(4u32.saturating_pow(self.looks.saturating_sub(1)));
        self.time + pause.min(wait)
    }

    /// Was this the last look?
    pub(crate) fn is_due(&self, now: Timestamp, wait: Duration) -> bool {
        self.time + wait <= now
    }
}

/// Chains that wait, by the time of their next look.
#[derive(Debug, Default)]
pub(crate) struct PendingQueue {
    queue: BTreeMap<(Timestamp, u64), Pending>,
    next: u64,
}

impl PendingQueue {
    /// Takes one in until its next look.
    pub(crate) fn push(&mut self, pending: Pending, wait: Duration) {
        self.next += 1;
        self.queue.insert((pending.next_look(wait), self.next), pending);
    }

    /// When [`pop`](Self::pop) has something.
    pub(crate) fn deadline(&self) -> Option<Timestamp> {
        self.queue.first_key_value().map(|((due, _), _)| *due)
    }

    /// One whose time has come.
    pub(crate) fn pop(&mut self, now: Timestamp) -> Option<Pending> {
        self.deadline().filter(|due| *due <= now)?;
        self.pop_first()
    }

    /// The one that comes next, whether its time has come or not.
    pub(crate) fn pop_first(&mut self) -> Option<Pending> {
        self.queue.pop_first().map(|(_, pending)| pending)
    }

    pub(crate) fn len(&self) -> usize {
        self.queue.len()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Pending> {
        self.queue.values()
    }

    /// Takes out one that fitted this connection when it was last looked at.
    pub(crate) fn take_fitting(&mut self, conn: ConnId) -> Option<Pending> {
        let mut fitting = self.queue.iter().filter(|(_, pending)| pending.candidates.contains(&conn));
        let key = *fitting.next()?.0;
        self.queue.remove(&key)
    }

    /// One of these connections was not found: what is left of the candidates of others says nothing.
    pub(crate) fn spoil(&mut self, candidates: &[ConnId]) {
        for pending in self.queue.values_mut() {
            pending.is_spoiled |= pending.candidates.iter().any(|conn| candidates.contains(conn));
        }
    }

    /// Takes out those that are alike.
    pub(crate) fn take_alike(&mut self, model: &Pending) -> Vec<Pending> {
        let alike = self.queue.iter().filter(|(_, pending)| pending.is_alike(model)).map(|(key, _)| *key);
        let keys: Vec<_> = alike.collect();
        keys.into_iter().filter_map(|key| self.queue.remove(&key)).collect()
    }
}
