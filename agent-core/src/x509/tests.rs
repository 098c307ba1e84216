use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::*;

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/x509")
}

fn der(name: &str) -> Vec<u8> {
    std::fs::read(directory().join(format!("{name}.der"))).expect("fixture")
}

fn all() -> Vec<(String, Vec<u8>, String)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory()).expect("fixtures") {
        let path = entry.expect("fixture").path();
        if path.extension().is_some_and(|e| e == "der") {
            let openssl = std::fs::read_to_string(path.with_extension("txt")).expect("openssl's view");
            let name = path.file_stem().expect("name").to_string_lossy().into_owned();
            found.push((name, std::fs::read(&path).expect("fixture"), openssl));
        }
    }
    assert!(found.len() >= 16, "fixtures are missing");
    found
}

/// Unix seconds as openssl's `-dateopt iso_8601` prints them; civil calendar after Howard Hinnant's algorithm.
fn iso8601(secs: i64) -> String {
    let (days, rest) = (secs.div_euclid(86400), secs.rem_euclid(86400));
    let z = days + 719_468;
    let era = z.div_euclid(146_097);
    let doe = z.rem_euclid(146_097);
    let yoe = (doe - doe / 1460 + doe / 36_524 - doe / 146_096) / 365;
    let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    let mp = (5 * doy + 2) / 153;
    let (day, month) = (doy - (153 * mp + 2) / 5 + 1, if mp < 10 { mp + 3 } else { mp - 9 });
    let year = yoe + era * 400 + i64::from(month <= 2);
    let (h, m, s) = (rest / 3600, rest / 60 % 60, rest % 60);
    format!("{year:04}-{month:02}-{day:02} {h:02}:{m:02}:{s:02}Z")
}

/// What we read, in the words of `openssl x509`.
fn in_openssls_words(cert: &CertificateSummary) -> BTreeSet<String> {
    let mut lines = BTreeSet::new();
    lines.insert(format!("subject={}", cert.subject.as_ref().expect("subject")));
    lines.insert(format!("issuer={}", cert.issuer.as_ref().expect("issuer")));
    lines.insert(format!("serial={}", cert.serial.as_ref().expect("serial")));
    let hash: Vec<String> = cert.sha256.iter().map(|b| format!("{b:02X}")).collect();
    lines.insert(format!("sha256 Fingerprint={}", hash.join(":")));
    lines.insert(format!("notBefore={}", iso8601(cert.not_before.expect("not before"))));
    lines.insert(format!("notAfter={}", iso8601(cert.not_after.expect("not after"))));
    let algorithm = cert.key_algorithm.as_deref().expect("key algorithm");
    lines.insert(format!(
        "Public Key Algorithm: {}",
        match algorithm {
            "RSA" => "rsaEncryption",
            "EC" => "id-ecPublicKey",
            "DSA" => "dsaEncryption",
            "Ed25519" => "ED25519",
            "Ed448" => "ED448",
            other => other,
        }
    ));
    if !algorithm.starts_with("Ed") {
        lines.insert(format!("Public-Key: ({} bit)", cert.key_bits.expect("bits")));
    }
    let signature = cert.signature_algorithm.as_deref().expect("signature algorithm");
    lines.insert(format!(
        "Signature Algorithm: {}",
        match signature {
            "Ed25519" => "ED25519",
            "Ed448" => "ED448",
            other => other,
        }
    ));
    if let Some(curve) = &cert.curve {
        let (oid, nist) = match curve.as_str() {
            "P-256" => ("prime256v1", true),
            "P-384" => ("secp384r1", true),
            "P-521" => ("secp521r1", true),
            other => (other, false),
        };
        lines.insert(format!("ASN1 OID: {oid}"));
        if nist {
            lines.insert(format!("NIST CURVE: {curve}"));
        }
    }
    lines
}

#[test]
fn says_what_openssl_says_of_every_fixture() {
    for (name, der, openssl) in all() {
        let cert = summarize(&der);
        assert_eq!(cert.problems, [] as [&str; 0], "{name}");
        let theirs: BTreeSet<String> = openssl
            .lines()
            .filter(|l| !["CA:", "Version", "DNS:", "TLS Web", "ED"].iter().any(|p| l.starts_with(p)))
            .map(|l| l.trim_end().to_owned())
            .collect();
        assert_eq!(in_openssls_words(&cert), theirs, "{name}");
        assert_eq!(cert.is_ca, openssl.contains("CA:TRUE"), "{name}");
    }
}

