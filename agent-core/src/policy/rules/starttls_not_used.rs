use super::{Check, Input, Judgement, Rule, RuleId, Severity};
use crate::identity::Scope;
use crate::observation::{Security, StartTls};
use crate::policy::expectation::Mode;

pub(super) static RULE: Rule = Rule {
    id: RuleId::StarttlsNotUsed,
    severity: Severity::Warning,
    checks: "A protocol that can upgrade to TLS on the same port (SMTP, IMAP, LDAP, PostgreSQL, MySQL ...) went on in \
             plaintext: the client did not ask, or the server refused. Where no policy speaks of the target it follows \
             `plaintext_traffic.without_policy`; where policy allows plaintext it is silent.",
    advice: "Not asked for: make the client require the upgrade (`sslmode=verify-full`, `ssl-mode=VERIFY_IDENTITY`, \
             `starttls=required`). Refused: give the server a certificate and turn TLS on.",
    clears: "A connection of the same client to the same target upgrades to TLS, or policy allows plaintext.",
    check: Check::Connection(check),
};

fn check(input: &Input<'_>) -> Judgement {
    let o = input.observation();
    let about = input.subjects.hop();
    let how = match (o.security, o.starttls) {
        (Security::Tls | Security::Mtls, _) => return Judgement::Good(about),
        (Security::Plaintext, Some(how @ (StartTls::NotUsed | StartTls::Refused))) => how,
        _ => return Judgement::NotApplicable,
    };
    match input.expectation.map(|expectation| expectation.mode) {
        Some(Mode::Permissive | Mode::Disable) => return Judgement::Good(about),
        Some(Mode::Strict | Mode::Tls) if input.subjects.scope != Some(Scope::Pod) => {}
        None if input.is_within_reach() => {}
        _ => return Judgement::NotApplicable,
    }
    let (client, target) = (&input.subjects.client, &input.subjects.target);
    let protocol = o.protocol.unwrap_or("a protocol that knows STARTTLS");
    let summary = if how == StartTls::Refused {
        format!("{target} refused to upgrade {protocol} from {client} to TLS")
    } else {
        format!("{client} did not ask {target} to upgrade {protocol} to TLS")
    };
    Judgement::Raised(input.finding(&RULE, about, summary).with("tlsight.starttls", how.as_str()))
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Court, expectation, postgresql, text};
    use super::*;

    #[test]
    fn an_upgrade_not_asked_for_or_refused_is_raised_and_clears_by_tls() {
        for (asks, how) in [(false, "not_used"), (true, "refused")] {
            let mut court = Court::new();
            assert_eq!(court.see_bytes(&postgresql(asks)), ["plaintext_traffic", "starttls_not_used"]);
            assert_eq!(text(court.standing(&RULE.id), "tlsight.starttls").as_deref(), Some(how));
            assert!(!court.settle_and_see("postgres_tls").contains(&"starttls_not_used".to_owned()));
            assert!(!court.stands(&RULE.id));
        }
    }

    #[test]
    fn where_policy_allows_plaintext_it_is_not_raised() {
        assert!(
            Court::new().expecting(expectation(Mode::Permissive)).see_bytes(&postgresql(true)).is_empty()
        );
    }

    #[test]
    fn a_protocol_without_an_upgrade_is_not_raised() {
        let mut court = Court::new();
        assert_eq!(court.see_bytes(&super::super::testing::http()), ["plaintext_traffic"]);
    }
}
