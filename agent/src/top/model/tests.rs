//! What is counted, and what makes room.

use std::sync::Arc;

use agent_core::net::{ConnId, Endpoint, Side};
use agent_core::observation::{Reason, Security};
use agent_core::policy::expectation::Mode;
use agent_core::policy::finding::{RuleId, Severity};
use agent_core::time::Timestamp;

use super::limits::{Cut, Limits};
use super::snapshot::Counts;
use super::*;
use crate::export::sample;
use crate::top::record::{Facts, FindingRecord};

const NOW: Timestamp = Timestamp::from_secs(1_000_000);

fn at(address: &str, port: u16) -> Endpoint {
    Endpoint::new(address.parse().expect("an address"), port)
}

fn record(conn: u64, security: Security) -> ConnectionRecord {
    let port = 10_000 + u16::try_from(conn % 50_000).expect("a port");
    ConnectionRecord {
        conn: ConnId(conn),
        role: Some(Side::Server),
        client: at("10.0.0.1", port),
        server: at("10.0.0.2", 443),
        pid: None,
        peer_pid: None,
        time: NOW,
        last: NOW,
        is_final: false,
        service: ("web".into(), 443),
        caller: "shop".into(),
        target: Some("10.0.0.2:443".into()),
        facts: Facts {
            security,
            source: None,
            reason: None,
            protocol: None,
            server_name: None,
            scope: None,
            tls: None,
            server_certificate: None,
            client_certificate: None,
            expectation: None,
            findings: Vec::new(),
            bytes: None,
            closed: None,
        },
    }
}

fn model(limits: Limits) -> Model {
    Model::new(limits, NOW)
}

fn take(model: &mut Model, record: ConnectionRecord) {
    model.take(Record::Connection(Box::new(record)), NOW);
}

fn finding(rule: RuleId, severity: Severity, about: &str, target: Option<&str>) -> FindingRecord {
    FindingRecord {
        rule,
        severity,
        about: about.into(),
        target: target.map(Into::into),
        summary: "it is wrong".into(),
        advice: "make it right".into(),
        evidence: Vec::new(),
        first: NOW,
        last: NOW,
        count: 1,
    }
}

#[test]
fn a_connection_counts_once_as_it_is_known_last() {
    let mut model = model(Limits::default());
    take(&mut model, record(1, Security::Unknown));
    take(&mut model, record(1, Security::Tls));
    let open = model.snapshot(NOW, &[]);
    assert_eq!((open.totals.counts, open.totals.open), (Counts { tls: 1, ..Counts::default() }, 1));
    let mut over = record(1, Security::Mtls);
    (over.is_final, over.facts.bytes) = (true, Some((10, 20)));
    take(&mut model, over.clone());
    take(&mut model, over);
    let snapshot = model.snapshot(NOW, &[]);
    let service = &snapshot.services[0];
    let counts = Counts { mtls: 1, ..Counts::default() };
    assert_eq!((snapshot.totals.counts, snapshot.totals.open, snapshot.totals.bytes), (counts, 0, 30));
    assert_eq!((service.counts, service.open, service.bytes, service.callers.len()), (counts, 0, 30, 1));
    assert_eq!(service.callers[0].counts, counts);
}

#[test]
fn both_ends_on_one_host_are_one_connection() {
    let mut model = model(Limits::default());
    take(&mut model, record(1, Security::Tls));
    let mut client = record(2, Security::Mtls);
    client.role = Some(Side::Client);
    client.client = record(1, Security::Tls).client;
    client.caller = "/usr/bin/curl".into();
    client.service = ("Service shop/web".into(), 80);
    take(&mut model, client.clone());
    let snapshot = model.snapshot(NOW, &[]);
    assert_eq!(
        (snapshot.totals.counts.mtls, snapshot.totals.counts.total(), snapshot.services.len()),
        (1, 1, 1)
    );
    let service = &snapshot.services[0];
    assert_eq!((service.name.as_str(), service.callers[0].name.as_str()), ("web", "/usr/bin/curl"));
    assert_eq!(snapshot.connections.len(), 1);
    // Much later the same port is another connection.
    client.conn = ConnId(3);
    client.time = Timestamp(NOW.0 + 60_000_000_000);
    take(&mut model, client);
    assert_eq!(model.snapshot(NOW, &[]).totals.counts.total(), 2);
}

