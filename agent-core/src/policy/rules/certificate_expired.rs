use super::{Check, Input, Judgement, Rule, RuleId, Severity, ShownChain, name};
use crate::policy::evidence::date;
use crate::policy::finding::{Finding, Value};

pub(super) static RULE: Rule = Rule {
    id: RuleId::CertificateExpired,
    severity: Severity::Critical,
    checks: "A leaf certificate, of a server or of a client, was shown after its last day; or an issuing certificate of a \
             chain that is trusted otherwise, its root included, is past its own, and there is no way around it. The time of the connection \
             counts, not that of its end.",
    advice: "Renew the certificate and reload who shows it. Clients that check will refuse it; a client that went on does not \
             check.",
    clears: "The same place shows a certificate that is valid.",
    check: Check::Chain(check),
};

fn check(input: &Input<'_>, shown: &ShownChain<'_>) -> Judgement {
    let Some(not_after) = shown.leaf.not_after else { return Judgement::NotApplicable };
    if input.at() > not_after {
        return Judgement::Raised(ended(input, shown, not_after));
    }
    let issuer = shown.verdict.invalid_issuer.as_ref();
    match issuer.and_then(|issuer| issuer.not_after.filter(|last| *last < input.at()).zip(Some(issuer))) {
        Some((last, issuer)) => {
            let subject = issuer.subject.clone().unwrap_or_else(|| issuer.sha256_hex());
            let side = shown.side.as_str();
            let summary = format!(
                "the issuer {subject} of the {side} certificate {} ended on {}",
                name(shown.leaf),
                date(last)
            );
            let finding = input.certificate_finding(&RULE, shown, summary);
            Judgement::Raised(
                finding
                    .with("tlsight.issuer.subject", subject)
                    .with("tlsight.issuer.not_after", Value::Time(last))
                    .with("tlsight.issuer.hash.sha256", issuer.sha256_hex()),
            )
        }
        None => Judgement::Good(shown.about.clone()),
    }
}

/// The leaf has ended, or will have.
pub(super) fn ended(input: &Input<'_>, shown: &ShownChain<'_>, not_after: i64) -> Finding {
    let side = shown.side.as_str();
    let summary = format!("the {side} certificate {} ended on {}", name(shown.leaf), date(not_after));
    input.certificate_finding(&RULE, shown, summary)
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Court, DAY, TODAY, text};
    use super::*;

    #[test]
    fn an_ended_certificate_is_raised_once_and_clears_by_a_valid_one() {
        let mut court = Court::new();
        // One defect, one finding.
        assert_eq!(certificate_rules(court.see("expired")), ["certificate_expired"]);
        let finding = court.standing(&RULE.id);
        assert_eq!(finding.summary, "the server certificate server.test ended on 2026-05-01");
        assert_eq!(certificate_rules(court.settle_and_see("good")), [] as [&str; 0]);
        assert!(!court.stands(&RULE.id));
    }

    #[test]
    fn the_last_second_belongs_to_the_validity() {
        let mut court = Court::new();
        court.now = TODAY - 31 * DAY;
        assert!(!court.see("expired").contains(&"certificate_expired".to_owned()));
        court.now += 1;
        assert!(court.see("expired").contains(&"certificate_expired".to_owned()));
    }

    #[test]
    fn a_client_certificate_has_an_end_too() {
        let mut court = Court::new();
        assert_eq!(certificate_rules(court.see("client_expired")), ["certificate_expired"]);
        assert_eq!(
            text(court.standing(&RULE.id), "tls.client.not_after").as_deref(),
            Some("2026-05-01T00:00:00Z")
        );
        assert_eq!(certificate_rules(Court::new().see("client")), [] as [&str; 0]);
    }

    #[test]
    fn an_ended_issuer_is_raised_where_no_way_leads_around_it() {
        for (name, day) in [("by_sub_old", "2026-05-15"), ("by_sub_older", "2026-01-01")] {
            let mut court = Court::new();
            assert_eq!(certificate_rules(court.see(name)), ["certificate_expired"]);
            assert_eq!(
                court.standing(&RULE.id).summary,
                format!("the issuer CN=sub,O=tlsight of the server certificate server.test ended on {day}")
            );
        }
        assert_eq!(certificate_rules(Court::new().see("by_sub")), [] as [&str; 0]);
    }

    #[test]
    fn an_ended_root_is_raised_unless_another_one_vouches_for_the_chain_too() {
        let with = |roots: &[&str]| Court::with(crate::policy::settings::Settings::default(), roots);
        let mut court = with(&["old_ca"]);
        assert_eq!(certificate_rules(court.see("by_old_ca")), ["certificate_expired"]);
        assert_eq!(
            court.standing(&RULE.id).summary,
            "the issuer CN=old_ca,O=tlsight of the server certificate server.test ended on 2026-05-15"
        );
        assert_eq!(certificate_rules(with(&["old_ca", "renewed_ca"]).see("by_old_ca")), [] as [&str; 0]);
        // What was found before it ended is not kept beyond that.
        let mut court = with(&["old_ca"]);
        court.now = TODAY - 20 * DAY;
        assert_eq!(certificate_rules(court.see("by_old_ca")), [] as [&str; 0]);
        court.now = TODAY;
        assert_eq!(certificate_rules(court.see("by_old_ca")), ["certificate_expired"]);
    }

    #[test]
    fn what_a_long_connection_showed_at_its_beginning_is_judged_by_that_time() {
        let mut court = Court::new();
        court.now = TODAY - 40 * DAY;
        court.change = |sighting| {
            if sighting.observation.phase == crate::observation::Phase::Verdict {
                sighting.observation.tls = None;
            }
        };
        assert!(!court.see("expired").contains(&"certificate_expired".to_owned()));
    }

    fn certificate_rules(rules: Vec<String>) -> Vec<String> {
        rules.into_iter().filter(|rule| rule.starts_with("certificate_")).collect()
    }
}
