//! What counts, and that it counts once.

use super::*;
use crate::report::protection::Counts;

fn counts(report: &Report) -> Counts {
    report.connections.counts
}

#[test]
fn both_ends_of_a_connection_count_once() {
    let report = report_of(&[
        line(1, "client", "mtls", both(workload("local", "cart"), &workload("peer", "db"))),
        line(2, "server", "mtls", both(workload("local", "db"), &json!({"network.peer.port": 40001}))),
    ]);
    assert_eq!(counts(&report), Counts { mtls: 1, ..Counts::default() });
    let service = &report.services[0];
    assert_eq!(service.name.to_string(), "Deployment shop/db:443");
    assert_eq!(service.callers[0].name.to_string(), "Deployment shop/cart");
    assert_eq!((report.services.len(), service.callers.len()), (1, 1));
}

#[test]
fn verdict_and_end_count_once_and_the_last_line_holds() {
    let report = report_of(&[
        line(
            1,
            "client",
            "tls",
            json!({"tlsight.phase": "verdict", "tls.protocol.name": "tls",
            "tls.protocol.version": "1.3", "tls.cipher": "TLS_AES_128_GCM_SHA256"}),
        ),
        line(
            1,
            "client",
            "mtls",
            json!({"tls.protocol.name": "tls", "tls.protocol.version": "1.3",
            "tls.cipher": "TLS_AES_256_GCM_SHA384", "tls.curve": "x25519", "tlsight.duration_ms": 1500.0}),
        ),
    ]);
    assert_eq!(counts(&report), Counts { mtls: 1, ..Counts::default() });
    let suites: Vec<&str> = report.algorithms.suites.iter().map(|u| u.suite.name.as_str()).collect();
    assert_eq!(suites, ["TLS_AES_256_GCM_SHA384"]);
    assert_eq!(report.services[0].period.last_seen, "2026-01-01T10:00:01Z");
}

#[test]
fn an_end_that_gets_its_name_late_leaves_no_nameless_service_behind() {
    let report = report_of(&[
        line(1, "client", "plaintext", json!({"tlsight.phase": "verdict"})),
        line(1, "client", "plaintext", both(workload("peer", "db"), &workload("local", "cart"))),
    ]);
    let service = &report.services[0];
    assert_eq!((report.services.len(), service.name.to_string().as_str()), (1, "Deployment shop/db:443"));
    assert_eq!((service.callers.len(), service.connections.plaintext), (1, 1));
}

#[test]
fn a_masqueraded_caller_counts_once_and_by_its_own_address() {
    let client = json!({"network.peer.address": "10.99.0.1", "network.peer.port": 30080, "process.pid": 7,
        "tlsight.peer.process.pid": 8});
    let server = json!({"network.peer.address": "10.1.0.1", "network.peer.port": 50001, "process.pid": 8,
        "tlsight.peer.process.pid": 7, "tlsight.peer.address": "10.0.0.1", "tlsight.peer.port": 40001});
    let both_ends = report_of(&[
        line(1, "client", "mtls", both(workload("local", "cart"), &client)),
        line(2, "server", "mtls", both(workload("local", "db"), &server)),
    ]);
    assert_eq!(counts(&both_ends), Counts { mtls: 1, ..Counts::default() });
    let alone = report_of(&[line(2, "server", "mtls", both(workload("local", "db"), &server))]);
    assert_eq!(alone.services[0].callers[0].name.to_string(), "10.0.0.1");
}

#[test]
fn ends_with_a_translated_address_between_them_are_told_by_their_processes() {
    let client = json!({"network.peer.address": "10.96.0.1", "network.peer.port": 80, "process.pid": 7,
        "tlsight.peer.k8s.service.name": "front", "tlsight.peer.k8s.namespace.name": "shop"});
    let server = both(
        workload("local", "web"),
        &json!({"network.peer.port": 40001, "process.pid": 8, "network.local.port": 8080}),
    );
    let apart =
        report_of(&[line(1, "client", "mtls", client.clone()), line(2, "server", "mtls", server.clone())]);
    assert_eq!(apart.connections.total, 2);
    let together = report_of(&[
        line(1, "client", "mtls", both(client, &json!({"tlsight.peer.process.pid": 8}))),
        line(2, "server", "mtls", server),
    ]);
    assert_eq!(together.connections.total, 1);
    let service = &together.services[0];
    assert_eq!(service.name.to_string(), "Deployment shop/web:8080");
    assert_eq!(service.dialled, ["shop/front"]);
}

#[test]
fn other_connections_from_the_same_port_are_no_other_ends() {
    let later = json!({"network.peer.port": 40001, "timestamp": "2026-01-01T10:01:00Z"});
    let report = report_of(&[
        line(1, "client", "mtls", json!({})),
        line(2, "server", "mtls", later),
        line(3, "client", "mtls", json!({"network.local.port": 40001})),
    ]);
    assert_eq!(report.connections.total, 3);
}

