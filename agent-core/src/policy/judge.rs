//! Puts sightings before the rules, each connection once, and keeps the book. No I/O, no clock: the caller says what time
//! it is and drains [`Judge::poll_output`] after every call.

use std::cell::OnceCell;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use hashlink::LruCache;
use sha2::{Digest, Sha256};

use super::about::{About, Subjects, Target};
use super::bounds::resize;
use super::expectation::Expectation;
use super::finding::{Finding, Judgement, RuleId, Severity};
use super::history::{CertificateReplaced, History, HistoryCounters, KnownCertificate, Place};
use super::ledger::{Change, Ledger, LedgerCounters};
use super::mix::{Mix, Protection};
use super::ocsp::{self, OcspVerdict};
use super::rules::{Check, Input, RULES, Rule, ShownChain};
use super::settings::{Settings, SettingsError};
use super::trust::{Roots, Trust, TrustCounters, TrustStore};
use crate::identity::{Scope, Sighting};
use crate::net::{ConnId, Side};
use crate::observation::Phase;
use crate::time::Timestamp;
use crate::x509::CertificateSummary;

mod process;

/// What the judge has to say.
#[derive(Clone, Debug)]
pub enum Output {
    /// News of a finding.
    Finding(Change),
    /// A place shows a newer certificate than before.
    CertificateReplaced(Box<CertificateReplaced>),
}

/// A rule that has something against a sighting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Raised {
    /// The rule.
    pub rule: RuleId,
    /// How bad it is.
    pub severity: Severity,
    /// It is about the certificate that the client showed, or about that one too.
    pub about_client: bool,
}

/// What happened so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct JudgeCounters {
    /// Sightings judged.
    pub sightings: u64,
    /// Certificates judged that belong to a process and to no single connection.
    pub process_certificates: u64,
    /// Connections forgotten before they ended: if they are seen again they count twice.
    pub connections_evicted: u64,
    /// Targets forgotten to make room.
    pub services_evicted: u64,
    /// Stapled responses forgotten to make room.
    pub responses_evicted: u64,
    /// Findings.
    pub ledger: LedgerCounters,
    /// Chains.
    pub trust: TrustCounters,
    /// Certificates and where they are shown.
    pub history: HistoryCounters,
}

/// Rules that say nothing while it is not known what is expected.
const BY_EXPECTATION: &[RuleId] = &[
    RuleId::PlaintextTraffic,
    RuleId::MtlsMissing,
    RuleId::StarttlsNotUsed,
    RuleId::ClientIdentityNotAllowed,
];

/// What was said of a connection, one bit for a rule and a side.
#[derive(Clone, Copy, Debug, Default)]
struct Said {
    raised: u64,
    good: u64,
    protection: Option<Protection>,
    /// Chains that the history knows of.
    chains: [bool; 2],
}

/// The rules, and what they remember.
#[derive(Debug)]
pub struct Judge {
    settings: Settings,
    trust: TrustStore,
    history: History,
    mixes: LruCache<Arc<Target>, Mix>,
    responses: LruCache<[u8; 32], Arc<OcspVerdict>>,
    said: LruCache<ConnId, Said>,
    ledger: Ledger,
    replaced: VecDeque<CertificateReplaced>,
    counters: JudgeCounters,
}

impl Judge {
    /// A judge who has seen nothing. Fails when a setting is out of its bounds.
    pub fn new(settings: Settings) -> Result<Self, SettingsError> {
        settings.check()?;
        let memory = &settings.memory;
        Ok(Self {
            trust: TrustStore::new(memory.max_chains),
            history: History::new(memory.max_places),
            mixes: LruCache::new(memory.max_services),
            responses: LruCache::new(memory.max_chains),
            said: LruCache::new(memory.max_connections),
            ledger: Ledger::new(settings.ledger.clone()),
            replaced: VecDeque::new(),
            counters: JudgeCounters::default(),
            settings,
        })
    }

