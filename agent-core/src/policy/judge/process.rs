//! Certificates that belong to a process and to no single connection: what shows in them alone is judged, about the process.

use std::cell::OnceCell;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use super::{Judge, apply, note};
use crate::identity::{Party, Sighting};
use crate::net::{ConnId, Endpoint, FiveTuple, Side};
use crate::observation::{Observation, Phase, ProcessCertificates, Security};
use crate::policy::about::{About, Subjects, Target, actor, identity};
use crate::policy::finding::{Judgement, RuleId, Severity};
use crate::policy::rules::{Input, Rule, ShownChain};
use crate::policy::trust::Trust;
use crate::time::Timestamp;
use crate::x509::{CertificateSummary, ExtendedKeyUsage};

/// Rules that need nothing but the certificates and whose they are.
const ASKED: &[RuleId] = &[
    RuleId::CertificateExpiring,
    RuleId::CertificateExpired,
    RuleId::CertificateNotYetValid,
    RuleId::CertificateUntrusted,
    RuleId::CertificateSelfSigned,
    RuleId::CertificateValidityTooLong,
    RuleId::CertificateWeakKey,
    RuleId::CertificateWeakSignature,
    RuleId::CertificateStale,
];

impl Judge {
    /// Judges certificates that a process was shown, and gives the rules that have something against them. Nothing is said
    /// where it cannot be told whether they are a server's or a client's. `party` is who the process is, as far as is known.
    pub fn examine_process(
        &mut self,
        certificates: &ProcessCertificates,
        party: &Party,
        now: Timestamp,
    ) -> Vec<(RuleId, Severity)> {
        let Some(leaf) = certificates.chain.first() else { return Vec::new() };
        let Some(side) = certificates.peer.or_else(|| side_of(leaf)) else { return Vec::new() };
        self.counters.process_certificates += 1;
        let at = i64::try_from(certificates.time.as_nanos() / 1_000_000_000).unwrap_or(i64::MAX);
        let sighting = sighting(certificates, party);
        let process = Arc::new(actor(party, None));
        let about =
            About::ProcessCertificate { process: Arc::clone(&process), identity: identity(leaf).into() };
        let nowhere = sighting.observation.tuple.peer;
        let grace = Duration::from_secs(u64::from(self.settings.certificate_stale.grace_minutes) * 60);
        let verdict = self.trust_of(&certificates.chain, side, None, at);
        let is_trusted = matches!(verdict.trust, Trust::Trusted { .. });
        let newer = self.history.newer(leaf, is_trusted, certificates.time, grace);
        let input = Input {
            sighting: &sighting,
            expectation: None,
            settings: &self.settings,
            mix: None,
            subjects: Subjects {
                client: process,
                client_when_gone: None,
                target: Arc::new(Target::Endpoint(nowhere)),
                server: nowhere,
                client_address: nowhere.addr,
                scope: None,
            },
            chains: vec![ShownChain {
                side,
                chain: &certificates.chain,
                leaf,
                about,
                verdict,
                ocsp: None,
                newer,
                evidence: OnceCell::new(),
            }],
            evidence: OnceCell::new(),
        };
        let mut raised = Vec::new();
        let ledger = &mut self.ledger;
        let is_asked = |rule: &Rule| ASKED.contains(&rule.id);
        apply(&input, is_asked, |rule, judgement, _| match judgement {
            Judgement::Raised(finding) => {
                note(&mut raised, &finding);
                ledger.raise(finding, true, now);
            }
            Judgement::Good(about) => ledger.good(rule, &about, now),
            Judgement::NotApplicable => {}
        });
        raised.into_iter().map(|raised| (raised.rule, raised.severity)).collect()
    }
}

/// Whose certificate it is, where it can only be used by one of them.
fn side_of(leaf: &CertificateSummary) -> Option<Side> {
    let usages = leaf.extended_key_usage.as_ref()?;
    match usages.as_slice() {
        [ExtendedKeyUsage::ServerAuth] => Some(Side::Server),
        [ExtendedKeyUsage::ClientAuth] => Some(Side::Client),
        _ => None,
    }
}

/// A connection of which nothing is known but one end's process.
fn sighting(certificates: &ProcessCertificates, party: &Party) -> Sighting {
    let nowhere = Endpoint::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);
    let observation = Observation {
        conn: ConnId(0),
        time: certificates.time,
        phase: Phase::Final,
        tuple: FiveTuple { local: nowhere, peer: nowhere },
        local_side: None,
        process: Some(Arc::clone(&certificates.process)),
        security: Security::Unknown,
        source: None,
        reason: None,
        protocol: None,
        starttls: None,
        proxy_protocol: None,
        tls: None,
        bytes: None,
        closed: None,
        duration: None,
    };
    Sighting { observation, local: party.clone(), peer: Party::default(), scope: None }
}

#[cfg(test)]
mod tests;
