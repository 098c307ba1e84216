//! What the columns say, in words that need no manual.

use std::borrow::Cow;

use agent_core::event::CloseKind;
use agent_core::identity::{Party, Sighting};
use agent_core::net::{Endpoint, Side};
use agent_core::observation::{
    ClientCertificate, NotTied, Observation, Phase, ProcessCertificates, Reason, Security, Source, StartTls,
    TlsFacts,
};
use agent_core::policy::finding::Severity;
use agent_core::policy::judge;
use agent_core::policy::ledger::{Change, Cleared};
use agent_core::time::Timestamp;
use agent_core::x509::CertificateSummary;

/// `plaintext`, `tls 1.3`, `mtls 1.2`, `unknown`.
pub(super) fn security(o: &Observation) -> String {
    let version = o.tls.as_ref().and_then(|tls| tls.negotiated_version);
    match (o.security, version) {
        (Security::Tls | Security::Mtls, Some(version)) => {
            let number = version.otel_version().map_or_else(|| version.to_string(), str::to_owned);
            match version.otel_name() {
                Some("ssl") => format!("ssl {number}"),
                _ => format!("{} {number}", o.security.as_str()),
            }
        }
        (security, _) => security.as_str().to_owned(),
    }
}

/// The protocol in plaintext or in front of TLS, or the one that ALPN agreed on.
pub(super) fn protocol(o: &Observation) -> &str {
    o.protocol.or_else(|| o.tls.as_ref().and_then(|tls| tls.next_protocol.as_deref())).unwrap_or("-")
}

/// Local and peer end by their names in the cluster; borrowed and empty where there is none.
pub(super) fn ends(o: &Observation, sighting: Option<&Sighting>) -> (Cow<'static, str>, Cow<'static, str>) {
    let name = |party: Option<&Party>, end: Endpoint| match party.and_then(name) {
        Some(name) => Cow::Owned(format!("{name}:{}", end.port)),
        None => Cow::Borrowed(""),
    };
    (name(sighting.map(|s| &s.local), o.tuple.local), name(sighting.map(|s| &s.peer), o.tuple.peer))
}

fn name(party: &Party) -> Option<String> {
    if let Some(workload) = &party.workload {
        return Some(format!("{}/{}", workload.namespace, workload.name));
    }
    if let Some(service) = &party.service {
        return Some(format!("{}/{}", service.namespace, service.name));
    }
    party.node.as_deref().map(str::to_owned)
}

/// The Service in front of who was called, where both have names.
pub(super) fn service(sighting: &Sighting) -> Option<String> {
    let server = match sighting.observation.local_side? {
        Side::Client => &sighting.peer,
        Side::Server => &sighting.local,
    };
    let (service, workload) = (server.service.as_ref()?, server.workload.as_ref()?);
    let same = (&service.namespace, &service.name) == (&workload.namespace, &workload.name);
    (!same).then(|| format!("Service {}/{}", service.namespace, service.name))
}

/// Adds to a list in words.
pub(super) fn append(list: &mut String, more: &str) {
    if !list.is_empty() {
        list.push_str(", ");
    }
    list.push_str(more);
}

/// News of a finding, for people.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct News {
    /// Of the finding; none of a certificate that was replaced.
    pub(super) severity: Option<Severity>,
    /// It was cleared.
    pub(super) is_over: bool,
    pub(super) text: String,
}

/// That a finding was seen again is no news to a person.
pub(super) fn news(news: &judge::Output) -> Option<News> {
    Some(match news {
        judge::Output::Finding(Change::Raised(standing)) => News {
            severity: Some(standing.finding.severity),
            is_over: false,
            text: format!("{}: {}", standing.finding.rule, standing.finding.summary),
        },
        judge::Output::Finding(Change::Updated(_)) => return None,
        judge::Output::Finding(Change::Cleared(standing, why)) => {
            let why = match why {
                Cleared::Good => "seen to be fine",
                Cleared::Time => "by time",
                Cleared::Silence => "not seen any more",
                Cleared::Settings => "by another setting",
                Cleared::Room => "others needed its room",
            };
            News {
                severity: Some(standing.finding.severity),
                is_over: true,
                text: format!("{}: {} ({why})", standing.finding.rule, standing.finding.about),
            }
        }
        judge::Output::CertificateReplaced(replaced) => News {
            severity: None,
            is_over: false,
            text: format!(
                "{}: {} -> {}",
                replaced.about,
                certificate(&replaced.before, replaced.time),
                certificate(&replaced.after, replaced.time)
            ),
        },
    })
}

/// Everything else, the most important first: the end of a narrow line is cut.
pub(super) fn details(o: &Observation) -> String {
    let mut parts: Vec<String> = Vec::new();
    if let Some(tls) = &o.tls
        && let Some(alert) = &tls.alert
    {
        let sender = alert.sender.as_str();
        parts.push(match alert.content {
            Some((_, description)) => format!("alert {description} from {sender}"),
            None => format!("encrypted alert from {sender}"),
        });
    }
    if let Some(reason) = o.reason {
        parts.push(why(reason).to_owned());
    }
    match o.starttls {
        Some(StartTls::Upgraded) => parts.push("after STARTTLS".to_owned()),
        Some(StartTls::Refused) => parts.push("server refused TLS".to_owned()),
        Some(StartTls::NotUsed) => parts.push("TLS not asked for".to_owned()),
        None => {}
    }
    if let Some(closed) = o.closed.filter(|_| o.phase == Phase::Final) {
        parts.push(end(o, closed));
    }
    if let Some(tls) = &o.tls {
        handshake(o, tls, &mut parts);
    }
    if let Some(version) = o.proxy_protocol {
        parts.push(format!("PROXY protocol v{version}"));
    }
    parts.join(", ")
}

