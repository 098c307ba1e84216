//! What the view is made of: counts of what was seen, and what stands now. Takes records, keeps a bounded amount, knows no
//! clock: whoever feeds it says what time it is.

mod certificates;
mod connections;
mod findings;
pub mod limits;
mod names;
mod services;
#[cfg(test)]
mod tests;
mod window;

use std::collections::HashMap;

use agent_core::event::CloseKind;
use agent_core::net::Side;
use agent_core::observation::Security;
use agent_core::time::Timestamp;

use self::certificates::Certificates;
use self::connections::{Connections, Counted, Entry, Met, Place, View};
use self::findings::Findings;
use self::limits::{Cut, Limits, Room};
use self::services::{Services, of};
use self::window::Window;
use super::record::{ConnectionRecord, Record, address};
use super::snapshot::{self, Loss, Rates, Snapshot, Totals};

/// The model.
#[derive(Debug)]
pub struct Model {
    limits: Limits,
    cut: Cut,
    since: Timestamp,
    totals: Totals,
    connections: Connections,
    services: Services,
    certificates: Certificates,
    findings: Findings,
    rates: Windows,
}

/// What rates are made of.
#[derive(Debug, Default)]
struct Windows {
    connections: Window<64>,
    verdicts: [Window<16>; 4],
    handshakes: Window<16>,
    failures: Window<16>,
    bytes: Window<16>,
}

impl Windows {
    fn verdict(&mut self, security: Security) -> Option<&mut Window<16>> {
        self.verdicts.get_mut(match security {
            Security::Plaintext => 0,
            Security::Tls => 1,
            Security::Mtls => 2,
            Security::Unknown => 3,
        })
    }
}

impl Model {
    /// A model that has seen nothing, as of `now`.
    pub fn new(limits: Limits, now: Timestamp) -> Self {
        Self {
            limits,
            cut: Cut::default(),
            since: now,
            totals: Totals::default(),
            connections: Connections::default(),
            services: Services::default(),
            certificates: Certificates::default(),
            findings: Findings::default(),
            rates: Windows::default(),
        }
    }

    /// Records that never came here were dropped.
    pub fn dropped(&mut self, n: u64) {
        self.cut.records_dropped = self.cut.records_dropped.saturating_add(n);
    }

    /// Takes one record.
    pub fn take(&mut self, record: Record, now: Timestamp) {
        match record {
            Record::Connection(record) => self.connection(record, now),
            Record::Standing(finding) => self.findings.stand(*finding, &self.limits, &mut self.cut),
            Record::Cleared { rule, about } => self.findings.clear(rule, about),
            Record::CertificateReplaced => self.totals.certificates_replaced += 1,
            Record::ProcessCertificate { process, side, leaf, time } => {
                let place = format!("a peer of {process}");
                let mut room = Room { limits: &self.limits, cut: &mut self.cut };
                self.certificates.see(&leaf, side, place, true, time, &mut room);
            }
        }
    }

    fn connection(&mut self, record: Box<ConnectionRecord>, now: Timestamp) {
        let id = self.connections.take(record);
        let Some(entry) = self.connections.get_mut(id) else { return };
        let Some(view) = entry.view() else { return };
        let place = match (view.is_in_pod, view.has_role) {
            (true, _) => Place::Pod,
            (false, false) => Place::Unplaced,
            (false, true) => Place::Service(view.service.clone(), view.caller.clone()),
        };
        let met = Met::of(&view.facts).filter(|_| !view.is_in_pod);
        let counted = Counted { place, security: view.facts.security, is_open: !view.is_over, met };
        let before = entry.counted.replace(counted.clone());
        let once = Once::of(entry, &view);
        // In this order a service whose only connection it is does not go away in between.
        self.count(&counted, &view, before.is_none(), now);
        if let Some(before) = &before {
            uncount(&mut self.totals, &mut self.services, before);
        }
        self.count_once(&counted.place, &once, now);
        self.see_certificates(&view, before.is_none());
        while let Some(forgotten) = self.connections.tidy(self.limits.connections, self.limits.shown) {
            self.cut.connections_forgotten += 1;
            // It counts as seen, but not as open: whether it is cannot be told any more.
            if let Some(before) = forgotten.counted
                && let Place::Service(key, caller) = &before.place
            {
                self.services.close(key, caller);
            }
        }
    }

