use super::*;

fn certificate(n: u8, name: &str, first: i64, days: i64) -> Arc<CertificateSummary> {
    Arc::new(CertificateSummary {
        sha256: [n; 32],
        sans: vec![San::Dns(name.into())],
        not_before: Some(first),
        not_after: Some(first + days * 86_400),
        ..CertificateSummary::default()
    })
}

fn place(port: u16) -> Place {
    let endpoint = Endpoint::new([192, 0, 2, 1].into(), port);
    Place::Server { endpoint, server_name: None }
}

fn see(history: &mut History, port: u16, leaf: &Arc<CertificateSummary>, secs: u64) -> Option<(u8, u8)> {
    let about = About::Other("place".into());
    let replaced = history.shown(&place(port), &about, leaf, true, Timestamp::from_secs(secs))?;
    Some((replaced.before.sha256[0], replaced.after.sha256[0]))
}

#[test]
fn a_newer_certificate_replaces_an_older_one_once() {
    let mut history = History::new(10);
    let (old, new) = (certificate(1, "a", 1000, 90), certificate(2, "a", 2000, 90));
    assert_eq!(see(&mut history, 443, &old, 10), None);
    assert_eq!(see(&mut history, 443, &old, 20), None);
    assert_eq!(see(&mut history, 443, &new, 30), Some((1, 2)));
    // A replica that is late, and one that is not.
    assert_eq!(see(&mut history, 443, &old, 40), None);
    assert_eq!(see(&mut history, 443, &new, 50), None);
    assert_eq!(history.counters().replaced, 1);
    let at: Vec<_> =
        history.at(&place(443)).map(|s| (s.certificate.sha256[0], s.first_seen, s.last_seen)).collect();
    let time = Timestamp::from_secs;
    assert_eq!(at, [(1, time(10), time(40)), (2, time(30), time(50))]);
}

#[test]
fn an_older_certificate_replaces_nothing() {
    let mut history = History::new(10);
    see(&mut history, 443, &certificate(2, "a", 2000, 90), 10);
    assert_eq!(see(&mut history, 443, &certificate(1, "a", 1000, 90), 20), None);
}

#[test]
fn the_newest_for_the_same_names_is_known_everywhere_after_the_grace() {
    let mut history = History::new(10);
    let (old, new) = (certificate(1, "A.test", 1000, 90), certificate(2, "a.test", 2000, 90));
    let grace = Duration::from_secs(60);
    see(&mut history, 443, &old, 10);
    see(&mut history, 8443, &new, 20);
    let time = Timestamp::from_secs;
    assert_eq!(history.newer(&old, true, time(79), grace), None);
    let newer = history.newer(&old, true, time(80), grace).expect("a newer one");
    assert_eq!((newer.not_before, newer.source.as_ref()), (2000, "192.0.2.1:8443"));
    assert_eq!(history.newer(&new, true, time(80), grace), None);
    assert_eq!(history.newer(&certificate(3, "b.test", 1000, 90), true, time(80), grace), None);
}

#[test]
fn places_names_and_certificates_at_a_place_are_bounded() {
    let mut history = History::new(2);
    for port in 0..5 {
        see(&mut history, port, &certificate(1, &port.to_string(), 1000, 90), 10);
    }
    let counters = history.counters();
    assert_eq!((counters.places_evicted, counters.names_evicted), (3, 3));
    for n in 0..20 {
        see(&mut history, 443, &certificate(n, "a", 1000 - i64::from(n), 90), 10);
    }
    assert_eq!(history.at(&place(443)).count(), MAX_AT_A_PLACE);
}

#[test]
fn certificates_of_another_kind_of_key_or_another_authority_replace_nothing() {
    let mut history = History::new(10);
    let old = certificate(1, "a", 1000, 90);
    let of = |n, key: &str, issuer: &str| {
        Arc::new(CertificateSummary {
            key_algorithm: Some(key.into()),
            issuer: Some(issuer.into()),
            ..(*certificate(n, "a", 1000 + i64::from(n), 90)).clone()
        })
    };
    let (rsa, ec) = (of(2, "RSA", "CN=R10,O=Public"), of(3, "EC", "CN=E5,O=Public"));
    let (own, renewed) = (of(4, "RSA", "CN=inside"), of(5, "RSA", "CN=R11,O=Public"));
    let time = Timestamp::from_secs;
    let mut newer = |leaf: &Arc<CertificateSummary>| {
        history.newer(leaf, true, time(100), Duration::ZERO).map(|newest| newest.not_before)
    };
    assert_eq!(newer(&old), None);
    for (port, leaf) in [(1, &rsa), (1, &ec), (2, &own)] {
        assert_eq!(see(&mut history, port, leaf, 10), None);
    }
    let mut newer = |leaf: &Arc<CertificateSummary>| {
        history.newer(leaf, true, time(100), Duration::ZERO).map(|newest| newest.not_before)
    };
    assert_eq!((newer(&rsa), newer(&ec), newer(&own)), (None, None, None));
    assert_eq!(see(&mut history, 1, &renewed, 20), Some((2, 5)));
    assert_eq!(
        history.newer(&rsa, true, time(100), Duration::ZERO).map(|newest| newest.not_before),
        Some(1005)
    );
}

#[test]
fn what_is_told_of_no_key_in_particular_is_for_all() {
    let mut history = History::new(10);
    let known = |key: Option<&str>, first| KnownCertificate {
        names: vec![San::Dns("A".into())],
        key_algorithm: key.map(str::to_owned),
        not_before: first,
        not_after: first + 100 * 86_400,
        source: "cert-manager".into(),
    };
    history.known_newer(&known(Some("EC"), 2000), Timestamp::from_secs(10));
    let old = certificate(1, "a", 1000, 90);
    assert_eq!(history.newer(&old, true, Timestamp::from_secs(20), Duration::ZERO), None);
    history.known_newer(&known(None, 2000), Timestamp::from_secs(10));
    assert!(history.newer(&old, true, Timestamp::from_secs(20), Duration::ZERO).is_some());
}

#[test]
fn the_organization_is_what_is_left_without_the_common_name() {
    assert_eq!(organization("CN=R10,O=Let's Encrypt,C=US"), "O=Let's Encrypt,C=US");
    assert_eq!(organization("CN=own ca"), "CN=own ca");
    assert_eq!(organization("CN=a\\,b,O=x\\, y"), "O=x\\, y");
    assert_eq!(organization(""), "");
}

#[test]
fn long_certificates_make_the_history_shorter() {
    let mut history = History::new(1000);
    let long = |n: u8, name: String| {
        let mut certificate = (*certificate(n, &name, 1000, 90)).clone();
        certificate.der = vec![n; 1 << 20].into();
        certificate.sans.extend((0..20_000).map(|at| San::Dns(format!("{name}.{at}"))));
        Arc::new(certificate)
    };
    for port in 0..40 {
        see(&mut history, port, &long(port as u8, port.to_string()), 10);
    }
    let counters = history.counters();
    // Some 1.3 MiB each, for names; encodings are not kept.
    assert!((25..33).contains(&counters.places_evicted), "{counters:?}");
    assert_eq!(counters.names_evicted, 0, "sets of names are as long as one another");
    assert_eq!(history.at(&place(39)).count(), 1);
}