    /// Goes on by the settings and roots of another judge, and remembers what it saw itself. Findings of rules whose settings
    /// are others now are over, and raised anew where they are still true; so are those of `own` rules that are no more.
    pub fn follow(&mut self, other: Self, is_gone: impl Fn(&RuleId) -> bool) {
        let changed = self.settings.differing(&other.settings);
        self.settings = other.settings;
        let counted = self.trust.counters();
        self.trust = other.trust;
        self.trust.count_on(counted);
        self.responses.clear();
        let memory = &self.settings.memory;
        self.counters.services_evicted += resize(&mut self.mixes, memory.max_services);
        self.history.set_max_places(memory.max_places);
        self.responses.set_capacity(memory.max_chains);
        self.said.set_capacity(memory.max_connections);
        self.ledger
            .set_settings(self.settings.ledger.clone(), |rule| changed.contains(rule) || is_gone(rule));
        // Whatever was said of a connection was said by the settings of before.
        self.said.clear();
    }

    /// The roots that chains are held against.
    pub fn trust(&mut self) -> &mut TrustStore {
        // What was verified with an issuer that is no longer there.
        self.responses.clear();
        &mut self.trust
    }

    /// Is there a bundle of roots of this name?
    pub fn has_bundle(&self, name: &str) -> bool {
        self.trust.has_bundle(name)
    }

    /// Judges a sighting and gives the rules that have something against it.
    pub fn judge(
        &mut self,
        sighting: &Sighting,
        expectation: Option<&Expectation>,
        now: Timestamp,
    ) -> Vec<RuleId> {
        self.examine(sighting, expectation, false, now).into_iter().map(|raised| raised.rule).collect()
    }

    /// The same, each with how bad it is (the worst, where a rule has something against both chains) and about whom.
    /// `in_doubt`: something milder may be expected (see [`is_in_doubt`](super::set::PolicySet::is_in_doubt)), so that nothing is
    /// said for or against what goes by the expectation.
    pub fn examine(
        &mut self,
        sighting: &Sighting,
        expectation: Option<&Expectation>,
        in_doubt: bool,
        now: Timestamp,
    ) -> Vec<Raised> {
        self.counters.sightings += 1;
        let o = &sighting.observation;
        let Some(subjects) = Subjects::of(sighting) else { return Vec::new() };
        let mut said = self.said.get(&o.conn).copied().unwrap_or_default();
        let before = said;
        self.see_protection(sighting, &subjects, &mut said);
        let chains = self.chains(sighting, expectation, &subjects, &mut said);
        let input = Input {
            sighting,
            expectation: expectation.filter(|_| !in_doubt),
            settings: &self.settings,
            mix: self.mixes.peek(&subjects.target),
            subjects,
            chains,
            evidence: OnceCell::new(),
        };
        let mut raised = Vec::new();
        let ledger = &mut self.ledger;
        apply(
            &input,
            |rule| !in_doubt || !BY_EXPECTATION.contains(&rule.id),
            |rule, judgement, bit| match judgement {
                Judgement::Raised(finding) => {
                    note(&mut raised, &finding);
                    said.raised |= bit;
                    ledger.raise(finding, before.raised & bit == 0, now);
                }
                // What was good when it began is not said again when it ends: meanwhile others may have been worse.
                Judgement::Good(about) if before.good & bit == 0 => {
                    said.good |= bit;
                    let mut clear = |about: &About| {
                        ledger.good(rule, about, now);
                        // Whoever was known by no more than this client's name has been this client.
                        if let Some(when_gone) = input.subjects.when_gone(about) {
                            ledger.good(rule, &when_gone, now);
                        }
                    };
                    clear(&about);
                    // Who calls with a good certificate no longer does so without any.
                    if let About::Caller { client, target, .. } = about {
                        clear(&About::Hop { client, target });
                    }
                }
                Judgement::Good(_) | Judgement::NotApplicable => {}
            },
        );
        self.remember(o.conn, o.phase, said);
        raised
    }

    /// Takes what somebody else's rule says.
    pub fn take(&mut self, rule: &RuleId, judgement: Judgement, now: Timestamp) {
        self.ledger.take(judgement, rule, now);
    }

    /// Takes what somebody else's rule says again of a connection that it was taken of already: it does not count twice.
    pub fn take_again(&mut self, rule: &RuleId, judgement: Judgement, now: Timestamp) {
        match judgement {
            Judgement::Raised(finding) => self.ledger.raise(finding, false, now),
            other => self.ledger.take(other, rule, now),
        }
    }

