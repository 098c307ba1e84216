//! The rules: one file each, with its tests, and one line in [`RULES`].

mod certificate_expired;
mod certificate_expiring;
mod certificate_name_mismatch;
mod certificate_not_yet_valid;
mod certificate_revoked;
mod certificate_self_signed;
mod certificate_stale;
mod certificate_untrusted;
mod certificate_validity_too_long;
mod certificate_weak_key;
mod certificate_weak_signature;
mod certificate_wrong_usage;
mod client_identity_not_allowed;
mod handshake_failed;
mod mixed_security;
mod mtls_missing;
mod no_forward_secrecy;
mod not_quantum_safe;
#[cfg(test)]
mod oracle;
mod plaintext_traffic;
mod starttls_not_used;
#[cfg(test)]
pub(in crate::policy) mod testing;
mod weak_cipher;
mod weak_protocol;

use std::cell::OnceCell;
use std::sync::Arc;

use super::about::{About, Subjects};
use super::evidence;
use super::expectation::Expectation;
use super::finding::{Evidence, Finding, Judgement, RuleId, Severity, Shared};
use super::history::Newest;
use super::mix::Mix;
use super::ocsp::OcspVerdict;
use super::settings::{Reach, Settings};
use super::trust::ChainVerdict;
use crate::identity::{Scope, Sighting};
use crate::net::Side;
use crate::observation::{Observation, Reason, TlsFacts};
use crate::time::Timestamp;
use crate::x509::CertificateSummary;

pub(in crate::policy) use certificate_wrong_usage::fits as usage_fits;

/// A rule: what it is called, what it says, and how it judges. The texts are the reference in docs/findings.md.
#[derive(Debug)]
pub struct Rule {
    /// Its name.
    pub id: RuleId,
    /// How bad its findings are, unless a finding or a setting says otherwise.
    pub severity: Severity,
    /// What it checks, and what it leaves alone.
    pub checks: &'static str,
    /// What to do about a finding.
    pub advice: &'static str,
    /// When a finding clears.
    pub clears: &'static str,
    pub(super) check: Check,
}

/// What a rule looks at.
#[derive(Clone, Copy, Debug)]
pub(super) enum Check {
    /// The connection as a whole.
    Connection(fn(&Input<'_>) -> Judgement),
    /// Each side's chain of certificates.
    Chain(fn(&Input<'_>, &ShownChain<'_>) -> Judgement),
}

/// All rules, in the order of the reference.
pub static RULES: &[&Rule] = &[
    &plaintext_traffic::RULE,
    &mtls_missing::RULE,
    &mixed_security::RULE,
    &starttls_not_used::RULE,
    &certificate_expiring::RULE,
    &certificate_expired::RULE,
    &certificate_not_yet_valid::RULE,
    &certificate_untrusted::RULE,
    &certificate_self_signed::RULE,
    &certificate_name_mismatch::RULE,
    &certificate_wrong_usage::RULE,
    &certificate_validity_too_long::RULE,
    &certificate_weak_key::RULE,
    &certificate_weak_signature::RULE,
    &certificate_revoked::RULE,
    &certificate_stale::RULE,
    &client_identity_not_allowed::RULE,
    &weak_protocol::RULE,
    &weak_cipher::RULE,
    &no_forward_secrecy::RULE,
    &not_quantum_safe::RULE,
    &handshake_failed::RULE,
];

/// Everything that rules judge by.
#[derive(Debug)]
pub(super) struct Input<'a> {
    pub(super) sighting: &'a Sighting,
    pub(super) expectation: Option<&'a Expectation>,
    pub(super) settings: &'a Settings,
    pub(super) subjects: Subjects,
    pub(super) chains: Vec<ShownChain<'a>>,
    /// Protections of the same target in the recent past.
    pub(super) mix: Option<&'a Mix>,
    /// What every finding about the connection rests on, once the first is made.
    pub(super) evidence: OnceCell<Shared>,
}

/// A chain that one side showed.
#[derive(Debug)]
pub(super) struct ShownChain<'a> {
    pub(super) side: Side,
    pub(super) chain: &'a [Arc<CertificateSummary>],
    pub(super) leaf: &'a CertificateSummary,
    pub(super) about: About,
    pub(super) verdict: Arc<ChainVerdict>,
    pub(super) ocsp: Option<Arc<OcspVerdict>>,
    pub(super) newer: Option<Newest>,
    /// What every finding about the certificate rests on, once the first is made.
    pub(super) evidence: OnceCell<Shared>,
}

