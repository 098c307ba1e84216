//! Services and who calls them.

use std::sync::Arc;

use agent_core::identity::Scope;
use agent_core::net::Endpoint;
use agent_core::observation::Security;
use agent_core::policy::expectation::Mode;
use agent_core::time::Timestamp;
use agent_core::tls::codepoints::{CipherSuite, NamedGroup, ProtocolVersion};
use hashlink::LinkedHashMap;

use super::connections::{Counted, Met, ServiceKey, View};
use super::limits::Room;
use super::names::Names;
use super::window::Window;
use crate::top::snapshot::{self, Counts};

/// What is kept of a service.
#[derive(Debug, Default)]
pub(super) struct Service {
    counts: Counts,
    open: u64,
    window: Window<16>,
    failed: u64,
    bytes: u64,
    expectation: Option<(Mode, Arc<str>)>,
    met: [u64; 3],
    callers: LinkedHashMap<Arc<str>, Caller>,
    callers_forgotten: u64,
    endpoints: Names<Endpoint>,
    server_names: Names<Arc<str>>,
    protocols: Names<&'static str>,
    scopes: Names<Scope>,
    versions: Names<ProtocolVersion>,
    ciphers: Names<CipherSuite>,
    groups: Names<NamedGroup>,
    certificates: Names<[u8; 32]>,
    /// What findings call it.
    pub(super) targets: Names<Arc<str>>,
    first: Timestamp,
    last: Timestamp,
}

/// What is kept of a caller of one service.
#[derive(Debug, Default)]
struct Caller {
    counts: Counts,
    open: u64,
    unmet: u64,
    versions: Names<String>,
    cipher: Option<CipherSuite>,
    last: Timestamp,
}

/// All services, the one seen last at the end.
#[derive(Debug, Default)]
pub(super) struct Services {
    all: LinkedHashMap<ServiceKey, Service>,
    callers: usize,
}

/// The counter of one verdict.
pub(super) const fn of(counts: &mut Counts, security: Security) -> &mut u64 {
    match security {
        Security::Plaintext => &mut counts.plaintext,
        Security::Tls => &mut counts.tls,
        Security::Mtls => &mut counts.mtls,
        Security::Unknown => &mut counts.unknown,
    }
}

fn change(n: &mut u64, up: bool) {
    *n = if up { n.saturating_add(1) } else { n.saturating_sub(1) };
}

impl Service {
    fn count(&mut self, caller: &Arc<str>, counted: &Counted, up: bool) {
        change(of(&mut self.counts, counted.security), up);
        if counted.is_open {
            change(&mut self.open, up);
        }
        let met = match counted.met {
            Some(Met::Yes) => self.met.get_mut(0),
            Some(Met::No) => self.met.get_mut(1),
            Some(Met::Unproven) => self.met.get_mut(2),
            None => None,
        };
        if let Some(met) = met {
            change(met, up);
        }
        let Some(caller) = self.callers.get_mut(caller) else { return };
        change(of(&mut caller.counts, counted.security), up);
        if counted.is_open {
            change(&mut caller.open, up);
        }
        if counted.met == Some(Met::No) {
            change(&mut caller.unmet, up);
        }
    }

    fn describe(&mut self, view: &View, room: &mut Room<'_>) {
        let most = room.limits.names;
        let facts = &view.facts;
        let mut left_out = self.endpoints.see(view.server, most);
        for target in &view.targets {
            left_out += self.targets.see(Arc::clone(target), most);
        }
        if let Some(name) = &facts.server_name {
            left_out += self.server_names.see(Arc::clone(name), most);
        }
        if let Some(protocol) = facts.protocol {
            left_out += self.protocols.see(protocol, most);
        }
        if let Some(scope) = facts.scope {
            left_out += self.scopes.see(scope, most);
        }
        if let Some(certificate) = &facts.server_certificate {
            left_out += self.certificates.see(certificate.sha256, most);
        }
        if let Some(tls) = facts.tls.filter(|_| is_tls(facts.security)) {
            left_out += tls.version.map_or(0, |version| self.versions.see(version, most));
            left_out += tls.cipher.map_or(0, |cipher| self.ciphers.see(cipher, most));
            left_out += tls.group.map_or(0, |group| self.groups.see(group, most));
        }
        if let Some(expectation) = &facts.expectation {
            self.expectation = Some(expectation.clone());
        }
        room.cut.names_left_out += left_out;
        if self.first.0 == 0 || view.time < self.first {
            self.first = view.time;
        }
        self.last = self.last.max(view.last);
    }
}

/// TLS, and application data crossed under it.
const fn is_tls(security: Security) -> bool {
    matches!(security, Security::Tls | Security::Mtls)
}

