//! Does a chain lead to a root that is trusted? Each thing that can be wrong with it is told on its own, so that one defect
//! is one finding: a chain is verified at a time at which its certificates are valid and whatever its purposes are, and
//! those two are looked at apart.

mod verify;

use std::collections::BTreeMap;
use std::sync::Arc;

use hashlink::LruCache;
use rustls_pki_types::{CertificateDer, TrustAnchor};
use sha2::{Digest, Sha256};

use crate::net::Side;
use crate::x509::{CertificateSummary, summarize};

/// Roots under one name.
#[derive(Debug, Default)]
pub(super) struct Bundle {
    pub(super) anchors: Vec<TrustAnchor<'static>>,
    /// The same certificates, in the same order.
    pub(super) certificates: Vec<Arc<CertificateSummary>>,
}

/// What became of certificates that were to be roots.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Loaded {
    /// Roots there are now.
    pub roots: usize,
    /// Certificates that could not be read.
    pub unreadable: usize,
}

/// What a chain is worth.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChainVerdict {
    /// Does it lead to a root that is trusted?
    pub trust: Trust,
    /// The root that it leads to.
    pub root: Option<Arc<CertificateSummary>>,
    /// The certificates that were sent along and lead from the leaf to that root; absent where none does.
    pub issuers: Option<Vec<Arc<CertificateSummary>>>,
    /// The issuing certificate of a trusted chain, the root included, that is not valid at this time, where there is no
    /// way around it.
    pub invalid_issuer: Option<Arc<CertificateSummary>>,
    /// An issuing certificate of a trusted chain is not for this purpose.
    pub wrong_usage_of_issuer: bool,
}

impl ChainVerdict {
    fn of(trust: Trust) -> Self {
        Self { trust, root: None, issuers: None, invalid_issuer: None, wrong_usage_of_issuer: false }
    }
}

/// Does a chain lead to a root that is trusted?
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trust {
    /// It does.
    Trusted {
        /// Name of the bundle; absent for the system's.
        bundle: Option<Arc<str>>,
    },
    /// The leaf signed itself, and is none of the roots.
    SelfSigned,
    /// It leads to no root.
    UnknownIssuer,
    /// It leads to one, but breaks a rule on the way: a bad signature, a name constraint ...
    Rejected(&'static str),
    /// It cannot be told.
    NotJudged(&'static str),
}

/// What happened with chains.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TrustCounters {
    /// Chains that had been verified before.
    pub hits: u64,
    /// Chains that were verified.
    pub misses: u64,
    /// Verdicts dropped to make room.
    pub evicted: u64,
    /// Chains whose expectation names a bundle that there is not.
    pub unknown_bundles: u64,
}

/// Verdicts hold between two points in time at which a certificate of the chain begins or ends.
#[derive(Clone, Debug)]
struct Known {
    from: i64,
    until: i64,
    verdict: Arc<ChainVerdict>,
}

/// Roots, and what chains were found to be worth.
#[derive(Debug)]
pub struct TrustStore {
    system: Bundle,
    named: BTreeMap<Arc<str>, Bundle>,
    known: LruCache<[u8; 32], Known>,
    counters: TrustCounters,
}

/// Which roots a chain may lead to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Roots<'a> {
    /// The system's, and every bundle.
    All,
    /// Every bundle, but not the system's: public authorities do not vouch for clients.
    Bundles,
    /// One bundle.
    Bundle(&'a str),
    /// The bundle of a SPIFFE trust domain, where there is one.
    Domain(&'a str),
}

impl TrustStore {
    /// A store without roots that remembers this many chains.
    pub fn new(max_chains: usize) -> Self {
        Self {
            system: Bundle::default(),
            named: BTreeMap::new(),
            known: LruCache::new(max_chains),
            counters: TrustCounters::default(),
        }
    }

    /// Takes the system's roots (DER), in place of those there were.
    pub fn set_system(&mut self, certificates: impl IntoIterator<Item = Vec<u8>>) -> Loaded {
        let (bundle, loaded) = bundle(certificates);
        self.system = bundle;
        self.known.clear();
        loaded
    }

    /// Takes the roots (DER) of a bundle, in place of those there were. A bundle called `spiffe://` and a trust domain is
    /// what the SPIFFE identities of that domain are held against.
    pub fn set_bundle(&mut self, name: Arc<str>, certificates: impl IntoIterator<Item = Vec<u8>>) -> Loaded {
        let (bundle, loaded) = bundle(certificates);
        self.named.insert(name, bundle);
        self.known.clear();
        loaded
    }

    /// Forgets a bundle.
    pub fn remove_bundle(&mut self, name: &str) {
        self.named.remove(name);
        self.known.clear();
    }

    /// Is there a bundle of this name?
    pub fn has_bundle(&self, name: &str) -> bool {
        self.named.contains_key(name)
    }

    /// What happened so far.
    pub fn counters(&self) -> TrustCounters {
        self.counters
    }

    /// Counts on from what happened with another store, whose place this one takes.
    pub fn count_on(&mut self, before: TrustCounters) {
        let TrustCounters { hits, misses, evicted, unknown_bundles } = &mut self.counters;
        *hits = hits.saturating_add(before.hits);
        *misses = misses.saturating_add(before.misses);
        *evicted = evicted.saturating_add(before.evicted);
        *unknown_bundles = unknown_bundles.saturating_add(before.unknown_bundles);
    }

    /// What a chain, leaf first, is worth at this second of Unix time.
    pub fn verdict(
        &mut self,
        chain: &[Arc<CertificateSummary>],
        side: Side,
        roots: &Roots<'_>,
        at: i64,
    ) -> Arc<ChainVerdict> {
        let key = key(chain, side, roots);
        if let Some(known) = self.known.get(&key).filter(|known| (known.from..known.until).contains(&at)) {
            self.counters.hits += 1;
            return Arc::clone(&known.verdict);
        }
        self.counters.misses += 1;
        let verdict = Arc::new(self.verify(chain, side, roots, at));
        let (from, until) = interval(chain.iter().chain(&verdict.root), at);
        if self.known.len() >= self.known.capacity() && !self.known.contains_key(&key) {
            self.counters.evicted += 1;
        }
        self.known.insert(key, Known { from, until, verdict: Arc::clone(&verdict) });
        verdict
    }

    fn verify(
        &mut self,
        chain: &[Arc<CertificateSummary>],
        side: Side,
        roots: &Roots<'_>,
        at: i64,
    ) -> ChainVerdict {
        let mut bundles: Vec<(Option<&Arc<str>>, &Bundle)> = Vec::new();
        match roots {
            Roots::Bundle(name) | Roots::Domain(name) => match self.named.get_key_value(*name) {
                Some((name, bundle)) => bundles.push((Some(name), bundle)),
                None if matches!(roots, Roots::Domain(_)) => return not_judged("unknown_trust_domain"),
                None => {
                    self.counters.unknown_bundles += 1;
                    return not_judged("unknown_bundle");
                }
            },
            Roots::All | Roots::Bundles => {
                if *roots == Roots::All {
                    bundles.push((None, &self.system));
                }
                // Bundles of one trust domain vouch for nobody else.
                let general = self.named.iter().filter(|(name, _)| !name.starts_with("spiffe://"));
                bundles.extend(general.map(|(name, bundle)| (Some(name), bundle)));
            }
        }
        if bundles.iter().all(|(_, bundle)| bundle.certificates.is_empty()) {
            // That it vouches only for itself shows without any roots.
            return verify::self_signed(chain).unwrap_or_else(|| not_judged("no_roots"));
        }
        let mut best: Option<ChainVerdict> = None;
        for (name, bundle) in bundles {
            let verdict = verify::chain(chain, side, bundle, name, at);
            if best.as_ref().is_none_or(|best| rank(&verdict) < rank(best)) {
                best = Some(verdict);
            }
        }
        best.unwrap_or_else(|| not_judged("no_roots"))
    }

    /// Certificates that may have issued one with this issuer: sent ones first, then roots.
    pub(super) fn issuers<'a>(
        &'a self,
        chain: &'a [Arc<CertificateSummary>],
    ) -> impl Iterator<Item = &'a [u8]> {
        let sent = chain.iter().skip(1).map(|certificate| &*certificate.der);
        let bundles = std::iter::once(&self.system).chain(self.named.values());
        sent.chain(bundles.flat_map(|bundle| bundle.certificates.iter().map(|root| &*root.der)))
    }
}

