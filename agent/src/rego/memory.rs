//! What was said of each connection, so that rules run only when something new is known of one, and each counts once.

use std::hash::{BuildHasher, RandomState};

use agent_core::net::ConnId;
use agent_core::policy::finding::{RuleId, Severity};
use hashlink::LruCache;

use super::result::Kind;

/// A finding of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Raised {
    pub(super) rule: RuleId,
    pub(super) kind: Kind,
    pub(super) severity: Severity,
}

impl Raised {
    pub(super) fn is(&self, key: &(RuleId, Kind)) -> bool {
        self.kind == key.1 && self.rule == key.0
    }
}

/// What was said of a connection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Told {
    /// Of the input that the rules saw last.
    pub(super) digest: Option<u64>,
    pub(super) raised: Vec<Raised>,
    /// What was said to be fine: index of the package, and of what it may find.
    pub(super) good: Vec<(usize, usize)>,
}

/// Open connections.
pub(super) struct Memory {
    told: LruCache<ConnId, Told>,
    hasher: RandomState,
    evicted: u64,
}

impl Memory {
    pub(super) fn new(max_connections: usize) -> Self {
        Self { told: LruCache::new(max_connections), hasher: RandomState::new(), evicted: 0 }
    }

    /// What was said of a connection, which is forgotten until it is [`put`](Self::put) back.
    pub(super) fn take(&mut self, conn: ConnId) -> Told {
        self.told.remove(&conn).unwrap_or_default()
    }

    pub(super) fn put(&mut self, conn: ConnId, told: Told) {
        self.evicted += u64::from(self.told.len() >= self.told.capacity());
        self.told.insert(conn, told);
    }

    pub(super) fn evicted(&self) -> u64 {
        self.evicted
    }

    /// Tells inputs of one connection apart.
    pub(super) fn digest(&self, input: &[u8]) -> u64 {
        self.hasher.hash_one(input)
    }
}