    /// Somebody outside knows of a certificate: the one that is shown should not be older.
    pub fn known_newer(&mut self, known: &KnownCertificate, now: Timestamp) {
        self.history.known_newer(known, now);
    }

    /// Does what is due at `now`; to be called at or after [`poll_deadline`](Self::poll_deadline).
    pub fn handle_timeout(&mut self, now: Timestamp) {
        self.ledger.handle_timeout(now);
    }

    /// When [`handle_timeout`](Self::handle_timeout) has something to do.
    pub fn poll_deadline(&self) -> Option<Timestamp> {
        self.ledger.poll_deadline()
    }

    /// The next output, `None` when there is none.
    pub fn poll_output(&mut self) -> Option<Output> {
        match self.replaced.pop_front() {
            Some(replaced) => Some(Output::CertificateReplaced(Box::new(replaced))),
            None => self.ledger.poll_change().map(Output::Finding),
        }
    }

    /// The book.
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// Which certificates were shown where.
    pub fn history(&self) -> &History {
        &self.history
    }

    /// The settings it judges by.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// What happened so far.
    pub fn counters(&self) -> JudgeCounters {
        JudgeCounters {
            ledger: self.ledger.counters(),
            trust: self.trust.counters(),
            history: self.history.counters(),
            ..self.counters
        }
    }

    fn remember(&mut self, conn: ConnId, phase: Phase, said: Said) {
        if phase == Phase::Final {
            self.said.remove(&conn);
            return;
        }
        if self.said.len() >= self.said.capacity() && !self.said.contains_key(&conn) {
            self.counters.connections_evicted += 1;
        }
        self.said.insert(conn, said);
    }

    fn see_protection(&mut self, sighting: &Sighting, subjects: &Subjects, said: &mut Said) {
        let Some(protection) = Protection::of(&sighting.observation) else { return };
        // What an application and its own sidecar say to each other is no protection of the service.
        let is_inside = matches!(subjects.scope, Some(Scope::Pod | Scope::Loopback));
        if is_inside || said.protection == Some(protection) {
            return;
        }
        said.protection = Some(protection);
        if self.mixes.len() >= self.mixes.capacity() && !self.mixes.contains_key(&subjects.target) {
            // An entry that is made in place would put nothing out before the next one.
            self.mixes.remove_lru();
            self.counters.services_evicted += 1;
        }
        let client = match &*subjects.client {
            super::about::Actor::Unnamed(_) => subjects.client_address.to_string(),
            named => named.to_string(),
        };
        let mix = self.mixes.entry(Arc::clone(&subjects.target)).or_insert_with(Mix::default);
        mix.see(protection, client, sighting.observation.time);
    }

