//! openssl's opinion of the recorded chains and responses, next to ours.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::testing::{Court, DAY};
use crate::policy::finding::RuleId;
use crate::policy::settings::Settings;

fn opinions(file: &str) -> BTreeMap<String, Vec<String>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/findings").join(file);
    let text = std::fs::read_to_string(path).expect("openssl's opinions");
    let words = |line: &str| line.split(' ').map(str::to_owned).collect::<Vec<_>>();
    text.lines().map(words).map(|mut line| (line.remove(0), line)).collect()
}

/// X509_V_ERR_... of openssl's x509_vfy.h.
fn rule_of(error: &str) -> &'static str {
    match error {
        "9" => "certificate_not_yet_valid",
        "10" => "certificate_expired",
        "7" | "20" | "21" => "certificate_untrusted",
        "18" => "certificate_self_signed",
        "26" => "certificate_wrong_usage",
        "62" => "certificate_name_mismatch",
        "66" | "67" => "certificate_weak_key",
        "68" => "certificate_weak_signature",
        _ => "unknown",
    }
}

#[test]
fn chains_are_judged_as_openssl_does_but_for_these() {
    let ours = [
        // No purpose is left out of "any" (RFC 5280 section 4.2.1.12), and Go agrees.
        ("for_anything", vec![]),
        // openssl accepts an authority's certificate in a server, and 112 bits.
        ("authority", vec!["certificate_wrong_usage"]),
        ("p224", vec!["certificate_weak_key"]),
        // A SPIFFE identity is not the name of a host.
        ("spiffe_server", vec![]),
    ];
    let settings = Settings::default();
    let left_out = ["certificate_expiring", "certificate_stale"];
    let mut compared = 0;
    for (name, errors) in opinions("openssl_verify.txt") {
        let mut court = Court::with(settings.clone(), &["ca", "rsa_ca", "weak_ca"]);
        let found: BTreeSet<String> = court
            .see(&name)
            .into_iter()
            .filter(|rule| rule.starts_with("certificate_") && !left_out.contains(&rule.as_str()))
            .collect();
        let theirs: BTreeSet<String> = errors.iter().map(|error| rule_of(error).to_owned()).collect();
        match ours.iter().find(|(other, _)| *other == name) {
            Some((_, want)) => {
                assert_ne!(found, theirs, "{name} is no difference any more");
                assert_eq!(found.into_iter().collect::<Vec<_>>(), *want, "{name}");
            }
            None => assert_eq!(found, theirs, "{name}"),
        }
        compared += 1;
    }
    assert!(compared > 30, "{compared}");
}

#[test]
fn responses_are_judged_as_openssl_does() {
    for (name, opinion) in opinions("openssl_ocsp.txt") {
        let want = match [opinion[0].as_str(), opinion[1].as_str()] {
            ["signed", status @ ("good" | "revoked")] => status,
            _ => "unusable",
        };
        let mut court = Court::new();
        // Any time at which they are in force: they were made after the day of the tests, for ten years.
        court.now += 365 * DAY;
        court.see(&format!("ocsp_{name}"));
        let stands = court.stands(&RuleId::CertificateRevoked);
        let status = stands.then(|| court.standing(&RuleId::CertificateRevoked));
        let status = status.and_then(|finding| super::testing::text(finding, "tlsight.server.ocsp.status"));
        // Its minute is over.
        let want = if name == "brief" { Some("good") } else { Some(want).filter(|want| *want != "good") };
        assert_eq!(status.as_deref(), want, "{name}");
    }
}

#[test]
fn no_changed_byte_of_a_response_makes_a_good_certificate_revoked_or_a_revoked_one_good() {
    use crate::policy::ocsp::{OcspStatus, verdict};

    for name in ["ocsp_delegated", "ocsp_revoked"] {
        let seen = super::testing::observe(&super::testing::stream(name), 1, super::testing::TODAY);
        let tls = seen[0].tls.as_ref().expect("a handshake");
        let (leaf, response) = (&tls.server_chain[0], tls.ocsp_response.as_ref().expect("stapled"));
        let issuer = super::testing::root("ca");
        let status = |response: &[u8]| verdict(response, leaf, [issuer.as_slice()].into_iter()).status;
        let right = status(response);
        assert!(matches!(right, OcspStatus::Good | OcspStatus::Revoked(..)), "{name}: {right:?}");
        for at in 0..response.len() {
            let mut bytes = response.to_vec();
            bytes[at] ^= 1 << (at % 8);
            let got = status(&bytes);
            assert!(
                got == right || matches!(got, OcspStatus::Unusable(_) | OcspStatus::NotJudged(_)),
                "{name} at {at}: {got:?}"
            );
            assert!(matches!(status(&response[..at]), OcspStatus::Unusable(_)), "{name} cut at {at}");
        }
    }
}

#[test]
fn no_changed_byte_of_a_leaf_keeps_its_chain_trusted() {
    use std::sync::Arc;

    use crate::net::Side;
    use crate::policy::trust::{Roots, Trust, TrustStore};

    let seen = super::testing::observe(&super::testing::stream("by_sub"), 1, super::testing::TODAY);
    let chain = &seen[0].tls.as_ref().expect("a handshake").server_chain;
    let mut store = TrustStore::new(16);
    store.set_bundle("own".into(), [super::testing::root("ca")]);
    let mut trust = |chain: &[Arc<crate::x509::CertificateSummary>]| {
        store.verdict(chain, Side::Server, &Roots::All, super::testing::TODAY).trust.clone()
    };
    assert_eq!(trust(chain), Trust::Trusted { bundle: Some("own".into()) });
    for at in 0..chain[0].der.len() {
        let mut der = chain[0].der.to_vec();
        der[at] ^= 1;
        let changed = [Arc::new(crate::x509::summarize(&der)), Arc::clone(&chain[1])];
        assert!(!matches!(trust(&changed), Trust::Trusted { .. }), "at {at}");
    }
}
