//! What one sighting, or one piece of news, tells: reduced on the capture thread to what the view counts and shows.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use agent_core::event::CloseKind;
use agent_core::identity::{Party, Scope, Sighting};
use agent_core::net::{ConnId, Endpoint, Side};
use agent_core::observation::{
    ClientCertificate, Observation, Phase, ProcessCertificates, Reason, Security, Source,
};
use agent_core::policy::about::{About, Subjects};
use agent_core::policy::expectation::Mode;
use agent_core::policy::finding::{RuleId, Severity};
use agent_core::policy::judge;
use agent_core::policy::ledger::{Change, Standing};
use agent_core::time::Timestamp;
use agent_core::tls::codepoints::{CipherSuite, NamedGroup, ProtocolVersion};
use agent_core::x509::CertificateSummary;

use super::name::{self, cut};
use crate::judging::{Judged, JudgedProcess};

/// Keys and values of evidence kept with a finding.
const MAX_EVIDENCE: usize = 32;

/// Something to count.
#[derive(Clone, Debug)]
pub enum Record {
    /// A connection end, as it is known now.
    Connection(Box<ConnectionRecord>),
    /// A finding stands, as it says now.
    Standing(Box<FindingRecord>),
    /// A finding is over.
    Cleared {
        /// The rule.
        rule: RuleId,
        /// What it was about.
        about: Box<str>,
    },
    /// A place shows a newer certificate than before.
    CertificateReplaced,
    /// A process was shown a certificate, on which of its connections is not known.
    ProcessCertificate {
        /// Who was shown it.
        process: Box<str>,
        /// Whose it is, where known.
        side: Option<Side>,
        /// The certificate.
        leaf: Arc<CertificateSummary>,
        /// When.
        time: Timestamp,
    },
}

/// One end of a connection.
#[derive(Clone, Debug)]
pub struct ConnectionRecord {
    /// Which.
    pub conn: ConnId,
    /// The part that the observed end plays; absent: the local end stands in the client's place.
    pub role: Option<Side>,
    /// The client's address as this end has it.
    pub client: Endpoint,
    /// The server's.
    pub server: Endpoint,
    /// The observed process.
    pub pid: Option<u32>,
    /// The process at the other end, where it is on this host.
    pub peer_pid: Option<u32>,
    /// When it came into view.
    pub time: Timestamp,
    /// When it was last heard of.
    pub last: Timestamp,
    /// It is over.
    pub is_final: bool,
    /// What is called.
    pub service: (Arc<str>, u16),
    /// Who calls.
    pub caller: Arc<str>,
    /// What findings about the service call it.
    pub target: Option<Arc<str>>,
    /// Everything both ends have in common.
    pub facts: Facts,
}

/// What is known of a connection, whichever end tells.
#[derive(Clone, Debug, PartialEq)]
pub struct Facts {
    /// The verdict.
    pub security: Security,
    /// What it rests on.
    pub source: Option<Source>,
    /// Why it is unknown, or what of it is.
    pub reason: Option<Reason>,
    /// Protocol of plaintext, or before an upgrade.
    pub protocol: Option<&'static str>,
    /// SNI.
    pub server_name: Option<Arc<str>>,
    /// How far it goes.
    pub scope: Option<Scope>,
    /// What the handshake showed.
    pub tls: Option<Handshake>,
    /// The server's certificate.
    pub server_certificate: Option<Arc<CertificateSummary>>,
    /// The client's.
    pub client_certificate: Option<Arc<CertificateSummary>>,
    /// What policy expects, and where it says so.
    pub expectation: Option<(Mode, Arc<str>)>,
    /// What rules have against it.
    pub findings: Vec<(RuleId, Severity)>,
    /// Payload bytes of client and server, once it is over.
    pub bytes: Option<(u64, u64)>,
    /// How it ended.
    pub closed: Option<CloseKind>,
}

/// What a handshake showed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Handshake {
    /// Version in force.
    pub version: Option<ProtocolVersion>,
    /// Cipher suite.
    pub cipher: Option<CipherSuite>,
    /// Key exchange group.
    pub group: Option<NamedGroup>,
    /// It completed, or failed.
    pub established: Option<bool>,
    /// A session was resumed.
    pub resumed: Option<bool>,
    /// How long it took.
    pub duration: Option<Duration>,
    /// Did the client send a certificate?
    pub client_certificate: ClientCertificate,
}

/// A finding that stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FindingRecord {
    /// The rule.
    pub rule: RuleId,
    /// How bad it is.
    pub severity: Severity,
    /// What it is about.
    pub about: Box<str>,
    /// What is called, where it is about that.
    pub target: Option<Box<str>>,
    /// What is wrong.
    pub summary: Box<str>,
    /// What to do about it.
    pub advice: Box<str>,
    /// What it rests on.
    pub evidence: Vec<(Box<str>, Box<str>)>,
    /// When it was raised.
    pub first: Timestamp,
    /// When it was last seen.
    pub last: Timestamp,
    /// Connections on which it was seen.
    pub count: u64,
}

impl ConnectionRecord {
    /// Of a sighting that was judged.
    pub fn judged(judged: &Judged<'_>) -> Self {
        let mut record = Self::sighting(judged.sighting);
        record.facts.expectation =
            judged.expectation.map(|e| (e.mode, Arc::from(cut(&e.origin.to_string()))));
        let severities = judged.severities.iter().copied();
        record.facts.findings = judged.findings.iter().cloned().zip(severities).collect();
        record
    }

