use std::sync::Arc;

use super::{Check, Input, Judgement, Rule, RuleId, Severity, is_client_certain};
use crate::net::Side;
use crate::observation::Security;
use crate::policy::evidence;
use crate::policy::expectation::{AllowedClients, Mode};
use crate::policy::permission::Admission;
use crate::policy::target::Target;
use crate::x509::{CertificateSummary, San};

pub(super) static RULE: Rule = Rule {
    id: RuleId::ClientIdentityNotAllowed,
    severity: Severity::Critical,
    checks: "Policy says which clients may call the target, and one got in whose certificate is none of them: neither its \
             subject, nor a subject alternative name, nor its SPIFFE id is on the list. A client without any certificate \
             is on no list either, where `plaintext_traffic` or `mtls_missing` do not say so already. A client that was \
             refused is no finding, and one whose certificate was not seen is not judged. Each identity that a client \
             calls with is a finding of its own.",
    advice: "If the client is meant to call the target, add it to the list; otherwise make the server authorize by identity: \
             trusting the authority is not enough.",
    clears: "The list lets the identity in; or, of a client without a certificate, it calls the target with an identity that \
             is on the list.",
    check: Check::Connection(check),
};

fn check(input: &Input<'_>) -> Judgement {
    let about = input.subjects.hop();
    let Some((expectation, allowed)) = input
        .expectation
        .and_then(|expectation| Some((expectation, expectation.allowed_clients.as_deref()?)))
    else {
        return Judgement::NotApplicable;
    };
    let o = input.observation();
    let leaf = o.tls.as_ref().and_then(|tls| tls.client_chain.first());
    let (client, target) = (&input.subjects.client, &input.subjects.target);
    if !allowed.permissions.is_empty() {
        return by_permissions(input, allowed, leaf.filter(|_| o.security == Security::Mtls));
    }
    match (o.security, leaf) {
        (Security::Mtls, Some(leaf)) if is_allowed(leaf, allowed) => {
            Judgement::Good(input.subjects.caller(leaf))
        }
        (Security::Mtls, Some(leaf)) => {
            let summary =
                format!("{client} calls {target} as {}, which is not on its list", super::name(leaf));
            let mut finding = input.finding(&RULE, input.subjects.caller(leaf), summary);
            evidence::certificate(&mut finding.evidence, Side::Client, leaf);
            Judgement::Raised(finding)
        }
        // TLS whose handshake shows no identity, or plaintext.
        (Security::Tls, _) if is_client_certain(o) && expectation.mode != Mode::Strict => {
            nobody(input, about, format!("{client} calls {target} over TLS without an identity"))
        }
        (Security::Plaintext, _) if matches!(expectation.mode, Mode::Permissive | Mode::Disable) => {
            nobody(input, about, format!("{client} calls {target} in plaintext, without an identity"))
        }
        _ => Judgement::NotApplicable,
    }
}

/// As the documents say that are about the target. Who shows no certificate is told elsewhere, where that is wrong.
fn by_permissions(
    input: &Input<'_>,
    allowed: &AllowedClients,
    leaf: Option<&Arc<CertificateSummary>>,
) -> Judgement {
    let (Some(leaf), Some(asked)) = (leaf, Target::of(input.sighting)) else {
        return Judgement::NotApplicable;
    };
    let about = input.subjects.hop();
    match allowed.permissions.admits(&asked, leaf.spiffe_id()) {
        Admission::Unspoken | Admission::Unknown => Judgement::NotApplicable,
        Admission::Admitted => Judgement::Good(about),
        Admission::Refused(origin) => {
            let (client, target) = (&input.subjects.client, &input.subjects.target);
            let name = super::name(leaf);
            let summary = format!("{client} calls {target} as {name}, whom {origin} does not let in");
            let mut finding = input.finding(&RULE, about, summary);
            evidence::certificate(&mut finding.evidence, Side::Client, leaf);
            Judgement::Raised(finding)
        }
    }
}

