use std::net::IpAddr;

use super::{Check, Input, Judgement, Rule, RuleId, Severity, ShownChain};
use crate::net::Side;
use crate::x509::{CertificateSummary, San};

pub(super) static RULE: Rule = Rule {
    id: RuleId::CertificateNameMismatch,
    severity: Severity::Warning,
    checks: "The server's certificate is not for the name that the client asked for (SNI), by RFC 9525: alternative names \
             only, a wildcard stands for one whole label on the left. Without SNI an address is compared only where a client \
             on this host called a public one and the certificate is for addresses and nothing else. SPIFFE identities \
             are not names of hosts and are left alone, and so is a mismatch under ECH, where the name that counts is \
             encrypted.",
    advice: "Issue the certificate for the name that clients use, or call the service by a name that is in it. A certificate \
             of somebody else's name may also mean that the name leads to the wrong server.",
    clears: "The same place shows a certificate that is for the name.",
    check: Check::Chain(check),
};

fn check(input: &Input<'_>, shown: &ShownChain<'_>) -> Judgement {
    if shown.side != Side::Server || shown.leaf.spiffe_id().is_some() {
        return Judgement::NotApplicable;
    }
    let Some(tls) = &input.observation().tls else { return Judgement::NotApplicable };
    let is_unreadable = shown.leaf.problems.iter().any(|problem| problem.contains("name"));
    let asked = match tls.server_name.as_deref() {
        Some(name) => {
            let name = name.strip_suffix('.').unwrap_or(name);
            let fits = match name.parse::<IpAddr>() {
                // Not allowed in SNI (RFC 6066 section 3), and sent.
                Ok(address) => covers_address(shown.leaf, address),
                Err(_) => covers_name(shown.leaf, name),
            };
            if fits {
                return Judgement::Good(shown.about.clone());
            }
            name.to_owned()
        }
        None => {
            let address = input.subjects.server.addr;
            if covers_address(shown.leaf, address) {
                return Judgement::Good(shown.about.clone());
            }
            let only_addresses =
                !shown.leaf.sans.is_empty() && shown.leaf.sans.iter().all(|san| matches!(san, San::Ip(_)));
            let is_dialled = input.observation().local_side == Some(Side::Client) && is_public(address);
            if !only_addresses || !is_dialled {
                return Judgement::NotApplicable;
            }
            address.to_string()
        }
    };
    if tls.ech_offered || is_unreadable {
        return Judgement::NotApplicable;
    }
    let names = if shown.leaf.sans.is_empty() {
        "no name at all".to_owned()
    } else {
        let names: Vec<String> = shown.leaf.sans.iter().take(4).map(ToString::to_string).collect();
        let more = if shown.leaf.sans.len() > names.len() { " ..." } else { "" };
        format!("{}{more}", names.join(", "))
    };
    let summary =
        format!("{} was asked for {asked} and shows a certificate for {names}", input.subjects.target);
    Judgement::Raised(input.certificate_finding(&RULE, shown, summary))
}

fn covers_address(leaf: &CertificateSummary, address: IpAddr) -> bool {
    leaf.sans.iter().any(|san| matches!(san, San::Ip(ip) if ip.to_canonical() == address.to_canonical()))
}

/// RFC 9525 section 6.3.
fn covers_name(leaf: &CertificateSummary, name: &str) -> bool {
    leaf.sans.iter().any(|san| matches!(san, San::Dns(presented) if matches(presented, name)))
}

fn matches(presented: &str, name: &str) -> bool {
    let presented = presented.strip_suffix('.').unwrap_or(presented);
    match presented.strip_prefix("*.") {
        Some(parent) => name
            .split_once('.')
            .is_some_and(|(label, rest)| !label.is_empty() && rest.eq_ignore_ascii_case(parent)),
        None => presented.eq_ignore_ascii_case(name),
    }
}

