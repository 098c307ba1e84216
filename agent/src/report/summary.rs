//! Makes the report of what the model has.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use agent_core::policy::finding::{RuleId, Severity};
use agent_core::policy::rules::RULES;
use agent_core::time::Timestamp;

use super::certificates::Entry;
use super::document::{
    ActiveFinding, Algorithms, Caller, Certificate, Connections, Finding, KeyExchange, Period, Readiness,
    Report, Service, SuiteName, Used, UsedSuite, VERSION,
};
use super::findings::Found;
use super::line::Shower;
use super::model::Model;
use super::name::{Name, ServiceName};
use super::protection::{Counts, Protection};
use super::services;
use super::tally::Tally;

/// What a report is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Days left are counted from then.
    pub now: Timestamp,
    /// Connections with mutual TLS that a service must have had to be called ready.
    pub min_connections: u64,
}

/// What is asked for where nobody says: one connection shows little.
pub const MIN_CONNECTIONS: u64 = 10;

impl Model {
    /// The report of what was seen so far.
    pub fn report(&self, options: Options) -> Report {
        let now = i64::try_from(options.now.as_nanos()).unwrap_or(i64::MAX);
        let mut services: Vec<Service> =
            self.services.all.iter().map(|(name, service)| of_service(name, service, options)).collect();
        services.sort_by(|a, b| (a.readiness, &a.name).cmp(&(b.readiness, &b.name)));
        let mut certificates: Vec<Certificate> =
            self.certificates.all.iter().map(|(sha256, entry)| certificate(sha256, entry, now)).collect();
        certificates.sort_by(|a, b| {
            let key = |c: &Certificate| (c.not_after.is_none(), c.not_after.clone());
            key(a).cmp(&key(b)).then_with(|| a.sha256.cmp(&b.sha256))
        });
        let mut findings = self.findings();
        findings.sort_by_key(|finding| (Reverse(weight(finding.severity.as_deref())), finding.rule.clone()));
        let algorithms = self.algorithms(&certificates);
        Report {
            version: VERSION,
            program: env!("CARGO_PKG_VERSION").to_owned(),
            timestamp: time(now),
            period: self.totals.seen.0.map(|(first, last)| period(first, last)),
            min_connections: options.min_connections,
            connections: Connections {
                total: self.totals.counts.total(),
                counts: self.totals.counts,
                in_pod: self.totals.in_pod,
                without_role: self.totals.without_role,
            },
            services,
            other_services: some(self.services.others),
            certificates,
            algorithms,
            findings,
            limits: self.cut,
        }
    }

    fn findings(&self) -> Vec<Finding> {
        let mut active: BTreeMap<&str, Vec<ActiveFinding>> = BTreeMap::new();
        for ((_, rule, about), standing) in &self.findings.standing {
            active.entry(rule).or_default().push(ActiveFinding {
                about: about.clone(),
                severity: standing.severity.clone(),
                summary: standing.summary.clone(),
                count: standing.count,
                first_seen: time(standing.first),
                last_seen: time(standing.last),
            });
        }
        let none = Found::default();
        let seen = self.findings.all.keys().map(String::as_str);
        let rules: BTreeSet<&str> = seen.chain(active.keys().copied()).collect();
        let found = |rule| self.findings.all.get(rule).unwrap_or(&none);
        rules
            .into_iter()
            .map(|rule| finding(rule, found(rule), active.get(rule).cloned().unwrap_or_default()))
            .collect()
    }

    fn algorithms(&self, certificates: &[Certificate]) -> Algorithms {
        let a = &self.algorithms;
        let known = a.post_quantum.saturating_add(a.classical);
        // Counts of connections are far below where a double is no longer exact.
        let share = (known > 0).then(|| a.post_quantum as f64 / known as f64);
        Algorithms {
            versions: used(&a.versions),
            suites: a
                .suites
                .by_count()
                .into_iter()
                .map(|(suite, count)| UsedSuite { suite: suite_name(suite), count })
                .collect(),
            groups: used(&a.groups),
            key_exchange: KeyExchange {
                post_quantum: a.post_quantum,
                classical: a.classical,
                pre_shared_key: a.pre_shared_key,
                unknown: a.unknown,
                post_quantum_share: share,
            },
            signature_algorithms: count(certificates.iter().filter_map(|c| c.signature_algorithm.clone())),
            keys: count(certificates.iter().filter_map(Certificate::key)),
        }
    }
}

