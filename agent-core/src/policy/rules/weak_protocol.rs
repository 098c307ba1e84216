use super::{Check, Input, Judgement, Rule, RuleId, Severity};
use crate::policy::settings::MinimumVersion;
use crate::tls::codepoints::ProtocolVersion;

pub(super) static RULE: Rule = Rule {
    id: RuleId::WeakProtocol,
    severity: Severity::Warning,
    checks: "The version in force is older than `minimum`: SSL 2.0, SSL 3.0, TLS 1.0 and 1.1 (RFC 8996) unless set otherwise. \
             What a client merely offers is no finding, nor is a handshake that failed.",
    advice: "Update the end that knows nothing newer (the client's offer is in the observation), then refuse old versions in \
             the server.",
    clears: "A connection of the same client to the same target uses a version that is not weak.",
    check: Check::Connection(check),
};

fn check(input: &Input<'_>) -> Judgement {
    let Some(version) = input.tls().and_then(|tls| tls.negotiated_version) else {
        return Judgement::NotApplicable;
    };
    let about = input.subjects.hop();
    let minimum = match input.settings.weak_protocol.minimum {
        MinimumVersion::Tls10 => ProtocolVersion::TLS_1_0,
        MinimumVersion::Tls11 => ProtocolVersion::TLS_1_1,
        MinimumVersion::Tls12 => ProtocolVersion::TLS_1_2,
        MinimumVersion::Tls13 => ProtocolVersion::TLS_1_3,
    };
    // Drafts of TLS 1.3 have numbers above all versions.
    if version >= minimum {
        return Judgement::Good(about);
    }
    let (client, target) = (&input.subjects.client, &input.subjects.target);
    Judgement::Raised(input.finding(&RULE, about, format!("{client} talks {version} to {target}")))
}

#[cfg(test)]
mod tests {
    use super::super::testing::Court;
    use super::*;
    use crate::policy::settings::Settings;

    fn raised(court: &mut Court, name: &str) -> bool {
        court.see(name).contains(&"weak_protocol".to_owned())
    }

    #[test]
    fn tls_1_0_is_raised_and_clears_by_tls_1_2() {
        let mut court = Court::new();
        assert!(raised(&mut court, "tls10_none"));
        assert_eq!(
            court.standing(&RULE.id).summary,
            "Deployment shop/cart talks TLS 1.0 to Deployment shop/db:443"
        );
        court.wait(600);
        assert!(!raised(&mut court, "good"));
        assert!(!court.stands(&RULE.id));
    }

    #[test]
    fn the_minimum_can_be_raised_and_lowered() {
        let mut settings = Settings::default();
        settings.weak_protocol.minimum = MinimumVersion::Tls13;
        assert!(raised(&mut Court::with(settings.clone(), &[]), "good"));
        assert!(!raised(&mut Court::with(settings.clone(), &[]), "tls13_none"));
        settings.weak_protocol.minimum = MinimumVersion::Tls10;
        assert!(!raised(&mut Court::with(settings, &[]), "tls10_none"));
    }

    #[test]
    fn a_handshake_that_failed_used_no_version() {
        assert!(!raised(&mut Court::new(), "version_mismatch"));
    }
}