/// An address that means the same everywhere.
fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => {
            let [a, b, ..] = v4.octets();
            // RFC 6598: carriers' own.
            let is_shared = a == 100 && b & 0xc0 == 64;
            !(v4.is_private()
                || v4.is_loopback()
                || v4.is_link_local()
                || v4.is_unspecified()
                || v4.is_broadcast()
                || v4.is_multicast()
                || is_shared)
        }
        IpAddr::V6(v6) => {
            !(v6.is_loopback()
                || v6.is_unspecified()
                || v6.is_multicast()
                || v6.is_unique_local()
                || v6.is_unicast_link_local())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Court, text};
    use super::*;

    fn raised(court: &mut Court, name: &str) -> bool {
        court.see(name).contains(&"certificate_name_mismatch".to_owned())
    }

    #[test]
    fn names_as_long_as_a_message_are_kept_short_and_apart() {
        fn ask(sighting: &mut crate::identity::Sighting, last: &str) {
            if let Some(tls) = sighting.observation.tls_mut() {
                tls.server_name = Some("a".repeat(15_000) + last);
            }
        }
        let mut court = Court::new();
        court.change = |sighting| ask(sighting, "x");
        court.see("good");
        court.change = |sighting| ask(sighting, "y");
        court.see("good");
        let of_rule = court.judge.ledger().standing().filter(|standing| standing.finding.rule == RULE.id);
        let findings: Vec<_> = of_rule.map(|standing| &standing.finding).collect();
        assert_eq!(findings.len(), 2);
        for finding in findings {
            assert!(finding.about.to_string().len() < 300, "{}", finding.about);
            assert!(finding.summary.len() <= 1024, "{}", finding.summary);
            let long = finding.evidence.iter().find(|(_, value)| value.to_string().len() > 1024);
            assert_eq!(long, None);
            let asked = text(finding, "tlsight.server_name").unwrap_or_default();
            assert!(asked.len() <= 1024 && asked.ends_with("aa…"), "{asked}");
        }
    }

    #[test]
    fn another_name_is_raised_and_clears_by_the_right_one() {
        let mut court = Court::new();
        assert!(raised(&mut court, "other_name"));
        assert_eq!(
            court.standing(&RULE.id).summary,
            "Deployment shop/db:443 was asked for server.test and shows a certificate for other.test, *.server.test"
        );
        court.wait(600);
        assert!(!raised(&mut court, "good"));
        assert!(!court.stands(&RULE.id));
    }

    #[test]
    fn a_wildcard_stands_for_one_label() {
        assert!(!raised(&mut Court::new(), "wildcard"));
        for (presented, name, fits) in [
            ("*.example.com", "a.example.com", true),
            ("*.example.com", "A.EXAMPLE.com", true),
            ("*.example.com", "example.com", false),
            ("*.example.com", "a.b.example.com", false),
            ("*.example.com", ".example.com", false),
            ("a*.example.com", "ab.example.com", false),
            ("*.*.example.com", "a.b.example.com", false),
            ("example.com.", "example.com", true),
            ("*", "example", false),
        ] {
            assert_eq!(matches(presented, name), fits, "{presented} {name}");
        }
    }

    #[test]
    fn a_spiffe_identity_is_no_name_of_a_host() {
        assert!(!raised(&mut Court::new(), "spiffe_server"));
    }

    #[test]
    fn without_sni_only_certificates_for_addresses_are_compared_and_only_where_a_client_dialled() {
        assert!(!raised(&mut Court::new(), "no_sni"));
        assert!(!raised(&mut Court::new(), "address"));
        let dialled = |address: [u8; 4]| {
            let mut court = Court::new();
            court.change = match address {
                [198, ..] => |sighting| turn(sighting, [198, 51, 100, 1]),
                [192, 0, 2, _] => |sighting| turn(sighting, [192, 0, 2, 9]),
                _ => |sighting| turn(sighting, [10, 0, 0, 9]),
            };
            raised(&mut court, "address")
        };
        assert!(dialled([198, 51, 100, 1]));
        assert!(!dialled([192, 0, 2, 9]));
        assert!(!dialled([10, 0, 0, 9]));
    }

    /// Seen by the client, who called this address.
    fn turn(sighting: &mut crate::identity::Sighting, address: [u8; 4]) {
        let o = &mut sighting.observation;
        o.local_side = Some(Side::Client);
        std::mem::swap(&mut o.tuple.local, &mut o.tuple.peer);
        o.tuple.peer.addr = IpAddr::from(address);
    }

    #[test]
    fn under_ech_the_name_that_counts_is_not_seen() {
        let mut court = Court::new();
        court.change = |sighting| {
            if let Some(tls) = sighting.observation.tls_mut() {
                tls.ech_offered = true;
            }
        };
        assert!(!raised(&mut court, "other_name"));
    }
}