impl Certificate {
    /// Kind and size of its key: `RSA 2048`, `EC P-256`.
    pub fn key(&self) -> Option<String> {
        let algorithm = self.key_algorithm.as_deref()?;
        Some(match (&self.key_curve, self.key_bits) {
            (Some(curve), _) => format!("{algorithm} {curve}"),
            // The size is in the name of those that have one only.
            (None, Some(bits)) if !algorithm.contains(|c: char| c.is_ascii_digit()) => {
                format!("{algorithm} {bits}")
            }
            _ => algorithm.to_owned(),
        })
    }
}

fn of_service(name: &ServiceName, service: &services::Service, options: Options) -> Service {
    let mut callers: Vec<Caller> =
        service.callers.iter().map(|(name, caller)| of_caller(name, caller)).collect();
    callers.sort_by(|a, b| {
        let key = |c: &Caller| Reverse(c.breaking_connections);
        key(a).cmp(&key(b)).then_with(|| a.name.cmp(&b.name))
    });
    let (readiness, reasons) = readiness(service, options.min_connections);
    let (first, last) = service.seen.0.unwrap_or_default();
    Service {
        name: name.clone(),
        dialled: service.dialled.iter().map(Name::qualified).collect(),
        server_names: texts(&service.server_names),
        endpoints: service.endpoints.iter().map(ToString::to_string).collect(),
        protocols: texts(&service.protocols),
        scopes: texts(&service.scopes),
        readiness,
        reasons,
        mixed_security: words(service.counts.mixed()),
        connections: service.counts,
        period: period(first, last),
        callers,
        other_callers: some(service.others),
        suites: service.suites.iter().map(suite_name).collect(),
        groups: texts(&service.groups),
        certificates: texts(&service.certificates),
    }
}

impl Name {
    fn qualified(&self) -> String {
        match &self.namespace {
            Some(namespace) => format!("{namespace}/{}", self.name),
            None => self.name.clone(),
        }
    }
}

/// Would anybody be refused if the service insisted on mutual TLS?
fn readiness(service: &services::Service, min_connections: u64) -> (Readiness, Vec<String>) {
    let only_outside = service.scopes.iter().all(|scope| scope == "external") && !service.scopes.is_empty();
    if service.here == 0 && only_outside {
        return (Readiness::NotApplicable, Vec::new());
    }
    let breaking = service.counts.sum(Protection::breaks);
    if breaking > 0 {
        let kinds = Protection::ALL.into_iter().filter(|p| p.breaks() && service.counts.get(*p) > 0);
        return (Readiness::NotReady, words(kinds));
    }
    // Of a caller that was seen with mutual TLS, a resumed session is no news.
    let callers = service.callers.values().map(|caller| &caller.counts).chain([&service.others]);
    let unproven: Vec<&Counts> =
        callers.filter(|counts| counts.mtls == 0 && counts.sum(Protection::is_unproven) > 0).collect();
    let kinds =
        Protection::ALL.into_iter().filter(|p| p.is_unproven() && unproven.iter().any(|c| c.get(*p) > 0));
    let mut reasons = words(kinds);
    if service.counts.mtls < min_connections.max(1) {
        reasons.push("few_connections".to_owned());
    }
    match reasons.is_empty() {
        true => (Readiness::Ready, reasons),
        false => (Readiness::NotEnoughSeen, reasons),
    }
}

fn of_caller(name: &Name, caller: &services::Caller) -> Caller {
    let breaks: Vec<Protection> =
        Protection::ALL.into_iter().filter(|p| p.breaks() && caller.counts.get(*p) > 0).collect();
    let last = breaks.iter().filter_map(|protection| caller.last.get(protection)).max();
    let (first_seen, last_seen) = caller.seen.0.unwrap_or_default();
    Caller {
        name: name.clone(),
        breaking_connections: caller.counts.sum(Protection::breaks),
        last_breaking: last.map(|last| time(*last)),
        breaks: words(breaks),
        connections: caller.counts,
        protocols: texts(&caller.protocols),
        period: period(first_seen, last_seen),
    }
}

