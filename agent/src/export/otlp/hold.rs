//! Handshakes of which more may become known in a moment. A span cannot be taken back, and a client's certificate that the
//! server refuses, or one that a probe shows, comes after the verdict.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use agent_core::net::ConnId;
use hashlink::LruCache;
use tokio::time::Instant;

use super::queue::Weight;
use super::record::Handshake;

/// How long they wait.
pub(super) const HOLD: Duration = Duration::from_secs(2);
/// Handshakes that wait at most, and their bytes, about.
const MAX: usize = 1024;
const MAX_BYTES: usize = 8 << 20;
/// Connections that are remembered to have been let go before all was known of them.
const REMEMBERED: usize = 8192;

/// What became of one.
#[derive(Debug, Default)]
pub(super) struct Let {
    /// These become spans now.
    pub(super) go: Vec<Handshake>,
    /// Of these, those that did not wait long enough, as too many wait.
    pub(super) early: usize,
    /// What was learned too late.
    pub(super) late: usize,
}

/// Those that wait.
#[derive(Debug)]
pub(super) struct Hold {
    waiting: HashMap<ConnId, (Handshake, usize)>,
    order: VecDeque<(Instant, ConnId)>,
    bytes: usize,
    gone: LruCache<ConnId, ()>,
}

impl Hold {
    pub(super) fn new() -> Self {
        Self { waiting: HashMap::new(), order: VecDeque::new(), bytes: 0, gone: LruCache::new(REMEMBERED) }
    }

    /// Takes one; says which go now.
    pub(super) fn take(&mut self, handshake: Handshake, now: Instant) -> Let {
        let conn = handshake.seen.sighting.observation.conn;
        let mut done = Let::default();
        if self.gone.contains_key(&conn) {
            if handshake.is_complete {
                self.gone.remove(&conn);
            }
            done.late = 1;
            return done;
        }
        let before = self.remove(conn);
        if handshake.is_complete {
            // Its place in the order is passed over when its time comes.
            done.go.push(handshake);
            return done;
        }
        if before.is_none() {
            self.order.push_back((now + HOLD, conn));
        }
        let weight = handshake.weight();
        self.bytes += weight;
        self.waiting.insert(conn, (handshake, weight));
        while self.waiting.len() > MAX || self.bytes > MAX_BYTES {
            let Some((_, conn)) = self.order.pop_front() else { break };
            done.early += usize::from(self.let_go(conn, &mut done.go));
        }
        // Places of those that did not wait for their time are not kept for ever.
        while self.order.len() > 4 * MAX {
            let Some((_, conn)) = self.order.pop_front() else { break };
            done.early += usize::from(self.let_go(conn, &mut done.go));
        }
        done
    }

    /// When the next one has waited long enough.
    pub(super) fn due(&self) -> Option<Instant> {
        self.order.front().map(|(at, _)| *at)
    }

    /// Those that have waited long enough; all of them with no time given.
    pub(super) fn release(&mut self, now: Option<Instant>) -> Vec<Handshake> {
        let mut go = Vec::new();
        while self.order.front().is_some_and(|(at, _)| now.is_none_or(|now| *at <= now)) {
            let Some((_, conn)) = self.order.pop_front() else { break };
            self.let_go(conn, &mut go);
        }
        go
    }

    fn let_go(&mut self, conn: ConnId, go: &mut Vec<Handshake>) -> bool {
        let Some(handshake) = self.remove(conn) else { return false };
        self.gone.insert(conn, ());
        go.push(handshake);
        true
    }

    fn remove(&mut self, conn: ConnId) -> Option<Handshake> {
        let (handshake, weight) = self.waiting.remove(&conn)?;
        self.bytes -= weight;
        Some(handshake)
    }
}
