//! Which certificates were shown where, one after the other, and which is the newest for a set of names.

use std::collections::VecDeque;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use hashlink::LruCache;

use super::about::{About, identity, short};
use super::bounds::{Weighed, resize};
use crate::net::{Endpoint, Side};
use crate::time::Timestamp;
use crate::x509::{CertificateSummary, NameSet, San};

/// Certificates remembered of one place.
const MAX_AT_A_PLACE: usize = 8;
/// Bytes that the certificates at all places take at most. Ordinary ones take 1 or 2 KiB, their encoding being left out; long
/// ones under ever new names make the history shorter, not the memory it takes longer.
const MAX_BYTES: usize = 16 * 1024 * 1024;

/// Where a certificate is shown: one endpoint or client, not all the replicas of a service.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Place {
    /// By a server.
    Server {
        /// Its address.
        endpoint: Endpoint,
        /// The name it was asked for.
        server_name: Option<Arc<str>>,
    },
    /// By a client.
    Client {
        /// Its address.
        address: IpAddr,
        /// The identity in the certificate.
        identity: Arc<str>,
    },
}

impl Place {
    /// The place where this leaf is shown.
    pub fn new(side: Side, endpoint: Endpoint, server_name: Option<&str>, leaf: &CertificateSummary) -> Self {
        match side {
            Side::Server => {
                let server_name = server_name.map(|name| short(name.to_owned()).into());
                Place::Server { endpoint, server_name }
            }
            Side::Client => Place::Client { address: endpoint.addr, identity: identity(leaf).into() },
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Server { endpoint, server_name: None } => endpoint.fmt(f),
            Place::Server { endpoint, server_name: Some(name) } => write!(f, "{endpoint} for {name}"),
            Place::Client { address, identity } => write!(f, "{identity} at {address}"),
        }
    }
}

/// A certificate at a place.
#[derive(Clone, Debug)]
pub struct Shown {
    /// The leaf, without its encoding.
    pub certificate: Arc<CertificateSummary>,
    /// When it was first shown there.
    pub first_seen: Timestamp,
    /// When it was last shown there.
    pub last_seen: Timestamp,
}

/// A place shows a newer certificate than before.
#[derive(Clone, Debug)]
pub struct CertificateReplaced {
    /// When the new one was first seen.
    pub time: Timestamp,
    /// Whose certificate it is, in the words of findings.
    pub about: About,
    /// Where.
    pub place: Place,
    /// The old one, without its encoding.
    pub before: Arc<CertificateSummary>,
    /// The new one.
    pub after: Arc<CertificateSummary>,
}

/// A certificate that somebody outside knows of, such as cert-manager.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownCertificate {
    /// All its names.
    pub names: Vec<San>,
    /// Algorithm of its key (`RSA`, `EC` ...), where known: a server may have one of each.
    pub key_algorithm: Option<String>,
    /// First second of its validity, Unix time.
    pub not_before: i64,
    /// Last second of its validity.
    pub not_after: i64,
    /// Who says so: `cert-manager shop/db-tls`.
    pub source: Arc<str>,
}

/// The newest certificate known for a set of names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Newest {
    /// First second of its validity.
    pub not_before: i64,
    /// Last second of its validity.
    pub not_after: i64,
    /// SHA-256 of it in upper-case hex, where it was seen.
    pub sha256: Option<String>,
    /// Where it was seen, or who says so.
    pub source: Arc<str>,
    /// Since when it is known.
    pub since: Timestamp,
}

/// What happened in the history.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HistoryCounters {
    /// Certificates replaced.
    pub replaced: u64,
    /// Places forgotten to make room.
    pub places_evicted: u64,
    /// Sets of names forgotten to make room.
    pub names_evicted: u64,
}

/// Certificates that take the place of each other.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Kind {
    names: NameSet,
    /// Algorithm of the key: a server may have one certificate of each.
    key_algorithm: Option<String>,
    /// Whose it is, by the issuer's organization: a name may have one certificate inside and another one outside. Absent
    /// for what somebody outside says.
    issuer: Option<String>,
    /// A root that is trusted vouches for it. Anybody can show a certificate with any names and dates in it: it says
    /// nothing of one that is trusted.
    is_trusted: bool,
}

impl Kind {
    fn of(leaf: &CertificateSummary, is_trusted: bool) -> Self {
        let issuer = leaf.issuer.as_deref().map(organization).map(short);
        let key_algorithm = leaf.key_algorithm.clone().map(short);
        Self { names: leaf.name_set(), key_algorithm, issuer, is_trusted }
    }
}

/// What was shown where.
#[derive(Debug)]
pub struct History {
    places: Weighed<Place, VecDeque<Shown>>,
    newest: LruCache<Kind, Newest>,
    counters: HistoryCounters,
}

impl History {
    /// A history of at most this many places.
    pub fn new(max_places: usize) -> Self {
        Self {
            places: Weighed::new(max_places, MAX_BYTES),
            newest: LruCache::new(max_places),
            counters: HistoryCounters::default(),
        }
    }

    /// Remembers at most this many places from now on.
    pub fn set_max_places(&mut self, max_places: usize) {
        self.counters.places_evicted += self.places.resize(max_places);
        self.counters.names_evicted += resize(&mut self.newest, max_places);
    }

    /// What happened so far.
    pub fn counters(&self) -> HistoryCounters {
        self.counters
    }

