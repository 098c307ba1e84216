//! Every bound, and what is said when it is reached.

use super::*;
use crate::report::limits::Cut;

fn few() -> Limits {
    Limits {
        services: 2,
        callers: 2,
        all_callers: 3,
        certificates: 2,
        names: 2,
        algorithms: 2,
        rules: 1,
        findings: 1,
        open: 4,
        over: 2,
        over_for: None,
    }
}

fn cut(limits: Limits, lines: &[Value]) -> (Report, Cut) {
    let report = model_of(limits, lines).report(Options { now: NOW, min_connections: 1 });
    let cut = report.limits;
    (report, cut)
}

#[test]
fn services_beyond_the_bound_are_counted_together() {
    let lines: Vec<Value> =
        (0..5).map(|n| line(n, "client", "plaintext", json!({"network.peer.port": 80 + n}))).collect();
    let (report, cut) = cut(few(), &lines);
    assert_eq!((report.services.len(), report.connections.total), (2, 5));
    assert_eq!(report.other_services.map(|others| others.plaintext), Some(3));
    assert_eq!(cut.connections_of_other_services, 3);
}

#[test]
fn what_counted_beyond_the_bound_is_taken_back_there() {
    let early = json!({"tlsight.phase": "verdict", "network.peer.port": 90});
    let (report, _) = cut(
        few(),
        &[
            line(0, "client", "tls", json!({})),
            line(1, "client", "tls", json!({"network.peer.port": 81})),
            line(2, "client", "plaintext", early),
            line(2, "client", "tls", json!({"network.peer.port": 90})),
        ],
    );
    assert_eq!(report.other_services.map(|others| (others.plaintext, others.tls)), Some((0, 1)));
}

#[test]
fn callers_beyond_the_bound_are_counted_together_and_still_break() {
    let address = |n: u64| json!({"network.local.address": format!("10.1.0.{n}")});
    let lines: Vec<Value> = (0..4)
        .map(|n| line(n, "client", if n < 2 { "mtls" } else { "plaintext" }, address(n)))
        .chain([line(9, "client", "mtls", both(address(8), &json!({"network.peer.port": 80})))])
        .chain([line(10, "client", "mtls", both(address(9), &json!({"network.peer.port": 80})))])
        .collect();
    let (report, cut) = cut(few(), &lines);
    let service = &report.services[0];
    assert_eq!((service.callers.len(), service.readiness), (2, Readiness::NotReady));
    assert_eq!(service.other_callers.map(|others| others.plaintext), Some(2));
    // The bound of all services together lets one more in, and not two.
    assert_eq!(report.services[1].callers.len(), 1);
    assert_eq!(cut.connections_of_other_callers, 3);
    let page = crate::report::text::text(&report);
    assert!(page.contains("other callers") && page.contains("NOT EVERYTHING IS IN THIS REPORT"), "{page}");
}

#[test]
fn certificates_and_places_beyond_the_bound_are_counted() {
    let shown = |n: u64, sha256: &str| {
        line(
            n,
            "client",
            "tls",
            json!({"tls.client.hash.sha256": sha256, "network.local.address": format!("10.1.0.{n}"),
            "network.peer.port": 443}),
        )
    };
    let lines = [shown(1, "AA"), shown(2, "AA"), shown(3, "AA"), shown(4, "BB"), shown(5, "CC")];
    let (report, cut) = cut(Limits { callers: 100, all_callers: 100, ..few() }, &lines);
    assert_eq!(report.certificates.len(), 2);
    assert_eq!(report.certificates[0].shown_by.len(), 2);
    assert_eq!((cut.certificates, cut.names), (1, 1));
}

#[test]
fn algorithms_and_rules_beyond_the_bound_are_counted() {
    let tls = |n: u64| {
        line(
            n,
            "client",
            "tls",
            json!({"tls.protocol.name": "tls", "tls.protocol.version": "1.2",
            "tls.cipher": format!("0x00F{n}"), "tls.curve": "x25519", "tlsight.findings": ["a", "b"]}),
        )
    };
    let (report, cut) = cut(few(), &[tls(1), tls(2), tls(3)]);
    assert_eq!((report.algorithms.suites.len(), cut.algorithms), (2, 1));
    assert_eq!((report.findings.len(), cut.findings), (1, 3));
}

#[test]
fn open_connections_beyond_the_bound_may_count_twice_and_it_is_said() {
    let open = |n: u64| line(n, "client", "tls", json!({"tlsight.phase": "verdict"}));
    let mut lines: Vec<Value> = (0..6).map(open).collect();
    let model = model_of(few(), &lines);
    assert_eq!(model.remembered(), 4);
    lines.push(line(0, "client", "tls", json!({})));
    let (report, cut) = cut(few(), &lines);
    assert_eq!((report.connections.total, cut.connections_forgotten), (7, 2));
}

