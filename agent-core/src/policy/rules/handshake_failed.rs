use super::{Check, Input, Judgement, Rule, RuleId, Severity};
use crate::observation::Reason;

pub(super) static RULE: Rule = Rule {
    id: RuleId::HandshakeFailed,
    severity: Severity::Warning,
    checks: "A TLS handshake failed: one end sent an alert, or answered with something that is not TLS. A connection that \
             merely ended in the middle is no finding (health checks do that), nor is one of `ignored_alerts`.",
    advice: "The alert says what its sender did not like: `unknown_ca` and `certificate_unknown`: it does not trust the other's \
             issuer; `certificate_expired`; `bad_certificate` and `certificate_required`: the client's certificate is wrong \
             or missing; `protocol_version` and `handshake_failure`: nothing in common; `unrecognized_name`: no such host.",
    clears: "A handshake of the same client with the same target succeeds.",
    check: Check::Connection(check),
};

fn check(input: &Input<'_>) -> Judgement {
    let o = input.observation();
    let about = input.subjects.hop();
    let Some(tls) = &o.tls else { return Judgement::NotApplicable };
    match tls.established {
        Some(true) => return Judgement::Good(about),
        Some(false) if o.reason == Some(Reason::HandshakeFailed) => {}
        _ => return Judgement::NotApplicable,
    }
    let (client, target) = (&input.subjects.client, &input.subjects.target);
    let (why, finding) = match tls.alert {
        None => ("what came back is not TLS".to_owned(), None),
        Some(alert) => match alert.content {
            None => (format!("the {} sent an encrypted alert", alert.sender.as_str()), Some((alert, None))),
            Some((level, description)) => {
                let name = description.to_string();
                if input.settings.handshake_failed.ignored_alerts.contains(&name) {
                    return Judgement::NotApplicable;
                }
                (format!("the {} sent {name}", alert.sender.as_str()), Some((alert, Some((level, name)))))
            }
        },
    };
    let mut raised =
        input.finding(&RULE, about, format!("the TLS handshake of {client} with {target} failed: {why}"));
    if let Some((alert, content)) = finding {
        raised.evidence.set("tlsight.alert.sender", alert.sender.as_str());
        if let Some((level, name)) = content {
            raised.evidence.set("tlsight.alert.name", name);
            raised.evidence.set("tlsight.alert.level", level.to_string());
        }
    }
    Judgement::Raised(raised)
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Court, text};
    use super::*;
    use crate::policy::settings::Settings;

    fn raised(court: &mut Court, name: &str) -> bool {
        court.see(name).contains(&"handshake_failed".to_owned())
    }

    #[test]
    fn an_alert_is_raised_and_clears_when_a_handshake_succeeds() {
        for (name, alert, sender) in [
            ("tls12_stranger", Some("unknown_ca"), Some("server")),
            ("tls12_client_rejects", Some("unknown_ca"), Some("client")),
            ("version_mismatch", Some("protocol_version"), Some("server")),
            ("tls13_required_missing", None, Some("server")),
            ("http_answers_tls", None, None),
        ] {
            let mut court = Court::new();
            assert!(raised(&mut court, name), "{name}");
            let finding = court.standing(&RULE.id);
            assert_eq!(text(finding, "tlsight.alert.name").as_deref(), alert, "{name}");
            assert_eq!(text(finding, "tlsight.alert.sender").as_deref(), sender, "{name}");
            court.wait(600);
            assert!(!raised(&mut court, "good"));
            assert!(!court.stands(&RULE.id), "{name}");
        }
    }

    #[test]
    fn a_connection_that_ends_in_the_middle_is_not_raised() {
        let mut court = Court::new();
        let hello = super::super::testing::stream("good").swap_remove(0);
        assert!(court.see_bytes(&[hello]).is_empty());
    }

    #[test]
    fn an_alert_can_be_ignored() {
        let mut settings = Settings::default();
        settings.handshake_failed.ignored_alerts = vec!["unknown_ca".into()];
        assert!(!raised(&mut Court::with(settings, &[]), "tls12_stranger"));
    }
}
