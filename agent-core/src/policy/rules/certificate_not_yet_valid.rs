use super::{Check, Input, Judgement, Rule, RuleId, Severity, ShownChain, name};
use crate::policy::evidence::date_time;
use crate::policy::finding::{Turn, Value};
use crate::time::Timestamp;

pub(super) static RULE: Rule = Rule {
    id: RuleId::CertificateNotYetValid,
    severity: Severity::Warning,
    checks: "A leaf certificate, of a server or of a client, was shown more than `tolerance_seconds` before its first \
             second; or an issuing certificate of a chain that is trusted otherwise was, and there is no way around it.",
    advice: "Compare the clocks of the issuer, of who shows the certificate and of this node. If they agree, the certificate \
             was put to use too early.",
    clears: "Its first second comes, or the same place shows a certificate that is valid.",
    check: Check::Chain(check),
};

fn check(input: &Input<'_>, shown: &ShownChain<'_>) -> Judgement {
    let tolerance = i64::from(input.settings.certificate_not_yet_valid.tolerance_seconds);
    let latest = input.at().saturating_add(tolerance);
    let Some(not_before) = shown.leaf.not_before else { return Judgement::NotApplicable };
    let issuer = shown.verdict.invalid_issuer.as_ref();
    let of_issuer =
        issuer.and_then(|issuer| issuer.not_before.filter(|first| *first > latest).zip(Some(issuer)));
    let side = shown.side.as_str();
    let (first, finding) = if not_before > latest {
        let summary = format!(
            "the {side} certificate {} is valid only from {} on",
            name(shown.leaf),
            date_time(not_before)
        );
        (not_before, input.certificate_finding(&RULE, shown, summary))
    } else if let Some((first, issuer)) = of_issuer {
        let subject = issuer.subject.clone().unwrap_or_else(|| issuer.sha256_hex());
        let summary = format!(
            "the issuer {subject} of the {side} certificate {} is valid only from {} on",
            name(shown.leaf),
            date_time(first)
        );
        let finding = input.certificate_finding(&RULE, shown, summary);
        (
            first,
            finding
                .with("tlsight.issuer.not_before", Value::Time(first))
                .with("tlsight.issuer.subject", subject),
        )
    } else {
        return Judgement::Good(shown.about.clone());
    };
    let at = Timestamp::from_secs(u64::try_from(first).unwrap_or(0));
    let mut finding = finding;
    finding.turn = Some(Box::new(Turn { at, into: None }));
    Judgement::Raised(finding)
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Court, DAY};
    use super::*;
    use crate::policy::ledger::Cleared;
    use crate::policy::settings::Settings;

    #[test]
    fn a_certificate_of_the_future_is_raised_and_clears_when_its_time_comes() {
        let mut settings = Settings::default();
        settings.ledger.silence_hours = 24 * 60;
        let mut court = Court::with(settings, &["ca"]);
        let raised = court.see("future");
        assert!(raised.contains(&"certificate_not_yet_valid".to_owned()), "{raised:?}");
        assert!(!raised.contains(&"certificate_untrusted".to_owned()), "{raised:?}");
        court.wait(30 * DAY - 1);
        assert!(court.stands(&RULE.id));
        court.wait(1);
        assert_eq!(court.cleared(&RULE.id), [Cleared::Time]);
    }

    #[test]
    fn clocks_may_differ_a_little() {
        let mut court = Court::new();
        court.now += 30 * DAY - 60;
        assert!(!court.see("future").contains(&"certificate_not_yet_valid".to_owned()));
        court.now -= 1;
        assert!(court.see("future").contains(&"certificate_not_yet_valid".to_owned()));
    }
}
