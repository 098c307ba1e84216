use super::{Check, Input, Judgement, Rule, RuleId, Severity};
use crate::identity::Scope;
use crate::observation::{Reason, Security};
use crate::policy::expectation::Mode;

pub(super) static RULE: Rule = Rule {
    id: RuleId::PlaintextTraffic,
    severity: Severity::Warning,
    checks: "Application bytes cross the wire readable although policy expects TLS (`strict`, `tls`): critical. Where no \
             policy speaks of the target, plaintext is a warning from the distance on that `without_policy` sets: `node` \
             is between two workloads of the same node, and outside Kubernetes between two network namespaces of the \
             same host (a container and whoever calls it). Hops inside a pod (an application and its own sidecar) are never findings. TLS with a NULL cipher counts as \
             plaintext where policy expects TLS; without a policy it is left to `weak_cipher`.",
    advice: "Turn on TLS in the client's connection string or URL, or put both ends into the mesh. If plaintext is meant \
             to be here, say so with a `permissive` or `disable` expectation for the target.",
    clears: "A connection of the same client to the same target is protected, or policy allows plaintext.",
    check: Check::Connection(check),
};

fn check(input: &Input<'_>) -> Judgement {
    let o = input.observation();
    let about = input.subjects.hop();
    match o.security {
        Security::Unknown => return Judgement::NotApplicable,
        Security::Tls | Security::Mtls => return Judgement::Good(about),
        Security::Plaintext => {}
    }
    if input.subjects.scope == Some(Scope::Pod) {
        return Judgement::NotApplicable;
    }
    let severity = match input.expectation.map(|expectation| expectation.mode) {
        Some(Mode::Strict | Mode::Tls) => Severity::Critical,
        Some(Mode::Permissive | Mode::Disable) => return Judgement::Good(about),
        None if o.reason == Some(Reason::NullCipher) || !input.is_within_reach() => {
            return Judgement::NotApplicable;
        }
        None => Severity::Warning,
    };
    let (client, target) = (&input.subjects.client, &input.subjects.target);
    let protocol = o.protocol.map(|name| format!(" ({name})")).unwrap_or_default();
    let expected = match input.expectation {
        Some(expectation) => format!(", where policy expects {}", expectation.mode.as_str()),
        None => String::new(),
    };
    let summary = format!("{client} talks plaintext{protocol} to {target}{expected}");
    Judgement::Raised(input.finding(&RULE, about, summary).severity(severity))
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Court, expectation, http, text};
    use super::*;
    use crate::identity::Party;

    #[test]
    fn plaintext_where_policy_expects_tls_is_raised_and_clears_by_tls() {
        let mut court = Court::new().expecting(expectation(Mode::Tls));
        assert_eq!(court.see_bytes(&http()), ["plaintext_traffic"]);
        let finding = court.standing(&RULE.id);
        assert_eq!(finding.severity, Severity::Critical);
        assert_eq!(
            finding.summary,
            "Deployment shop/cart talks plaintext (http) to Deployment shop/db:443, where policy expects tls"
        );
        assert_eq!(
            text(finding, "tlsight.expectation.source").as_deref(),
            Some("TlsightPolicy shop/db spec.mode (policy.yaml:7)")
        );
        assert_eq!(court.settle_and_see("ecdhe").iter().find(|rule| *rule == "plaintext_traffic"), None);
        assert!(!court.stands(&RULE.id));
    }

    #[test]
    fn plaintext_that_policy_allows_is_not_raised() {
        for mode in [Mode::Permissive, Mode::Disable] {
            assert!(Court::new().expecting(expectation(mode)).see_bytes(&http()).is_empty());
        }
    }

    #[test]
    fn without_a_policy_distance_and_protocol_decide() {
        let with = |scope, change: fn(&mut crate::identity::Sighting)| {
            let mut court = Court::new();
            (court.scope, court.change) = (scope, change);
            !court.see_bytes(&http()).is_empty()
        };
        let same = |_: &mut crate::identity::Sighting| {};
        assert!(with(Some(Scope::Cluster), same));
        assert!(with(Some(Scope::External), same));
        assert!(with(None, same));
        assert!(with(Some(Scope::Node), same));
        // A probe of the kubelet: the other end is no workload.
        assert!(!with(Some(Scope::Node), |sighting| sighting.peer = Party::default()));
        // Without Kubernetes: a container and the host, or another container.
        assert!(with(Some(Scope::Node), |sighting| {
            (sighting.local, sighting.peer) = (Party::default(), Party::default());
        }));
        // A pod that is not known by name yet, and its node.
        assert!(!with(Some(Scope::Node), |sighting| {
            (sighting.local, sighting.peer) =
                (Party::default(), Party { node: Some("n".into()), ..Party::default() });
        }));
        assert!(!with(Some(Scope::Loopback), same));
        assert!(!with(Some(Scope::Pod), same));
        assert!(!with(Some(Scope::Cluster), |sighting| sighting.observation.protocol = Some("dns")));
    }

    #[test]
    fn a_hop_inside_a_pod_is_no_finding_even_under_strict() {
        let mut court = Court::new().expecting(expectation(Mode::Strict));
        court.scope = Some(Scope::Pod);
        assert!(court.see_bytes(&http()).is_empty());
    }

    #[test]
    fn bytes_that_prove_nothing_are_no_finding() {
        let mut court = Court::new().expecting(expectation(Mode::Strict));
        assert!(court.see_bytes(&[(crate::net::Side::Client, vec![0xff, 0xfe, 0x80])]).is_empty());
        assert!(court.see_bytes(&[]).is_empty());
    }

    #[test]
    fn a_null_cipher_is_plaintext_only_where_policy_expects_tls() {
        assert!(!Court::new().see("null").contains(&"plaintext_traffic".to_owned()));
        let mut court = Court::new().expecting(expectation(Mode::Tls));
        assert!(court.see("null").contains(&"plaintext_traffic".to_owned()));
    }
}