fn nobody(input: &Input<'_>, about: crate::policy::about::About, summary: String) -> Judgement {
    if input.subjects.scope == Some(crate::identity::Scope::Pod) {
        return Judgement::NotApplicable;
    }
    Judgement::Raised(input.finding(&RULE, about, format!("{summary}; its list lets in only some clients")))
}

fn is_allowed(leaf: &CertificateSummary, allowed: &AllowedClients) -> bool {
    let any =
        |patterns: &[String], text: &str| patterns.iter().any(|pattern| matches(pattern, text, str::eq));
    let san = |san: &San| match san {
        // Names of hosts are the same in capitals (RFC 4343).
        San::Dns(name) => {
            allowed.sans.iter().any(|pattern| matches(pattern, name, str::eq_ignore_ascii_case))
        }
        other => any(&allowed.sans, &other.to_string()),
    };
    leaf.subject.as_deref().is_some_and(|subject| any(&allowed.subjects, subject))
        || leaf.spiffe_id().is_some_and(|id| any(&allowed.spiffe_ids, id))
        || leaf.sans.iter().any(san)
}

/// `*` at one end matches any rest; alone it matches everything but the empty string.
fn matches(pattern: &str, text: &str, is_same: fn(&str, &str) -> bool) -> bool {
    let begins = |prefix: &str| text.get(..prefix.len()).is_some_and(|head| is_same(head, prefix));
    let ends = |suffix: &str| {
        let at = text.len().checked_sub(suffix.len());
        at.and_then(|at| text.get(at..)).is_some_and(|tail| is_same(tail, suffix))
    };
    match (pattern.strip_prefix('*'), pattern.strip_suffix('*')) {
        (Some(""), _) => !text.is_empty(),
        (_, Some(prefix)) => begins(prefix),
        (Some(suffix), None) => ends(suffix),
        (None, None) => is_same(pattern, text),
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Court, allowing, http};
    use super::*;
    use crate::policy::permission::{Permission, Permissions, Says, Who};
    use crate::policy::selector::{PortMatch, Selector};

    const ID: &str = "spiffe://tlsight.test/ns/shop/sa/cart";

    fn court(mode: Mode, fill: impl FnOnce(&mut AllowedClients)) -> Court {
        let mut allowed = AllowedClients::default();
        fill(&mut allowed);
        Court::new().expecting(allowing(mode, allowed))
    }

    fn raised(court: &mut Court, name: &str) -> bool {
        court.see(name).contains(&"client_identity_not_allowed".to_owned())
    }

    #[test]
    fn an_identity_off_the_list_is_raised_and_clears_when_it_is_added() {
        let mut court = court(Mode::Strict, |allowed| {
            allowed.spiffe_ids = vec!["spiffe://tlsight.test/ns/shop/sa/db".into()]
        });
        assert!(raised(&mut court, "client"));
        assert_eq!(
            court.standing(&RULE.id).summary,
            format!("Deployment shop/cart calls Deployment shop/db:443 as {ID}, which is not on its list")
        );
        let allowed = AllowedClients { spiffe_ids: vec![ID.into()], ..AllowedClients::default() };
        court.expectation = Some(allowing(Mode::Strict, allowed));
        court.wait(600);
        assert!(!raised(&mut court, "client"));
        assert!(!court.stands(&RULE.id));
    }

    #[test]
    fn each_identity_is_a_finding_and_a_client_without_any_another_one() {
        let mut court = court(Mode::Tls, |allowed| allowed.sans = vec!["*.example".into()]);
        assert!(raised(&mut court, "client"));
        court.change = |sighting| {
            let tls = sighting.observation.tls_mut().expect("a handshake");
            let mut other = CertificateSummary::clone(&tls.client_chain[0]);
            other.sans = vec![crate::x509::San::Dns("other.test".into())];
            tls.client_chain = vec![std::sync::Arc::new(other)];
        };
        assert!(raised(&mut court, "client"));
        court.change = |_| {};
        assert!(raised(&mut court, "good"));
        let about: Vec<String> = court
            .judge
            .ledger()
            .standing()
            .filter(|standing| standing.finding.rule == RULE.id)
            .map(|s| s.finding.about.to_string())
            .collect();
        let hop = "Deployment shop/cart -> Deployment shop/db:443";
        assert_eq!(about, [format!("{hop} as {ID}"), format!("{hop} as other.test"), hop.to_owned()]);
        // One of them is let in: that one is over, and so is what was said of a client without any.
        let allowed = AllowedClients { spiffe_ids: vec![ID.into()], ..AllowedClients::default() };
        court.expectation = Some(allowing(Mode::Tls, allowed));
        court.wait(600);
        assert!(!raised(&mut court, "client"));
        assert_eq!(court.standing(&RULE.id).about.to_string(), format!("{hop} as other.test"));
    }

    #[test]
    fn subjects_names_and_prefixes_let_in() {
        let fills: [fn(&mut AllowedClients); 5] = [
            |allowed| allowed.subjects = vec!["CN=client,O=tlsight".into()],
            |allowed| allowed.sans = vec!["*.test".into()],
            |allowed| allowed.sans = vec!["Cart.TEST".into()],
            |allowed| allowed.spiffe_ids = vec!["spiffe://tlsight.test/ns/shop/*".into()],
            |allowed| allowed.spiffe_ids = vec!["*".into()],
        ];
        for fill in fills {
            assert!(!raised(&mut court(Mode::Strict, fill), "client"));
        }
    }

    #[test]
    fn documents_about_targets_of_their_own_let_in_and_keep_out() {
        let permission = |selector: Selector, who: Who, says: Says| Permission {
            selector,
            entries: vec![(who, says)],
            origin: allowing(Mode::Strict, AllowedClients::default()).origin,
        };
        let elsewhere = Selector { ports: vec![PortMatch::one(1)], ..Selector::default() };
        let everywhere = Selector::default;
        let court_of =
            |list: Vec<Permission>| court(Mode::Strict, |allowed| allowed.permissions = Permissions(list));
        let me = || Who::Id(ID.into());
        assert!(!raised(&mut court_of(vec![permission(everywhere(), me(), Says::Allow)]), "client"));
        let mut court = court_of(vec![permission(everywhere(), me(), Says::Deny)]);
        assert!(raised(&mut court, "client"));
        let summary = court.standing(&RULE.id).summary.to_string();
        assert!(summary.contains(ID) && summary.ends_with(" does not let in"), "{summary}");
        assert!(!raised(&mut court_of(vec![permission(elsewhere, me(), Says::Deny)]), "client"));
        assert!(!raised(&mut court_of(vec![permission(everywhere(), Who::Unknown, Says::Deny)]), "client"));
        // Somebody else is let in.
        let other = permission(everywhere(), Who::Prefix("spiffe://other/".into()), Says::Allow);
        assert!(raised(&mut court_of(vec![other]), "client"));
    }

    #[test]
    fn nobody_is_on_no_list() {
        let only_cart = |allowed: &mut AllowedClients| allowed.spiffe_ids = vec![ID.into()];
        assert!(raised(&mut court(Mode::Tls, only_cart), "good"));
        assert!(
            court(Mode::Permissive, only_cart)
                .see_bytes(&http())
                .contains(&"client_identity_not_allowed".to_owned())
        );
        // These are told elsewhere.
        assert!(!raised(&mut court(Mode::Strict, only_cart), "good"));
        assert_eq!(court(Mode::Strict, only_cart).see_bytes(&http()), ["plaintext_traffic"]);
    }

    #[test]
    fn clients_that_were_refused_or_whose_certificate_was_not_seen_are_not_judged() {
        let nobody = |_: &mut AllowedClients| {};
        for name in ["tls12_stranger", "tls12_ticket", "tls13_sent", "tls13_resumed"] {
            assert!(!raised(&mut court(Mode::Strict, nobody), name), "{name}");
        }
    }
}
