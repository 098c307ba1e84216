//! Services and who calls them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use super::end::View;
use super::limits::{Cut, Limits};
use super::name::{Name, ServiceName};
use super::protection::{Counts, Protection};

/// What is kept of a service.
#[derive(Clone, Debug, Default)]
pub(super) struct Service {
    pub(super) counts: Counts,
    pub(super) callers: BTreeMap<Name, Caller>,
    /// Connections of callers beyond the bound.
    pub(super) others: Counts,
    /// Connections whose server's end is on this host.
    pub(super) here: u64,
    pub(super) seen: Seen,
    pub(super) endpoints: BTreeSet<SocketAddr>,
    pub(super) dialled: BTreeSet<Name>,
    pub(super) server_names: BTreeSet<String>,
    pub(super) protocols: BTreeSet<String>,
    pub(super) scopes: BTreeSet<String>,
    /// Versions and cipher suites.
    pub(super) suites: BTreeSet<(String, String)>,
    pub(super) groups: BTreeSet<String>,
    /// SHA-256 of certificates that the service showed.
    pub(super) certificates: BTreeSet<String>,
}

/// What is kept of a caller of one service.
#[derive(Clone, Debug, Default)]
pub(super) struct Caller {
    pub(super) counts: Counts,
    pub(super) seen: Seen,
    /// When each protection was seen last.
    pub(super) last: BTreeMap<Protection, i64>,
    pub(super) protocols: BTreeSet<String>,
}

/// First and last time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Seen(pub(super) Option<(i64, i64)>);

impl Seen {
    pub(super) fn extend(&mut self, from: i64, to: i64) {
        let (first, last) = self.0.unwrap_or((from, to));
        self.0 = Some((first.min(from), last.max(to)));
    }
}

/// Where a connection was counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Place {
    service: bool,
    caller: bool,
}

/// All services.
#[derive(Clone, Debug, Default)]
pub(super) struct Services {
    pub(super) all: BTreeMap<ServiceName, Service>,
    /// Connections to services beyond the bound.
    pub(super) others: Counts,
    callers: usize,
}

impl Services {
    pub(super) fn add(&mut self, view: &View, limits: &Limits, cut: &mut Cut) -> Place {
        let protection = view.facts.protection;
        if self.all.len() >= limits.services && !self.all.contains_key(&view.service) {
            *self.others.of(protection) += 1;
            cut.connections_of_other_services += 1;
            return Place::default();
        }
        let service = self.all.entry(view.service.clone()).or_default();
        *service.counts.of(protection) += 1;
        service.here += u64::from(view.is_here);
        service.seen.extend(view.time, view.last);
        service.describe(view, limits, cut);
        let has_room = service.callers.len() < limits.callers && self.callers < limits.all_callers;
        if !has_room && !service.callers.contains_key(&view.caller) {
            *service.others.of(protection) += 1;
            cut.connections_of_other_callers += 1;
            return Place { service: true, caller: false };
        }
        let caller = service.callers.entry(view.caller.clone()).or_insert_with(|| {
            self.callers += 1;
            Caller::default()
        });
        *caller.counts.of(protection) += 1;
        caller.seen.extend(view.time, view.last);
        let last = caller.last.entry(protection).or_insert(view.last);
        *last = (*last).max(view.last);
        if let Some(protocol) = &view.facts.protocol {
            keep(&mut caller.protocols, protocol.to_string(), limits.names, &mut cut.names);
        }
        Place { service: true, caller: true }
    }

    /// Takes back what [`add`](Self::add) counted there.
    pub(super) fn remove(&mut self, view: &View, place: Place) {
        let protection = view.facts.protection;
        if !place.service {
            *self.others.of(protection) -= 1;
            return;
        }
        let Some(service) = self.all.get_mut(&view.service) else { return };
        *service.counts.of(protection) -= 1;
        service.here -= u64::from(view.is_here);
        if !place.caller {
            *service.others.of(protection) -= 1;
        } else if let Some(caller) = service.callers.get_mut(&view.caller) {
            *caller.counts.of(protection) -= 1;
            if caller.counts.get(protection) == 0 {
                caller.last.remove(&protection);
            }
            if caller.counts.total() == 0 {
                service.callers.remove(&view.caller);
                self.callers -= 1;
            }
        }
        if service.counts.total() == 0 {
            self.all.remove(&view.service);
        }
    }
}

impl Service {
    fn describe(&mut self, view: &View, limits: &Limits, cut: &mut Cut) {
        let (facts, most) = (&view.facts, limits.names);
        keep(&mut self.endpoints, view.endpoint, most, &mut cut.names);
        if let Some(dialled) = &view.dialled {
            keep(&mut self.dialled, dialled.clone(), most, &mut cut.names);
        }
        for (set, value) in [
            (&mut self.server_names, &facts.server_name),
            (&mut self.protocols, &facts.protocol),
            (&mut self.scopes, &facts.scope),
        ] {
            if let Some(value) = value {
                keep(set, value.to_string(), most, &mut cut.names);
            }
        }
        for (side, certificate) in &facts.certificates {
            if *side == super::line::Shower::Server
                && let Some(sha256) = &certificate.sha256
            {
                keep(&mut self.certificates, sha256.clone(), most, &mut cut.names);
            }
        }
        let Some(tls) = facts.tls.as_ref().filter(|_| facts.protection.is_tls()) else { return };
        if let (Some(version), Some(cipher)) = (tls.version_name(), &tls.cipher) {
            keep(&mut self.suites, (version, cipher.clone()), most, &mut cut.names);
        }
        if let Some(group) = &tls.group {
            keep(&mut self.groups, group.clone(), most, &mut cut.names);
        }
    }
}

/// Keeps a value where there is room, and counts it where there is none.
pub(super) fn keep<T: Ord>(set: &mut BTreeSet<T>, value: T, most: usize, cut: &mut u64) {
    if set.len() < most {
        set.insert(value);
    } else if !set.contains(&value) {
        *cut += 1;
    }
}
