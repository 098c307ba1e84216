use super::{Check, Input, Judgement, Rule, RuleId, Severity, is_client_certain};
use crate::identity::Scope;
use crate::observation::Security;
use crate::policy::expectation::Mode;

pub(super) static RULE: Rule = Rule {
    id: RuleId::MtlsMissing,
    severity: Severity::Critical,
    checks: "Policy expects mutual TLS (`strict`), and a connection has TLS without a certificate of the client. Where it \
             cannot be told whether the client sent one (resumed sessions, padded records), nothing is said; plaintext is \
             the business of `plaintext_traffic`.",
    advice: "Give the client a certificate (or put it into the mesh), and make the server require one. Until then STRICT \
             would cut this client off.",
    clears: "A connection of the same client to the same target is mutual TLS, or policy no longer expects it.",
    check: Check::Connection(check),
};

fn check(input: &Input<'_>) -> Judgement {
    let o = input.observation();
    let about = input.subjects.hop();
    if input.subjects.scope == Some(Scope::Pod) {
        return Judgement::NotApplicable;
    }
    match (o.security, input.expectation.map(|expectation| expectation.mode)) {
        (Security::Mtls, _) => Judgement::Good(about),
        (Security::Tls | Security::Plaintext, Some(Mode::Tls | Mode::Permissive | Mode::Disable)) => {
            Judgement::Good(about)
        }
        (Security::Tls, Some(Mode::Strict)) if is_client_certain(o) => {
            let (client, target) = (&input.subjects.client, &input.subjects.target);
            let summary = format!(
                "{client} talks to {target} over TLS without a client certificate, where policy expects strict"
            );
            let shown = o.tls.as_ref().map(|tls| tls.client_certificate.as_str());
            let finding = input.finding(&RULE, about, summary);
            Judgement::Raised(finding.with_some("tlsight.client_certificate", shown))
        }
        _ => Judgement::NotApplicable,
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Court, expectation, http};
    use super::*;

    fn strict() -> Court {
        Court::new().expecting(expectation(Mode::Strict))
    }

    #[test]
    fn tls_without_a_client_certificate_under_strict_is_raised_and_clears_by_mutual_tls() {
        let mut court = strict();
        assert!(court.see("good").contains(&"mtls_missing".to_owned()));
        assert_eq!(court.standing(&RULE.id).severity, Severity::Critical);
        assert!(!court.settle_and_see("client").contains(&"mtls_missing".to_owned()));
        assert!(!court.stands(&RULE.id));
    }

    #[test]
    fn tls_that_policy_is_content_with_is_not_raised() {
        let mut court = Court::new().expecting(expectation(Mode::Tls));
        assert!(!court.see("good").contains(&"mtls_missing".to_owned()));
    }

    #[test]
    fn a_resumed_session_says_nothing_of_the_client() {
        for name in ["tls12_ticket", "tls13_resumed"] {
            let mut court = strict();
            assert!(!court.see(name).contains(&"mtls_missing".to_owned()), "{name}");
        }
    }

    #[test]
    fn plaintext_and_refused_clients_are_told_elsewhere() {
        assert_eq!(strict().see_bytes(&http()), ["plaintext_traffic"]);
        assert!(!strict().see("tls12_required_missing").contains(&"mtls_missing".to_owned()));
    }
}
