use super::{Check, Input, Judgement, Rule, RuleId, Severity, ShownChain, name};
use crate::net::Side;
use crate::policy::finding::Value;
use crate::policy::trust::Trust;
use crate::x509::{CertificateSummary, ExtendedKeyUsage};

pub(super) static RULE: Rule = Rule {
    id: RuleId::CertificateWrongUsage,
    severity: Severity::Warning,
    checks: "The certificate's purposes (extKeyUsage) leave out the role in which it was shown: `serverAuth` for servers, \
             `clientAuth` for clients; or an issuing certificate of a trusted chain leaves it out; or the certificate is \
             that of an authority (and not self-signed). A certificate without purposes, or for any purpose, fits.",
    advice: "Issue a certificate with the right purpose. Public authorities no longer put `clientAuth` into certificates of \
             servers: services that call others need a certificate of their own for it.",
    clears: "The same place shows a certificate that is for its role.",
    check: Check::Chain(check),
};

fn check(input: &Input<'_>, shown: &ShownChain<'_>) -> Judgement {
    let leaf = shown.leaf;
    if leaf.problems.contains(&"bad_extended_key_usage") {
        return Judgement::NotApplicable;
    }
    let side = shown.side.as_str();
    let what = if !fits(leaf, shown.side) {
        "is not for that purpose"
    } else if shown.verdict.wrong_usage_of_issuer {
        "has an issuer that is not for that purpose"
    } else if leaf.is_ca && !leaf.self_issued && shown.verdict.trust != Trust::SelfSigned {
        "is that of an authority"
    } else {
        return Judgement::Good(shown.about.clone());
    };
    let summary = format!("{} is shown as a {side} certificate and {what}", name(leaf));
    let mut finding = input.certificate_finding(&RULE, shown, summary);
    if let Some(usages) = &leaf.extended_key_usage {
        let usages = usages.iter().map(|usage| usage.as_str().to_owned()).collect();
        finding.evidence.set(format!("tlsight.{side}.extended_key_usage"), Value::List(usages));
    }
    if leaf.is_ca {
        finding.evidence.set(format!("tlsight.{side}.ca"), Value::Flag(true));
    }
    Judgement::Raised(finding)
}

/// Is it for this role?
pub(in crate::policy) fn fits(leaf: &CertificateSummary, side: Side) -> bool {
    let wanted = match side {
        Side::Server => ExtendedKeyUsage::ServerAuth,
        Side::Client => ExtendedKeyUsage::ClientAuth,
    };
    // Server gated crypto of Netscape and Microsoft: for servers of long ago.
    let gated = |usage: &ExtendedKeyUsage| {
        let oids = ["2.16.840.1.113730.4.1", "1.3.6.1.4.1.311.10.3.3"];
        side == Side::Server && matches!(usage, ExtendedKeyUsage::Other(oid) if oids.contains(&oid.as_str()))
    };
    leaf.extended_key_usage.as_ref().is_none_or(|usages| {
        usages.iter().any(|usage| *usage == wanted || *usage == ExtendedKeyUsage::Any || gated(usage))
    })
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Court, text};
    use super::*;

    fn rules(name: &str) -> Vec<String> {
        Court::new().see(name).into_iter().filter(|rule| rule.starts_with("certificate_")).collect()
    }

    #[test]
    fn a_clients_certificate_in_a_server_is_raised_once_and_clears_by_a_servers() {
        let mut court = Court::new();
        assert!(court.see("for_clients").contains(&"certificate_wrong_usage".to_owned()));
        assert_eq!(
            text(court.standing(&RULE.id), "tlsight.server.extended_key_usage").as_deref(),
            Some("clientAuth")
        );
        assert_eq!(rules("for_clients"), ["certificate_wrong_usage"]);
        assert!(!court.settle_and_see("good").contains(&"certificate_wrong_usage".to_owned()));
        assert!(!court.stands(&RULE.id));
    }

    #[test]
    fn a_servers_certificate_in_a_client_is_raised() {
        assert_eq!(rules("client_for_servers"), ["certificate_wrong_usage"]);
        assert_eq!(rules("client"), [] as [&str; 0]);
    }

    #[test]
    fn an_issuer_for_clients_only_is_raised() {
        assert_eq!(rules("by_sub_client"), ["certificate_wrong_usage"]);
        assert_eq!(rules("by_sub"), [] as [&str; 0]);
    }

    #[test]
    fn the_certificate_of_an_authority_is_raised() {
        assert_eq!(rules("authority"), ["certificate_wrong_usage"]);
    }

    #[test]
    fn a_certificate_for_any_purpose_is_not() {
        assert_eq!(rules("for_anything"), [] as [&str; 0]);
    }
}
