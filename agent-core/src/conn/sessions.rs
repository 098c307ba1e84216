//! TLS <= 1.2 sessions by what resumes them. A resumed handshake carries no certificates; who is who is known only when
//! the handshake that made the session was seen.

use std::sync::Arc;

use quick_cache::{Weighter, unsync::Cache};
use sha2::{Digest, Sha256};

use crate::observation::ClientCertificate;
use crate::x509::{CertificateSummary, USUAL_CHAIN};

/// Bytes of memory that the certificates of sessions may take for each session; many have the same.
const CERTIFICATES_OF_SESSION: usize = 1024;
/// Certificates of both sides that a session may have.
const MAX_CERTIFICATES: usize = 16;

type Chain = Vec<Arc<CertificateSummary>>;

/// What the full handshake of a session showed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Session {
    pub(crate) client_certificate: ClientCertificate,
    /// SHA-256 of the certificates of both sides.
    server_chain: Box<[[u8; 32]]>,
    client_chain: Box<[[u8; 32]]>,
}

/// A session that is known with its certificates.
#[derive(Clone, Debug)]
pub(crate) struct Known {
    pub(crate) session: Arc<Session>,
    pub(crate) server_chain: Chain,
    pub(crate) client_chain: Chain,
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

/// A bounded memory of sessions. Certificates are held once, by all their bytes: how many sessions have one, and who else
/// holds it, is up to strangers.
pub(crate) struct SessionCache {
    sessions: Cache<SessionKey, Arc<Session>>,
    certificates: Cache<[u8; 32], Arc<CertificateSummary>, Bytes>,
}

#[derive(Clone)]
struct Bytes;

impl Weighter<[u8; 32], Arc<CertificateSummary>> for Bytes {
    fn weight(&self, _: &[u8; 32], certificate: &Arc<CertificateSummary>) -> u64 {
        // The number of entries is bounded too.
        certificate.bytes().max(CERTIFICATES_OF_SESSION) as u64
    }
}

impl std::fmt::Debug for SessionCache {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SessionCache").field("len", &self.sessions.len()).finish_non_exhaustive()
    }
}

impl SessionCache {
    /// As many sessions at most, and a KiB of certificates for each.
    pub(crate) fn new(capacity: usize) -> Self {
        let bytes = capacity.saturating_mul(CERTIFICATES_OF_SESSION) as u64;
        Self { sessions: Cache::new(capacity), certificates: Cache::with_weighter(capacity, bytes, Bytes) }
    }

    /// A session, if it and all its certificates are remembered.
    pub(crate) fn get(&mut self, key: SessionKey) -> Option<Known> {
        let session = self.sessions.get(&key).cloned()?;
        let chain = |hashes: &[[u8; 32]]| -> Option<Chain> {
            hashes.iter().map(|hash| self.certificates.get(hash).cloned()).collect()
        };
        let (server_chain, client_chain) = (chain(&session.server_chain)?, chain(&session.client_chain)?);
        Some(Known { session, server_chain, client_chain })
    }

    /// What was shown in a full handshake, to be [remembered](Self::insert), and the number of certificates forgotten to make
    /// room; `None` where it is longer than anything in use. Then it is not remembered: whoever resumes it often would have
    /// it looked at as often, for next to nothing.
    pub(crate) fn session(
        &mut self,
        client_certificate: ClientCertificate,
        server_chain: &[Arc<CertificateSummary>],
        client_chain: &[Arc<CertificateSummary>],
    ) -> Option<(Arc<Session>, u64)> {
        let certificates = || server_chain.iter().chain(client_chain);
        let bytes: usize = certificates().map(|certificate| certificate.bytes()).sum();
        if bytes > USUAL_CHAIN || certificates().count() > MAX_CERTIFICATES {
            return None;
        }
        let mut evicted = 0;
        for certificate in certificates() {
            let key = certificate.sha256;
            let before = self.certificates.len() + usize::from(self.certificates.peek(&key).is_none());
            self.certificates.insert(key, Arc::clone(certificate));
            evicted += before.saturating_sub(self.certificates.len()) as u64;
        }
        let hashes = |chain: &[Arc<CertificateSummary>]| chain.iter().map(|one| one.sha256).collect();
        let session = Session {
            client_certificate,
            server_chain: hashes(server_chain),
            client_chain: hashes(client_chain),
        };
        Some((Arc::new(session), evicted))
    }

    /// Remembers a session. Gives the number of sessions forgotten to make room.
    pub(crate) fn insert(&mut self, key: SessionKey, session: Arc<Session>) -> u64 {
        let before = self.sessions.len() + usize::from(self.sessions.peek(&key).is_none());
        self.sessions.insert(key, session);
        before.saturating_sub(self.sessions.len()) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn certificate(number: u32, len: usize) -> Arc<CertificateSummary> {
        let mut sha256 = [0; 32];
        sha256[..4].copy_from_slice(&number.to_be_bytes());
        Arc::new(CertificateSummary { sha256, der: vec![0; len].into(), ..CertificateSummary::default() })
    }

    fn key(number: u32) -> SessionKey {
        SessionKey::of_session_id(&number.to_be_bytes()).expect("a key")
    }

    fn store(sessions: &mut SessionCache, number: u32, chain: &[Arc<CertificateSummary>]) -> u64 {
        let made = sessions.session(ClientCertificate::NotRequested, chain, &[]);
        let (session, evicted) = made.expect("not too long");
        sessions.insert(key(number), session) + evicted
    }

    #[test]
    fn certificates_are_held_by_all_their_bytes_whoever_else_has_them() {
        let mut sessions = SessionCache::new(100);
        let mut weak = Vec::new();
        for n in 0..100 {
            let one = certificate(n, 10_000);
            weak.push(Arc::downgrade(&one));
            // Others have it too, for a moment.
            let others = vec![Arc::clone(&one); 1000];
            store(&mut sessions, n, &[one]);
            drop(others);
        }
        let held = weak.iter().filter(|weak| weak.strong_count() > 0).count();
        assert!((5..=10).contains(&held), "{held} of 10 KB in 100 KiB");
        let known = (0..100).filter(|n| sessions.get(key(*n)).is_some()).count();
        assert_eq!(known, held);
    }

    #[test]
    fn sessions_of_the_same_certificates_are_as_many_as_there_may_be() {
        let mut sessions = SessionCache::new(100);
        let chain = [certificate(1, 10_000), certificate(2, 5000)];
        assert_eq!((0..100).map(|n| store(&mut sessions, n, &chain)).sum::<u64>(), 0);
        let known =
            (0..100).filter(|n| sessions.get(key(*n)).is_some_and(|known| known.server_chain == chain));
        assert_eq!(known.count(), 100);
        assert!(store(&mut sessions, 100, &chain) > 0);
    }

    #[test]
    fn sessions_with_chains_as_nobody_has_them_are_not_remembered() {
        let mut sessions = SessionCache::new(100);
        let mut fits = |chain: &[_]| sessions.session(ClientCertificate::Sent, &[], chain).is_some();
        assert!(!fits(&[certificate(1, 20_000), certificate(2, 20_000)]));
        assert!(!fits(&(0..17).map(|n| certificate(n, 10)).collect::<Vec<_>>()));
        assert!(fits(&[certificate(1, 15_000), certificate(2, 15_000)]));
    }
}