impl Services {
    /// Counts a connection. `is_new`: it was not counted before, with whatever service.
    pub(super) fn add(
        &mut self,
        (key, caller): (&ServiceKey, &Arc<str>),
        view: &View,
        counted: &Counted,
        is_new: bool,
        now: Timestamp,
        room: &mut Room<'_>,
    ) {
        if !self.all.contains_key(key) && self.all.len() >= room.limits.services {
            if let Some((_, forgotten)) = self.all.pop_front() {
                self.callers = self.callers.saturating_sub(forgotten.callers.len());
            }
            room.cut.services_forgotten += 1;
        }
        // Moves it to the end.
        let mut service = self.all.remove(key).unwrap_or_default();
        if is_new {
            service.window.add(now, 1);
        }
        service.describe(view, room);
        self.see_caller(&mut service, caller, view, room);
        service.count(caller, counted, true);
        self.all.insert(key.clone(), service);
    }

    fn see_caller(&mut self, service: &mut Service, caller: &Arc<str>, view: &View, room: &mut Room<'_>) {
        let limits = room.limits;
        let known = service.callers.remove(caller);
        if known.is_none() {
            let is_full = service.callers.len() >= limits.callers || self.callers >= limits.all_callers;
            if is_full && service.callers.pop_front().is_some() {
                self.callers -= 1;
                service.callers_forgotten += 1;
                room.cut.callers_forgotten += 1;
            }
            self.callers += 1;
        }
        let mut known = known.unwrap_or_default();
        let facts = &view.facts;
        let tls = facts.tls.filter(|_| is_tls(facts.security));
        let version = tls.and_then(|tls| tls.version).map(|version| version.to_string());
        let how = version.or_else(|| facts.protocol.map(str::to_owned));
        if let Some(how) = how {
            room.cut.names_left_out += known.versions.see(how, limits.names);
        }
        known.cipher = tls.and_then(|tls| tls.cipher).or(known.cipher);
        known.last = known.last.max(view.last);
        service.callers.insert(Arc::clone(caller), known);
    }

    /// Takes back what [`add`](Self::add) counted.
    pub(super) fn remove(&mut self, key: &ServiceKey, caller: &Arc<str>, counted: &Counted) {
        let Some(service) = self.all.get_mut(key) else { return };
        service.count(caller, counted, false);
        // Nothing is left of somebody whose only connection is known better now.
        if service.callers.get(caller).is_some_and(|caller| caller.counts.total() == 0) {
            service.callers.remove(caller);
            self.callers = self.callers.saturating_sub(1);
        }
        if service.counts.total() == 0 {
            self.callers = self.callers.saturating_sub(service.callers.len());
            self.all.remove(key);
        }
    }

    /// An open connection was forgotten.
    pub(super) fn close(&mut self, key: &ServiceKey, caller: &Arc<str>) {
        let Some(service) = self.all.get_mut(key) else { return };
        change(&mut service.open, false);
        if let Some(caller) = service.callers.get_mut(caller) {
            change(&mut caller.open, false);
        }
    }

    /// A handshake of a connection to it failed.
    pub(super) fn failed(&mut self, key: &ServiceKey) {
        if let Some(service) = self.all.get_mut(key) {
            service.failed += 1;
        }
    }

    /// A connection to it is over, after so many bytes.
    pub(super) fn bytes(&mut self, key: &ServiceKey, n: u64) {
        if let Some(service) = self.all.get_mut(key) {
            service.bytes = service.bytes.saturating_add(n);
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&ServiceKey, &Service)> {
        self.all.iter()
    }

    #[cfg(test)]
    pub(super) fn callers(&self) -> usize {
        self.callers
    }
}

impl Service {
    /// For the view, without its findings.
    pub(super) fn snapshot(
        &self,
        (name, port): &ServiceKey,
        since: Timestamp,
        now: Timestamp,
    ) -> snapshot::Service {
        let [met, unmet, unproven] = self.met;
        let expectation = self.expectation.as_ref().map(|(mode, source)| snapshot::Expectation {
            mode: mode.as_str().to_owned(),
            source: source.to_string(),
            met,
            unmet,
            unproven,
        });
        snapshot::Service {
            name: name.to_string(),
            port: *port,
            counts: self.counts,
            open: self.open,
            rate: self.window.rate(since, now),
            failed: self.failed,
            bytes: self.bytes,
            expectation,
            worst: None,
            findings: Vec::new(),
            callers: self.callers.iter().map(|(name, caller)| caller.snapshot(name)).collect(),
            callers_forgotten: self.callers_forgotten,
            endpoints: self.endpoints.sorted(|at| crate::top::record::address(at.addr, at.port)),
            server_names: self.server_names.sorted(ToString::to_string),
            protocols: self.protocols.sorted(ToString::to_string),
            scopes: self.scopes.sorted(|scope| scope.as_str().to_owned()),
            versions: self.versions.sorted(ToString::to_string),
            ciphers: self.ciphers.sorted(ToString::to_string),
            groups: self.groups.sorted(ToString::to_string),
            certificates: self.certificates.sorted(super::certificates::hex),
            first: self.first.0,
            last: self.last.0,
        }
    }
}

impl Caller {
    fn snapshot(&self, name: &str) -> snapshot::Caller {
        snapshot::Caller {
            name: name.to_owned(),
            counts: self.counts,
            open: self.open,
            unmet: self.unmet,
            versions: self.versions.sorted(Clone::clone),
            cipher: self.cipher.map(|cipher| cipher.to_string()),
            last: self.last.0,
        }
    }
}
