//! TLS <= 1.2 sessions by what resumes them. A resumed handshake carries no certificates; who is who is known only when
//! the handshake that made the session was seen.

use std::sync::Arc;

use quick_cache::unsync::Cache;
use sha2::{Digest, Sha256};

use crate::observation::ClientCertificate;
use crate::x509::CertificateSummary;

/// What the full handshake of a session showed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Session {
    pub(crate) client_certificate: ClientCertificate,
    pub(crate) server_chain: Vec<Arc<CertificateSummary>>,
    pub(crate) client_chain: Vec<Arc<CertificateSummary>>,
}

/// Hash of a session id or a ticket: neither is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct SessionKey([u8; 16]);

impl SessionKey {
    /// Key of a session id (RFC 5246 section 7.4.1.2), if there is one.
    pub(crate) fn of_session_id(id: &[u8]) -> Option<Self> {
        Self::of(b"id", id)
    }

    /// Key of a ticket (RFC 5077 section 3.3), if there is one.
    pub(crate) fn of_ticket(ticket: &[u8]) -> Option<Self> {
        Self::of(b"ticket", ticket)
    }

    fn of(kind: &[u8], bytes: &[u8]) -> Option<Self> {
        if bytes.is_empty() {
            return None;
        }
        let hash: [u8; 32] = Sha256::new().chain_update(kind).chain_update(bytes).finalize().into();
        hash.first_chunk::<16>().map(|key| Self(*key))
    }
}

/// A bounded memory of sessions.
pub(crate) struct SessionCache {
    cache: Cache<SessionKey, Arc<Session>>,
}

impl std::fmt::Debug for SessionCache {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SessionCache").field("len", &self.cache.len()).finish_non_exhaustive()
    }
}

impl SessionCache {
    pub(crate) fn new(capacity: usize) -> Self {
        Self { cache: Cache::new(capacity) }
    }

    /// Forgets all, and says how many.
    pub(crate) fn clear(&mut self) -> u64 {
        let forgotten = self.cache.len();
        self.cache.clear();
        forgotten as u64
    }

    pub(crate) fn get(&mut self, key: SessionKey) -> Option<Arc<Session>> {
        self.cache.get(&key).cloned()
    }

    /// Remembers a session. Gives the number of sessions forgotten to make room.
    pub(crate) fn insert(&mut self, key: SessionKey, session: Arc<Session>) -> u64 {
        let before = self.cache.len() + usize::from(self.cache.peek(&key).is_none());
        self.cache.insert(key, session);
        before.saturating_sub(self.cache.len()) as u64
    }
}