#[test]
fn loopback_addresses_of_two_files_are_of_two_hosts() {
    let loopback = json!({"network.local.address": "127.0.0.1", "network.peer.address": "127.0.0.1"});
    let of = |second: u32| {
        let mut model = Model::new(Limits::default());
        let client = line(1, "client", "tls", loopback.clone());
        let server = line(2, "server", "tls", both(loopback.clone(), &json!({"network.peer.port": 40001})));
        for (source, line) in [(0, client), (second, server)] {
            model.take(source, &Line::parse(line.to_string().as_bytes()).expect("a line"));
        }
        model.report(Options { now: NOW, min_connections: 1 }).connections.total
    };
    assert_eq!((of(0), of(1)), (1, 2));
}

#[test]
fn hops_inside_a_pod_count_nowhere_else() {
    let report = report_of(&[
        line(1, "client", "plaintext", json!({"tlsight.scope": "pod"})),
        // One end knows.
        line(2, "client", "plaintext", json!({})),
        line(3, "server", "plaintext", json!({"network.peer.port": 40002, "tlsight.scope": "pod"})),
    ]);
    assert_eq!((report.connections.total, report.connections.in_pod), (0, 2));
    assert!(report.services.is_empty());
}

#[test]
fn who_has_no_part_yet_counts_once_it_has_one() {
    let nobody = line(1, "client", "unknown", json!({"tlsight.role": null, "tlsight.phase": "verdict"}));
    let report = report_of(std::slice::from_ref(&nobody));
    assert_eq!((report.connections.total, report.connections.without_role), (0, 1));
    let report = report_of(&[nobody, line(1, "client", "tls", json!({}))]);
    assert_eq!((report.connections.total, report.connections.without_role), (1, 0));
}

fn shown(sha256: &str, not_after: &str) -> Value {
    json!({"tls.server.hash.sha256": sha256, "tls.server.not_after": not_after, "tls.server.subject": "CN=db",
        "tlsight.server.key_algorithm": "EC", "tlsight.server.key_curve": "P-256", "tlsight.server.key_bits": 256,
        "tlsight.server.signature_algorithm": "ecdsa-with-SHA256"})
}

#[test]
fn certificates_are_sorted_by_their_end_and_days_are_whole() {
    let report = report_of(&[
        line(1, "client", "tls", shown("AA", "2026-01-03T00:00:00Z")),
        line(2, "client", "tls", shown("AA", "2026-01-03T00:00:00Z")),
        line(3, "client", "tls", shown("BB", "2026-01-01T23:59:59Z")),
        line(4, "client", "tls", shown("CC", "2026-01-02T23:59:59Z")),
        line(6, "client", "tls", shown("EE", "2025-12-22T12:00:00Z")),
        line(5, "client", "tls", both(shown("DD", ""), &json!({"tls.server.not_after": null}))),
    ]);
    let days: Vec<_> =
        report.certificates.iter().map(|c| (c.sha256.as_str(), c.days_left, c.connections)).collect();
    assert_eq!(
        days,
        [("EE", Some(-10), 1), ("BB", Some(0), 1), ("CC", Some(0), 1), ("AA", Some(1), 2), ("DD", None, 1)]
    );
    assert_eq!(report.certificates[1].shown_by, ["10.0.0.2:443"]);
    assert_eq!(
        report.algorithms.keys.iter().map(|k| (k.name.as_str(), k.count)).collect::<Vec<_>>(),
        [("EC P-256", 5)]
    );
    assert_eq!(report.services[0].certificates, ["AA", "BB", "CC", "DD", "EE"]);
}

#[test]
fn certificates_of_a_process_are_listed_without_a_connection() {
    let report = report_of(&[json!({"timestamp": "2026-01-01T10:00:00Z", "tlsight.phase": "process",
        "process.pid": 7, "process.executable.name": "curl", "tlsight.peer.hash.sha256": "AA"})]);
    assert_eq!(report.connections.total, 0);
    let certificate = &report.certificates[0];
    assert_eq!(
        (certificate.sides.as_slice(), certificate.shown_by.as_slice()),
        (["peer".to_owned()].as_slice(), ["a peer of curl".to_owned()].as_slice())
    );
}