    fn chains<'a>(
        &mut self,
        sighting: &'a Sighting,
        expectation: Option<&Expectation>,
        subjects: &Subjects,
        said: &mut Said,
    ) -> Vec<ShownChain<'a>> {
        let o = &sighting.observation;
        let Some(tls) = &o.tls else { return Vec::new() };
        let at = i64::try_from(o.time.as_nanos() / 1_000_000_000).unwrap_or(i64::MAX);
        let mut shown = Vec::new();
        let [server_known, client_known] = &mut said.chains;
        for (side, chain, is_known) in
            [(Side::Server, &tls.server_chain, server_known), (Side::Client, &tls.client_chain, client_known)]
        {
            let Some(leaf) = chain.first() else { continue };
            let server_name = tls.server_name.as_deref();
            let about = subjects.certificate(side, leaf, server_name);
            let endpoint = match side {
                Side::Server => subjects.server,
                Side::Client => crate::net::Endpoint::new(subjects.client_address, 0),
            };
            let place = Place::new(side, endpoint, server_name, leaf);
            let verdict = self.trust_of(chain, side, expectation, at);
            let is_trusted = matches!(verdict.trust, Trust::Trusted { .. });
            if !std::mem::replace(is_known, true)
                && let Some(replaced) = self.history.shown(&place, &about, leaf, is_trusted, o.time)
            {
                self.replaced.push_back(replaced);
            }
            let grace = Duration::from_secs(u64::from(self.settings.certificate_stale.grace_minutes) * 60);
            let newer = self.history.newer(leaf, is_trusted, o.time, grace);
            let response = tls.ocsp_response.as_ref().filter(|_| side == Side::Server);
            let ocsp = response.map(|response| self.ocsp(response, chain, leaf));
            shown.push(ShownChain {
                side,
                chain,
                leaf,
                about,
                verdict,
                ocsp,
                newer,
                evidence: OnceCell::new(),
            });
        }
        shown
    }

    fn trust_of(
        &mut self,
        chain: &[Arc<CertificateSummary>],
        side: Side,
        expectation: Option<&Expectation>,
        at: i64,
    ) -> Arc<super::trust::ChainVerdict> {
        let named = expectation.and_then(|expectation| expectation.trust.as_deref());
        let named = named.filter(|_| side == Side::Server);
        let id = chain.first().and_then(|leaf| leaf.spiffe_id());
        let domain = id.map(trust_domain);
        let roots = match (named, &domain) {
            (Some(name), _) => Roots::Bundle(name),
            // Without a bundle of this name the verdict is that it cannot be told.
            (None, Some(domain)) => Roots::Domain(domain),
            (None, None) if side == Side::Client => Roots::Bundles,
            (None, None) => Roots::All,
        };
        self.trust.verdict(chain, side, &roots, at)
    }

    fn ocsp(
        &mut self,
        response: &[u8],
        chain: &[Arc<CertificateSummary>],
        leaf: &CertificateSummary,
    ) -> Arc<OcspVerdict> {
        let mut hash = Sha256::new();
        for certificate in chain {
            hash.update(certificate.sha256);
        }
        hash.update(response);
        let key: [u8; 32] = hash.finalize().into();
        if let Some(known) = self.responses.get(&key) {
            return Arc::clone(known);
        }
        let verdict = Arc::new(ocsp::verdict(response, leaf, self.trust.issuers(chain)));
        if self.responses.len() >= self.responses.capacity() {
            self.counters.responses_evicted += 1;
        }
        self.responses.insert(key, Arc::clone(&verdict));
        verdict
    }
}

/// Puts a case before the rules that are looked at. `take` is given what each says, and its bit.
fn apply(input: &Input<'_>, is_asked: impl Fn(&Rule) -> bool, mut take: impl FnMut(&RuleId, Judgement, u64)) {
    for (bit, rule) in RULES.iter().enumerate() {
        let (enabled, severity) = input.settings.of(&rule.id);
        if !enabled || !is_asked(rule) {
            continue;
        }
        let mut take = |mut judgement: Judgement, bit: u64| {
            if let (Judgement::Raised(finding), Some(severity)) = (&mut judgement, severity) {
                finding.set_severity(severity);
            }
            take(&rule.id, judgement, bit);
        };
        match rule.check {
            Check::Connection(check) => take(check(input), 1 << (2 * bit)),
            Check::Chain(check) => {
                for shown in &input.chains {
                    let side = u32::from(shown.side == Side::Client);
                    take(check(input, shown), 1 << (2 * bit + side as usize));
                }
            }
        }
    }
}

/// Adds to what was raised: each rule once, with its worst.
fn note(raised: &mut Vec<Raised>, finding: &Finding) {
    let about_client = matches!(finding.about, About::ClientCertificate { .. });
    match raised.iter_mut().find(|raised| raised.rule == finding.rule) {
        Some(raised) => {
            raised.severity = finding.severity.max(raised.severity);
            raised.about_client |= about_client;
        }
        None => {
            raised.push(Raised { rule: finding.rule.clone(), severity: finding.severity, about_client });
        }
    }
}

/// `spiffe://example.org` of `spiffe://example.org/ns/a/sa/b`.
fn trust_domain(id: &str) -> String {
    let rest = id.get(9..).unwrap_or_default();
    let domain = rest.split_once('/').map_or(rest, |(domain, _)| domain);
    format!("spiffe://{}", domain.to_ascii_lowercase())
}

#[cfg(test)]
mod tests;