impl<'a> Input<'a> {
    pub(super) fn observation(&self) -> &'a Observation {
        &self.sighting.observation
    }

    /// The handshake, where there was one and it was not seen to fail.
    pub(super) fn tls(&self) -> Option<&'a TlsFacts> {
        self.observation().tls.as_deref().filter(|tls| tls.established != Some(false))
    }

    /// When the connection began: what it showed is judged by that time, however long it lasts.
    pub(super) fn time(&self) -> Timestamp {
        self.observation().time
    }

    /// The same in seconds.
    pub(super) fn at(&self) -> i64 {
        i64::try_from(self.time().as_nanos() / 1_000_000_000).unwrap_or(i64::MAX)
    }

    /// A finding about the connection.
    pub(super) fn finding(&self, rule: &Rule, about: About, summary: String) -> Finding {
        let mut finding = Finding::new(rule, about, summary);
        finding.evidence.share(self.evidence.get_or_init(|| {
            let mut shared = Evidence::with_capacity(16);
            evidence::connection(&mut shared, self.sighting);
            evidence::handshake(&mut shared, self.observation());
            if let Some(expectation) = self.expectation {
                shared.set("tlsight.expectation", expectation.mode.as_str());
                shared.set("tlsight.expectation.source", expectation.origin.to_string());
            }
            shared.into_shared()
        }));
        finding
    }

    /// A finding about a certificate.
    pub(super) fn certificate_finding(
        &self,
        rule: &Rule,
        shown: &ShownChain<'_>,
        summary: String,
    ) -> Finding {
        let mut finding = self.finding(rule, shown.about.clone(), summary);
        finding.evidence.share(shown.evidence.get_or_init(|| {
            let mut shared = Evidence::with_capacity(7);
            evidence::certificate(&mut shared, shown.side, shown.leaf);
            shared.into_shared()
        }));
        finding
    }

    /// Somebody at either end is known to be of a Kubernetes cluster.
    fn is_in_cluster(&self) -> bool {
        let sighting = self.sighting;
        [&sighting.local, &sighting.peer].iter().any(|end| end.workload.is_some() || end.node.is_some())
    }

    /// Does a connection of which no policy speaks go far enough to matter?
    pub(super) fn is_within_reach(&self) -> bool {
        let rule = &self.settings.plaintext_traffic;
        let protocol = self.observation().protocol;
        if protocol.is_some_and(|protocol| rule.ignored_protocols.iter().any(|ignored| ignored == protocol)) {
            return false;
        }
        let between_workloads =
            self.sighting.local.workload.is_some() && self.sighting.peer.workload.is_some();
        match (rule.without_policy, self.subjects.scope) {
            (Reach::Never, _) | (_, Some(Scope::Pod)) => false,
            (Reach::Loopback, _) => true,
            (_, Some(Scope::Loopback)) => false,
            // The node itself asks its pods how they are. Outside Kubernetes these are containers, and who calls them.
            (reach, Some(Scope::Node)) => {
                reach == Reach::Node && (between_workloads || !self.is_in_cluster())
            }
            (reach, Some(Scope::Cluster)) => reach != Reach::External,
            (_, Some(Scope::External) | None) => true,
        }
    }
}

impl ShownChain<'_> {
    /// The certificates that it takes to trust the leaf, without the root: those that lead to one where some do, or else
    /// all that were sent.
    pub(super) fn relied_on(&self) -> impl Iterator<Item = &CertificateSummary> {
        let issuers = match &self.verdict.issuers {
            Some(issuers) => issuers,
            None => self.chain.get(1..).unwrap_or_default(),
        };
        std::iter::once(self.leaf).chain(issuers.iter().map(AsRef::as_ref))
    }
}

/// Is it certain whether the client proved who it is?
pub(super) fn is_client_certain(observation: &Observation) -> bool {
    observation.reason != Some(Reason::ClientIdentityUnknown)
}

/// Who shows a certificate, as it follows the certificate's name in a sentence.
pub(super) fn shown_by(shown: &ShownChain<'_>) -> String {
    match &shown.about {
        About::ServerCertificate { target, .. } => format!("shown by {target}"),
        About::ClientCertificate { client, .. } => format!("shown by {client}"),
        About::ProcessCertificate { process, .. } => format!("shown to {process}"),
        other => format!("of {other}"),
    }
}

/// A certificate in a sentence.
pub(super) fn name(leaf: &CertificateSummary) -> String {
    super::about::identity(leaf)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_rule_of_the_closed_set_is_registered_once_and_in_its_order() {
        let registered: Vec<&RuleId> = RULES.iter().map(|rule| &rule.id).collect();
        let set: Vec<&RuleId> = RuleId::BUILT_IN.iter().collect();
        assert_eq!(registered, set);
    }
}
