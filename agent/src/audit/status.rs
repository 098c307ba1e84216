//! What became of a client's certificate.

use agent_core::net::Side;
use agent_core::observation::{ClientCertificate, Observation, TlsFacts};
use agent_core::policy::finding::RuleId;
use agent_core::tls::codepoints::AlertDescription;

/// What became of it. A closed set, usable as a label.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Status {
    /// The server accepted it, and nothing is known against it.
    Success,
    /// Its issuer revoked it.
    Revoked,
    /// It was shown after its last day.
    Expired,
    /// It leads to no root that is trusted.
    Untrusted,
    /// The server refused it for another reason, or did not say why.
    Rejected,
    /// The handshake came to no end that says anything of it.
    Unknown,
}

impl Status {
    /// `success`, `revoked`, `expired`, `untrusted`, `rejected` or `unknown`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Status::Success => "success",
            Status::Revoked => "revoked",
            Status::Expired => "expired",
            Status::Untrusted => "untrusted",
            Status::Rejected => "rejected",
            Status::Unknown => "unknown",
        }
    }
}

/// Whether the client got in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Success,
    Failure,
    Unknown,
}

impl Outcome {
    pub(super) fn of(tls: &TlsFacts) -> Self {
        match tls.established {
            Some(true) => Outcome::Success,
            Some(false) => Outcome::Failure,
            None => Outcome::Unknown,
        }
    }

    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Outcome::Success => "success",
            Outcome::Failure => "failure",
            Outcome::Unknown => "unknown",
        }
    }
}

/// The client showed a certificate in this handshake.
pub(super) fn is_shown(tls: &TlsFacts) -> bool {
    tls.client_certificate == ClientCertificate::Sent || !tls.client_chain.is_empty()
}

/// What became of the client's certificate, and why. `findings` are those about it. The server's own word counts for most:
/// it knows why it refused. A server that let a bad certificate pass does not look, and then the findings tell.
pub(super) fn status(o: &Observation, tls: &TlsFacts, findings: &[RuleId]) -> (Status, Option<String>) {
    let refused = tls.established == Some(false);
    let alert = tls.alert.filter(|_| refused);
    let by_server = alert.is_some_and(|alert| alert.sender == Side::Server);
    let word = alert.and_then(|alert| alert.content).map(|(_, description)| description);
    let said = match word {
        Some(AlertDescription::CERTIFICATE_REVOKED) => Some(Status::Revoked),
        Some(AlertDescription::CERTIFICATE_EXPIRED) => Some(Status::Expired),
        Some(AlertDescription::UNKNOWN_CA) => Some(Status::Untrusted),
        _ => None,
    };
    let found = findings.iter().filter_map(|rule| Some((of_finding(rule)?, rule))).min_by_key(|(s, _)| *s);
    let word = word.map(|word| word.to_string());
    let because = || o.reason.map(|reason| reason.as_str().to_owned());
    match (said.filter(|_| by_server), found) {
        (Some(status), _) => (status, word),
        (None, Some((status, rule))) => (status, word.or_else(|| Some(rule.to_string()))),
        (None, None) if by_server || refused && alert.is_none() => (Status::Rejected, word.or_else(because)),
        (None, None) if tls.established == Some(true) => (Status::Success, None),
        // It was not finished, or the client itself gave up.
        (None, None) => (Status::Unknown, word.or_else(because)),
    }
}

