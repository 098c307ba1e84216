//! Policy and findings in the running tool: what was expected of a connection, and what is wrong with it.
//!
//! [`Judging`] holds what it takes: the policies, the [`Judge`] with the roots that he holds chains against, and rules
//! that somebody else wrote. The pipeline asks it about every sighting, shown or not. No I/O, no clock.

use std::sync::Arc;

use agent_core::identity::{Party, Sighting};
use agent_core::observation::ProcessCertificates;
use agent_core::policy::expectation::Expectation;
use agent_core::policy::finding::{Judgement, RuleId, Severity};
use agent_core::policy::history::KnownCertificate;
use agent_core::policy::judge::{Judge, Output};
use agent_core::policy::set::PolicySet;
use agent_core::policy::settings::{Settings, SettingsError};
use agent_core::policy::target::Target;
use agent_core::policy::trust::Loaded;
use agent_core::time::Timestamp;

use crate::enrich::kubernetes::PolicyFiles;

/// A sighting, what was expected of it, and what is wrong with it.
#[derive(Clone, Copy, Debug)]
pub struct Judged<'a> {
    /// What was seen, and who is at both ends.
    pub sighting: &'a Sighting,
    /// What policy expects of it; `None` where no document speaks of it, or where it cannot be told what they expect.
    pub expectation: Option<&'a Expectation>,
    /// The rules that have something against it, each once.
    pub findings: &'a [RuleId],
    /// How bad each of them is, in the same order.
    pub severities: &'a [Severity],
    /// Those of them that are about the certificate that the client showed.
    pub about_client: &'a [RuleId],
}

impl Judged<'_> {
    /// Whether rules were asked at all: they need to know which end is the client. Without that, no findings mean nothing.
    pub fn is_judged(&self) -> bool {
        self.sighting.observation.local_side.is_some()
    }

    /// The severity of the worst finding.
    pub fn worst(&self) -> Option<Severity> {
        self.severities.iter().copied().max()
    }
}

/// Certificates of a process, and what is wrong with them.
#[derive(Clone, Copy, Debug)]
pub struct JudgedProcess<'a> {
    /// What the process was shown.
    pub certificates: &'a ProcessCertificates,
    /// Who the process is.
    pub party: &'a Party,
    /// The rules that have something against it, each once.
    pub findings: &'a [RuleId],
    /// How bad each of them is, in the same order.
    pub severities: &'a [Severity],
}

/// What somebody else's rule says of a sighting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Opinion {
    /// Something it did not say of this connection before.
    New(RuleId, Judgement),
    /// Something it said of this connection before, but with other words or another severity.
    Changed(RuleId, Judgement),
    /// A finding of before stands as it is.
    Stands(RuleId, Severity),
}

/// Rules that somebody else wrote.
pub trait OwnRules: Send {
    /// What they say of a sighting, of which the rules of tlsight itself have spoken. A rule that is about it and has
    /// nothing against it says [`Judgement::Good`], which clears what it said before of the same subject.
    fn judge(&mut self, judged: &Judged<'_>, now: Timestamp) -> Vec<Opinion>;

    /// What somebody should know of them (one fails, say), `None` when there is nothing (more).
    fn poll_message(&mut self) -> Option<String> {
        None
    }

    /// What they counted, by name.
    fn counters(&self) -> Vec<(String, u64)> {
        Vec::new()
    }
}

/// Policies, rules, and what they remember.
pub struct Judging {
    policies: Arc<PolicySet>,
    files: PolicyFiles,
    judge: Judge,
    own: Vec<Box<dyn OwnRules>>,
    /// Of the sighting that was judged last.
    findings: Vec<RuleId>,
    severities: Vec<Severity>,
    about_client: Vec<RuleId>,
    expected: u64,
    in_doubt: u64,
}

impl Judging {
    /// Without policies and without roots.
    ///
    /// # Errors
    /// When a setting is out of its bounds.
    pub fn new(settings: Settings) -> Result<Self, SettingsError> {
        let judge = Judge::new(settings)?;
        let policies = Arc::new(PolicySet::default());
        Ok(Self {
            policies,
            files: PolicyFiles::default(),
            judge,
            own: Vec::new(),
            findings: Vec::new(),
            severities: Vec::new(),
            about_client: Vec::new(),
            expected: 0,
            in_doubt: 0,
        })
    }