#[test]
fn reads_alternative_names_and_usages() {
    let cert = summarize(&der("leaf"));
    let ip = |s: &str| San::Ip(s.parse().expect("address"));
    assert_eq!(
        cert.sans,
        [
            San::Dns("example.com".into()),
            San::Dns("*.example.com".into()),
            ip("192.0.2.1"),
            ip("2001:db8::1"),
            San::Uri("spiffe://example.org/ns/a/sa/b".into()),
            San::Uri("https://example.com/".into()),
            San::Email("a@example.com".into()),
        ]
    );
    assert_eq!(cert.spiffe_id(), Some("spiffe://example.org/ns/a/sa/b"));
    let usage = cert.extended_key_usage.clone().expect("usages");
    assert_eq!(
        usage,
        [
            ExtendedKeyUsage::ServerAuth,
            ExtendedKeyUsage::ClientAuth,
            ExtendedKeyUsage::Other("1.2.3.4.5".into())
        ]
    );
    assert_eq!(cert.subject.as_deref(), Some(""));
    assert!(!cert.self_issued && !cert.self_signed_hint && !cert.is_ca);
    let root = summarize(&der("rsa_ca"));
    assert!(root.self_issued && root.self_signed_hint && root.is_ca);
    assert_eq!(root.extended_key_usage, None);
}

#[test]
fn names_post_quantum_algorithms() {
    assert_eq!(names::key_algorithm("2.16.840.1.101.3.4.3.18"), Some(("ML-DSA-65", None)));
    assert_eq!(names::signature_algorithm("2.16.840.1.101.3.4.3.18"), Some("ML-DSA-65"));
}

#[test]
fn a_bad_field_does_not_hide_the_others() {
    let good = summarize(&der("p384"));
    let mut bytes = der("p384");
    // The second UTCTime is notAfter: make its month 99.
    let utc: Vec<usize> = (0..bytes.len() - 1).filter(|i| bytes[*i..*i + 2] == [0x17, 13]).collect();
    bytes[utc[1] + 4] = b'9';
    bytes[utc[1] + 5] = b'9';
    let bad = summarize(&bytes);
    assert_eq!(bad.problems, ["bad_not_after"]);
    let want = CertificateSummary {
        sha256: bad.sha256,
        der: bytes.into(),
        not_after: None,
        problems: vec!["bad_not_after"],
        ..good
    };
    assert_eq!(bad, want);
}

#[test]
fn negative_serials_show_their_sign() {
    let mut bytes = der("zero_serial");
    let at = bytes.windows(3).position(|w| w == [2, 1, 0]).expect("serial");
    bytes[at + 2] = 0xff;
    assert_eq!(summarize(&bytes).serial.as_deref(), Some("-01"));
}

#[test]
fn truncation_at_every_byte_is_named() {
    for (name, der, _) in all() {
        for end in 0..der.len() {
            let cert = summarize(&der[..end]);
            assert_eq!(cert.problems, ["truncated_or_not_a_certificate"], "{name} cut at {end}");
        }
        let mut longer = der.clone();
        longer.push(0);
        assert_eq!(summarize(&longer).problems, ["trailing_bytes"], "{name}");
    }
}

#[test]
fn no_flipped_byte_panics() {
    for (_, der, _) in all() {
        for at in 0..der.len() {
            for flip in [1, 0x80, 0xff, 0x20] {
                let mut bytes = der.clone();
                bytes[at] ^= flip;
                summarize(&bytes);
            }
        }
    }
}

/// What a cache without room for more would give for one certificate.
fn one(cache: &mut CertificateCache, der: &[u8]) -> Option<Arc<CertificateSummary>> {
    cache.chain(&[der])?.pop()
}

#[test]
fn parses_each_distinct_certificate_once_and_evicts_within_its_bound() {
    let mut cache = CertificateCache::new(4, usize::MAX);
    let leaf = der("leaf");
    let first = one(&mut cache, &leaf).unwrap();
    let again = one(&mut cache, &leaf).unwrap();
    assert!(Arc::ptr_eq(&first, &again));
    let held_bytes = first.bytes();
    let want = CertificateCounters { hits: 1, misses: 1, held_bytes, ..CertificateCounters::default() };
    assert_eq!(cache.counters(), want);
    for n in 0..20u8 {
        one(&mut cache, &[n]);
    }
    let counters = cache.counters();
    assert_eq!((counters.misses, counters.malformed), (21, 20));
    assert!(counters.evicted >= 16, "{counters:?}");
}

#[test]
fn long_certificates_leave_room_for_fewer() {
    let mut cache = CertificateCache::new(16, usize::MAX);
    for n in 0..64u8 {
        one(&mut cache, &[n; 20_000]);
    }
    let counters = cache.counters();
    assert!(counters.held_bytes <= 16 * 3072, "{counters:?}");
    assert!(counters.evicted >= 60, "{counters:?}");
}

#[test]
fn certificates_beyond_what_a_chain_may_have_are_not_looked_at() {
    let mut cache = CertificateCache::new(100, usize::MAX);
    let chain: Vec<[u8; 2]> = (0..40u8).map(|n| [48, n]).collect();
    assert_eq!(cache.chain(&chain).map(|chain| chain.len()), Some(MAX_CERTIFICATES));
    assert_eq!((cache.counters().misses, cache.counters().cut), (32, 8));
}