#[test]
fn post_quantum_share_is_of_what_is_known() {
    let tls = |group: Option<&str>, resumed: bool| {
        json!({"tls.protocol.name": "tls", "tls.protocol.version": "1.3",
        "tls.cipher": "TLS_AES_128_GCM_SHA256", "tls.curve": group, "tls.resumed": resumed})
    };
    let report = report_of(&[
        line(1, "client", "mtls", tls(Some("X25519MLKEM768"), false)),
        line(2, "client", "tls", tls(Some("x25519"), false)),
        line(3, "client", "tls", tls(Some("x25519"), true)),
        line(4, "client", "tls", tls(Some("secp384r1"), true)),
        line(5, "client", "tls", tls(None, true)),
        // Nothing was exchanged under this one.
        line(
            6,
            "client",
            "unknown",
            both(tls(Some("X25519MLKEM768"), false), &json!({"tlsight.security.reason": "handshake_failed"})),
        ),
    ]);
    let k = report.algorithms.key_exchange;
    assert_eq!((k.post_quantum, k.classical, k.pre_shared_key, k.unknown), (1, 3, 1, 0));
    assert_eq!(k.post_quantum_share, Some(0.25));
    let groups: Vec<_> = report.algorithms.groups.iter().map(|u| (u.name.as_str(), u.count)).collect();
    assert_eq!(groups, [("x25519", 2), ("X25519MLKEM768", 1), ("secp384r1", 1)]);
}

#[test]
fn findings_are_counted_by_rule_the_worst_first() {
    let report = report_of(&[
        line(1, "client", "plaintext", json!({"tlsight.findings": ["plaintext_traffic", "own_rule"]})),
        line(
            2,
            "client",
            "plaintext",
            json!({"tlsight.findings": ["plaintext_traffic", "not_quantum_safe"]}),
        ),
        // Cleared at its end.
        line(3, "client", "tls", json!({"tlsight.phase": "verdict", "tlsight.findings": ["weak_cipher"]})),
        line(3, "client", "tls", json!({})),
    ]);
    let found: Vec<_> =
        report.findings.iter().map(|f| (f.rule.as_str(), f.severity.as_deref(), f.connections)).collect();
    let mut expected = vec![("plaintext_traffic", 2), ("own_rule", 1), ("not_quantum_safe", 1)];
    expected.retain(|(rule, n)| found.iter().any(|f| f.0 == *rule && f.2 == *n));
    assert_eq!((expected.len(), found.len()), (3, 3), "{found:?}");
    assert_eq!(found.last().map(|f| (f.0, f.1)), Some(("not_quantum_safe", Some("information"))));
}

#[test]
fn sums_hold_whatever_the_order_of_lines() {
    let mut lines = Vec::new();
    for n in 0..200u64 {
        let security = ["plaintext", "tls", "mtls", "unknown"][usize::try_from(n % 4).expect("small")];
        let more = json!({"tlsight.findings": ["weak_cipher"], "tls.server.hash.sha256": format!("{:02X}", n % 7),
            "network.local.port": 40000 + n % 50});
        let mut early = line(n, "client", security, more.clone());
        set(&mut early, &json!({"tlsight.phase": "verdict", "tlsight.security": "unknown"}));
        lines.push(early);
        lines.push(line(n, "client", security, more));
        lines.push(line(1000 + n, "server", security, json!({"network.peer.port": 40000 + n % 50})));
    }
    for step in [1, 7, 101] {
        let shuffled: Vec<Value> = (0..lines.len()).map(|i| lines[i * step % lines.len()].clone()).collect();
        let report = report_of(&shuffled);
        let sum: u64 = report.services.iter().map(|s| s.connections.total()).sum();
        let callers: u64 =
            report.services.iter().flat_map(|s| &s.callers).map(|c| c.connections.total()).sum();
        assert_eq!((sum, callers), (report.connections.total, report.connections.total), "step {step}");
        assert!(report.connections.total >= 200, "step {step}: {}", report.connections.total);
        assert_eq!(report.limits, Default::default());
    }
}

#[test]
fn findings_stand_until_they_clear() {
    let news = |event: &str, about: &str, severity: &str| {
        json!({"timestamp": "2026-01-01T10:00:00Z", "tlsight.event": event, "tlsight.finding.rule": "weak_cipher",
            "tlsight.finding.about": about, "tlsight.finding.severity": severity, "tlsight.finding.count": 2,
            "tlsight.finding.first_seen": "2026-01-01T09:00:00Z", "tlsight.finding.last_seen": "2026-01-01T10:00:00Z"})
    };
    let report = report_of(&[
        news("finding_raised", "a", "warning"),
        news("finding_raised", "b", "warning"),
        news("finding_updated", "b", "critical"),
        news("finding_cleared", "a", "warning"),
        json!({"timestamp": "2026-01-01T10:00:00Z", "tlsight.event": "certificate_replaced"}),
    ]);
    let finding = &report.findings[0];
    let active: Vec<_> =
        finding.active.iter().map(|a| (a.about.as_str(), a.count, a.first_seen.as_str())).collect();
    assert_eq!(active, [("b", 2, "2026-01-01T09:00:00Z")]);
    assert_eq!((finding.severity.as_deref(), finding.connections), (Some("critical"), 0));
}