    /// Of a sighting.
    pub fn sighting(sighting: &Sighting) -> Self {
        let o = &sighting.observation;
        let (local, peer) = (o.tuple.local, o.tuple.peer);
        let tls = o.tls.as_deref();
        let server_name = tls.and_then(|tls| tls.server_name.as_deref());
        let subjects = Subjects::of(sighting);
        let scope = subjects.as_ref().map_or(sighting.scope, |subjects| subjects.scope);
        let (client, server, service, caller) = match o.local_side {
            Some(Side::Server) => (
                peer,
                local,
                name::observed_service(&sighting.local, o, local),
                name::remote_caller(&sighting.peer, peer),
            ),
            Some(Side::Client) | None => (
                local,
                peer,
                name::dialled_service(&sighting.peer, peer, server_name, scope),
                name::observed_caller(&sighting.local, o, local),
            ),
        };
        let handshake = tls.map(|tls| Handshake {
            version: tls.negotiated_version,
            cipher: tls.cipher,
            group: tls.group,
            established: tls.established,
            resumed: tls.resumed,
            duration: tls.handshake_duration,
            client_certificate: tls.client_certificate,
        });
        let leaf = |side| tls.and_then(|tls| leaf(tls, side).cloned());
        let pid = |party: &Party| party.process.as_ref().map(|process| process.pid);
        Self {
            conn: o.conn,
            role: o.local_side,
            client,
            server,
            pid: o.process.as_ref().map(|process| process.pid).or(pid(&sighting.local)),
            peer_pid: pid(&sighting.peer),
            time: o.time,
            last: Timestamp(o.time.0.saturating_add(nanos(o.duration))),
            is_final: o.phase == Phase::Final,
            service: (Arc::from(service.0), service.1),
            caller: Arc::from(caller),
            target: subjects.map(|subjects| Arc::from(cut(&subjects.target.to_string()))),
            facts: Facts {
                security: o.security,
                source: o.source,
                reason: o.reason,
                protocol: o.protocol,
                server_name: server_name.map(|name| Arc::from(cut(name))),
                scope,
                tls: handshake,
                server_certificate: leaf(Side::Server),
                client_certificate: leaf(Side::Client),
                expectation: None,
                findings: Vec::new(),
                bytes: bytes(o),
                closed: o.closed,
            },
        }
    }

    /// It stays inside a pod: what an application and its own sidecar do is theirs.
    pub fn is_in_pod(&self) -> bool {
        self.facts.scope == Some(Scope::Pod)
    }
}

fn leaf(tls: &agent_core::observation::TlsFacts, side: Side) -> Option<&Arc<CertificateSummary>> {
    match side {
        Side::Server => tls.server_chain.first(),
        Side::Client => tls.client_chain.first(),
    }
}

fn nanos(duration: Option<Duration>) -> u64 {
    duration.map_or(0, |d| u64::try_from(d.as_nanos()).unwrap_or(u64::MAX))
}

fn bytes(o: &Observation) -> Option<(u64, u64)> {
    let bytes = o.bytes?;
    Some(match o.local_side {
        Some(Side::Server) => (bytes.ingress, bytes.egress),
        Some(Side::Client) | None => (bytes.egress, bytes.ingress),
    })
}

impl Record {
    /// Of news of findings.
    pub fn news(news: &judge::Output) -> Self {
        match news {
            judge::Output::Finding(Change::Raised(standing) | Change::Updated(standing)) => {
                Record::Standing(Box::new(FindingRecord::of(standing)))
            }
            judge::Output::Finding(Change::Cleared(standing, _)) => Record::Cleared {
                rule: standing.finding.rule.clone(),
                about: standing.finding.about.to_string().into(),
            },
            judge::Output::CertificateReplaced(_) => Record::CertificateReplaced,
        }
    }

    /// Of certificates of a process that was judged.
    pub fn judged_process(judged: &JudgedProcess<'_>) -> Option<Self> {
        let name = judged.party.workload.as_ref().map(|w| format!("{} {}/{}", w.kind, w.namespace, w.name));
        Self::process_of(judged.certificates, name)
    }

    /// Of certificates of a process.
    pub fn process(certificates: &ProcessCertificates) -> Option<Self> {
        Self::process_of(certificates, None)
    }

    fn process_of(certificates: &ProcessCertificates, name: Option<String>) -> Option<Self> {
        let name = name.unwrap_or_else(|| certificates.process.executable_name.clone());
        Some(Record::ProcessCertificate {
            process: cut(&name).into(),
            side: certificates.peer,
            leaf: Arc::clone(certificates.chain.first()?),
            time: certificates.time,
        })
    }
}

impl FindingRecord {
    fn of(standing: &Standing) -> Self {
        let finding = &standing.finding;
        let target = match &finding.about {
            About::Target(target)
            | About::Hop { target, .. }
            | About::Caller { target, .. }
            | About::ServerCertificate { target, .. } => Some(cut(&target.to_string()).into()),
            About::ClientCertificate { .. } | About::ProcessCertificate { .. } | About::Other(_) => None,
        };
        let evidence = finding.evidence.iter().take(MAX_EVIDENCE);
        Self {
            rule: finding.rule.clone(),
            severity: finding.severity,
            about: finding.about.to_string().into(),
            target,
            summary: sentence(&finding.summary),
            advice: sentence(&finding.advice),
            evidence: evidence
                .map(|(key, value)| (cut(key).into(), cut(&value.to_string()).into()))
                .collect(),
            first: standing.first_seen,
            last: standing.last_seen,
            count: standing.count,
        }
    }
}

/// As much of a sentence as is kept.
fn sentence(text: &str) -> Box<str> {
    text.chars().take(1024).collect::<String>().into()
}

/// An address for people.
pub(super) fn address(at: IpAddr, port: u16) -> String {
    std::net::SocketAddr::new(at.to_canonical(), port).to_string()
}
