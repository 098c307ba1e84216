use std::cell::RefCell;
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;

use agent_core::identity::{Container, Party, ProcessDetails, Scope, ServiceRef, Sighting, Workload};
use agent_core::observation::{AlertFact, ClientCertificate, Observation, TlsFacts};
use agent_core::policy::expectation::{Expectation, Mode, Origin};
use agent_core::policy::finding::RuleId;
use agent_core::tls::codepoints::{AlertDescription, AlertLevel, ProtocolVersion};
use serde_json::{Value, json};

use super::*;
use crate::export::sample;

/// A folder that goes away with the test.
pub(super) struct Folder(PathBuf);

impl Folder {
    pub(super) fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("tlsight-audit-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[derive(Clone, Default)]
struct Lines(Rc<RefCell<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.borrow_mut().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

struct Bench {
    log: AuditLog,
    lines: Lines,
    findings: Vec<RuleId>,
}

impl Bench {
    fn new(format: Format, max_connections: usize) -> Self {
        let lines = Lines::default();
        let log = AuditLog::to(Out::Stream(Box::new(lines.clone())), format, max_connections);
        Self { log, lines, findings: Vec::new() }
    }

    fn see(&mut self, sighting: &Sighting) -> Vec<Value> {
        let judged = Judged {
            sighting,
            expectation: None,
            findings: &self.findings,
            about_client: &self.findings,
            severities: &[],
        };
        self.log.see(&judged).unwrap();
        let text = String::from_utf8(self.lines.0.take()).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

fn sighting(observation: Observation) -> Sighting {
    Sighting { observation, local: Party::default(), peer: Party::default(), scope: None }
}

/// Mutual TLS as the server's end sees it.
fn server_end(phase: Phase) -> Sighting {
    sighting(Observation { phase, reason: None, ..sample::everything() })
}

fn client_end(phase: Phase) -> Sighting {
    let mut sighting = server_end(phase);
    let o = &mut sighting.observation;
    std::mem::swap(&mut o.tuple.local, &mut o.tuple.peer);
    o.local_side = Some(Side::Client);
    o.conn = ConnId(8);
    sighting
}

fn tls(sighting: &mut Sighting) -> &mut TlsFacts {
    sighting.observation.tls_mut().unwrap()
}

/// Everything that can be known.
fn everything() -> Sighting {
    let mut sighting = server_end(Phase::Verdict);
    let workload = |name: &str, pod: &str| {
        Some(Arc::new(Workload {
            namespace: "shop".into(),
            kind: "Deployment".into(),
            name: name.into(),
            pod: Some(pod.into()),
            node: Some("node-a".into()),
            ..Workload::default()
        }))
    };
    let party = |name: &str, pod: &str, path: &str| Party {
        process: Some(Arc::new(ProcessDetails {
            pid: 42,
            executable_path: Some(path.into()),
            systemd_unit: Some(format!("{name}.service")),
            ..ProcessDetails::default()
        })),
        container: Some(Arc::new(Container { id: name.repeat(4), runtime: None })),
        workload: workload(name, pod),
        service: Some(Arc::new(ServiceRef { namespace: "shop".into(), name: name.into() })),
        ..Party::default()
    };
    sighting.local = party("db", "db-0", "/usr/sbin/nginx");
    sighting.peer = party("cart", "cart-1", "/usr/bin/cart");
    sighting.scope = Some(Scope::Node);
    let facts = tls(&mut sighting);
    facts.established = Some(false);
    facts.alert = Some(AlertFact {
        sender: Side::Server,
        content: Some((AlertLevel::FATAL, AlertDescription::CERTIFICATE_EXPIRED)),
    });
    sighting.observation.security = Security::Unknown;
    sighting.observation.reason = Some(Reason::HandshakeFailed);
    sighting.observation.phase = Phase::Final;
    sighting
}

fn write(sighting: &Sighting, format: Format) -> Value {
    let expectation = Expectation {
        mode: Mode::Strict,
        allowed_clients: None,
        trust: None,
        origin: Arc::new(Origin {
            document: "p.yaml".into(),
            kind: "TlsightPolicy",
            namespace: None,
            name: "shop".into(),
            field: "spec.expect".into(),
            line: None,
        }),
    };
    let findings = [RuleId::CertificateExpired, RuleId::HandshakeFailed];
    let judged = Judged {
        sighting,
        expectation: Some(&expectation),
        findings: &findings,
        about_client: &findings[..1],
        severities: &[],
    };
    Record::new(&judged).unwrap().write(format)
}

/// What is the same in both conventions.
fn own() -> Value {
    let connection = json!({
        "tlsight.audit.status": "expired",
        "tlsight.audit.reason": "certificate_expired",
        "tlsight.connection": 7,
        "tlsight.role": "server",
        "tlsight.security": "unknown",
        "tlsight.security.source": "wire",
        "tlsight.security.reason": "handshake_failed",
        "tlsight.scope": "node",
        "tlsight.alert.name": "certificate_expired",
        "tlsight.alert.level": "fatal",
        "tlsight.alert.sender": "server",
        "tlsight.expectation": "strict",
        "tlsight.findings": ["certificate_expired", "handshake_failed"],
        "network.transport": "tcp",
        "network.type": "ipv6",
        "process.pid": 42,
    });
    // One at a time: the macro expands only so many keys.
    let ends = json!({
        "tlsight.client.process.executable.path": "/usr/bin/cart",
        "tlsight.client.systemd.unit": "cart.service",
        "tlsight.client.container.id": "cartcartcartcart",
        "tlsight.client.k8s.node.name": "node-a",
        "tlsight.client.k8s.namespace.name": "shop",
        "tlsight.client.k8s.pod.name": "cart-1",
        "tlsight.client.k8s.workload.kind": "Deployment",
        "tlsight.client.k8s.workload.name": "cart",
        "tlsight.client.k8s.service.name": "cart",
        "tlsight.server.process.executable.path": "/usr/sbin/nginx",
        "tlsight.server.systemd.unit": "db.service",
        "tlsight.server.container.id": "dbdbdbdb",
        "tlsight.server.k8s.node.name": "node-a",
        "tlsight.server.k8s.namespace.name": "shop",
        "tlsight.server.k8s.pod.name": "db-0",
        "tlsight.server.k8s.workload.kind": "Deployment",
        "tlsight.server.k8s.workload.name": "db",
        "tlsight.server.k8s.service.name": "db",
    });
    let handshake = json!({
        "tls.cipher": "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
        "tls.curve": "x25519",
        "tls.established": false,
        "tls.next_protocol": "h2",
        "tls.client.subject": "CN=alice",
        "tls.client.issuer": "CN=ca",
        "tls.client.not_before": "2026-01-01T00:00:00Z",
        "tls.client.not_after": "2026-04-01T00:00:00Z",
        "tls.client.hash.sha256": "AB".repeat(32),
        "tls.server.subject": "CN=a.example",
        "tls.server.hash.sha256": "AB".repeat(32),
    });
    merged([connection, ends, handshake])
}

fn merged<const N: usize>(parts: [Value; N]) -> Value {
    parts
        .into_iter()
        .flat_map(|part| part.as_object().unwrap().clone())
        .collect::<serde_json::Map<_, _>>()
        .into()
}

fn with_own(other: Value) -> Value {
    merged([own(), other])
}

fn otel_line() -> Value {
    with_own(json!({
        "timestamp": "2026-01-02T03:04:05.123456789Z",
        "event.name": "tlsight.client_certificate",
        "client.address": "::1",
        "client.port": 40001,
        "server.address": "a.example",
        "server.port": 443,
        "tlsight.server.ip": "::1",
        "tlsight.server_name": "a.example",
        "tls.protocol.name": "tls",
        "tls.protocol.version": "1.2",
        "tlsight.client.serial": "0A1B",
        "tlsight.client.san": ["alice", "spiffe://td/x"],
        "tlsight.client.chain_length": 1,
        "process.executable.name": "nginx",
    }))
}

fn ecs_line() -> Value {
    with_own(json!({
        "@timestamp": "2026-01-02T03:04:05.123456789Z",
        "ecs.version": "8.17.0",
        "event.kind": "event",
        "event.module": "tlsight",
        "event.dataset": "tlsight.audit",
        "event.action": "tls-client-certificate",
        "event.category": ["authentication", "network"],
        "event.type": ["start", "denied"],
        "event.outcome": "failure",
        "event.reason": "certificate_expired",
        "network.direction": "ingress",
        "source.address": "::1",
        "source.ip": "::1",
        "source.port": 40001,
        "destination.address": "::1",
        "destination.ip": "::1",
        "destination.port": 443,
        "destination.domain": "a.example",
        "tls.client.server_name": "a.example",
        "tls.version_protocol": "tls",
        "tls.version": "1.2",
        "tls.client.x509.subject.distinguished_name": "CN=alice",
        "tls.client.x509.issuer.distinguished_name": "CN=ca",
        "tls.client.x509.not_before": "2026-01-01T00:00:00Z",
        "tls.client.x509.not_after": "2026-04-01T00:00:00Z",
        "tls.client.x509.serial_number": "0A1B",
        "tls.client.x509.alternative_names": ["alice", "spiffe://td/x"],
        "tls.client.x509.public_key_algorithm": "EC",
        "tls.client.x509.public_key_size": 256,
        "tls.client.x509.public_key_curve": "P-256",
        "tls.client.x509.signature_algorithm": "ecdsa-with-SHA256",
        "process.name": "nginx",
    }))
}

#[test]
fn a_line_in_the_words_of_opentelemetry_has_everything() {
    assert_eq!(write(&everything(), Format::Otel), otel_line());
}

#[test]
fn a_line_in_the_words_of_ecs_has_everything() {
    assert_eq!(write(&everything(), Format::Ecs), ecs_line());
}

#[test]
fn every_key_is_documented_and_every_documented_key_exists() {
    let documentation = include_str!("../../../docs/audit-log.md");
    let documented: BTreeSet<&str> = documentation
        .lines()
        .filter(|line| line.starts_with("| `"))
        .flat_map(|line| line.split(" | ").take(2))
        .flat_map(|cell| cell.split('`').skip(1).step_by(2))
        .collect();
    let (otel, ecs) = (otel_line(), ecs_line());
    let mut written: BTreeSet<&str> =
        [&otel, &ecs].iter().flat_map(|line| line.as_object().unwrap().keys().map(String::as_str)).collect();
    written.insert("tlsight.audit.certificate");
    let only =
        |a: &BTreeSet<&str>, b: &BTreeSet<&str>| a.difference(b).map(|k| (*k).to_owned()).collect::<Vec<_>>();
    assert_eq!(only(&written, &documented), Vec::<String>::new(), "not documented");
    assert_eq!(only(&documented, &written), Vec::<String>::new(), "not written");
}

#[test]
fn a_connection_has_one_line_however_often_it_is_seen() {
    let mut bench = Bench::new(Format::Otel, 16);
    assert_eq!(bench.see(&server_end(Phase::Verdict)).len(), 1);
    assert!(bench.see(&server_end(Phase::Verdict)).is_empty());
    assert!(bench.see(&server_end(Phase::Final)).is_empty());
    // Another one that has only an end.
    assert_eq!(bench.see(&server_end(Phase::Final)).len(), 1);
    assert_eq!(bench.log.counters(), Counters { connections: 2, ..Counters::default() });
}

#[test]
fn a_connection_without_a_client_certificate_has_none() {
    let mut bench = Bench::new(Format::Otel, 16);
    for shown in [ClientCertificate::NotRequested, ClientCertificate::Declined, ClientCertificate::Unknown] {
        let mut sighting = server_end(Phase::Final);
        tls(&mut sighting).client_chain.clear();
        tls(&mut sighting).client_certificate = shown;
        assert!(bench.see(&sighting).is_empty(), "{shown:?}");
    }
    let plaintext = Observation { phase: Phase::Final, ..sample::plaintext() };
    assert!(bench.see(&sighting(plaintext)).is_empty());
    assert_eq!(bench.log.counters(), Counters::default());
}

#[test]
fn a_certificate_that_there_was_no_room_for_was_shown() {
    let mut bench = Bench::new(Format::Otel, 16);
    let mut end = server_end(Phase::Final);
    tls(&mut end).client_chain.clear();
    // Of the server's there was none either, which says nothing of the client's.
    assert_eq!(bench.see(&end)[0]["tlsight.audit.certificate"], "not_seen");
    tls(&mut end).client_chain_not_kept = true;
    assert_eq!(bench.see(&end)[0]["tlsight.audit.certificate"], "not_kept");
}

#[test]
fn a_certificate_that_may_yet_be_seen_or_refused_is_waited_for() {
    let mut bench = Bench::new(Format::Otel, 16);
    // TLS 1.3: the length says that there is one; the probe has not shown it yet.
    let mut early = server_end(Phase::Verdict);
    tls(&mut early).client_chain.clear();
    tls(&mut early).negotiated_version = Some(ProtocolVersion::TLS_1_3);
    assert!(bench.see(&early).is_empty());
    let lines = bench.see(&server_end(Phase::Verdict));
    assert_eq!(lines[0]["tls.client.subject"], "CN=alice");
    assert_eq!(lines[0].get("tlsight.audit.certificate"), None);
    assert!(bench.see(&server_end(Phase::Final)).is_empty());
    // Never seen.
    early.observation.phase = Phase::Final;
    let lines = bench.see(&early);
    assert_eq!(lines[0]["tlsight.audit.certificate"], "encrypted");
    assert_eq!(lines[0]["tlsight.audit.status"], "success");
    assert_eq!(lines[0].get("tls.client.hash.sha256"), None);
    // Seen, and not accepted yet.
    let mut refused = server_end(Phase::Verdict);
    refused.observation.security = Security::Unknown;
    tls(&mut refused).established = None;
    assert!(bench.see(&refused).is_empty());
    refused.observation.phase = Phase::Final;
    tls(&mut refused).established = Some(false);
    tls(&mut refused).alert = None;
    assert_eq!(bench.see(&refused)[0]["tlsight.audit.status"], "rejected");
}

#[test]
fn of_two_ends_on_this_host_the_servers_speaks() {
    let mut bench = Bench::new(Format::Otel, 16);
    // Whichever is seen first.
    assert!(bench.see(&client_end(Phase::Verdict)).is_empty());
    assert_eq!(bench.see(&server_end(Phase::Verdict))[0]["tlsight.role"], "server");
    assert!(bench.see(&server_end(Phase::Final)).is_empty());
    assert!(bench.see(&client_end(Phase::Final)).is_empty());
    assert_eq!(bench.log.counters(), Counters { connections: 1, left_to_server: 1, ..Counters::default() });
    // Known to be there though it has not spoken, and may have another address.
    let mut sighting = client_end(Phase::Final);
    sighting.observation.tuple.peer = Endpoint::new([10, 0, 0, 9].into(), 443);
    sighting.peer.process = Some(Arc::new(ProcessDetails::default()));
    assert!(bench.see(&sighting).is_empty());
}

#[test]
fn the_clients_end_speaks_where_nobody_else_does() {
    let mut bench = Bench::new(Format::Otel, 16);
    let mut remote = client_end(Phase::Verdict);
    remote.observation.tuple.peer = Endpoint::new([192, 0, 2, 1].into(), 443);
    assert_eq!(bench.see(&remote)[0]["tlsight.role"], "client");
    // It could have been here, and was not.
    let mut here = client_end(Phase::Verdict);
    here.observation.conn = ConnId(9);
    here.observation.tuple.peer = Endpoint::new([10, 0, 0, 1].into(), 443);
    here.scope = Some(Scope::Node);
    assert!(bench.see(&here).is_empty());
    here.observation.phase = Phase::Final;
    assert_eq!(bench.see(&here).len(), 1);
}

#[test]
fn forgotten_connections_are_counted() {
    let mut bench = Bench::new(Format::Otel, 2);
    for n in 0..3 {
        let mut sighting = server_end(Phase::Verdict);
        sighting.observation.conn = ConnId(n);
        assert_eq!(bench.see(&sighting).len(), 1);
    }
    assert_eq!(bench.log.counters().connections_evicted, 1);
}

#[test]
fn a_null_cipher_proves_a_certificate_too() {
    let mut bench = Bench::new(Format::Ecs, 16);
    let mut sighting = server_end(Phase::Verdict);
    sighting.observation.security = Security::Plaintext;
    sighting.observation.reason = Some(Reason::NullCipher);
    let line = &bench.see(&sighting)[0];
    assert_eq!(
        (&line["event.outcome"], &line["event.type"]),
        (&json!("success"), &json!(["start", "allowed"]))
    );
}

#[test]
fn lines_go_to_a_file_and_are_harmless_to_look_at() {
    let folder = Folder::new("log");
    let path = folder.path("audit.log");
    let options = Options {
        target: Target::File(path.clone()),
        format: Format::Otel,
        rotation: Rotation::default(),
        max_connections: 16,
        waits: true,
    };
    let mut log = AuditLog::open(&options).unwrap();
    let mut sighting = server_end(Phase::Final);
    tls(&mut sighting).server_name = Some("a\n\x1b[31m\u{202e}".to_owned());
    let judged =
        Judged { sighting: &sighting, expectation: None, findings: &[], about_client: &[], severities: &[] };
    log.see(&judged).unwrap();
    log.finish().unwrap();
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text.contains(r#""tlsight.server_name":"a\n\u001b[31m\u202e""#), "{text}");
    assert_eq!(text.lines().count(), 1);
    let named = log.named_counters();
    assert!(named.contains(&("audit.lines_written", 1)) && named.contains(&("audit.lines_dropped", 0)));
}