#[test]
fn ends_behind_a_translated_address_are_known_by_their_processes() {
    let mut model = model(Limits::default());
    let mut server = record(1, Security::Tls);
    (server.pid, server.peer_pid) = (Some(10), Some(20));
    let mut client = record(2, Security::Tls);
    (client.role, client.client) = (Some(Side::Client), server.client);
    client.server = at("10.96.0.1", 80);
    (client.pid, client.peer_pid) = (Some(20), Some(10));
    take(&mut model, server);
    take(&mut model, client);
    assert_eq!(model.snapshot(NOW, &[]).totals.counts.total(), 1);
}

#[test]
fn expectations_are_met_or_not_or_cannot_be_told() {
    let mut model = model(Limits::default());
    for (conn, security, reason, mode) in [
        (1, Security::Mtls, None, Mode::Strict),
        (2, Security::Tls, None, Mode::Strict),
        (3, Security::Plaintext, None, Mode::Strict),
        (4, Security::Tls, Some(Reason::ClientIdentityUnknown), Mode::Strict),
        (5, Security::Unknown, Some(Reason::StartedBeforeAgent), Mode::Strict),
        (6, Security::Unknown, Some(Reason::NoData), Mode::Strict),
    ] {
        let mut record = record(conn, security);
        record.facts.reason = reason;
        record.facts.expectation = Some((mode, "policy".into()));
        take(&mut model, record);
    }
    let snapshot = model.snapshot(NOW, &[]);
    let expectation = snapshot.services[0].expectation.clone().expect("an expectation");
    assert_eq!((expectation.met, expectation.unmet, expectation.unproven), (1, 2, 2));
    assert_eq!(snapshot.services[0].callers[0].unmet, 2);
    let met = |security, mode| {
        let mut facts = record(1, security).facts;
        facts.expectation = Some((mode, "policy".into()));
        Met::of(&facts)
    };
    assert_eq!(met(Security::Tls, Mode::Tls), Some(Met::Yes));
    assert_eq!(met(Security::Plaintext, Mode::Tls), Some(Met::No));
    assert_eq!(met(Security::Plaintext, Mode::Permissive), Some(Met::Yes));
}

#[test]
fn hops_inside_a_pod_and_connections_without_roles_belong_to_no_service() {
    let mut model = model(Limits::default());
    let mut hop = record(1, Security::Plaintext);
    hop.facts.scope = Some(agent_core::identity::Scope::Pod);
    let mut unknown = record(2, Security::Unknown);
    unknown.role = None;
    take(&mut model, hop);
    take(&mut model, unknown);
    let snapshot = model.snapshot(NOW, &[]);
    let totals = snapshot.totals;
    assert_eq!((totals.in_pod, totals.without_role, totals.counts.total()), (1, 1, 1));
    assert_eq!((snapshot.services.len(), snapshot.connections.len()), (0, 2));
}

#[test]
fn findings_stand_with_their_service_until_they_are_cleared() {
    let mut model = model(Limits::default());
    take(&mut model, record(1, Security::Plaintext));
    let target = Some("10.0.0.2:443");
    let worse = finding(RuleId::PlaintextTraffic, Severity::Critical, "a -> b", target);
    for finding in [
        finding(RuleId::NotQuantumSafe, Severity::Information, "b", target),
        worse.clone(),
        finding(RuleId::WeakCipher, Severity::Warning, "c", None),
    ] {
        model.take(Record::Standing(Box::new(finding)), NOW);
    }
    let snapshot = model.snapshot(NOW, &[]);
    let rules: Vec<&str> = snapshot.findings.iter().map(|finding| finding.rule.as_str()).collect();
    assert_eq!(rules, ["plaintext_traffic", "weak_cipher", "not_quantum_safe"]);
    let service = &snapshot.services[0];
    assert_eq!((service.worst, service.findings.as_slice()), (Some(Severity::Critical), [0, 2].as_slice()));
    model.take(Record::Cleared { rule: worse.rule, about: worse.about }, NOW);
    assert_eq!(model.snapshot(NOW, &[]).services[0].worst, Some(Severity::Information));
}

