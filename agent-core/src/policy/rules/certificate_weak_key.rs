use super::{Check, Input, Judgement, Rule, RuleId, Severity, ShownChain, name};
use crate::policy::settings::CertificateWeakKey;
use crate::x509::CertificateSummary;

pub(super) static RULE: Rule = Rule {
    id: RuleId::CertificateWeakKey,
    severity: Severity::Critical,
    checks: "The key of the certificate, or of an issuing certificate that was sent along, or of the root that a trusted chain \
             leads to, is shorter than `min_rsa_bits` (RSA, DSA) or its curve than `min_ec_bits`. Of a trusted chain only \
             certificates on the way to the root count: others that were sent along are for other clients.",
    advice: "Make a new key (P-256, Ed25519, or RSA of at least 2048 bits) and have a certificate issued for it.",
    clears: "The same place shows a chain of keys that are long enough.",
    check: Check::Chain(check),
};

fn check(input: &Input<'_>, shown: &ShownChain<'_>) -> Judgement {
    let settings = &input.settings.certificate_weak_key;
    if is_weak(shown.leaf, settings).is_none() {
        return Judgement::NotApplicable;
    }
    let root = shown.verdict.root.as_deref();
    let mut all = shown.relied_on().chain(root);
    let Some(weak) = all.find(|certificate| is_weak(certificate, settings) == Some(true)) else {
        return Judgement::Good(shown.about.clone());
    };
    let side = shown.side.as_str();
    let algorithm = weak.key_algorithm.clone().unwrap_or_default();
    let bits = weak.key_bits.map(i64::from);
    let shown_bits = bits.map(|bits| format!(" of {bits} bits")).unwrap_or_default();
    let summary = if weak.sha256 == shown.leaf.sha256 {
        format!("the {side} certificate {} has an {algorithm} key{shown_bits}", name(weak))
    } else {
        let subject = weak.subject.clone().unwrap_or_else(|| weak.sha256_hex());
        format!(
            "the issuer {subject} of the {side} certificate {} has an {algorithm} key{shown_bits}",
            name(shown.leaf)
        )
    };
    let finding = input.certificate_finding(&RULE, shown, summary);
    let mut finding = finding.with(format!("tlsight.{side}.key_algorithm"), algorithm);
    if let Some(bits) = bits {
        finding.evidence.set(format!("tlsight.{side}.key_bits"), bits);
    }
    if let Some(curve) = &weak.curve {
        finding.evidence.set(format!("tlsight.{side}.key_curve"), curve.clone());
    }
    Judgement::Raised(finding)
}

/// Absent where it cannot be told.
fn is_weak(certificate: &CertificateSummary, settings: &CertificateWeakKey) -> Option<bool> {
    let limit = match certificate.key_algorithm.as_deref()? {
        "RSA" | "RSA-PSS" | "RSA-OAEP" | "DSA" => settings.min_rsa_bits,
        "EC" => settings.min_ec_bits,
        // Fixed sizes that are long enough, post-quantum ones included.
        "Ed25519" | "Ed448" => return Some(false),
        name if name.starts_with("ML-DSA") || name.starts_with("SLH-DSA") => return Some(false),
        _ => return None,
    };
    Some(certificate.key_bits? < limit)
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Court, text};
    use super::*;
    use crate::policy::settings::Settings;

    fn rules(name: &str) -> Vec<String> {
        let roots = ["ca", "rsa_ca", "weak_ca"];
        let mut court = Court::with(Settings::default(), &roots);
        court.see(name).into_iter().filter(|rule| rule.starts_with("certificate_")).collect()
    }

    #[test]
    fn an_rsa_key_of_1024_bits_is_raised_and_clears_by_a_longer_one() {
        let mut court = Court::new();
        assert!(court.see("rsa_1024").contains(&"certificate_weak_key".to_owned()));
        let finding = court.standing(&RULE.id);
        assert_eq!(finding.summary, "the server certificate server.test has an RSA key of 1024 bits");
        assert_eq!(text(finding, "tlsight.server.key_bits").as_deref(), Some("1024"));
        assert!(!court.settle_and_see("sha256").contains(&"certificate_weak_key".to_owned()));
        assert!(!court.stands(&RULE.id));
    }

    #[test]
    fn short_curves_and_short_issuers_are_raised_once() {
        assert_eq!(rules("rsa_1024"), ["certificate_weak_key"]);
        assert_eq!(rules("p224"), ["certificate_weak_key"]);
        assert_eq!(rules("by_sub_1024"), ["certificate_weak_key"]);
    }

    #[test]
    fn a_short_root_is_raised_whether_it_is_sent_along_or_not() {
        assert_eq!(rules("root_sent"), ["certificate_weak_key"]);
        assert_eq!(rules("by_weak_ca"), ["certificate_weak_key"]);
        assert_eq!(rules("good"), [] as [&str; 0]);
    }

    #[test]
    fn a_short_key_that_is_not_on_the_way_to_the_root_does_not_count() {
        let with = |root: &str| {
            let mut court = Court::with(Settings::default(), &[root]);
            court.see("stranger_sent").contains(&"certificate_weak_key".to_owned())
        };
        assert!(!with("renewed_ca"));
        // Where no way is known, any of them may be on it.
        assert!(with("ca"));
    }
}
