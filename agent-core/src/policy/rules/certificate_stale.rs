use super::{Check, Input, Judgement, Rule, RuleId, Severity, ShownChain, name, shown_by};
use crate::policy::evidence::{date, date_time};
use crate::policy::finding::Value;

pub(super) static RULE: Rule = Rule {
    id: RuleId::CertificateStale,
    severity: Severity::Warning,
    checks: "A newer certificate for exactly the same names has been known for `grace_minutes` (it was seen elsewhere on this \
             node, or cert-manager says that it issued one), and the old one is still shown. Newer means: valid from later, \
             and until later. Compared are only certificates with a key of the same kind and of an issuer of the same \
             organization, both trusted or both not: a server may have one of RSA and one of EC, a name one inside and \
             one outside, and anybody can show a newer one that nobody vouches for. SPIFFE \
             identities are compared only with what is told from outside: each replica of a workload has one of its own.",
    advice: "Reload or restart who shows it: the file on disk, or the Secret, is newer than what is in memory. If replicas \
             have certificates of their own under the same names, switch this rule off.",
    clears: "The same place shows the newer certificate.",
    check: Check::Chain(check),
};

fn check(input: &Input<'_>, shown: &ShownChain<'_>) -> Judgement {
    let Some(newest) = &shown.newer else {
        return Judgement::Good(shown.about.clone());
    };
    let side = shown.side.as_str();
    let is_of_this_day = shown.leaf.not_before.is_some_and(|old| date(old) == date(newest.not_before));
    let since = if is_of_this_day { date_time } else { date };
    let summary = format!(
        "the {side} certificate {}{} is {} although one valid from {} on is known ({})",
        name(shown.leaf),
        shown.leaf.not_before.map(|old| format!(", valid from {} on,", since(old))).unwrap_or_default(),
        shown_by(shown),
        since(newest.not_before),
        newest.source
    );
    let finding = input.certificate_finding(&RULE, shown, summary);
    let mut finding = finding
        .with(format!("tlsight.{side}.newer.not_before"), Value::Time(newest.not_before))
        .with(format!("tlsight.{side}.newer.not_after"), Value::Time(newest.not_after))
        .with(format!("tlsight.{side}.newer.source"), newest.source.to_string());
    if let Some(sha256) = &newest.sha256 {
        finding.evidence.set(format!("tlsight.{side}.newer.hash.sha256"), sha256.clone());
    }
    Judgement::Raised(finding)
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Court, DAY, TODAY};
    use super::*;
    use crate::policy::history::KnownCertificate;
    use crate::time::Timestamp;
    use crate::x509::San;

    fn raised(court: &mut Court, name: &str) -> bool {
        court.see(name).contains(&"certificate_stale".to_owned())
    }

    #[test]
    fn an_old_certificate_next_to_a_newer_one_is_raised_after_a_while_and_clears_by_the_newer() {
        let mut court = Court::new();
        assert!(!raised(&mut court, "good"));
        court.change = |sighting| sighting.observation.tuple.local.port = 8443;
        assert!(!raised(&mut court, "newer"));
        court.change = |_| {};
        // A rollout takes time.
        assert!(!raised(&mut court, "good"));
        court.wait(600);
        assert!(raised(&mut court, "good"));
        assert!(
            court.standing(&RULE.id).summary.ends_with("valid from 2026-05-20 on is known (192.0.2.2:8443)")
        );
        assert_eq!(court.replaced, 0);
        court.wait(600);
        assert!(!raised(&mut court, "newer"));
        assert_eq!(court.replaced, 1);
        assert!(!court.stands(&RULE.id));
    }

    #[test]
    fn two_of_one_day_are_told_by_the_time_of_day() {
        let mut court = Court::new();
        court.see("good");
        court.change = |sighting| {
            sighting.observation.tuple.local.port = 8443;
            let tls = sighting.observation.tls_mut().expect("a handshake");
            let mut newer = crate::x509::CertificateSummary::clone(&tls.server_chain[0]);
            newer.not_before = newer.not_before.map(|at| at + 60);
            newer.not_after = newer.not_after.map(|at| at + 60);
            newer.sha256[0] ^= 1;
            tls.server_chain[0] = std::sync::Arc::new(newer);
        };
        court.see("good");
        court.change = |_| {};
        court.wait(600);
        assert!(raised(&mut court, "good"));
        let summary = &court.standing(&RULE.id).summary;
        let (old, new) = summary.split_once(" although one ").expect("both");
        assert!(old.contains("T00:00:00Z on,") && new.contains("T00:01:00Z on"), "{summary}");
    }

    #[test]
    fn the_newer_one_itself_and_other_names_are_not_raised() {
        let mut court = Court::new();
        court.see("newer");
        court.wait(3600);
        assert!(!raised(&mut court, "newer"));
        assert!(!raised(&mut court, "wildcard"));
        // Newer, but for a day only: two certificates of different kinds.
        let mut court = Court::new();
        court.see("short_lived");
        court.wait(3600);
        assert!(!raised(&mut court, "good"));
    }

    #[test]
    fn one_that_nobody_vouches_for_makes_no_trusted_one_stale() {
        // Of the same names and an issuer of the same organization, as anybody can make it.
        let mut court = Court::new();
        court.see("untrusted");
        court.wait(3600);
        assert!(!raised(&mut court, "expiring"));
        // Nor the other way round; without any roots neither counts for more than the other.
        let mut court = Court::with(crate::policy::settings::Settings::default(), &[]);
        court.see("untrusted");
        court.wait(3600);
        assert!(raised(&mut court, "expiring"));
    }

    #[test]
    fn what_is_told_from_outside_counts_for_spiffe_identities_too() {
        let mut court = Court::new();
        let known = KnownCertificate {
            names: vec![San::Uri("spiffe://tlsight.test/ns/shop/sa/db".into())],
            key_algorithm: None,
            not_before: TODAY - DAY,
            not_after: TODAY + 90 * DAY,
            source: "cert-manager shop/db".into(),
        };
        court.judge.known_newer(&known, Timestamp::from_secs(0));
        assert!(raised(&mut court, "spiffe_server"));
    }
}
