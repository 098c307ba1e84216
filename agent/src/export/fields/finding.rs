//! News of findings.

use std::io;

use agent_core::policy::history::CertificateReplaced;
use agent_core::policy::judge::Output;
use agent_core::policy::ledger::{Change, Standing};
use agent_core::time::Timestamp;
use agent_core::x509::CertificateSummary;

use super::{EVENT, Fields, TIMESTAMP, rfc3339};

/// News of a finding, or of a certificate. `now`: when it became known.
pub(crate) fn news(object: &mut impl Fields, news: &Output, now: Timestamp) -> io::Result<()> {
    object.optional(TIMESTAMP, time(now).as_deref())?;
    match news {
        Output::Finding(Change::Raised(standing)) => finding(object, "finding_raised", standing, None),
        Output::Finding(Change::Updated(standing)) => finding(object, "finding_updated", standing, None),
        Output::Finding(Change::Cleared(standing, why)) => {
            finding(object, "finding_cleared", standing, Some(why.as_str()))
        }
        Output::CertificateReplaced(replaced) => self::replaced(object, replaced),
    }
}

fn time(at: Timestamp) -> Option<String> {
    rfc3339(i128::from(at.as_nanos()), 9)
}

fn finding(
    object: &mut impl Fields,
    event: &str,
    standing: &Standing,
    cleared: Option<&str>,
) -> io::Result<()> {
    let finding = &standing.finding;
    object.text(EVENT, event)?;
    object.text("tlsight.finding.rule", finding.rule.as_str())?;
    object.text("tlsight.finding.severity", finding.severity.as_str())?;
    object.text("tlsight.finding.about", &finding.about.to_string())?;
    object.text("tlsight.finding.summary", &finding.summary)?;
    object.text("tlsight.finding.advice", &finding.advice)?;
    object.optional("tlsight.finding.first_seen", time(standing.first_seen).as_deref())?;
    object.optional("tlsight.finding.last_seen", time(standing.last_seen).as_deref())?;
    object.number("tlsight.finding.count", standing.count)?;
    object.optional("tlsight.finding.cleared", cleared)?;
    for (key, value) in finding.evidence.iter() {
        object.evidence(key, value)?;
    }
    Ok(())
}

fn replaced(object: &mut impl Fields, replaced: &CertificateReplaced) -> io::Result<()> {
    object.text(EVENT, "certificate_replaced")?;
    object.text("tlsight.finding.about", &replaced.about.to_string())?;
    object.text("tlsight.certificate.place", &replaced.place.to_string())?;
    certificate(object, &BEFORE, &replaced.before)?;
    certificate(object, &AFTER, &replaced.after)
}

/// The keys of one of the two certificates.
struct Keys {
    subject: &'static str,
    issuer: &'static str,
    not_before: &'static str,
    not_after: &'static str,
    sha256: &'static str,
    serial: &'static str,
}

macro_rules! keys {
    ($which:literal) => {
        Keys {
            subject: concat!("tlsight.certificate.", $which, ".subject"),
            issuer: concat!("tlsight.certificate.", $which, ".issuer"),
            not_before: concat!("tlsight.certificate.", $which, ".not_before"),
            not_after: concat!("tlsight.certificate.", $which, ".not_after"),
            sha256: concat!("tlsight.certificate.", $which, ".hash.sha256"),
            serial: concat!("tlsight.certificate.", $which, ".serial"),
        }
    };
}

const BEFORE: Keys = keys!("before");
const AFTER: Keys = keys!("after");

fn certificate(object: &mut impl Fields, keys: &Keys, leaf: &CertificateSummary) -> io::Result<()> {
    let date = |secs: Option<i64>| secs.and_then(|s| rfc3339(i128::from(s) * 1_000_000_000, 0));
    object.optional(keys.subject, leaf.subject.as_deref())?;
    object.optional(keys.issuer, leaf.issuer.as_deref())?;
    object.optional(keys.not_before, date(leaf.not_before).as_deref())?;
    object.optional(keys.not_after, date(leaf.not_after).as_deref())?;
    object.text(keys.sha256, &leaf.sha256_hex())?;
    object.optional(keys.serial, leaf.serial.as_deref())
}

#[cfg(test)]
pub(in crate::export) mod tests {
    use std::collections::BTreeSet;
    use std::sync::Arc;

