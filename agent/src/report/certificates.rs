//! Certificates: each once, with where it was shown.

use std::collections::HashMap;
use std::sync::Arc;

use super::end::Shown;
use super::limits::{Cut, Limits};
use super::line::{Certificate, Shower};
use super::tally::Tally;

/// What is kept of a certificate.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) certificate: Arc<Certificate>,
    /// How often each side showed it, in the order of [`Shower::ALL`].
    pub(super) shown: [u64; 3],
    /// Who showed it.
    pub(super) places: Tally<String>,
    pub(super) last: i64,
}

/// How much of a certificate was counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Counted {
    /// Nothing: there was no room.
    #[default]
    Nothing,
    /// The certificate, but not its place.
    Certificate,
    /// Both.
    Both,
}

/// All certificates, by SHA-256.
#[derive(Clone, Debug, Default)]
pub(super) struct Certificates {
    pub(super) all: HashMap<String, Entry>,
}

impl Certificates {
    pub(super) fn add(
        &mut self,
        (side, certificate): &Shown,
        place: &str,
        last: i64,
        limits: &Limits,
        cut: &mut Cut,
    ) -> Counted {
        let Some(sha256) = &certificate.sha256 else { return Counted::Nothing };
        if self.all.len() >= limits.certificates && !self.all.contains_key(sha256) {
            cut.certificates += 1;
            return Counted::Nothing;
        }
        let entry = self.all.entry(sha256.clone()).or_insert_with(|| Entry {
            certificate: Arc::clone(certificate),
            shown: [0; 3],
            places: Tally::default(),
            last,
        });
        *entry.times(*side) += 1;
        entry.last = entry.last.max(last);
        if entry.places.add(&place.to_owned(), limits.names) {
            return Counted::Both;
        }
        cut.names += 1;
        Counted::Certificate
    }

    /// Certificates that are known already are kept once, however many connections show them.
    pub(super) fn share(&self, shown: &mut [Shown]) {
        for (_, certificate) in shown {
            let known = certificate.sha256.as_ref().and_then(|sha256| self.all.get(sha256));
            if let Some(known) = known.filter(|known| known.certificate == *certificate) {
                *certificate = Arc::clone(&known.certificate);
            }
        }
    }

    pub(super) fn remove(&mut self, (side, certificate): &Shown, place: &str, counted: Counted) {
        let Some(sha256) = &certificate.sha256 else { return };
        if counted == Counted::Nothing {
            return;
        }
        let Some(entry) = self.all.get_mut(sha256) else { return };
        *entry.times(*side) -= 1;
        if counted == Counted::Both {
            entry.places.remove(&place.to_owned());
        }
        if entry.shown == [0; 3] {
            self.all.remove(sha256);
        }
    }
}

impl Entry {
    fn times(&mut self, side: Shower) -> &mut u64 {
        let [server, client, peer] = &mut self.shown;
        match side {
            Shower::Server => server,
            Shower::Client => client,
            Shower::Peer => peer,
        }
    }
}