    /// A leaf is shown at a place, and trusted or not. Says so when it takes the place of an older one.
    pub fn shown(
        &mut self,
        place: &Place,
        about: &About,
        leaf: &Arc<CertificateSummary>,
        is_trusted: bool,
        time: Timestamp,
    ) -> Option<CertificateReplaced> {
        self.seen(place, leaf, is_trusted, time);
        let at_place = match self.places.get_mut(place) {
            Some(at_place) => at_place,
            None => {
                self.counters.places_evicted += self.places.insert(place.clone(), VecDeque::new(), 0);
                self.places.get_mut(place)?
            }
        };
        if let Some(known) = at_place.iter_mut().find(|known| known.certificate.sha256 == leaf.sha256) {
            known.last_seen = known.last_seen.max(time);
            return None;
        }
        let same_kind = |known: &&Shown| known.certificate.key_algorithm == leaf.key_algorithm;
        let before = at_place.iter().filter(same_kind).max_by_key(|known| known.certificate.not_before);
        let before = before.map(|known| Arc::clone(&known.certificate));
        if at_place.len() >= MAX_AT_A_PLACE {
            at_place.pop_front();
        }
        at_place.push_back(Shown {
            certificate: Arc::new(leaf.without_der()),
            first_seen: time,
            last_seen: time,
        });
        let bytes = at_place.iter().map(|shown| shown.certificate.bytes()).sum();
        self.counters.places_evicted += self.places.weigh(place, bytes);
        let before = before.filter(|before| before.not_before <= leaf.not_before)?;
        self.counters.replaced += 1;
        Some(CertificateReplaced {
            time,
            about: about.clone(),
            place: place.clone(),
            before,
            after: Arc::clone(leaf),
        })
    }

    /// The certificates shown at a place, in the order in which they came.
    pub fn at(&self, place: &Place) -> impl Iterator<Item = &Shown> {
        self.places.peek(place).into_iter().flatten()
    }

    /// Somebody outside knows of a certificate for these names.
    pub fn known_newer(&mut self, known: &KnownCertificate, now: Timestamp) {
        let newest = Newest {
            not_before: known.not_before,
            not_after: known.not_after,
            sha256: None,
            source: Arc::clone(&known.source),
            since: now,
        };
        if known.names.is_empty() {
            return;
        }
        let names = NameSet::of(&known.names);
        let key_algorithm = known.key_algorithm.clone();
        self.offer(Kind { names, key_algorithm, issuer: None, is_trusted: true }, newest);
    }

    /// The newer certificate, trusted as this leaf is or not, for its names, if one has been known for that long.
    pub fn newer(
        &mut self,
        leaf: &CertificateSummary,
        is_trusted: bool,
        now: Timestamp,
        grace: Duration,
    ) -> Option<Newest> {
        if leaf.sans.is_empty() || self.newest.is_empty() {
            return None;
        }
        let (not_before, not_after) = (leaf.not_before?, leaf.not_after?);
        let mut kind = Kind::of(leaf, is_trusted);
        let mut newer = None;
        let narrowings: [fn(&mut Kind); 3] = [
            |_| {},
            // What somebody outside says names no issuer.
            |kind| (kind.issuer, kind.is_trusted) = (None, true),
            |kind| kind.key_algorithm = None,
        ];
        for narrow in narrowings {
            narrow(&mut kind);
            // What is looked for is kept, found newer or not; which order that leaves the others in does not matter.
            let known = self.newest.get_mut(&kind).filter(|newest| {
                let is_newer = newest.not_before > not_before && newest.not_after > not_after;
                is_newer && newest.since + grace <= now
            });
            newer = newer.or_else(|| known.map(|newest| newest.clone()));
        }
        newer
    }

    fn seen(&mut self, place: &Place, leaf: &CertificateSummary, is_trusted: bool, time: Timestamp) {
        // Each replica of a SPIFFE workload has a certificate of its own under the same name. Without names there is
        // nothing to compare.
        if leaf.spiffe_id().is_some() || leaf.sans.is_empty() {
            return;
        }
        let (Some(not_before), Some(not_after)) = (leaf.not_before, leaf.not_after) else { return };
        let source = match place {
            Place::Server { endpoint, .. } => endpoint.to_string(),
            Place::Client { address, .. } => address.to_string(),
        };
        let sha256 = Some(leaf.sha256_hex());
        self.offer(
            Kind::of(leaf, is_trusted),
            Newest { not_before, not_after, sha256, source: source.into(), since: time },
        );
    }

    fn offer(&mut self, kind: Kind, offered: Newest) {
        if self.newest.peek(&kind).is_some_and(|known| known.not_before >= offered.not_before) {
            return;
        }
        if self.newest.len() >= self.newest.capacity() && !self.newest.contains_key(&kind) {
            self.counters.names_evicted += 1;
        }
        self.newest.insert(kind, offered);
    }
}

/// A name without its common name: authorities issue by several certificates of one organization in turns. The whole name
/// where nothing else is in it.
fn organization(issuer: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    let mut rest = issuer;
    while !rest.is_empty() {
        // Commas inside values are escaped (RFC 4514 section 2.4).
        let escaped = |at: usize| rest.get(..at).is_some_and(|before| before.ends_with('\\'));
        let end = rest.match_indices(',').map(|(at, _)| at).find(|at| !escaped(*at)).unwrap_or(rest.len());
        let (part, after) = rest.split_at_checked(end).unwrap_or((rest, ""));
        parts.push(part);
        rest = after.strip_prefix(',').unwrap_or_default();
    }
    parts.retain(|part| !part.starts_with("CN="));
    if parts.is_empty() { issuer.to_owned() } else { parts.join(",") }
}

#[cfg(test)]
mod tests;
