use super::{Check, Input, Judgement, Rule, RuleId, Severity};
use crate::tls::codepoints::ProtocolVersion;

pub(super) static RULE: Rule = Rule {
    id: RuleId::NotQuantumSafe,
    severity: Severity::Information,
    checks: "The keys of the connection were agreed on by a group that a quantum computer breaks: what is recorded today can be \
             read then. Safe are ML-KEM and its hybrids (X25519MLKEM768 ...), and keys that come from a pre-shared key \
             alone. TLS 1.2 and before has no group that is safe.",
    advice: "Nothing has to be done today. Libraries that prefer X25519MLKEM768 by themselves: OpenSSL 3.5, Go 1.24, rustls \
             0.23.27, BoringSSL, NSS, GnuTLS 3.8.9 with a setting. Both ends must know it.",
    clears: "A connection of the same client to the same target uses a group that is safe.",
    check: Check::Connection(check),
};

fn check(input: &Input<'_>) -> Judgement {
    let about = input.subjects.hop();
    let Some(tls) = input.tls() else { return Judgement::NotApplicable };
    let Some((suite, version)) = tls.cipher.zip(tls.negotiated_version) else {
        return Judgement::NotApplicable;
    };
    if suite.is_unencrypted() {
        return Judgement::NotApplicable;
    }
    let is_safe = match tls.group {
        Some(group) => group.is_post_quantum(),
        None if version >= ProtocolVersion::TLS_1_3 => return Judgement::NotApplicable,
        // A plain pre-shared key; with Diffie-Hellman on top it is no worse.
        None if suite.is_psk_only() => return Judgement::NotApplicable,
        None if suite.name().is_none() => return Judgement::NotApplicable,
        None => false,
    };
    if is_safe {
        return Judgement::Good(about);
    }
    let (client, target) = (&input.subjects.client, &input.subjects.target);
    let by = match tls.group {
        Some(group) => group.to_string(),
        None => suite.to_string(),
    };
    let summary = format!("{client} and {target} agree on keys by {by}, which a quantum computer breaks");
    Judgement::Raised(input.finding(&RULE, about, summary))
}

#[cfg(test)]
mod tests {
    use super::super::testing::Court;
    use super::*;
    use crate::tls::codepoints::NamedGroup;

    fn raised(court: &mut Court, name: &str) -> bool {
        court.see(name).contains(&"not_quantum_safe".to_owned())
    }

    #[test]
    fn x25519_is_information_and_clears_by_a_hybrid() {
        let mut court = Court::new();
        assert!(raised(&mut court, "tls13_none"));
        assert_eq!(court.standing(&RULE.id).severity, Severity::Information);
        court.wait(600);
        assert!(!raised(&mut court, "tls13_hybrid"));
        assert!(!court.stands(&RULE.id));
    }

    #[test]
    fn every_group_with_a_lattice_in_it_is_safe() {
        let safe = (0..=u16::MAX).map(NamedGroup).filter(|group| group.is_post_quantum());
        for group in safe {
            let name = group.to_string();
            assert!(name.contains("MLKEM") || name.contains("Kyber"), "{name}");
        }
    }

    #[test]
    fn tls_1_2_has_nothing_that_is_safe() {
        assert!(raised(&mut Court::new(), "ecdhe"));
        assert!(raised(&mut Court::new(), "rsa_key_exchange"));
    }

    #[test]
    fn a_handshake_that_failed_agreed_on_nothing() {
        assert!(!raised(&mut Court::new(), "tls13_client_rejects"));
    }
}
