use super::{Check, Input, Judgement, Rule, RuleId, Severity, ShownChain, name};
use crate::policy::evidence::{date, date_time};
use crate::policy::finding::Value;
use crate::policy::ocsp::{OcspStatus, OcspVerdict};

pub(super) static RULE: Rule = Rule {
    id: RuleId::CertificateRevoked,
    severity: Severity::Critical,
    checks: "The OCSP response that the server stapled to its certificate says that the issuer revoked it. The response must be \
             signed by the issuer or by a responder that the issuer appointed. One that proves nothing (expired, not yet \
             valid, wrongly signed, about another certificate, an error of the responder, a certificate that the responder \
             does not know) is a warning under the same rule, which `unusable_response` switches off. Certificates without \
             a stapled response are not judged: nothing is fetched.",
    advice: "Revoked: replace the certificate now, with a new key if the reason is keyCompromise. Unusable: look at how the \
             server refreshes its response; clients that insist on one (must-staple) refuse it.",
    clears: "The server staples a response that is valid and says good.",
    check: Check::Chain(check),
};

/// Seconds that clocks may differ.
const SKEW: i64 = 300;

fn check(input: &Input<'_>, shown: &ShownChain<'_>) -> Judgement {
    let Some(ocsp) = &shown.ocsp else { return Judgement::NotApplicable };
    let side = shown.side.as_str();
    let leaf = name(shown.leaf);
    let problem = match ocsp.status {
        OcspStatus::NotJudged(_) => return Judgement::NotApplicable,
        OcspStatus::Revoked(at, reason) => {
            let why = reason.map(|reason| format!(" ({reason})")).unwrap_or_default();
            let summary = format!("the {side} certificate {leaf} was revoked on {}{why}", date(at));
            let finding = with_ocsp(input.certificate_finding(&RULE, shown, summary), side, ocsp);
            let finding = finding.with(format!("tlsight.{side}.ocsp.revoked_at"), Value::Time(at));
            return Judgement::Raised(finding.with_some("tlsight.server.ocsp.reason", reason));
        }
        OcspStatus::Unusable(problem) => problem,
        OcspStatus::Unknown => "unknown_certificate",
        OcspStatus::Good => match time_problem(ocsp, input.at()) {
            Some(problem) => problem,
            None => return Judgement::Good(shown.about.clone()),
        },
    };
    if !input.settings.certificate_revoked.unusable_response {
        return Judgement::NotApplicable;
    }
    let until = match (problem, ocsp.next_update) {
        ("expired", Some(last)) => format!(" on {}", date_time(last)),
        _ => String::new(),
    };
    let summary = format!(
        "the OCSP response stapled to the {side} certificate {leaf} proves nothing: {}{until}",
        problem.replace('_', " ")
    );
    let finding = with_ocsp(input.certificate_finding(&RULE, shown, summary), side, ocsp);
    Judgement::Raised(
        finding.severity(Severity::Warning).with(format!("tlsight.{side}.ocsp.problem"), problem),
    )
}

fn with_ocsp(
    mut finding: crate::policy::finding::Finding,
    side: &str,
    ocsp: &OcspVerdict,
) -> crate::policy::finding::Finding {
    finding.evidence.set(format!("tlsight.{side}.ocsp.status"), ocsp.status.as_str());
    if let Some(secs) = ocsp.this_update {
        finding.evidence.set(format!("tlsight.{side}.ocsp.this_update"), Value::Time(secs));
    }
    if let Some(secs) = ocsp.next_update {
        finding.evidence.set(format!("tlsight.{side}.ocsp.next_update"), Value::Time(secs));
    }
    finding
}

fn time_problem(ocsp: &OcspVerdict, now: i64) -> Option<&'static str> {
    let after = |limit: Option<i64>| limit.is_some_and(|limit| now > limit.saturating_add(SKEW));
    let before = |limit: Option<i64>| limit.is_some_and(|limit| now < limit.saturating_sub(SKEW));
    if after(ocsp.next_update) {
        Some("expired")
    } else if before(ocsp.this_update) {
        Some("not_yet_valid")
    } else if after(ocsp.responder_validity.map(|(_, last)| last))
        || before(ocsp.responder_validity.map(|(first, _)| first))
    {
        Some("responder_not_valid")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Court, text};
    use super::*;

    /// When these responses were made: some time after the day of the tests.
    fn now() -> i64 {
        let mut court = Court::new();
        court.now += 3000 * 86_400;
        court.see("ocsp_brief");
        let update = court.standing(&RULE.id).evidence.get("tlsight.server.ocsp.this_update").cloned();
        match update {
            Some(Value::Time(secs)) => secs,
            other => panic!("{other:?}"),
        }
    }

    fn court() -> Court {
        let mut court = Court::new();
        court.now = now() + 30;
        court
    }

    #[test]
    fn a_revoked_certificate_is_raised_and_clears_by_a_good_response() {
        let mut court = court();
        assert!(court.see("ocsp_revoked").contains(&"certificate_revoked".to_owned()));
        let finding = court.standing(&RULE.id);
        assert_eq!(finding.severity, Severity::Critical);
        assert_eq!(
            finding.summary,
            "the server certificate server.test was revoked on 2026-05-15 (keyCompromise)"
        );
        assert_eq!(text(finding, "tlsight.server.ocsp.revoked_at").as_deref(), Some("2026-05-15T12:00:00Z"));
        assert!(!court.settle_and_see("ocsp_good").contains(&"certificate_revoked".to_owned()));
        assert!(!court.stands(&RULE.id));
    }

    #[test]
    fn good_responses_of_the_issuer_and_of_its_responder_are_not_raised() {
        for name in ["ocsp_good", "ocsp_delegated", "ocsp_brief", "good"] {
            assert!(!court().see(name).contains(&"certificate_revoked".to_owned()), "{name}");
        }
    }

    #[test]
    fn a_response_that_proves_nothing_is_a_warning_that_says_why() {
        for (name, problem) in [
            ("ocsp_by_nobody", "bad_signature"),
            ("ocsp_by_stranger", "bad_signature"),
            ("ocsp_of_another", "other_certificate"),
            ("ocsp_try_later", "try_later"),
        ] {
            let mut court = court();
            assert!(court.see(name).contains(&"certificate_revoked".to_owned()), "{name}");
            let finding = court.standing(&RULE.id);
            assert_eq!(finding.severity, Severity::Warning, "{name}");
            assert_eq!(text(finding, "tlsight.server.ocsp.problem").as_deref(), Some(problem), "{name}");
        }
    }

    #[test]
    fn an_expired_response_is_a_warning() {
        let mut court = court();
        court.now += 60 + SKEW;
        assert!(court.see("ocsp_brief").contains(&"certificate_revoked".to_owned()));
        assert_eq!(text(court.standing(&RULE.id), "tlsight.server.ocsp.problem").as_deref(), Some("expired"));
    }

    #[test]
    fn unusable_responses_can_be_left_alone() {
        let mut settings = crate::policy::settings::Settings::default();
        settings.certificate_revoked.unusable_response = false;
        let mut court = Court::with(settings, &["ca"]);
        assert!(!court.see("ocsp_try_later").contains(&"certificate_revoked".to_owned()));
    }

    #[test]
    fn without_the_issuer_nothing_is_judged() {
        let mut court = Court::with(crate::policy::settings::Settings::default(), &[]);
        court.now = now() + 30;
        assert!(!court.see("ocsp_revoked").contains(&"certificate_revoked".to_owned()));
    }
}
