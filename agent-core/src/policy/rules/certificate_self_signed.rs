use super::{Check, Input, Judgement, Rule, RuleId, Severity, ShownChain, name, shown_by};
use crate::policy::trust::Trust;

pub(super) static RULE: Rule = Rule {
    id: RuleId::CertificateSelfSigned,
    severity: Severity::Warning,
    checks: "The certificate that was shown signed itself, and is none of the roots that are trusted for this connection: \
             nobody but its owner vouches for it. The signature is verified, equal names are not enough.",
    advice: "Have it issued by an authority that the other end trusts. If it is pinned on purpose, configure it as a bundle.",
    clears: "The same place shows a certificate that somebody else issued, or this one is configured as a root.",
    check: Check::Chain(check),
};

fn check(input: &Input<'_>, shown: &ShownChain<'_>) -> Judgement {
    match &shown.verdict.trust {
        Trust::SelfSigned => {
            let side = shown.side.as_str();
            let summary = format!(
                "the {side} certificate {}, {}, vouches only for itself",
                name(shown.leaf),
                shown_by(shown)
            );
            let finding = input.certificate_finding(&RULE, shown, summary);
            Judgement::Raised(
                finding
                    .with(format!("tlsight.{side}.self_signed"), crate::policy::finding::Value::Flag(true)),
            )
        }
        Trust::NotJudged(_) => Judgement::NotApplicable,
        _ => Judgement::Good(shown.about.clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Court, TODAY, observe, stream};
    use super::*;
    use crate::policy::settings::Settings;

    #[test]
    fn a_certificate_that_signed_itself_is_raised_and_clears_by_an_issued_one() {
        let mut court = Court::new();
        let raised = court.see("self_signed");
        assert!(raised.contains(&"certificate_self_signed".to_owned()));
        assert!(!raised.contains(&"certificate_untrusted".to_owned()));
        assert!(!court.settle_and_see("good").contains(&"certificate_self_signed".to_owned()));
        assert!(!court.stands(&RULE.id));
    }

    #[test]
    fn it_needs_no_roots_to_be_seen() {
        assert!(
            Court::with(Settings::default(), &[])
                .see("self_signed")
                .contains(&"certificate_self_signed".to_owned())
        );
    }

    #[test]
    fn one_that_is_configured_is_not_raised() {
        let mut court = Court::new();
        let chunks = court.see("self_signed");
        assert!(chunks.contains(&"certificate_self_signed".to_owned()));
        let seen = observe(&stream("self_signed"), 1, TODAY);
        let tls = seen.last().and_then(|observation| observation.tls.as_ref()).expect("facts");
        let der = tls.server_chain.first().expect("a leaf").der.to_vec();
        court.judge.trust().set_bundle("pinned".into(), [der]);
        assert!(!court.settle_and_see("self_signed").contains(&"certificate_self_signed".to_owned()));
        assert!(!court.stands(&RULE.id));
    }

    #[test]
    fn the_name_of_its_issuer_alone_does_not_make_it_self_signed() {
        let raised = Court::new().see("forged");
        assert!(!raised.contains(&"certificate_self_signed".to_owned()), "{raised:?}");
    }
}
