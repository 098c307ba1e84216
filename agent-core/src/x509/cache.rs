//! Certificates by their SHA-256: parsed once, shared by every connection that shows them.

use std::sync::Arc;

use quick_cache::unsync::Cache;
use sha2::{Digest, Sha256};

use super::{CertificateSummary, parse};

/// What happened in the certificate cache.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CertificateCounters {
    /// Certificates that had been parsed before.
    pub hits: u64,
    /// Certificates that were parsed.
    pub misses: u64,
    /// Certificates dropped from the cache to make room.
    pub evicted: u64,
    /// Certificates parsed with at least one problem.
    pub malformed: u64,
}

/// A bounded cache of parsed certificates.
pub struct CertificateCache {
    cache: Cache<[u8; 32], Arc<CertificateSummary>>,
    counters: CertificateCounters,
}

impl std::fmt::Debug for CertificateCache {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CertificateCache").field("len", &self.cache.len()).finish_non_exhaustive()
    }
}

impl CertificateCache {
    /// A cache that holds about `capacity` certificates.
    pub fn new(capacity: usize) -> Self {
        Self { cache: Cache::new(capacity), counters: CertificateCounters::default() }
    }

    /// The summary of a DER certificate.
    pub fn summary(&mut self, der: &[u8]) -> Arc<CertificateSummary> {
        let sha256: [u8; 32] = Sha256::digest(der).into();
        if let Some(known) = self.cache.get(&sha256) {
            self.counters.hits += 1;
            return Arc::clone(known);
        }
        self.counters.misses += 1;
        let summary = Arc::new(parse::with_sha256(der, sha256));
        if !summary.problems.is_empty() {
            self.counters.malformed += 1;
        }
        let before = self.cache.len();
        self.cache.insert(sha256, Arc::clone(&summary));
        let evicted = (before + 1).saturating_sub(self.cache.len());
        self.counters.evicted += evicted as u64;
        summary
    }

    /// What happened so far.
    pub fn counters(&self) -> CertificateCounters {
        self.counters
    }
}