    /// Takes policies in place of those there were.
    pub fn set_policies(&mut self, policies: Arc<PolicySet>) {
        self.policies = policies;
    }

    /// Keeps what policy files said.
    pub fn set_policy_files(&mut self, files: PolicyFiles) {
        self.files = files;
    }

    /// What policy files said, for whoever reads them again together with policies from elsewhere.
    pub fn policy_files(&self) -> &PolicyFiles {
        &self.files
    }

    /// The policies that apply now.
    pub fn policies(&self) -> &Arc<PolicySet> {
        &self.policies
    }

    /// Takes the system's roots (DER).
    pub fn set_system_roots(&mut self, certificates: impl IntoIterator<Item = Vec<u8>>) -> Loaded {
        self.judge.trust().set_system(certificates)
    }

    /// Takes the roots (DER) of a bundle, in place of those it had.
    pub fn set_bundle(
        &mut self,
        name: impl Into<Arc<str>>,
        certificates: impl IntoIterator<Item = Vec<u8>>,
    ) -> Loaded {
        self.judge.trust().set_bundle(name.into(), certificates)
    }

    /// Goes on by the policies, settings, roots and rules of another, and remembers what was seen: a reload. Where the Kubernetes
    /// API has a say in policies, `keep_policies` until it has been asked again.
    pub fn follow(&mut self, other: Self, keep_policies: bool) {
        let Self { policies, files, judge, own, .. } = other;
        if !keep_policies {
            self.policies = policies;
        }
        self.files = files;
        self.judge.follow(judge, |rule| matches!(rule, RuleId::Own(_)));
        self.own = own;
    }

    /// Adds rules that somebody else wrote.
    pub fn add_rules(&mut self, rules: Box<dyn OwnRules>) {
        self.own.push(rules);
    }

    /// Somebody outside (cert-manager) knows of a certificate: what is shown for its names should not be older.
    pub fn known_newer(&mut self, known: &KnownCertificate, now: Timestamp) {
        self.judge.known_newer(known, now);
    }

    /// The judge, with the book of findings that stand and the history of certificates.
    pub fn judge(&self) -> &Judge {
        &self.judge
    }

    /// Judges a sighting. News of findings wait in [`poll_output`](Self::poll_output) afterwards.
    pub fn look<'a>(&'a mut self, sighting: &'a Sighting, now: Timestamp) -> Judged<'a> {
        let target = Target::of(sighting);
        let decided = target.as_ref().and_then(|target| self.policies.decide(target));
        let is_asked = decided.is_some().then_some(target).flatten();
        let in_doubt = is_asked.is_some_and(|target| self.policies.is_in_doubt(&target));
        self.in_doubt = self.in_doubt.saturating_add(u64::from(in_doubt));
        // What may not be expected is not said to be.
        let expectation = decided.filter(|_| !in_doubt);
        self.expected = self.expected.saturating_add(u64::from(expectation.is_some()));
        self.findings.clear();
        self.severities.clear();
        self.about_client.clear();
        for raised in self.judge.examine(sighting, decided, in_doubt, now) {
            if raised.about_client {
                self.about_client.push(raised.rule.clone());
            }
            self.findings.push(raised.rule);
            self.severities.push(raised.severity);
        }
        let judged = Judged {
            sighting,
            expectation,
            findings: &self.findings,
            severities: &self.severities,
            about_client: &self.about_client,
        };
        let opinions: Vec<Opinion> = self.own.iter_mut().flat_map(|own| own.judge(&judged, now)).collect();
        for opinion in opinions {
            let raised = match &opinion {
                Opinion::New(rule, Judgement::Raised(finding))
                | Opinion::Changed(rule, Judgement::Raised(finding)) => Some((rule, finding.severity)),
                Opinion::Stands(rule, severity) => Some((rule, *severity)),
                Opinion::New(..) | Opinion::Changed(..) => None,
            };
            if let Some((rule, severity)) = raised {
                note(&mut self.findings, &mut self.severities, rule, severity);
            }
            match opinion {
                Opinion::New(rule, judgement) => self.judge.take(&rule, judgement, now),
                Opinion::Changed(rule, judgement) => self.judge.take_again(&rule, judgement, now),
                Opinion::Stands(..) => {}
            }
        }
        Judged {
            sighting,
            expectation,
            findings: &self.findings,
            severities: &self.severities,
            about_client: &self.about_client,
        }
    }