#[test]
fn a_certificate_that_is_sent_again_and_again_is_one() {
    let mut cache = CertificateCache::new(100, usize::MAX);
    let leaf = der("leaf");
    let chain = cache.chain(&[&leaf, &leaf, &leaf]).expect("room");
    assert!(chain.iter().all(|one| Arc::ptr_eq(one, &chain[0])) && chain.len() == 3);
    let counters = cache.counters();
    assert_eq!((counters.misses, counters.hits, counters.evicted), (1, 2, 0));
    assert_eq!(counters.held_bytes, chain[0].bytes());
}

#[test]
fn without_room_chains_are_not_kept_and_long_ones_go_first() {
    let mut cache = CertificateCache::new(4, 200_000);
    let long = |n: u8| vec![n; 40_000];
    let held: Vec<_> = (0..3).filter_map(|n| one(&mut cache, &long(n))).collect();
    assert_eq!(held.len(), 3);
    // More than half of it is held: no more of these, but others.
    assert_eq!(one(&mut cache, &long(9)), None);
    assert!(one(&mut cache, &[9; 100]).is_some());
    let mut short = Vec::new();
    while let Some(certificate) = one(&mut cache, &[short.len() as u8; 9000]) {
        short.push(certificate);
    }
    assert!(cache.counters().held_bytes <= 215_000, "{:?}", cache.counters());
    assert_eq!(cache.counters().not_kept, 2);
    drop((held, short));
    assert!(cache.counters().held_bytes <= 4 * 3072, "what is only remembered: {:?}", cache.counters());
    assert!(one(&mut cache, &[77; 9000]).is_some());
}

#[test]
fn what_is_known_needs_no_room_and_is_not_forgotten_for_others() {
    let mut cache = CertificateCache::new(100, 10_000);
    let leaf = der("leaf");
    let known = one(&mut cache, &leaf).unwrap();
    let more: Vec<_> = (0..20).map_while(|n| one(&mut cache, &[n; 3000])).collect();
    assert!(more.len() < 20 && cache.counters().held_bytes >= 10_000, "{:?}", cache.counters());
    assert!(one(&mut cache, &leaf).is_some_and(|again| Arc::ptr_eq(&again, &known)));
    assert_eq!((cache.counters().not_kept, cache.counters().evicted), (1, 0));
}

#[test]
fn responses_that_nobody_sends_are_not_kept() {
    let mut cache = CertificateCache::new(4, 10_000);
    let kept = cache.response(vec![1; 2000]).expect("a response");
    assert_eq!((kept.len(), cache.counters().held_bytes), (2000, 2000));
    assert_eq!(cache.response(vec![1; 9000]), None);
    let more: Vec<_> = std::iter::from_fn(|| cache.response(vec![2; 4000])).collect();
    assert_eq!((more.len(), cache.counters().responses_not_kept), (2, 2));
    drop((kept, more));
    assert_eq!(cache.counters().held_bytes, 0);
}

#[test]
fn what_is_wrong_many_times_is_told_once() {
    // Names of five bytes that are addresses: neither IPv4 nor IPv6.
    let names: Vec<u8> = std::iter::repeat_n([0x87, 1, 7], 5000).flatten().collect();
    let mut summary = CertificateSummary::default();
    let san = [sequence_header(names.len()), names].concat();
    let value = tlv(0x04, &san);
    let extension = tlv(0x30, &[tlv(0x06, &[0x55, 0x1d, 17]), value].concat());
    parse::extensions(&extension, &mut summary).expect("extensions");
    assert_eq!(summary.problems, ["bad_ip_name"]);
    let names: Vec<u8> = std::iter::repeat_n([0x82, 1, b'a'], 5000).flatten().collect();
    let san = [sequence_header(names.len()), names].concat();
    let extension = tlv(0x30, &[tlv(0x06, &[0x55, 0x1d, 17]), tlv(0x04, &san)].concat());
    let mut summary = CertificateSummary::default();
    parse::extensions(&extension, &mut summary).expect("extensions");
    assert_eq!((summary.sans.len(), summary.problems), (1000, vec!["too_many_alternative_names"]));
    let many: Vec<u8> =
        (0..100u8).flat_map(|n| tlv(0x30, &[tlv(0x06, &[42, n]), tlv(0x04, &[])].concat())).collect();
    assert_eq!(parse::extensions(&many, &mut CertificateSummary::default()), Err("too_many_extensions"));
}

fn sequence_header(len: usize) -> Vec<u8> {
    let [high, low] = u16::try_from(len).unwrap().to_be_bytes();
    vec![0x30, 0x82, high, low]
}

fn tlv(tag: u8, body: &[u8]) -> Vec<u8> {
    let [high, low] = u16::try_from(body.len()).unwrap().to_be_bytes();
    [&[tag, 0x82, high, low], body].concat()
}
