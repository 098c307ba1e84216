use std::sync::Arc;

use super::*;
use crate::identity::{Party, ProcessDetails, Scope, Sighting};
use crate::observation::Phase;
use crate::policy::about::About;
use crate::policy::finding::{Evidence, Finding, Severity};
use crate::policy::ledger::Cleared;
use crate::policy::rules::testing::{Court, DAY, TODAY, http, observe, stream};

fn sighting(name: &str, conn: u64) -> Vec<Sighting> {
    let wrap = |observation| Sighting {
        observation,
        local: Party::default(),
        peer: Party::default(),
        scope: Some(Scope::External),
    };
    observe(&stream(name), conn, TODAY).into_iter().map(wrap).collect()
}

fn names(rules: &[RuleId]) -> Vec<&str> {
    rules.iter().map(RuleId::as_str).collect()
}

#[test]
fn a_connection_counts_once_though_it_is_seen_twice() {
    let mut judge = Judge::new(Settings::default()).expect("settings");
    let seen = sighting("expired", 1);
    assert_eq!(seen.len(), 2);
    for sighting in &seen {
        let raised = judge.judge(sighting, None, sighting.observation.time);
        assert_eq!(names(&raised), ["certificate_expired", "not_quantum_safe"]);
    }
    for standing in judge.ledger().standing() {
        assert_eq!(standing.count, 1, "{}", standing.finding.rule);
    }
    for sighting in sighting("expired", 2) {
        judge.judge(&sighting, None, sighting.observation.time);
    }
    assert!(judge.ledger().standing().all(|standing| standing.count == 2));
}

#[test]
fn the_end_of_a_connection_that_was_good_clears_nothing_that_others_showed() {
    let mut judge = Judge::new(Settings::default()).expect("settings");
    let old = sighting("good", 1);
    judge.judge(&old[0], None, old[0].observation.time);
    for sighting in sighting("expired", 2) {
        judge.judge(&sighting, None, sighting.observation.time);
    }
    let end = old[1].observation.time + Duration::from_secs(3600);
    assert_eq!(old[1].observation.phase, Phase::Final);
    judge.judge(&old[1], None, end);
    judge.handle_timeout(end + Duration::from_secs(3600));
    assert!(judge.ledger().standing().any(|standing| standing.finding.rule == RuleId::CertificateExpired));
}

#[test]
fn a_rule_that_is_switched_off_is_silent_and_severities_are_set() {
    let mut settings = Settings::default();
    settings.not_quantum_safe.enabled = false;
    settings.certificate_expired.severity = Some(Severity::Information);
    let mut judge = Judge::new(settings).expect("settings");
    for sighting in sighting("expired", 1) {
        judge.judge(&sighting, None, sighting.observation.time);
    }
    let standing: Vec<_> =
        judge.ledger().standing().map(|s| (s.finding.rule.as_str(), s.finding.severity)).collect();
    assert_eq!(standing, [("certificate_expired", Severity::Information)]);
}

#[test]
fn expired_is_not_announced_where_it_is_switched_off() {
    let mut settings = Settings::default();
    settings.certificate_expired.enabled = false;
    settings.ledger.silence_hours = 24 * 60;
    let mut court = Court::with(settings, &["ca"]);
    court.see("expiring");
    court.wait(21 * DAY);
    assert!(!court.stands(&RuleId::CertificateExpiring));
    assert!(!court.stands(&RuleId::CertificateExpired));
}

#[test]
fn settings_out_of_bounds_are_refused() {
    let mut settings = Settings::default();
    settings.memory.max_chains = 0;
    assert_eq!(Judge::new(settings).expect_err("no room at all").field, "memory.max_chains");
}

#[test]
fn a_connection_whose_client_is_not_known_is_not_judged() {
    let mut judge = Judge::new(Settings::default()).expect("settings");
    let mut seen = sighting("expired", 1).swap_remove(0);
    seen.observation.local_side = None;
    assert!(judge.judge(&seen, None, seen.observation.time).is_empty());
}

#[test]
fn unknown_verdicts_resumed_sessions_and_connections_from_before_raise_nothing_about_what_was_not_seen() {
    let mut court = Court::new();
    for name in ["tls12_ticket", "tls12_id", "tls13_resumed", "tls13_early_data"] {
        let raised = court.see(name);
        assert!(raised.iter().all(|rule| rule == "not_quantum_safe"), "{name}: {raised:?}");
    }
    // The middle of a connection.
    let mut middle = stream("tls12_sent");
    middle.drain(..4);
    assert!(Court::new().see_bytes(&middle).is_empty());
}

#[test]
fn what_is_remembered_is_bounded() {
    let mut settings = Settings::default();
    let memory = &mut settings.memory;
    (memory.max_connections, memory.max_services, memory.max_chains, memory.max_places) = (1, 1, 1, 1);
    let mut judge = Judge::new(settings).expect("settings");
    for (conn, name) in ["ocsp_good", "ocsp_revoked", "ocsp_delegated"].into_iter().enumerate() {
        let mut seen = sighting(name, conn as u64).swap_remove(0);
        seen.observation.tuple.local.port = 443 + conn as u16;
        assert_eq!(seen.observation.phase, Phase::Verdict);
        judge.judge(&seen, None, seen.observation.time);
    }
    let counters = judge.counters();
    assert_eq!(counters.sightings, 3);
    assert_eq!(
        (counters.connections_evicted, counters.services_evicted, counters.responses_evicted),
        (2, 2, 2)
    );
    assert_eq!(counters.history.places_evicted, 2);
}