fn not_judged(reason: &'static str) -> ChainVerdict {
    ChainVerdict::of(Trust::NotJudged(reason))
}

/// The best verdict of several bundles counts.
fn rank(verdict: &ChainVerdict) -> u8 {
    match (&verdict.trust, &verdict.invalid_issuer, verdict.wrong_usage_of_issuer) {
        (Trust::Trusted { .. }, None, false) => 0,
        (Trust::Trusted { .. }, ..) => 1,
        (Trust::NotJudged(_), ..) => 2,
        (Trust::Rejected(_), ..) => 3,
        (Trust::SelfSigned, ..) => 4,
        (Trust::UnknownIssuer, ..) => 5,
    }
}

fn bundle(certificates: impl IntoIterator<Item = Vec<u8>>) -> (Bundle, Loaded) {
    let mut bundle = Bundle::default();
    let mut loaded = Loaded::default();
    for der in certificates {
        match webpki::anchor_from_trusted_cert(&CertificateDer::from(der.as_slice())) {
            Ok(anchor) => bundle.anchors.push(anchor.to_owned()),
            Err(_) => {
                loaded.unreadable += 1;
                continue;
            }
        }
        bundle.certificates.push(Arc::new(summarize(&der)));
    }
    loaded.roots = bundle.anchors.len();
    (bundle, loaded)
}

fn key(chain: &[Arc<CertificateSummary>], side: Side, roots: &Roots<'_>) -> [u8; 32] {
    let mut hash = Sha256::new();
    match roots {
        Roots::All => hash.update([0]),
        Roots::Bundles => hash.update([1]),
        Roots::Bundle(name) | Roots::Domain(name) => {
            hash.update([2]);
            hash.update((name.len() as u64).to_be_bytes());
            hash.update(name.as_bytes());
        }
    }
    hash.update([u8::from(side == Side::Client)]);
    for certificate in chain {
        hash.update(certificate.sha256);
    }
    hash.finalize().into()
}

/// The longest time around `at` in which none of these certificates begins or ends.
fn interval<'a>(certificates: impl Iterator<Item = &'a Arc<CertificateSummary>>, at: i64) -> (i64, i64) {
    let (mut from, mut until) = (i64::MIN, i64::MAX);
    for certificate in certificates {
        let begins = certificate.not_before;
        // The last second of validity belongs to it.
        let ends = certificate.not_after.map(|last| last.saturating_add(1));
        for point in [begins, ends].into_iter().flatten() {
            if point <= at {
                from = from.max(point);
            } else {
                until = until.min(point);
            }
        }
    }
    (from, until)
}