/// Certificates that belong to no single connection: whose they are, and why no more is said.
pub(super) fn process_certificates(certificates: &ProcessCertificates) -> String {
    let mut text = match (certificates.peer, certificates.chain.first()) {
        (Some(peer), Some(leaf)) => format!("{} {}", peer.as_str(), certificate(leaf, certificates.time)),
        (None, Some(leaf)) => format!("peer {}", certificate(leaf, certificates.time)),
        (_, None) => "peer without a certificate".to_owned(),
    };
    text.push_str(match certificates.reason {
        NotTied::NoConnection => ", certificate of the process: fits no connection",
        NotTied::SeveralConnections => ", certificate of the process: fits several connections",
    });
    text
}

fn handshake(o: &Observation, tls: &TlsFacts, parts: &mut Vec<String>) {
    if tls.resumed == Some(true) {
        parts.push("resumed".to_owned());
    }
    match tls.client_certificate {
        ClientCertificate::Sent => match tls.client_chain.first() {
            Some(leaf) => parts.push(format!("client {}", certificate(leaf, o.time))),
            None if matches!(o.source, Some(Source::RecordLength | Source::Probe)) => {
                parts.push("client certificate sent".to_owned())
            }
            None => parts.push("client certificate".to_owned()),
        },
        ClientCertificate::Declined => parts.push("client certificate asked for, none sent".to_owned()),
        ClientCertificate::NotRequested | ClientCertificate::Unknown => {}
    }
    if let Some(leaf) = tls.server_chain.first() {
        parts.push(format!("server {}", certificate(leaf, o.time)));
    }
    if let Some(cipher) = tls.cipher {
        parts.push(cipher.to_string());
    }
    if let Some(group) = tls.group {
        parts.push(group.to_string());
    }
    if tls.hello_retry_request {
        parts.push("hello retried".to_owned());
    }
    if tls.early_data_offered {
        parts.push("early data offered".to_owned());
    }
    if tls.server_chain_not_kept || tls.client_chain_not_kept {
        parts.push("no room for its certificates".to_owned());
    }
}

/// `CN=example.org (89 days left)`.
fn certificate(leaf: &CertificateSummary, now: Timestamp) -> String {
    let name = match (leaf.subject.as_deref(), leaf.sans.first()) {
        (Some(""), Some(san)) => san.to_string(),
        (Some(subject), _) if !subject.is_empty() => subject.to_owned(),
        (None, Some(san)) => san.to_string(),
        _ => "certificate without a name".to_owned(),
    };
    match validity(leaf, now) {
        Some(validity) => format!("{name} ({validity})"),
        None => name,
    }
}

fn validity(leaf: &CertificateSummary, now: Timestamp) -> Option<String> {
    const DAY: i64 = 86_400;
    let now = i64::try_from(now.as_nanos() / 1_000_000_000).ok()?;
    if leaf.not_before.is_some_and(|from| from > now) {
        return Some("not yet valid".to_owned());
    }
    let left = leaf.not_after?.saturating_sub(now);
    Some(match left {
        i64::MIN..0 if left > -DAY => "expired today".to_owned(),
        i64::MIN..0 => format!("expired {} days ago", -(left / DAY)),
        _ if left < DAY => "expires within a day".to_owned(),
        _ => format!("{} days left", left / DAY),
    })
}

fn end(o: &Observation, closed: CloseKind) -> String {
    let mut text = match closed {
        CloseKind::NeverEstablished => "never established",
        CloseKind::Finished => "closed",
        CloseKind::Reset => "reset",
        CloseKind::SourceEnded => "still open",
        CloseKind::Unknown => "over",
    }
    .to_owned();
    // Of a capture file that ends with the connection's first packet nothing is told.
    if let Some(duration) = o.duration.filter(|duration| !duration.is_zero()) {
        text.push_str(&format!(" after {:.1?}", duration));
    }
    if let Some(bytes) = o.bytes {
        let (client, server) = match o.local_side {
            Some(Side::Server) => (bytes.ingress, bytes.egress),
            _ => (bytes.egress, bytes.ingress),
        };
        text.push_str(&format!(", {client} B sent, {server} B answered"));
    }
    text
}

fn why(reason: Reason) -> &'static str {
    match reason {
        Reason::StartedBeforeAgent => "beginning not seen",
        Reason::NoData => "no data sent",
        Reason::TooFewBytes => "too little data to tell",
        Reason::UnrecognizedProtocol => "protocol not recognized",
        Reason::EncryptedNotTls => "encrypted, but not TLS",
        Reason::MissingBytes => "bytes missing",
        Reason::HandshakeFailed => "handshake failed",
        Reason::HandshakeIncomplete => "handshake not completed",
        Reason::MalformedTls => "malformed TLS",
        Reason::ClientIdentityUnknown => "client certificate: cannot be told",
        Reason::LimitReached => "not tracked: limit reached",
        Reason::NullCipher => "TLS without encryption",
        Reason::Anonymous => "the server proved nothing",
        Reason::PreSharedKey => "pre-shared key, no certificates",
    }
}