#[test]
fn bounds_that_are_set_anew_count_at_once_in_both_directions() {
    let see = |judge: &mut Judge, conns: std::ops::Range<u16>| {
        for (conn, name) in conns.zip(["ocsp_good", "ocsp_revoked", "ocsp_delegated"].into_iter().cycle()) {
            let mut seen = sighting(name, conn.into()).swap_remove(0);
            seen.observation.tuple.local.port = 443 + conn;
            judge.judge(&seen, None, seen.observation.time);
        }
        (judge.counters().services_evicted, judge.counters().history.places_evicted)
    };
    let bounds = |max: usize| {
        let mut settings = Settings::default();
        let memory = &mut settings.memory;
        (memory.max_connections, memory.max_services, memory.max_chains, memory.max_places) =
            (max, max, max, max);
        Judge::new(settings).expect("settings")
    };
    let mut judge = bounds(3);
    assert_eq!(see(&mut judge, 0..3), (0, 0));
    judge.follow(bounds(1), |_| false);
    assert_eq!((judge.counters().services_evicted, judge.counters().history.places_evicted), (2, 2));
    assert_eq!(see(&mut judge, 3..4), (3, 3));
    judge.follow(bounds(2), |_| false);
    assert_eq!(see(&mut judge, 4..5), (3, 3));
}

#[test]
fn rules_of_others_go_into_the_same_book() {
    let mut judge = Judge::new(Settings::default()).expect("settings");
    let rule = RuleId::Own(Arc::from("no_telnet"));
    let finding = Finding {
        rule: rule.clone(),
        severity: Severity::Warning,
        about: About::Other("host".into()),
        evidence: Evidence::default(),
        summary: "telnet".into(),
        advice: "use ssh".into(),
        turn: None,
    };
    judge.take(&rule, Judgement::Raised(finding), Timestamp::from_secs(1));
    assert!(matches!(judge.poll_output(), Some(Output::Finding(Change::Raised(_)))));
    assert!(judge.poll_output().is_none());
}

#[test]
fn both_ends_of_one_connection_are_one_finding_where_both_have_names() {
    let mut court = Court::new();
    court.see_bytes(&http());
    court.change = |sighting| {
        std::mem::swap(&mut sighting.local, &mut sighting.peer);
        let o = &mut sighting.observation;
        std::mem::swap(&mut o.tuple.local, &mut o.tuple.peer);
        o.local_side = Some(Side::Client);
    };
    court.see_bytes(&http());
    let counts: Vec<_> =
        court.judge.ledger().standing().map(|s| (s.finding.rule.as_str(), s.count)).collect();
    assert_eq!(counts, [("plaintext_traffic", 2)]);
}

#[test]
fn what_was_raised_of_a_client_that_was_gone_clears_by_one_of_its_name_that_was_read() {
    fn curl(sighting: &mut Sighting, executable_path: Option<&str>) {
        let name = Some("curl".to_owned());
        let executable_path = executable_path.map(str::to_owned);
        let details = ProcessDetails { pid: 7, name, executable_path, ..ProcessDetails::default() };
        sighting.peer = Party { process: Some(Arc::new(details)), ..Party::default() };
    }
    let mut court = Court::new();
    court.change = |sighting| curl(sighting, None);
    assert_eq!(court.see_bytes(&http()), ["plaintext_traffic"]);
    assert_eq!(court.standing(&RuleId::PlaintextTraffic).about.to_string(), "curl -> Deployment shop/db:443");
    court.change = |sighting| curl(sighting, Some("/opt/curl/bin/curl"));
    court.settle_and_see("ecdhe");
    assert!(!court.stands(&RuleId::PlaintextTraffic));
    court.change = |sighting| curl(sighting, None);
    court.see_bytes(&http());
    court.change = |sighting| {
        let name = Some("wget".to_owned());
        let details = ProcessDetails { pid: 8, name, ..ProcessDetails::default() };
        sighting.peer = Party { process: Some(Arc::new(details)), ..Party::default() };
    };
    court.settle_and_see("ecdhe");
    assert!(court.stands(&RuleId::PlaintextTraffic));
    court.change = |sighting| curl(sighting, Some("/usr/bin/curl"));
    court.settle_and_see("ecdhe");
    assert_eq!(court.cleared(&RuleId::PlaintextTraffic), [Cleared::Good, Cleared::Good]);
}

#[test]
fn a_trust_domain_is_the_part_before_the_path() {
    assert_eq!(trust_domain("spiffe://Example.org/ns/a"), "spiffe://example.org");
    assert_eq!(trust_domain("SPIFFE://example.org"), "spiffe://example.org");
}
