//! TLS <= 1.2 sessions by what resumes them. A resumed handshake carries no certificates; who is who is known only when
//! the handshake that made the session was seen.

use std::sync::Arc;

use quick_cache::{Weighter, unsync::Cache};
use sha2::{Digest, Sha256};

use crate::observation::ClientCertificate;
use crate::x509::{CertificateSummary, USUAL_CHAIN};

/// Bytes of memory that a session may take on average, its part of the certificates included.
const USUAL_SESSION: usize = 1024;

/// What the full handshake of a session showed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Session {
    pub(crate) client_certificate: ClientCertificate,
    pub(crate) server_chain: Vec<Arc<CertificateSummary>>,
    pub(crate) client_chain: Vec<Arc<CertificateSummary>>,
    /// Bytes of memory that it counts for.
    weight: usize,
}

impl Session {
    /// A session with these chains; `None` where they are longer than any in use. Then it is not remembered: whoever resumes
    /// it often would have them looked at as often, for next to nothing.
    pub(crate) fn new(
        client_certificate: ClientCertificate,
        server_chain: &[Arc<CertificateSummary>],
        client_chain: &[Arc<CertificateSummary>],
    ) -> Option<Self> {
        let certificates = || server_chain.iter().chain(client_chain);
        if certificates().map(|certificate| certificate.bytes()).sum::<usize>() > USUAL_CHAIN {
            return None;
        }
        // Many sessions have the same certificates. One that nobody else has is held by its connection and by the cache.
        const ALONE: usize = 2;
        let part = |certificate: &Arc<CertificateSummary>| {
            certificate.bytes() * ALONE / Arc::strong_count(certificate).max(ALONE)
        };
        let pointers = (server_chain.len() + client_chain.len()) * size_of::<Arc<CertificateSummary>>();
        Some(Self {
            client_certificate,
            server_chain: server_chain.to_vec(),
            client_chain: client_chain.to_vec(),
            weight: size_of::<Self>() + pointers + certificates().map(part).sum::<usize>(),
        })
    }
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
    cache: Cache<SessionKey, Arc<Session>, Bytes>,
}

#[derive(Clone)]
struct Bytes;

impl Weighter<SessionKey, Arc<Session>> for Bytes {
    fn weight(&self, _: &SessionKey, session: &Arc<Session>) -> u64 {
        // Small ones count as ordinary ones: the number of entries is bounded too.
        session.weight.max(USUAL_SESSION) as u64
    }
}

impl std::fmt::Debug for SessionCache {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SessionCache").field("len", &self.cache.len()).finish_non_exhaustive()
    }
}

impl SessionCache {
    /// As many sessions at most, fewer where their certificates are long.
    pub(crate) fn new(capacity: usize) -> Self {
        Self { cache: Cache::with_weighter(capacity, capacity.saturating_mul(USUAL_SESSION) as u64, Bytes) }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn certificate(len: usize) -> Arc<CertificateSummary> {
        Arc::new(CertificateSummary { der: vec![0; len].into(), ..CertificateSummary::default() })
    }

    fn session(chain: &[Arc<CertificateSummary>]) -> Option<Arc<Session>> {
        Session::new(ClientCertificate::NotRequested, chain, &[]).map(Arc::new)
    }

    fn key(number: u32) -> SessionKey {
        SessionKey::of_session_id(&number.to_be_bytes()).expect("a key")
    }

    #[test]
    fn long_certificates_leave_room_for_fewer_sessions() {
        let mut sessions = SessionCache::new(100);
        let evicted: u64 =
            (0..100).map(|n| sessions.insert(key(n), session(&[certificate(10_000)]).expect("room"))).sum();
        // 100 KiB in all.
        assert!((90..=93).contains(&evicted), "{evicted}");
        let mut sessions = SessionCache::new(100);
        let same = [certificate(10_000)];
        let sessions_of_one = (0..100).map(|n| sessions.insert(key(n), session(&same).expect("room")));
        // Each more of them counts for less.
        assert!(sessions_of_one.sum::<u64>() < 40);
    }

    #[test]
    fn sessions_with_chains_as_nobody_has_them_are_not_remembered() {
        assert_eq!(session(&[certificate(20_000), certificate(20_000)]), None);
        assert!(session(&[certificate(15_000), certificate(15_000)]).is_some());
    }
}
