//! What is handed over: owned copies of what the pipeline shows, which is borrowed.

use std::sync::Arc;

use agent_core::identity::{Party, Sighting};
use agent_core::observation::ProcessCertificates;
use agent_core::policy::expectation::Expectation;
use agent_core::policy::finding::{RuleId, Severity};
use agent_core::policy::judge;
use agent_core::time::Timestamp;
use agent_core::x509::CertificateSummary;
use opentelemetry::trace::{SpanId, TraceId};

use super::queue::Weight;
use crate::judging::{Judged, JudgedProcess};

/// What one record holds beside texts and lists.
const RECORD: usize = 1024;

/// A sighting, and what was thought of it.
#[derive(Debug)]
pub(super) struct Seen {
    pub(super) sighting: Sighting,
    judgement: Option<Judgement>,
}

#[derive(Debug)]
struct Judgement {
    expectation: Option<Expectation>,
    findings: Vec<RuleId>,
    severities: Vec<Severity>,
    about_client: Vec<RuleId>,
}

impl Seen {
    pub(super) fn bare(sighting: &Sighting) -> Self {
        Self { sighting: sighting.clone(), judgement: None }
    }

    pub(super) fn judged(judged: &Judged<'_>) -> Self {
        let judgement = Judgement {
            expectation: judged.expectation.cloned(),
            findings: judged.findings.to_vec(),
            severities: judged.severities.to_vec(),
            about_client: judged.about_client.to_vec(),
        };
        Self { sighting: judged.sighting.clone(), judgement: Some(judgement) }
    }

    /// As the pipeline showed it, where it was judged.
    pub(super) fn as_judged(&self) -> Option<Judged<'_>> {
        let judgement = self.judgement.as_ref()?;
        Some(Judged {
            sighting: &self.sighting,
            expectation: judgement.expectation.as_ref(),
            findings: &judgement.findings,
            severities: &judgement.severities,
            about_client: &judgement.about_client,
        })
    }
}

impl Weight for Arc<Seen> {
    fn weight(&self) -> usize {
        let Some(tls) = &self.sighting.observation.tls else { return RECORD };
        let lists = tls.offered_ciphers.len() + tls.offered_groups.len() + tls.offered_versions.len();
        let texts = tls.offered_protocols.iter().map(String::len).sum::<usize>()
            + tls.server_name.as_ref().map_or(0, String::len)
            + tls.ocsp_response.as_ref().map_or(0, |response| response.len())
            + tls.fingerprints.as_ref().map_or(0, |fingerprints| fingerprints.bytes());
        RECORD + lists * 2 + texts + chain(&tls.server_chain) + chain(&tls.client_chain)
    }
}

/// Certificates are shared with whoever else knows them, but may be held by this record alone in the end.
fn chain(chain: &[Arc<CertificateSummary>]) -> usize {
    chain.iter().map(|certificate| certificate.bytes()).sum()
}

/// A handshake that becomes a span.
#[derive(Debug)]
pub(super) struct Handshake {
    pub(super) seen: Arc<Seen>,
    pub(super) trace: TraceId,
    pub(super) span: SpanId,
    /// Nothing more will be known of it.
    pub(super) is_complete: bool,
}

impl Weight for Handshake {
    fn weight(&self) -> usize {
        self.seen.weight()
    }
}

/// What becomes a log record.
#[derive(Debug)]
pub(super) enum Event {
    /// A plaintext connection.
    Plaintext(Arc<Seen>),
    /// A client showed a certificate.
    Audit(Arc<Seen>),
    /// News of a finding or a certificate.
    News(Box<judge::Output>, Timestamp),
    /// Certificates of a process.
    Process(Box<SeenProcess>),
}

impl Weight for Event {
    fn weight(&self) -> usize {
        match self {
            Event::Plaintext(seen) | Event::Audit(seen) => seen.weight(),
            Event::News(news, _) => {
                let certificates = match &**news {
                    judge::Output::CertificateReplaced(replaced) => {
                        replaced.before.bytes() + replaced.after.bytes()
                    }
                    judge::Output::Finding(_) => 0,
                };
                2 * RECORD + certificates
            }
            Event::Process(process) => RECORD + chain(&process.certificates.chain),
        }
    }
}

/// Certificates of a process, and what was thought of them.
#[derive(Debug)]
pub(super) struct SeenProcess {
    pub(super) certificates: ProcessCertificates,
    judgement: Option<(Party, Vec<RuleId>, Vec<Severity>)>,
}

impl SeenProcess {
    pub(super) fn bare(certificates: &ProcessCertificates) -> Self {
        Self { certificates: certificates.clone(), judgement: None }
    }

    pub(super) fn judged(judged: &JudgedProcess<'_>) -> Self {
        let judgement = (judged.party.clone(), judged.findings.to_vec(), judged.severities.to_vec());
        Self { certificates: judged.certificates.clone(), judgement: Some(judgement) }
    }

    pub(super) fn as_judged(&self) -> Option<JudgedProcess<'_>> {
        let (party, findings, severities) = self.judgement.as_ref()?;
        Some(JudgedProcess { certificates: &self.certificates, party, findings, severities })
    }
}