fn of_finding(rule: &RuleId) -> Option<Status> {
    Some(match rule {
        RuleId::CertificateRevoked => Status::Revoked,
        RuleId::CertificateExpired => Status::Expired,
        RuleId::CertificateUntrusted | RuleId::CertificateSelfSigned => Status::Untrusted,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use agent_core::observation::{AlertFact, Reason};
    use agent_core::tls::codepoints::AlertLevel;

    use super::*;
    use crate::export::sample;

    fn of(
        established: Option<bool>,
        alert: Option<(Side, Option<AlertDescription>)>,
        findings: &[RuleId],
    ) -> (&'static str, Option<String>) {
        let mut o = sample::everything();
        o.reason = (established != Some(true)).then_some(Reason::HandshakeIncomplete);
        if established == Some(false) {
            o.reason = Some(Reason::HandshakeFailed);
        }
        let tls = o.tls_mut().unwrap();
        tls.established = established;
        tls.alert = alert.map(|(sender, description)| AlertFact {
            sender,
            content: description.map(|description| (AlertLevel::FATAL, description)),
        });
        let (status, reason) = status(&o, o.tls.as_ref().unwrap(), findings);
        (status.as_str(), reason)
    }

    fn because(status: &'static str, reason: &str) -> (&'static str, Option<String>) {
        (status, Some(reason.to_owned()))
    }

    #[test]
    fn an_accepted_certificate_is_what_the_findings_say() {
        let let_in = |findings: &[RuleId]| of(Some(true), None, findings);
        assert_eq!(let_in(&[]), ("success", None));
        assert_eq!(let_in(&[RuleId::CertificateExpired]), because("expired", "certificate_expired"));
        assert_eq!(let_in(&[RuleId::CertificateUntrusted]), because("untrusted", "certificate_untrusted"));
        assert_eq!(let_in(&[RuleId::CertificateSelfSigned]), because("untrusted", "certificate_self_signed"));
        assert_eq!(let_in(&[RuleId::CertificateRevoked]), because("revoked", "certificate_revoked"));
        // The worst of several.
        let all = [RuleId::CertificateUntrusted, RuleId::CertificateExpired];
        assert_eq!(let_in(&all), because("expired", "certificate_expired"));
        // Nothing against it in the words of an audit.
        assert_eq!(let_in(&[RuleId::CertificateExpiring, RuleId::NotQuantumSafe]), ("success", None));
    }

    #[test]
    fn a_refusal_is_what_the_server_says() {
        let refused = |word, findings: &[RuleId]| of(Some(false), Some((Side::Server, word)), findings);
        for (word, status) in [
            (AlertDescription::CERTIFICATE_REVOKED, "revoked"),
            (AlertDescription::CERTIFICATE_EXPIRED, "expired"),
            (AlertDescription::UNKNOWN_CA, "untrusted"),
            (AlertDescription::BAD_CERTIFICATE, "rejected"),
            (AlertDescription::ACCESS_DENIED, "rejected"),
        ] {
            assert_eq!(refused(Some(word), &[]), because(status, &word.to_string()));
        }
        // Its word counts for more than a finding, a finding for more than none.
        let untrusted = [RuleId::CertificateUntrusted];
        let expired = Some(AlertDescription::CERTIFICATE_EXPIRED);
        assert_eq!(refused(expired, &untrusted), because("expired", "certificate_expired"));
        let bad = Some(AlertDescription::BAD_CERTIFICATE);
        assert_eq!(refused(bad, &untrusted), because("untrusted", "bad_certificate"));
        // Encrypted, as in TLS 1.3.
        assert_eq!(refused(None, &untrusted), because("untrusted", "certificate_untrusted"));
        assert_eq!(refused(None, &[]), because("rejected", "handshake_failed"));
        assert_eq!(of(Some(false), None, &[]), because("rejected", "handshake_failed"));
    }

    #[test]
    fn what_came_to_no_end_is_unknown() {
        assert_eq!(of(None, None, &[]), because("unknown", "handshake_incomplete"));
        // The client did not like the server.
        let client = Some((Side::Client, Some(AlertDescription::UNKNOWN_CA)));
        assert_eq!(of(Some(false), client, &[]), because("unknown", "unknown_ca"));
        // An alert after the handshake says nothing of the certificate.
        let server = Some((Side::Server, Some(AlertDescription::CERTIFICATE_EXPIRED)));
        assert_eq!(of(Some(true), server, &[]), ("success", None));
    }
}
