use super::{Check, Input, Judgement, Rule, RuleId, Severity, ShownChain, name};
use crate::x509::CertificateSummary;

pub(super) static RULE: Rule = Rule {
    id: RuleId::CertificateWeakSignature,
    severity: Severity::Critical,
    checks: "The certificate, or an issuing certificate that was sent along, is signed with MD2, MD5 or SHA-1: somebody may \
             make another one with the same signature. Certificates that signed themselves are left alone, roots above all: \
             nobody relies on that signature; and so are, of a trusted chain, certificates that are not on the way to its root.",
    advice: "Have it issued again; every authority signs with SHA-256 or better now.",
    clears: "The same place shows a chain without such signatures.",
    check: Check::Chain(check),
};

const WEAK: &[&str] = &[
    "md2WithRSAEncryption",
    "md5WithRSAEncryption",
    "sha1WithRSAEncryption",
    "dsaWithSHA1",
    "ecdsa-with-SHA1",
];

fn check(input: &Input<'_>, shown: &ShownChain<'_>) -> Judgement {
    if shown.leaf.signature_algorithm.is_none() {
        return Judgement::NotApplicable;
    }
    let is_weak = |certificate: &&CertificateSummary| {
        !certificate.self_signed_hint
            && certificate.signature_algorithm.as_deref().is_some_and(|name| WEAK.contains(&name))
    };
    let Some(weak) = shown.relied_on().find(is_weak) else {
        return Judgement::Good(shown.about.clone());
    };
    let side = shown.side.as_str();
    let algorithm = weak.signature_algorithm.clone().unwrap_or_default();
    let whose = if weak.sha256 == shown.leaf.sha256 {
        format!("the {side} certificate {}", name(weak))
    } else {
        let subject = weak.subject.clone().unwrap_or_else(|| weak.sha256_hex());
        format!("the issuer {subject} of the {side} certificate {}", name(shown.leaf))
    };
    let finding = input.certificate_finding(&RULE, shown, format!("{whose} is signed with {algorithm}"));
    Judgement::Raised(finding.with(format!("tlsight.{side}.signature_algorithm"), algorithm))
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Court, text};
    use super::*;

    fn rules(name: &str) -> Vec<String> {
        Court::new().see(name).into_iter().filter(|rule| rule.starts_with("certificate_")).collect()
    }

    #[test]
    fn sha1_is_raised_once_and_clears_by_sha256() {
        let mut court = Court::new();
        assert!(court.see("sha1").contains(&"certificate_weak_signature".to_owned()));
        assert_eq!(
            text(court.standing(&RULE.id), "tlsight.server.signature_algorithm").as_deref(),
            Some("sha1WithRSAEncryption")
        );
        assert_eq!(rules("sha1"), ["certificate_weak_signature"]);
        assert!(!court.settle_and_see("sha256").contains(&"certificate_weak_signature".to_owned()));
        assert!(!court.stands(&RULE.id));
    }

    #[test]
    fn an_issuer_signed_with_sha1_is_raised() {
        assert_eq!(rules("by_sub_sha1"), ["certificate_weak_signature"]);
    }

    #[test]
    fn a_root_that_signed_itself_with_sha1_is_not() {
        let mut root = crate::x509::summarize(&super::super::testing::root("rsa_ca"));
        root.signature_algorithm = Some("sha1WithRSAEncryption".into());
        assert!(root.self_signed_hint);
        assert_eq!(rules("sha256"), [] as [&str; 0]);
    }
}
