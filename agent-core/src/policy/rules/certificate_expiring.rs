use super::{Check, Input, Judgement, Rule, RuleId, Severity, ShownChain, certificate_expired, name};
use crate::policy::evidence::date;
use crate::policy::finding::{Finding, Turn};
use crate::policy::settings::CertificateExpiring;
use crate::time::Timestamp;
use crate::x509::CertificateSummary;

const DAY: i64 = 86_400;

pub(super) static RULE: Rule = Rule {
    id: RuleId::CertificateExpiring,
    severity: Severity::Warning,
    checks: "A leaf certificate, of a server or of a client, has fewer than `warning_days` left (critical: fewer than \
             `critical_days`). One that is valid for fewer than `short_lived_days` in all is measured in shares of its \
             validity instead, because its renewal is.",
    advice: "Renew the certificate and reload who shows it. If it is renewed by itself (cert-manager, ACME, a mesh), find out \
             why it was not: renewal is due when a third of the validity is left.",
    clears: "The same place shows a certificate with enough time left; when it ends, `certificate_expired` takes over.",
    check: Check::Chain(check),
};

fn check(input: &Input<'_>, shown: &ShownChain<'_>) -> Judgement {
    let leaf = shown.leaf;
    let Some(not_after) = leaf.not_after else { return Judgement::NotApplicable };
    let now = input.at();
    let (warning, critical) = thresholds(leaf, &input.settings.certificate_expiring);
    // What ended does not end any more, whichever certificate was shown there before: `certificate_expired` has it.
    if now > not_after {
        return Judgement::Good(shown.about.clone());
    }
    let left = not_after - now;
    if left >= warning {
        return Judgement::Good(shown.about.clone());
    }
    let at = |secs: i64| Timestamp::from_secs(u64::try_from(secs).unwrap_or(0));
    // Without being seen again it gets worse, and ends.
    let (enabled, severity) = input.settings.of(&RuleId::CertificateExpired);
    let mut ended = enabled.then(|| certificate_expired::ended(input, shown, not_after));
    if let (Some(ended), Some(severity)) = (&mut ended, severity) {
        ended.set_severity(severity);
    }
    let end = Box::new(Turn { at: at(not_after.saturating_add(1)), into: ended });
    let mut last = finding(input, shown, not_after).severity(Severity::Critical);
    last.turn = Some(end);
    if left < critical {
        return Judgement::Raised(last);
    }
    let mut first = finding(input, shown, not_after);
    // The first second with less than that left.
    first.turn = Some(Box::new(Turn { at: at(not_after - critical + 1), into: Some(last) }));
    Judgement::Raised(first)
}

fn finding(input: &Input<'_>, shown: &ShownChain<'_>, not_after: i64) -> Finding {
    let side = shown.side.as_str();
    let summary = format!("the {side} certificate {} ends on {}", name(shown.leaf), date(not_after));
    input.certificate_finding(&RULE, shown, summary)
}

/// Seconds left below which it is a warning, and critical.
fn thresholds(leaf: &CertificateSummary, settings: &CertificateExpiring) -> (i64, i64) {
    let days = |days: u32| i64::from(days) * DAY;
    let ordinary = (days(settings.warning_days), days(settings.critical_days));
    let (Some(first), Some(last)) = (leaf.not_before, leaf.not_after) else { return ordinary };
    // The last second of validity belongs to it.
    let validity = last.saturating_sub(first).saturating_add(1);
    if validity >= days(settings.short_lived_days) {
        return ordinary;
    }
    let share = |percent: u32| validity.saturating_mul(i64::from(percent)) / 100;
    let (warning, critical) =
        (share(settings.short_lived_warning_percent), share(settings.short_lived_critical_percent));
    (warning.min(ordinary.0), critical.min(ordinary.1))
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Court, TODAY, text};
    use super::*;
    use crate::policy::ledger::{Change, Cleared};
    use crate::policy::settings::Settings;

    #[test]
    fn twenty_days_left_is_a_warning_and_clears_by_a_new_certificate() {
        let mut court = Court::new();
        assert!(court.see("expiring").contains(&"certificate_expiring".to_owned()));
        let finding = court.standing(&RULE.id);
        assert_eq!(finding.severity, Severity::Warning);
        assert_eq!(finding.summary, "the server certificate server.test ends on 2026-06-21");
        assert_eq!(text(finding, "tls.server.not_after").as_deref(), Some("2026-06-21T00:00:00Z"));
        assert!(!court.settle_and_see("good").contains(&"certificate_expiring".to_owned()));
        assert_eq!(court.cleared(&RULE.id), [Cleared::Good]);
    }

    #[test]
    fn time_makes_it_critical_and_then_expired_without_another_sighting() {
        let mut settings = Settings::default();
        settings.ledger.silence_hours = 24 * 60;
        let mut court = Court::with(settings, &["ca"]);
        court.see("expiring");
        court.wait(13 * DAY);
        assert_eq!(court.standing(&RULE.id).severity, Severity::Warning);
        court.wait(1);
        assert_eq!(court.standing(&RULE.id).severity, Severity::Critical);
        court.wait(7 * DAY - 1);
        assert!(court.stands(&RULE.id));
        court.wait(1);
        assert!(!court.stands(&RULE.id));
        assert_eq!(court.cleared(&RULE.id), [Cleared::Time]);
        assert!(court.stands(&RuleId::CertificateExpired));
        assert!(matches!(court.changes.last(), Some(Change::Raised(_))));
    }

    #[test]
    fn one_that_ended_in_place_of_one_that_was_about_to_is_expired_only() {
        let mut court = Court::new();
        court.see("expiring");
        court.settle_and_see("expired");
        assert_eq!(court.cleared(&RULE.id), [Cleared::Good]);
        assert!(court.stands(&RuleId::CertificateExpired));
    }

    #[test]
    fn the_thresholds_are_exact() {
        // Ends on 2026-06-21T00:00:00Z.
        for (days, offset, want) in [
            (30, 0, None),
            (30, 1, Some(Severity::Warning)),
            (7, 0, Some(Severity::Warning)),
            (7, 1, Some(Severity::Critical)),
        ] {
            let mut court = Court::new();
            court.now = TODAY + 20 * DAY - days * DAY + offset;
            court.see("expiring");
            let stands = court.stands(&RULE.id).then(|| court.standing(&RULE.id).severity);
            assert_eq!(stands, want, "{days} days less {offset} seconds");
        }
    }

    #[test]
    fn a_certificate_of_a_day_is_measured_in_shares_of_it() {
        let mut court = Court::new();
        // 12 of 24 hours left.
        assert!(!court.see("short_lived").contains(&"certificate_expiring".to_owned()));
        court.wait(6 * 3600 + 60);
        assert!(court.see("short_lived").contains(&"certificate_expiring".to_owned()));
        assert_eq!(court.standing(&RULE.id).severity, Severity::Warning);
    }

    #[test]
    fn a_setting_moves_the_threshold() {
        let mut settings = Settings::default();
        (settings.certificate_expiring.warning_days, settings.certificate_expiring.critical_days) = (14, 3);
        assert!(!Court::with(settings, &["ca"]).see("expiring").contains(&"certificate_expiring".to_owned()));
    }
}
