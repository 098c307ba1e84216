use super::{Check, Input, Judgement, Rule, RuleId, Severity, ShownChain, name, shown_by};
use crate::policy::trust::Trust;

pub(super) static RULE: Rule = Rule {
    id: RuleId::CertificateUntrusted,
    severity: Severity::Warning,
    checks: "The chain leads to no root that is trusted, or breaks a rule on the way (a wrong signature, a name constraint). \
             Servers are held against the system's roots and all configured bundles, clients against the bundles alone; a \
             bundle that policy names for the service counts alone. SPIFFE identities are held only against the bundle \
             that policy names, or that is called after their trust domain (`spiffe://example.org`). What cannot be \
             verified (P-521, Ed448, ML-DSA; no roots at all) is not judged.",
    advice: "If the issuer is your own, configure its certificate as a bundle. If the chain stops short, make the server send \
             its intermediate certificates. Otherwise find out who answered.",
    clears: "The same place shows a certificate whose chain is trusted, or the missing root is configured.",
    check: Check::Chain(check),
};

fn check(input: &Input<'_>, shown: &ShownChain<'_>) -> Judgement {
    let reason = match &shown.verdict.trust {
        Trust::Trusted { .. } => return Judgement::Good(shown.about.clone()),
        Trust::UnknownIssuer => "unknown_issuer",
        Trust::Rejected(reason) => *reason,
        // One defect, one finding: that one is `certificate_self_signed`.
        Trust::SelfSigned | Trust::NotJudged(_) => return Judgement::NotApplicable,
    };
    let side = shown.side.as_str();
    let issuer = shown.leaf.issuer.as_deref().unwrap_or("an unnamed issuer");
    let why = if reason == "unknown_issuer" {
        "leads to no trusted root".to_owned()
    } else {
        format!("is not accepted: {}", reason.replace('_', " "))
    };
    let (leaf, place) = (name(shown.leaf), shown_by(shown));
    let summary =
        format!("the chain of the {side} certificate {leaf}, {place} and issued by {issuer}, {why}");
    let finding = input.certificate_finding(&RULE, shown, summary);
    let length = i64::try_from(shown.chain.len()).unwrap_or(i64::MAX);
    Judgement::Raised(
        finding
            .with(format!("tlsight.{side}.trust"), reason)
            .with(format!("tlsight.{side}.chain_length"), length),
    )
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Court, expectation, root, text};
    use super::*;
    use crate::policy::expectation::{Expectation, Mode};
    use crate::policy::settings::Settings;

    fn raised(court: &mut Court, name: &str) -> bool {
        court.see(name).contains(&"certificate_untrusted".to_owned())
    }

    #[test]
    fn an_unknown_issuer_is_raised_and_clears_by_a_known_one() {
        let mut court = Court::new();
        let rules = court.see("untrusted");
        let rules: Vec<_> = rules.iter().filter(|rule| rule.starts_with("certificate_")).collect();
        assert_eq!(rules, ["certificate_untrusted"]);
        let finding = court.standing(&RULE.id);
        assert_eq!(text(finding, "tlsight.server.trust").as_deref(), Some("unknown_issuer"));
        assert_eq!(
            finding.summary,
            "the chain of the server certificate server.test, shown by Deployment shop/db:443 and issued by CN=other,O=tlsight, leads to no trusted root"
        );
        court.wait(600);
        assert!(!raised(&mut court, "good"));
        assert!(!court.stands(&RULE.id));
    }

    #[test]
    fn a_forged_issuer_has_a_bad_signature() {
        let mut court = Court::new();
        assert!(raised(&mut court, "forged"));
        assert_eq!(text(court.standing(&RULE.id), "tlsight.server.trust").as_deref(), Some("bad_signature"));
    }

    #[test]
    fn a_root_configured_later_clears_it() {
        let mut court = Court::new();
        assert!(raised(&mut court, "untrusted"));
        court.judge.trust().set_bundle("other".into(), [root("other")]);
        court.wait(600);
        assert!(!raised(&mut court, "untrusted"));
        assert!(!court.stands(&RULE.id));
    }

    #[test]
    fn a_service_with_an_authority_of_its_own_is_held_against_that_alone() {
        let with = |trust: &str| {
            let expectation = Expectation { trust: Some(trust.into()), ..expectation(Mode::Tls) };
            let mut court = Court::new().expecting(expectation);
            court.judge.trust().set_bundle("other".into(), [root("other")]);
            court
        };
        assert!(raised(&mut with("other"), "good"));
        assert!(!raised(&mut with("own"), "good"));
        let mut court = with("no such bundle");
        assert!(!raised(&mut court, "good"));
        assert_eq!(court.judge.counters().trust.unknown_bundles, 1);
    }

    #[test]
    fn a_missing_intermediate_is_raised_and_a_sent_one_is_not() {
        assert!(!raised(&mut Court::new(), "by_sub"));
        let mut court = Court::new();
        court.change = |sighting| {
            if let Some(tls) = sighting.observation.tls_mut() {
                tls.server_chain.truncate(1);
            }
        };
        assert!(raised(&mut court, "by_sub"));
    }

    #[test]
    fn without_roots_nothing_is_judged() {
        assert!(!raised(&mut Court::with(Settings::default(), &[]), "untrusted"));
    }

    #[test]
    fn the_systems_roots_do_not_count_for_clients() {
        let mut court = Court::with(Settings::default(), &[]);
        court.judge.trust().set_system([root("ca")]);
        assert!(!raised(&mut court, "client_stranger"));
        court.judge.trust().set_bundle("own".into(), [root("ca")]);
        assert!(raised(&mut court, "client_stranger"));
    }

    #[test]
    fn spiffe_identities_are_held_against_the_bundle_of_their_trust_domain() {
        let mut court = Court::with(Settings::default(), &["other"]);
        assert!(!raised(&mut court, "spiffe_server"));
        court.judge.trust().set_bundle("spiffe://tlsight.test".into(), [root("other")]);
        assert!(raised(&mut court, "spiffe_server"));
        court.judge.trust().set_bundle("spiffe://tlsight.test".into(), [root("ca")]);
        assert!(!raised(&mut court, "spiffe_server"));
        // That bundle vouches for nobody else.
        assert!(raised(&mut court, "good"));
    }

    #[test]
    fn weak_keys_and_signatures_on_the_way_are_another_defect() {
        assert!(!raised(&mut Court::new(), "sha1"));
        assert!(!raised(&mut Court::new(), "by_sub_sha1"));
        assert!(!raised(&mut Court::with(Settings::default(), &["weak_ca"]), "by_weak_ca"));
    }

    #[test]
    fn chains_are_verified_once() {
        let mut court = Court::new();
        for _ in 0..5 {
            court.see("good");
        }
        let counters = court.judge.counters().trust;
        assert_eq!((counters.misses, counters.hits), (1, 9));
    }

    #[test]
    fn other_roots_are_no_reason_to_count_anew() {
        let mut court = Court::new();
        court.see("good");
        court.judge.follow(Court::new().judge, |_| false);
        court.see("good");
        let counters = court.judge.counters().trust;
        assert_eq!((counters.misses, counters.hits), (2, 2));
    }

    #[test]
    fn verdicts_are_kept_within_their_bound() {
        let mut settings = Settings::default();
        settings.memory.max_chains = 1;
        let mut court = Court::with(settings, &["ca"]);
        court.see("good");
        court.see("newer");
        assert_eq!(court.judge.counters().trust.evicted, 1);
    }
}