    fn count(&mut self, counted: &Counted, view: &View, is_new: bool, now: Timestamp) {
        match &counted.place {
            Place::Pod => {
                self.totals.in_pod += 1;
                return;
            }
            Place::Unplaced => self.totals.without_role += 1,
            Place::Service(key, caller) => {
                let mut room = Room { limits: &self.limits, cut: &mut self.cut };
                self.services.add((key, caller), view, counted, is_new, now, &mut room);
            }
        }
        *of(&mut self.totals.counts, counted.security) += 1;
        if is_new {
            self.rates.connections.add(now, 1);
            if let Some(window) = self.rates.verdict(counted.security) {
                window.add(now, 1);
            }
        }
    }

    fn count_once(&mut self, place: &Place, once: &Once, now: Timestamp) {
        if *place == Place::Pod {
            return;
        }
        if once.handshake {
            self.totals.handshakes += 1;
            self.totals.resumed += u64::from(once.resumed);
            self.rates.handshakes.add(now, 1);
        }
        if once.failed {
            self.totals.handshakes_failed += 1;
            self.rates.failures.add(now, 1);
        }
        if let Some(bytes) = once.bytes {
            self.totals.bytes = self.totals.bytes.saturating_add(bytes);
            self.rates.bytes.add(now, bytes);
        }
        if let Place::Service(key, _) = place {
            if once.failed {
                self.services.failed(key);
            }
            if let Some(bytes) = once.bytes {
                self.services.bytes(key, bytes);
            }
        }
    }

    fn see_certificates(&mut self, view: &View, is_new: bool) {
        let mut room = Room { limits: &self.limits, cut: &mut self.cut };
        let facts = &view.facts;
        let (name, port) = &view.service;
        if let Some(leaf) = &facts.server_certificate {
            let place = service_name(name, *port);
            self.certificates.see(leaf, Some(Side::Server), place, is_new, view.last, &mut room);
        }
        if let Some(leaf) = &facts.client_certificate {
            let place = view.caller.to_string();
            self.certificates.see(leaf, Some(Side::Client), place, is_new, view.last, &mut room);
        }
    }

    /// Everything that is shown, as of `now`. `losses`: what was lost before it came here.
    pub fn snapshot(&self, now: Timestamp, losses: &[(String, u64)]) -> Snapshot {
        let findings = self.findings.snapshot();
        let mut by_target: HashMap<&str, Vec<usize>> = HashMap::new();
        for (place, (target, _)) in findings.iter().enumerate() {
            if let Some(target) = target {
                by_target.entry(target).or_default().push(place);
            }
        }
        let services = self.services.iter().map(|(key, service)| {
            let mut shown = service.snapshot(key, self.since, now);
            let places = service.targets.iter().filter_map(|target| by_target.get(&**target)).flatten();
            shown.findings = places.copied().collect();
            shown.findings.sort_unstable();
            shown.findings.dedup();
            // The worst comes first.
            let worst = shown.findings.first().and_then(|place| findings.get(*place));
            shown.worst = worst.map(|(_, finding)| finding.severity);
            shown
        });
        let services = services.collect();
        Snapshot {
            version: snapshot::VERSION,
            program: env!("CARGO_PKG_VERSION").to_owned(),
            now: now.0,
            since: self.since.0,
            totals: Totals {
                open: u64::try_from(self.connections.open()).unwrap_or(u64::MAX),
                ..self.totals
            },
            rates: self.rates(now),
            history: self.rates.connections.last(now, 60).collect(),
            services,
            certificates: self.certificates.snapshot(),
            findings: findings.into_iter().map(|(_, finding)| finding).collect(),
            connections: self.shown(now),
            limits: self.cut,
            losses: losses
                .iter()
                .filter(|(_, count)| *count > 0)
                .map(|(name, count)| Loss { name: name.clone(), count: *count })
                .collect(),
        }
    }

    fn rates(&self, now: Timestamp) -> Rates {
        let (windows, since) = (&self.rates, self.since);
        let [plaintext, tls, mtls, unknown] = windows.verdicts.each_ref().map(|w| w.rate(since, now));
        Rates {
            connections: windows.connections.rate(since, now),
            handshakes: windows.handshakes.rate(since, now),
            failures: windows.failures.rate(since, now),
            bytes: windows.bytes.rate(since, now),
            plaintext,
            tls,
            mtls,
            unknown,
        }
    }

