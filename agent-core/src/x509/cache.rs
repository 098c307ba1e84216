//! Certificates by their SHA-256: parsed once, shared by every connection that shows them.

use std::sync::Arc;

use quick_cache::{Weighter, unsync::Cache};
use sha2::{Digest, Sha256};

use super::budget::Budget;
use super::{CertificateSummary, OcspResponse, parse};

/// Certificates of a chain that are looked at; no chain in use has as many.
pub(crate) const MAX_CERTIFICATES: usize = 32;
/// Bytes that a certificate in the cache may take on average; ordinary ones take less.
const USUAL_CERTIFICATE: usize = 3 * 1024;
/// Bytes of memory that an ordinary chain takes at most.
pub(crate) const USUAL_CHAIN: usize = 32 * 1024;
/// Bytes of an OCSP response: ordinary ones have two thousand.
const MAX_RESPONSE: usize = 8 * 1024;

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
    /// Certificates that were not looked at because there were 32 before them in their chain.
    pub cut: u64,
    /// Chains that are not kept, as if they had not been seen, because certificates held more memory than they may.
    pub not_kept: u64,
    /// OCSP responses that are not kept, because they are longer than any in use or for the same reason.
    pub responses_not_kept: u64,
    /// Bytes of memory that certificates hold now, wherever they are.
    pub held_bytes: usize,
}

/// A bounded cache of parsed certificates.
pub struct CertificateCache {
    cache: Cache<[u8; 32], Arc<CertificateSummary>, Bytes>,
    budget: Budget,
    counters: CertificateCounters,
}

/// A certificate of a chain.
enum Sent {
    New(Box<CertificateSummary>),
    Known(Arc<CertificateSummary>),
    /// The same as this one of the chain.
    Again(usize),
}

#[derive(Clone)]
struct Bytes;

impl Weighter<[u8; 32], Arc<CertificateSummary>> for Bytes {
    fn weight(&self, _: &[u8; 32], certificate: &Arc<CertificateSummary>) -> u64 {
        // Small ones count as ordinary ones: the number of entries is bounded too.
        certificate.bytes().max(USUAL_CERTIFICATE) as u64
    }
}

impl std::fmt::Debug for CertificateCache {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CertificateCache").field("len", &self.cache.len()).finish_non_exhaustive()
    }
}

impl CertificateCache {
    /// A cache that holds at most `capacity` certificates, fewer where they are long. All certificates that came from it and
    /// are still held by somebody take `max_bytes` at most, and what one more chain takes. What is only remembered takes a
    /// part of that which nobody can make larger, and makes no room for others: who it is of may come back.
    pub fn new(capacity: usize, max_bytes: usize) -> Self {
        let weight = capacity.saturating_mul(USUAL_CERTIFICATE) as u64;
        Self {
            cache: Cache::with_weighter(capacity, weight, Bytes),
            budget: Budget::new(max_bytes),
            counters: CertificateCounters::default(),
        }
    }

    /// The summaries of a chain of DER certificates, leaf first; `None` where there is no room to keep them.
    pub fn chain<D: AsRef<[u8]>>(&mut self, chain: &[D]) -> Option<Vec<Arc<CertificateSummary>>> {
        self.counters.cut += chain.len().saturating_sub(MAX_CERTIFICATES) as u64;
        let chain = || chain.iter().take(MAX_CERTIFICATES).map(AsRef::as_ref);
        let hashes: Vec<[u8; 32]> = chain().map(|der| Sha256::digest(der).into()).collect();
        // Parsed before it is decided: names of a few bytes take twenty times as many.
        let sent = chain().zip(&hashes).enumerate().map(|(at, (der, sha256))| {
            if let Some(first) = hashes.iter().take(at).position(|sent| sent == sha256) {
                return Sent::Again(first);
            }
            match self.cache.get(sha256) {
                Some(known) => Sent::Known(Arc::clone(known)),
                None => Sent::New(Box::new(parse::with_sha256(der, *sha256))),
            }
        });
        let sent: Vec<Sent> = sent.collect();
        let new: usize =
            sent.iter().map(|sent| if let Sent::New(new) = sent { new.bytes() } else { 0 }).sum();
        if new > 0 && !self.budget.has_room(new, USUAL_CHAIN) {
            self.counters.not_kept += 1;
            return None;
        }
        let mut summaries: Vec<Arc<CertificateSummary>> = Vec::with_capacity(sent.len());
        for sent in sent {
            let summary = match sent {
                Sent::New(new) => Some(self.remember(*new)),
                Sent::Known(known) => {
                    self.counters.hits += 1;
                    Some(known)
                }
                Sent::Again(first) => {
                    self.counters.hits += 1;
                    summaries.get(first).cloned()
                }
            };
            summaries.extend(summary);
        }
        Some(summaries)
    }

    /// An OCSP response; `None` where there is no room to keep it.
    pub fn response(&mut self, der: Vec<u8>) -> Option<Arc<OcspResponse>> {
        if der.len() > MAX_RESPONSE || !self.budget.has_room(der.len(), MAX_RESPONSE / 2) {
            self.counters.responses_not_kept += 1;
            return None;
        }
        let held = self.budget.hold(der.len());
        Some(Arc::new(OcspResponse::new(der, held)))
    }

    fn remember(&mut self, mut summary: CertificateSummary) -> Arc<CertificateSummary> {
        self.counters.misses += 1;
        summary.held = self.budget.hold(summary.bytes());
        if !summary.problems.is_empty() {
            self.counters.malformed += 1;
        }
        let summary = Arc::new(summary);
        let before = self.cache.len();
        self.cache.insert(summary.sha256, Arc::clone(&summary));
        let evicted = (before + 1).saturating_sub(self.cache.len());
        self.counters.evicted += evicted as u64;
        summary
    }

    /// What happened so far.
    pub fn counters(&self) -> CertificateCounters {
        CertificateCounters { held_bytes: self.budget.held(), ..self.counters }
    }
}
