use super::{Check, Input, Judgement, Rule, RuleId, Severity, ShownChain, name};
use crate::net::Side;
use crate::policy::settings::Issued;
use crate::policy::trust::Trust;

const DAY: i64 = 86_400;

/// First second (Unix time) of issue, and days of validity: CA/Browser Forum, Baseline Requirements section 6.3.2, with
/// ballots 193, SC-31 and SC-081v3.
const LIMITS: &[(i64, i64)] = &[
    (1_868_227_200, 47),  // 2029-03-15
    (1_805_068_800, 100), // 2027-03-15
    (1_773_532_800, 200), // 2026-03-15
    (1_598_918_400, 398), // 2020-09-01
    (1_519_862_400, 825), // 2018-03-01
];

pub(super) static RULE: Rule = Rule {
    id: RuleId::CertificateValidityTooLong,
    severity: Severity::Warning,
    checks: "A server's certificate of a publicly trusted authority (`issued: publicly`: its chain leads to one of the \
             system's roots) is valid for longer than the CA/Browser Forum allowed on the day of its issue: 398 days since \
             2020-09-01, 200 since 2026-03-15, 100 since 2027-03-15, 47 since 2029-03-15. Other certificates, of clients \
             too, are held against `private_max_days`, where that is set.",
    advice: "Clients of browsers' kin refuse it. Issue a shorter one, and automate renewal: the limit falls to 47 days.",
    clears: "The same place shows a certificate that is not valid for too long.",
    check: Check::Chain(check),
};

fn check(input: &Input<'_>, shown: &ShownChain<'_>) -> Judgement {
    let (Some(first), Some(last)) = (shown.leaf.not_before, shown.leaf.not_after) else {
        return Judgement::NotApplicable;
    };
    let settings = &input.settings.certificate_validity_too_long;
    let is_public = matches!(shown.verdict.trust, Trust::Trusted { bundle: None });
    let by_forum = shown.side == Side::Server && (is_public || settings.issued == Issued::Anywhere);
    let limit = if by_forum {
        LIMITS.iter().find(|(since, _)| first >= *since).map(|(_, days)| *days)
    } else {
        settings.private_max_days.map(i64::from)
    };
    let Some(limit) = limit else { return Judgement::NotApplicable };
    // The last second belongs to it; a part of a day counts as a day.
    let days = (last.saturating_sub(first).saturating_add(DAY)) / DAY;
    if days <= limit {
        return Judgement::Good(shown.about.clone());
    }
    let side = shown.side.as_str();
    let summary =
        format!("the {side} certificate {} is valid for {days} days, {limit} are allowed", name(shown.leaf));
    let finding = input.certificate_finding(&RULE, shown, summary);
    Judgement::Raised(
        finding
            .with(format!("tlsight.{side}.validity_days"), days)
            .with(format!("tlsight.{side}.validity_days_allowed"), limit),
    )
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Court, root, text};
    use super::*;
    use crate::policy::settings::Settings;

    /// With the test's root among the system's.
    fn public(settings: Settings) -> Court {
        let mut court = Court::with(settings, &[]);
        court.judge.trust().set_system([root("ca")]);
        court
    }

    fn raised(court: &mut Court, name: &str) -> bool {
        court.see(name).contains(&"certificate_validity_too_long".to_owned())
    }

    #[test]
    fn a_day_too_many_is_raised_and_clears_by_a_shorter_one() {
        let mut court = public(Settings::default());
        assert!(raised(&mut court, "days_201"));
        let finding = court.standing(&RULE.id);
        assert_eq!(text(finding, "tlsight.server.validity_days_allowed").as_deref(), Some("200"));
        court.wait(600);
        assert!(!raised(&mut court, "days_200"));
        assert!(!court.stands(&RULE.id));
    }

    #[test]
    fn the_day_of_issue_decides_which_limit_it_is() {
        assert!(!raised(&mut public(Settings::default()), "days_398"));
        let limit = |at: i64| LIMITS.iter().find(|(since, _)| at >= *since).map(|(_, days)| *days);
        use crate::policy::evidence::date_time;
        let starts: Vec<String> = LIMITS.iter().map(|(since, _)| date_time(*since)).collect();
        assert_eq!(
            starts,
            [
                "2029-03-15T00:00:00Z",
                "2027-03-15T00:00:00Z",
                "2026-03-15T00:00:00Z",
                "2020-09-01T00:00:00Z",
                "2018-03-01T00:00:00Z"
            ]
        );
        assert_eq!(limit(1_773_532_799), Some(398));
        assert_eq!(limit(1_773_532_800), Some(200));
        assert_eq!(limit(0), None);
    }

    #[test]
    fn the_limits_are_not_for_private_authorities() {
        assert!(!raised(&mut Court::new(), "days_201"));
        let mut settings = Settings::default();
        settings.certificate_validity_too_long.private_max_days = Some(90);
        assert!(raised(&mut Court::with(settings, &["ca"]), "days_201"));
    }
}