    /// The newest connections, newest first.
    fn shown(&self, now: Timestamp) -> Vec<snapshot::Connection> {
        let mut all: Vec<(Timestamp, u64, &Entry)> =
            self.connections.iter().filter_map(|(id, entry)| Some((entry.time()?, id, entry))).collect();
        all.sort_unstable_by_key(|(time, id, _)| std::cmp::Reverse((*time, *id)));
        all.truncate(self.limits.shown);
        all.into_iter().filter_map(|(_, id, entry)| Some(connection(id, entry.view()?, now))).collect()
    }
}

/// What a record adds to sums that nothing is taken back from.
struct Once {
    handshake: bool,
    resumed: bool,
    failed: bool,
    bytes: Option<u64>,
}

impl Once {
    fn of(entry: &mut Entry, view: &View) -> Self {
        let tls = view.facts.tls.unwrap_or_default();
        let first = |seen: &mut bool, is: bool| is && !std::mem::replace(seen, *seen || is);
        let bytes =
            view.facts.bytes.filter(|_| !std::mem::replace(&mut entry.has_bytes, view.facts.bytes.is_some()));
        Self {
            handshake: first(&mut entry.has_handshake, tls.established == Some(true)),
            resumed: tls.resumed == Some(true),
            failed: first(&mut entry.has_failed, tls.established == Some(false)),
            bytes: bytes.map(|(client, server)| client.saturating_add(server)),
        }
    }
}

fn uncount(totals: &mut Totals, services: &mut Services, before: &Counted) {
    match &before.place {
        Place::Pod => {
            totals.in_pod = totals.in_pod.saturating_sub(1);
            return;
        }
        Place::Unplaced => totals.without_role = totals.without_role.saturating_sub(1),
        Place::Service(key, caller) => services.remove(key, caller, before),
    }
    let count: &mut u64 = of(&mut totals.counts, before.security);
    *count = count.saturating_sub(1);
}

/// A service's name and port, for people.
pub fn service_name(name: &str, port: u16) -> String {
    match name.contains(':') {
        true => format!("[{name}]:{port}"),
        false => format!("{name}:{port}"),
    }
}

fn connection(id: u64, view: View, now: Timestamp) -> snapshot::Connection {
    let facts = view.facts;
    let tls = facts.tls.unwrap_or_default();
    let subject = |leaf: Option<std::sync::Arc<agent_core::x509::CertificateSummary>>| {
        leaf.and_then(|leaf| leaf.subject.as_deref().map(super::name::cut))
    };
    let end = if view.is_over { view.last } else { now };
    snapshot::Connection {
        id,
        time: view.time.0,
        over: view.is_over,
        closed: facts.closed.map(|how| words(how).to_owned()),
        has_role: view.has_role,
        caller: view.caller.to_string(),
        service: service_name(&view.service.0, view.service.1),
        client: address(view.client.addr, view.client.port),
        server: address(view.server.addr, view.server.port),
        security: facts.security.as_str().to_owned(),
        source: facts.source.map(|source| source.as_str().to_owned()),
        reason: facts.reason.map(|reason| reason.as_str().to_owned()),
        protocol: facts.protocol.map(str::to_owned),
        server_name: facts.server_name.map(|name| name.to_string()),
        version: tls.version.map(|version| version.to_string()),
        cipher: tls.cipher.map(|cipher| cipher.to_string()),
        group: tls.group.map(|group| group.to_string()),
        resumed: tls.resumed,
        client_certificate: facts.tls.map(|tls| tls.client_certificate.as_str().to_owned()),
        handshake_us: tls.duration.map(|d| u64::try_from(d.as_micros()).unwrap_or(u64::MAX)),
        scope: facts.scope.map(|scope| scope.as_str().to_owned()),
        expectation: facts.expectation.map(|(mode, source)| format!("{} ({source})", mode.as_str())),
        server_subject: subject(facts.server_certificate),
        client_subject: subject(facts.client_certificate),
        findings: facts.findings.iter().map(|(rule, _)| rule.to_string()).collect(),
        bytes: facts.bytes.map(|(client, server)| client.saturating_add(server)),
        duration: end.0.saturating_sub(view.time.0),
    }
}

const fn words(how: CloseKind) -> &'static str {
    match how {
        CloseKind::NeverEstablished => "never established",
        CloseKind::Finished => "finished",
        CloseKind::Reset => "reset",
        CloseKind::SourceEnded => "the capture ended",
        CloseKind::Unknown => "not known how",
    }
}
