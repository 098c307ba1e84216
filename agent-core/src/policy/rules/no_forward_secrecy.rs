use super::{Check, Input, Judgement, Rule, RuleId, Severity};
use crate::observation::TlsFacts;
use crate::tls::codepoints::{CipherSuite, ProtocolVersion};

pub(super) static RULE: Rule = Rule {
    id: RuleId::NoForwardSecrecy,
    severity: Severity::Warning,
    checks: "The keys of the connection come from a long-lived secret alone: RSA key transport, static Diffie-Hellman, or a \
             pre-shared key without Diffie-Hellman (in TLS 1.3: the mode psk_ke). Who gets that secret later can read what \
             was recorded now.",
    advice: "Prefer ECDHE suites in the server, or TLS 1.3; take the `TLS_RSA_WITH_` suites out.",
    clears: "A connection of the same client to the same target agrees on keys by Diffie-Hellman.",
    check: Check::Connection(check),
};

fn check(input: &Input<'_>) -> Judgement {
    let about = input.subjects.hop();
    let Some(tls) = input.tls() else { return Judgement::NotApplicable };
    let Some((suite, version)) = tls.cipher.zip(tls.negotiated_version) else {
        return Judgement::NotApplicable;
    };
    // What does not encrypt has no secrecy to lose: that is `weak_cipher`.
    if suite.is_unencrypted() {
        return Judgement::NotApplicable;
    }
    match is_forward_secret(suite, version, tls) {
        Some(true) => Judgement::Good(about),
        None => Judgement::NotApplicable,
        Some(false) => {
            let (client, target) = (&input.subjects.client, &input.subjects.target);
            let summary = format!("{client} talks to {target} without forward secrecy ({suite})");
            Judgement::Raised(input.finding(&RULE, about, summary))
        }
    }
}

fn is_forward_secret(suite: CipherSuite, version: ProtocolVersion, tls: &TlsFacts) -> Option<bool> {
    let name = suite.name()?;
    if suite.is_tls13() {
        // A ServerHello without a share of its own goes by the pre-shared key alone (RFC 8446 section 4.2.9).
        return (version >= ProtocolVersion::TLS_1_3).then_some(tls.group.is_some());
    }
    let starts = |prefixes: &[&str]| prefixes.iter().any(|prefix| name.starts_with(prefix));
    if starts(&[
        "TLS_ECDHE_",
        "TLS_DHE_",
        "TLS_DH_anon_",
        "TLS_ECDH_anon_",
        "TLS_PSK_DHE_",
        "TLS_SRP_",
        "TLS_ECCPWD_",
        "TLS_ECJPAKE_",
    ]) {
        Some(true)
    } else if starts(&[
        "TLS_RSA_",
        "TLS_DH_RSA_",
        "TLS_DH_DSS_",
        "TLS_ECDH_RSA_",
        "TLS_ECDH_ECDSA_",
        "TLS_PSK_",
        "TLS_KRB5_",
    ]) {
        Some(false)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::Court;
    use super::*;

    fn raised(court: &mut Court, name: &str) -> bool {
        court.see(name).contains(&"no_forward_secrecy".to_owned())
    }

    #[test]
    fn rsa_key_transport_is_raised_and_clears_by_ecdhe() {
        let mut court = Court::new();
        assert!(raised(&mut court, "rsa_key_exchange"));
        court.wait(600);
        assert!(!raised(&mut court, "ecdhe"));
        assert!(!court.stands(&RULE.id));
    }

    #[test]
    fn tls_1_3_and_resumed_sessions_are_not_raised() {
        for name in ["tls13_none", "tls13_resumed", "tls12_ticket", "anonymous"] {
            assert!(!raised(&mut Court::new(), name), "{name}");
        }
    }

    #[test]
    fn every_suite_with_a_name_is_told_or_left_alone_on_purpose() {
        let none = TlsFacts::default();
        let left: Vec<String> = (0..=u16::MAX)
            .map(CipherSuite)
            .filter(|suite| suite.name().is_some() && !suite.is_signaling() && !suite.is_tls13())
            .filter(|suite| is_forward_secret(*suite, ProtocolVersion::TLS_1_2, &none).is_none())
            .map(|suite| suite.to_string())
            .collect();
        let odd: Vec<&String> =
            left.iter().filter(|name| !name.contains("GOST") && !name.contains("NULL_WITH_NULL")).collect();
        assert!(odd.is_empty(), "{odd:?}");
    }
}