#[test]
fn connections_that_are_over_wait_for_their_other_end_for_a_while() {
    let over = |n: u64, more: Value| line(n, "client", "tls", more);
    let lines: Vec<Value> = (0..5).map(|n| over(n, json!({}))).collect();
    // Nobody else will tell of them.
    assert_eq!(cut(few(), &lines).1.connections_forgotten, 0);
    let lines: Vec<Value> = (0..5).map(|n| over(n, json!({"tlsight.peer.process.pid": 7}))).collect();
    assert_eq!(cut(few(), &lines).1.connections_forgotten, 3);
    assert_eq!(model_of(few(), &lines).remembered(), 2);
    // Both ends are over: nothing is left to wait for.
    let whole = [over(1, json!({})), line(2, "server", "tls", json!({"network.peer.port": 40001}))];
    assert_eq!(model_of(few(), &whole).remembered(), 0);
}

#[test]
fn of_one_agent_they_wait_for_seconds() {
    let mut lines = vec![over(1, "10:00:00", json!({})), over(2, "10:00:09", json!({}))];
    assert_eq!(model_of(Limits::of_one_agent(), &lines).remembered(), 2);
    // Came into view long ago, and is still open.
    let open = json!({"tlsight.phase": "verdict", "tlsight.duration_ms": null});
    lines.push(over(9, "08:00:00", open));
    assert_eq!(model_of(Limits::of_one_agent(), &lines).remembered(), 3);
    lines.pop();
    lines.push(over(3, "10:00:11", json!({})));
    assert_eq!(model_of(Limits::of_one_agent(), &lines).remembered(), 2);
    // Files are read one after the other: the other end may be in the last of them.
    assert_eq!(model_of(Limits::default(), &lines).remembered(), 3);
    let (report, cut) = cut(Limits::of_one_agent(), &lines);
    assert_eq!((report.connections.total, cut.connections_forgotten), (3, 0));
}

/// A connection of one agent that is over a moment after it came into view.
fn over(n: u64, time: &str, more: Value) -> Value {
    let own = json!({"timestamp": format!("2026-01-01T{time}Z"), "tlsight.duration_ms": 0.001});
    line(n, "client", "tls", both(own, &more))
}

/// The other end of such a connection, which has the number after it.
fn other_end(n: u64, time: &str, more: Value) -> Value {
    let own = json!({"timestamp": format!("2026-01-01T{time}Z"), "tlsight.duration_ms": 0.001,
        "network.peer.port": 40000 + n});
    line(n + 1, "server", "tls", both(own, &more))
}

#[test]
fn of_one_agent_whose_other_end_comes_later_than_that_may_count_twice_and_it_is_said() {
    let awaits = || json!({"tlsight.peer.process.pid": 7});
    let lines = [
        over(1, "10:00:00", awaits()),
        over(3, "10:00:00", json!({})),
        over(5, "10:00:11", json!({})),
        other_end(1, "10:00:00", json!({"tlsight.duration_ms": 11_500})),
    ];
    let (report, cut) = cut(Limits::of_one_agent(), &lines);
    assert_eq!((report.connections.total, cut.connections_forgotten), (4, 1));
}

#[test]
fn a_clock_that_is_set_back_makes_no_connection_count_twice() {
    let mut lines = vec![
        over(1, "10:00:00", json!({})),
        over(3, "09:00:00", json!({})),
        other_end(3, "09:00:00", json!({})),
    ];
    let model = model_of(Limits::of_one_agent(), &lines);
    // What was over before that waits no longer.
    assert_eq!(model.remembered(), 0);
    // Began before the clock was set back, and ends now: that it is ten o'clock is not true of the others.
    let since_ten = json!({"tlsight.duration_ms": 0});
    lines.extend([
        over(5, "09:00:01", json!({})),
        over(7, "10:00:00", since_ten.clone()),
        other_end(5, "09:00:01", json!({})),
        other_end(7, "10:00:00", since_ten),
    ]);
    assert_eq!(model_of(Limits::of_one_agent(), &lines).remembered(), 0);
    let (report, cut) = cut(Limits::of_one_agent(), &lines);
    assert_eq!((report.connections.total, cut.connections_forgotten), (4, 0));
}

#[test]
fn findings_that_stand_beyond_the_bound_are_counted() {
    let raised = |about: &str| {
        json!({"timestamp": "2026-01-01T10:00:00Z", "tlsight.event": "finding_raised",
            "tlsight.finding.rule": "weak_cipher", "tlsight.finding.about": about})
    };
    let (report, cut) = cut(few(), &[raised("a"), raised("b"), raised("a")]);
    assert_eq!((report.findings[0].active.len(), cut.findings), (1, 1));
}