    /// What somebody should know of rules that somebody else wrote: one fails, say. `None` when there is nothing (more).
    pub fn poll_message(&mut self) -> Option<String> {
        self.own.iter_mut().find_map(|own| own.poll_message())
    }

    /// Judges certificates that belong to a process and to no single connection.
    pub fn look_at_process<'a>(
        &'a mut self,
        certificates: &'a ProcessCertificates,
        party: &'a Party,
        now: Timestamp,
    ) -> JudgedProcess<'a> {
        (self.findings, self.severities) =
            self.judge.examine_process(certificates, party, now).into_iter().unzip();
        JudgedProcess { certificates, party, findings: &self.findings, severities: &self.severities }
    }

    /// Does what is due at `now`: findings clear by time and by silence.
    pub fn handle_timeout(&mut self, now: Timestamp) {
        self.judge.handle_timeout(now);
    }

    /// When [`handle_timeout`](Self::handle_timeout) has something to do.
    pub fn poll_deadline(&self) -> Option<Timestamp> {
        self.judge.poll_deadline()
    }

    /// The next news, `None` when there is none.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.judge.poll_output()
    }

    /// Every counter with its name.
    pub fn named_counters(&self) -> Vec<(String, u64)> {
        let c = self.judge.counters();
        let rules = u64::try_from(self.policies.rules().len()).unwrap_or(u64::MAX);
        let standing = u64::try_from(self.judge.ledger().len()).unwrap_or(u64::MAX);
        let named = [
            ("policy.rules", rules),
            ("policy.connections_expected", self.expected),
            ("policy.connections_in_doubt", self.in_doubt),
            ("findings.sightings", c.sightings),
            ("findings.process_certificates", c.process_certificates),
            ("findings.standing", standing),
            ("findings.raised", c.ledger.raised),
            ("findings.cleared", c.ledger.cleared),
            ("findings.refused", c.ledger.refused),
            ("findings.displaced", c.ledger.displaced),
            ("findings.connections_evicted", c.connections_evicted),
            ("findings.services_evicted", c.services_evicted),
            ("findings.responses_evicted", c.responses_evicted),
            ("findings.certificates_replaced", c.history.replaced),
            ("findings.places_evicted", c.history.places_evicted),
            ("findings.names_evicted", c.history.names_evicted),
            ("trust.chains_known", c.trust.hits),
            ("trust.chains_verified", c.trust.misses),
            ("trust.chains_evicted", c.trust.evicted),
            ("trust.unknown_bundles", c.trust.unknown_bundles),
        ];
        let own = self.own.iter().flat_map(|own| own.counters());
        named.into_iter().map(|(name, n)| (name.to_owned(), n)).chain(own).collect()
    }
}

/// Adds a rule to those that have something against a connection, each once and with its worst severity.
fn note(findings: &mut Vec<RuleId>, severities: &mut Vec<Severity>, rule: &RuleId, severity: Severity) {
    let known = findings.iter().position(|known| known == rule);
    match known.and_then(|at| severities.get_mut(at)) {
        Some(worst) => *worst = severity.max(*worst),
        None => {
            findings.push(rule.clone());
            severities.push(severity);
        }
    }
}

#[cfg(test)]
mod tests;