fn certificate(sha256: &str, entry: &Entry, now: i64) -> Certificate {
    let c = &entry.certificate;
    let sides = Shower::ALL.into_iter().zip(entry.shown).filter(|(_, times)| *times > 0);
    let seconds = now.div_euclid(1_000_000_000);
    let ends = c.not_after.as_deref().and_then(|text| text.parse::<jiff::Timestamp>().ok());
    Certificate {
        // Towards zero, as `watch` says it: 10 days ago is -10.
        days_left: ends.map(|end| end.as_second().saturating_sub(seconds) / 86_400),
        sides: sides.map(|(side, _)| side.as_str().to_owned()).collect(),
        subject: c.subject.clone(),
        issuer: c.issuer.clone(),
        serial: c.serial.clone(),
        not_before: c.not_before.clone(),
        not_after: c.not_after.clone(),
        sha256: sha256.to_owned(),
        san: c.san.clone(),
        key_algorithm: c.key_algorithm.clone(),
        key_bits: c.key_bits,
        key_curve: c.key_curve.clone(),
        signature_algorithm: c.signature_algorithm.clone(),
        self_signed: c.self_signed,
        shown_by: entry.places.keys().cloned().collect(),
        connections: entry.shown.iter().fold(0, |sum, times| sum.saturating_add(*times)),
        last_seen: time(entry.last),
    }
}

fn finding(rule: &str, found: &Found, mut active: Vec<ActiveFinding>) -> Finding {
    let id = RuleId::built_in(rule);
    let severity =
        RULES.iter().find(|known| Some(&known.id) == id.as_ref()).map(|rule| rule.severity.as_str());
    active.sort_by_key(|active| Reverse(weight(active.severity.as_deref())));
    let worst = active.first().and_then(|active| active.severity.clone());
    let last = active.iter().map(|active| active.last_seen.clone()).max();
    Finding {
        rule: rule.to_owned(),
        severity: worst.or_else(|| severity.map(str::to_owned)),
        connections: found.connections,
        services: found.services.keys().cloned().collect(),
        last_seen: last.max((found.connections > 0).then(|| time(found.last))).unwrap_or_default(),
        active,
    }
}

/// How bad a finding is; of somebody else's rule that may not be known, and it may be bad.
fn weight(severity: Option<&str>) -> u8 {
    let is = |known: Severity| severity == Some(known.as_str());
    match () {
        () if is(Severity::Information) => 0,
        () if is(Severity::Warning) => 1,
        () if is(Severity::Critical) => 3,
        () => 2,
    }
}

fn some(counts: Counts) -> Option<Counts> {
    (counts != Counts::default()).then_some(counts)
}

fn words(protections: impl IntoIterator<Item = Protection>) -> Vec<String> {
    protections.into_iter().map(|protection| protection.as_str().to_owned()).collect()
}

fn texts<'a>(set: impl IntoIterator<Item = &'a String>) -> Vec<String> {
    set.into_iter().cloned().collect()
}

fn suite_name((version, name): &(String, String)) -> SuiteName {
    SuiteName { version: version.clone(), name: name.clone() }
}

fn used(tally: &Tally<String>) -> Vec<Used> {
    tally.by_count().into_iter().map(|(name, count)| Used { name: name.clone(), count }).collect()
}

fn count(names: impl Iterator<Item = String>) -> Vec<Used> {
    let mut counts: BTreeMap<String, u64> = BTreeMap::new();
    for name in names {
        *counts.entry(name).or_default() += 1;
    }
    let mut used: Vec<Used> = counts.into_iter().map(|(name, count)| Used { name, count }).collect();
    used.sort_by_key(|used| Reverse(used.count));
    used
}

fn period(first: i64, last: i64) -> Period {
    Period { first_seen: time(first), last_seen: time(last) }
}

/// RFC 3339 in UTC, to the second.
pub(super) fn time(nanoseconds: i64) -> String {
    let time =
        jiff::Timestamp::from_nanosecond(i128::from(nanoseconds)).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    let second = jiff::Timestamp::from_second(time.as_second()).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    second.to_string()
}