    use agent_core::policy::about::{About, Target};
    use agent_core::policy::finding::{Evidence, Finding, RuleId, Severity, Value};
    use agent_core::policy::history::Place;
    use agent_core::policy::ledger::Cleared;

    use super::*;
    use crate::export::json::write_finding;
    use crate::export::sample;

    fn standing() -> Box<Standing> {
        Box::new(Standing {
            finding: Finding {
                rule: RuleId::PlaintextTraffic,
                severity: Severity::Critical,
                about: About::Other("curl -> 10.0.0.2:80".into()),
                evidence: Evidence::default(),
                summary: "curl talks plaintext".to_owned(),
                advice: "Turn on TLS.".into(),
                turn: None,
            },
            first_seen: sample::TIME,
            last_seen: sample::TIME,
            count: 3,
        })
    }

    fn replaced() -> Output {
        let observation = sample::everything();
        let tls = observation.tls.as_ref().unwrap();
        let endpoint = observation.tuple.local;
        Output::CertificateReplaced(Box::new(CertificateReplaced {
            time: sample::TIME,
            about: About::Target(Arc::new(Target::Endpoint(endpoint))),
            place: Place::Server { endpoint, server_name: Some("a.example".into()) },
            before: Arc::clone(&tls.client_chain[0]),
            after: Arc::clone(&tls.server_chain[0]),
        }))
    }

    fn render(news: &Output) -> serde_json::Value {
        let mut out = Vec::new();
        write_finding(&mut out, news, sample::TIME).unwrap();
        serde_json::from_slice(&out).unwrap()
    }

    /// Every key that can be there beside evidence.
    pub(in crate::export) fn every_key() -> BTreeSet<String> {
        let cleared = Output::Finding(Change::Cleared(standing(), Cleared::Time));
        let values = [render(&cleared), render(&replaced())];
        values.iter().flat_map(|value| value.as_object().unwrap().keys().cloned()).collect()
    }

    #[test]
    fn a_finding_is_one_flat_object_with_its_evidence() {
        let mut raised = standing();
        raised.finding.evidence.set("server.port", 80_u16);
        raised.finding.evidence.set("odd \"key\u{9b}", Value::List(vec!["a".to_owned()]));
        let expected = serde_json::json!({
            "timestamp": "2026-01-02T03:04:05.123456789Z",
            "tlsight.event": "finding_raised",
            "tlsight.finding.rule": "plaintext_traffic",
            "tlsight.finding.severity": "critical",
            "tlsight.finding.about": "curl -> 10.0.0.2:80",
            "tlsight.finding.summary": "curl talks plaintext",
            "tlsight.finding.advice": "Turn on TLS.",
            "tlsight.finding.first_seen": "2026-01-02T03:04:05.123456789Z",
            "tlsight.finding.last_seen": "2026-01-02T03:04:05.123456789Z",
            "tlsight.finding.count": 3,
            "server.port": 80,
            "odd \"key\u{9b}": ["a"],
        });
        assert_eq!(render(&Output::Finding(Change::Raised(raised))), expected);
    }

    #[test]
    fn each_kind_of_news_has_its_name() {
        let updated = render(&Output::Finding(Change::Updated(standing())));
        assert_eq!(
            (&updated["tlsight.event"], updated.get("tlsight.finding.cleared")),
            (&"finding_updated".into(), None)
        );
        for (why, word) in [
            (Cleared::Good, "good"),
            (Cleared::Time, "time"),
            (Cleared::Silence, "silence"),
            (Cleared::Settings, "settings"),
            (Cleared::Room, "room"),
        ] {
            let cleared = render(&Output::Finding(Change::Cleared(standing(), why)));
            assert_eq!(cleared["tlsight.event"], "finding_cleared");
            assert_eq!(cleared["tlsight.finding.cleared"], word);
        }
        let replaced = render(&replaced());
        assert_eq!(replaced["tlsight.event"], "certificate_replaced");
        assert_eq!(replaced["tlsight.certificate.place"], "[::1]:443 for a.example");
        assert_eq!(replaced["tlsight.certificate.before.subject"], "CN=alice");
        assert_eq!(replaced["tlsight.certificate.after.subject"], "CN=a.example");
    }
}