#[test]
fn rates_are_of_whole_seconds_and_count_each_connection_once() {
    let mut model = model(Limits::default());
    for second in 0..4 {
        let now = Timestamp(NOW.0 + second * 1_000_000_000);
        for n in 0..5 {
            let record = record(second * 5 + n, Security::Tls);
            model.take(Record::Connection(Box::new(record.clone())), now);
            model.take(Record::Connection(Box::new(record)), now);
        }
    }
    let snapshot = model.snapshot(Timestamp(NOW.0 + 4_000_000_000), &[]);
    assert_eq!((snapshot.rates.connections, snapshot.rates.tls, snapshot.services[0].rate), (5.0, 5.0, 5.0));
    assert_eq!(snapshot.history.iter().sum::<u64>(), 20);
}

#[test]
fn every_bound_makes_room_and_counts() {
    let limits = Limits {
        services: 3,
        callers: 2,
        all_callers: 5,
        certificates: 2,
        findings: 2,
        connections: 10,
        shown: 4,
        names: 2,
    };
    let mut model = model(limits);
    for n in 0..30 {
        let mut record = record(n, Security::Tls);
        record.service = (format!("service {}", n % 5).into(), 443);
        record.caller = format!("caller {n}").into();
        record.facts.server_name = Some(format!("name {n}").into());
        let mut leaf = sample::process_certificates(None).chain[0].as_ref().clone();
        leaf.sha256 = [u8::try_from(n).expect("small"); 32];
        record.facts.server_certificate = Some(Arc::new(leaf));
        take(&mut model, record);
        let about = format!("subject {n}");
        model.take(
            Record::Standing(Box::new(finding(RuleId::WeakCipher, Severity::Warning, &about, None))),
            NOW,
        );
    }
    model.dropped(9);
    let snapshot = model.snapshot(NOW, &[]);
    let sizes = (
        snapshot.services.len(),
        snapshot.certificates.len(),
        snapshot.findings.len(),
        snapshot.connections.len(),
    );
    assert_eq!(sizes, (3, 2, 2, 4));
    assert!(snapshot.services.iter().all(|service| service.callers.len() <= 2));
    assert!(model.services.callers() <= 5 + 3);
    assert_eq!(snapshot.totals.open, 10);
    let Cut {
        services_forgotten,
        callers_forgotten: _,
        certificates_forgotten,
        findings_forgotten,
        connections_forgotten,
        names_left_out: _,
        records_dropped,
    } = snapshot.limits;
    assert_eq!(
        (
            services_forgotten,
            certificates_forgotten,
            findings_forgotten,
            connections_forgotten,
            records_dropped
        ),
        (27, 28, 28, 20, 9)
    );
    // The newest are there.
    assert_eq!(snapshot.findings.iter().filter(|f| f.about == "subject 29").count(), 1);
}

#[test]
fn callers_of_one_service_make_room_for_each_other() {
    let limits = Limits { callers: 2, names: 2, ..Limits::default() };
    let mut model = model(limits);
    for n in 0..6 {
        let mut record = record(n, Security::Tls);
        record.caller = format!("caller {n}").into();
        record.facts.server_name = Some(format!("name {n}").into());
        take(&mut model, record);
    }
    let snapshot = model.snapshot(NOW, &[]);
    let callers: Vec<&str> = snapshot.services[0].callers.iter().map(|caller| caller.name.as_str()).collect();
    assert_eq!(callers, ["caller 4", "caller 5"]);
    assert_eq!((snapshot.services[0].callers_forgotten, snapshot.limits.callers_forgotten), (4, 4));
    assert_eq!((snapshot.services[0].counts.tls, snapshot.limits.names_left_out), (6, 4));
}
