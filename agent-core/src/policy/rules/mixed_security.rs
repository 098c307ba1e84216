use std::time::Duration;

use super::{Check, Input, Judgement, Rule, RuleId, Severity};
use crate::identity::Scope;
use crate::policy::about::About;
use crate::policy::finding::Value;
use crate::policy::mix::is_mixed;

pub(super) static RULE: Rule = Rule {
    id: RuleId::MixedSecurity,
    severity: Severity::Warning,
    checks: "Within `window_minutes`, connections to one target had different protections: plaintext next to TLS, or \
             mutual TLS next to TLS without a client certificate. Hops inside a pod or on the loopback interface do not count.",
    advice: "The evidence names a client of each kind. Move the weaker ones over, then make the server refuse what is left: \
             as long as it accepts both, nobody has to change.",
    clears: "All connections of the last `window_minutes` have the same protection.",
    check: Check::Connection(check),
};

fn check(input: &Input<'_>) -> Judgement {
    if matches!(input.subjects.scope, Some(Scope::Pod | Scope::Loopback)) {
        return Judgement::NotApplicable;
    }
    let Some(mix) = input.mix else { return Judgement::NotApplicable };
    let window = Duration::from_secs(u64::from(input.settings.mixed_security.window_minutes) * 60);
    let seen = mix.within(window, input.time());
    let about = About::Target(input.subjects.target.clone());
    if !is_mixed(&seen) {
        return if seen.is_empty() { Judgement::NotApplicable } else { Judgement::Good(about) };
    }
    let mut kinds: Vec<String> = seen.iter().map(|(protection, _)| protection.as_str().to_owned()).collect();
    kinds.dedup();
    let clients =
        seen.iter().map(|(protection, client)| format!("{}: {client}", protection.as_str())).collect();
    let summary = format!("connections to {} are {}", input.subjects.target, kinds.join(" and "));
    let finding = input.finding(&RULE, about, summary);
    Judgement::Raised(
        finding
            .with("tlsight.mixed.security", Value::List(kinds))
            .with("tlsight.mixed.clients", Value::List(clients)),
    )
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Court, http, text};
    use super::*;

    #[test]
    fn plaintext_next_to_tls_is_raised_and_clears_when_the_window_has_passed() {
        let mut court = Court::new();
        assert!(!court.see_bytes(&http()).contains(&"mixed_security".to_owned()));
        assert!(court.see("good").contains(&"mixed_security".to_owned()));
        let finding = court.standing(&RULE.id);
        assert_eq!(finding.summary, "connections to Deployment shop/db:443 are plaintext and tls");
        assert_eq!(
            text(finding, "tlsight.mixed.clients").as_deref(),
            Some("plaintext: Deployment shop/cart tls: Deployment shop/cart")
        );
        court.wait(3601);
        assert!(!court.see("good").contains(&"mixed_security".to_owned()));
        assert!(!court.stands(&RULE.id));
    }

    #[test]
    fn tls_next_to_mutual_tls_is_raised() {
        let mut court = Court::new();
        court.see("good");
        assert!(court.see("client").contains(&"mixed_security".to_owned()));
    }

    #[test]
    fn a_resumed_session_next_to_mutual_tls_is_not() {
        let mut court = Court::new();
        court.see("tls12_sent");
        assert!(!court.see("tls12_ticket").contains(&"mixed_security".to_owned()));
        assert!(court.see_bytes(&http()).contains(&"mixed_security".to_owned()));
    }

    #[test]
    fn another_port_is_another_target() {
        let mut court = Court::new();
        court.see("good");
        court.change = |sighting| sighting.observation.tuple.local.port = 9090;
        assert!(!court.see_bytes(&http()).contains(&"mixed_security".to_owned()));
    }

    #[test]
    fn an_application_behind_its_sidecar_is_not_mixed() {
        let mut court = Court::new();
        court.see("client");
        court.scope = Some(Scope::Pod);
        assert!(court.see_bytes(&http()).is_empty());
        court.scope = Some(Scope::Cluster);
        assert!(!court.see("client").contains(&"mixed_security".to_owned()));
    }
}
