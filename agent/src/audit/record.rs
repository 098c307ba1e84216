//! One line of the audit log. docs/audit-log.md describes every key; a test holds the two together.

use agent_core::identity::Party;
use agent_core::net::{Endpoint, Side};
use agent_core::observation::{Observation, TlsFacts};
use agent_core::policy::finding::RuleId;
use agent_core::x509::CertificateSummary;
use serde_json::{Map, Value, json};

use super::status::{Outcome, Status, status};
use crate::export::json::rfc3339;
use crate::judging::Judged;

/// The version of the Elastic Common Schema that the names are from.
const ECS: &str = "8.17.0";

/// In whose words lines are written.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// OpenTelemetry's names, as in all output of tlsight
    #[default]
    Otel,
    /// Names of the Elastic Common Schema
    Ecs,
}

/// A JSON object being filled.
struct Line(Map<String, Value>);

impl Line {
    fn put(&mut self, key: impl Into<String>, value: impl Into<Value>) {
        self.0.insert(key.into(), value.into());
    }

    fn some(&mut self, key: impl Into<String>, value: Option<impl Into<Value>>) {
        if let Some(value) = value {
            self.put(key, value);
        }
    }
}

/// A connection on which the client showed a certificate.
pub(super) struct Record<'a> {
    judged: &'a Judged<'a>,
    o: &'a Observation,
    tls: &'a TlsFacts,
    side: Side,
    status: Status,
    reason: Option<String>,
}

impl<'a> Record<'a> {
    /// `None` where it is not known who is the client, or there was no TLS.
    pub(super) fn new(judged: &'a Judged<'a>) -> Option<Self> {
        let o = &judged.sighting.observation;
        let (tls, side) = (o.tls.as_deref()?, o.local_side?);
        let (status, reason) = status(o, tls, judged.about_client);
        Some(Self { judged, o, tls, side, status, reason })
    }

    /// The object in these words.
    pub(super) fn write(&self, format: Format) -> Value {
        let mut line = Line(Map::new());
        match format {
            Format::Otel => self.otel(&mut line),
            Format::Ecs => self.ecs(&mut line),
        }
        self.own(&mut line);
        Value::Object(line.0)
    }

    fn leaf(&self) -> Option<&CertificateSummary> {
        self.tls.client_chain.first().map(|leaf| &**leaf)
    }

    /// Client and server.
    fn ends(&self) -> (Endpoint, Endpoint) {
        let tuple = &self.o.tuple;
        match self.side {
            Side::Client => (tuple.local, tuple.peer),
            // Who the client was, not who translated its address.
            Side::Server => (self.judged.sighting.peer.address.unwrap_or(tuple.peer), tuple.local),
        }
    }

    fn time(&self) -> Option<String> {
        rfc3339(i128::from(self.o.time.as_nanos()), 9)
    }

    /// What has no name in either convention, and is the same in both.
    fn own(&self, line: &mut Line) {
        line.put("tlsight.audit.status", self.status.as_str());
        line.some("tlsight.audit.reason", self.reason.as_deref());
        if self.tls.client_chain.is_empty() {
            // TLS 1.3 encrypts it, and no probe showed it; before, it would have been seen.
            let is_encrypted = self.tls.negotiated_version.and_then(|v| v.otel_version()) == Some("1.3");
            let why = match self.tls.client_chain_not_kept {
                true => "not_kept",
                false if is_encrypted => "encrypted",
                false => "not_seen",
            };
            line.put("tlsight.audit.certificate", why);
        }
        line.put("tlsight.connection", self.o.conn.0);
        line.put("tlsight.role", self.side.as_str());
        line.put("tlsight.security", self.o.security.as_str());
        line.some("tlsight.security.source", self.o.source.map(|source| source.as_str()));
        line.some("tlsight.security.reason", self.o.reason.map(|reason| reason.as_str()));
        line.some("tlsight.scope", self.judged.sighting.scope.map(|scope| scope.as_str()));
        if let Some(alert) = &self.tls.alert {
            if let Some((level, description)) = alert.content {
                line.put("tlsight.alert.name", description.to_string());
                line.put("tlsight.alert.level", level.to_string());
            }
            line.put("tlsight.alert.sender", alert.sender.as_str());
        }
        line.some("tlsight.expectation", self.judged.expectation.map(|e| e.mode.as_str()));
        let findings: Vec<&str> = self.judged.findings.iter().map(RuleId::as_str).collect();
        line.put("tlsight.findings", findings);
        let sighting = self.judged.sighting;
        let (client, server) = match self.side {
            Side::Client => (&sighting.local, &sighting.peer),
            Side::Server => (&sighting.peer, &sighting.local),
        };
        party(line, "client", client);
        party(line, "server", server);
    }

    fn otel(&self, line: &mut Line) {
        let (client, server) = self.ends();
        line.some("timestamp", self.time());
        line.put("event.name", "tlsight.client_certificate");
        line.put("network.transport", "tcp");
        line.put("network.type", network_type(client));
        line.put("client.address", client.addr.to_string());
        line.put("client.port", client.port);
        let server_address = server.addr.to_string();
        line.put("server.address", self.tls.server_name.clone().unwrap_or_else(|| server_address.clone()));
        line.put("server.port", server.port);
        line.put("tlsight.server.ip", server_address);
        line.some("tlsight.server_name", self.tls.server_name.as_deref());
        self.handshake(line);
        if let Some(leaf) = self.leaf() {
            certificate(line, "tls.client", leaf);
            line.some("tlsight.client.serial", leaf.serial.as_deref());
            line.some("tlsight.client.san", names(leaf));
            line.put("tlsight.client.chain_length", self.tls.client_chain.len());
        }
        if let Some(process) = &self.o.process {
            line.put("process.pid", process.pid);
            line.put("process.executable.name", process.executable_name.clone());
        }
    }

    fn ecs(&self, line: &mut Line) {
        let (client, server) = self.ends();
        line.some("@timestamp", self.time());
        line.put("ecs.version", ECS);
        line.put("event.kind", "event");
        line.put("event.module", "tlsight");
        line.put("event.dataset", "tlsight.audit");
        line.put("event.action", "tls-client-certificate");
        line.put("event.category", json!(["authentication", "network"]));
        let outcome = Outcome::of(self.tls);
        line.put(
            "event.type",
            match outcome {
                Outcome::Success => json!(["start", "allowed"]),
                Outcome::Failure => json!(["start", "denied"]),
                Outcome::Unknown => json!(["start"]),
            },
        );
        line.put("event.outcome", outcome.as_str());
        line.some("event.reason", self.reason.as_deref());
        line.put("network.transport", "tcp");
        line.put("network.type", network_type(client));
        line.put("network.direction", if self.side == Side::Server { "ingress" } else { "egress" });
        for (name, end) in [("source", client), ("destination", server)] {
            let address = end.addr.to_string();
            line.put(format!("{name}.address"), address.clone());
            line.put(format!("{name}.ip"), address);
            line.put(format!("{name}.port"), end.port);
        }
        line.some("destination.domain", self.tls.server_name.as_deref());
        line.some("tls.client.server_name", self.tls.server_name.as_deref());
        self.handshake(line);
        // ECS calls them otherwise.
        for (otel, ecs) in
            [("tls.protocol.name", "tls.version_protocol"), ("tls.protocol.version", "tls.version")]
        {
            if let Some(value) = line.0.remove(otel) {
                line.put(ecs, value);
            }
        }
        if let Some(leaf) = self.leaf() {
            certificate(line, "tls.client", leaf);
            let x509 = |key: &str| format!("tls.client.x509.{key}");
            let date = |secs: Option<i64>| secs.and_then(|secs| rfc3339(i128::from(secs) * 1_000_000_000, 0));
            line.some(x509("subject.distinguished_name"), leaf.subject.as_deref());
            line.some(x509("issuer.distinguished_name"), leaf.issuer.as_deref());
            line.some(x509("not_before"), date(leaf.not_before));
            line.some(x509("not_after"), date(leaf.not_after));
            line.some(x509("serial_number"), leaf.serial.as_deref());
            line.some(x509("alternative_names"), names(leaf));
            line.some(x509("public_key_algorithm"), leaf.key_algorithm.as_deref());
            line.some(x509("public_key_size"), leaf.key_bits);
            line.some(x509("public_key_curve"), leaf.curve.as_deref());
            line.some(x509("signature_algorithm"), leaf.signature_algorithm.as_deref());
        }
        if let Some(process) = &self.o.process {
            line.put("process.pid", process.pid);
            line.put("process.name", process.executable_name.clone());
        }
    }

    /// Names that both conventions have.
    fn handshake(&self, line: &mut Line) {
        let tls = self.tls;
        line.some("tls.protocol.name", tls.negotiated_version.and_then(|v| v.otel_name()));
        line.some("tls.protocol.version", tls.negotiated_version.and_then(|v| v.otel_version()));
        line.some("tls.cipher", tls.cipher.map(|c| c.to_string()));
        line.some("tls.curve", tls.group.map(|g| g.to_string()));
        line.some("tls.established", tls.established);
        line.some("tls.next_protocol", tls.next_protocol.as_deref());
        if let Some(leaf) = tls.server_chain.first() {
            line.some("tls.server.subject", leaf.subject.as_deref());
            line.put("tls.server.hash.sha256", leaf.sha256_hex());
        }
    }
}

fn network_type(end: Endpoint) -> &'static str {
    if end.addr.is_ipv4() { "ipv4" } else { "ipv6" }
}

fn certificate(line: &mut Line, prefix: &str, leaf: &CertificateSummary) {
    let date = |secs: Option<i64>| secs.and_then(|secs| rfc3339(i128::from(secs) * 1_000_000_000, 0));
    line.some(format!("{prefix}.subject"), leaf.subject.as_deref());
    line.some(format!("{prefix}.issuer"), leaf.issuer.as_deref());
    line.some(format!("{prefix}.not_before"), date(leaf.not_before));
    line.some(format!("{prefix}.not_after"), date(leaf.not_after));
    line.put(format!("{prefix}.hash.sha256"), leaf.sha256_hex());
}

fn names(leaf: &CertificateSummary) -> Option<Vec<String>> {
    (!leaf.sans.is_empty()).then(|| leaf.sans.iter().map(ToString::to_string).collect())
}

/// Who is at an end, by the part it plays: an audit asks who the client was, not who was observed.
fn party(line: &mut Line, side: &str, party: &Party) {
    let key = |name: &str| format!("tlsight.{side}.{name}");
    if let Some(process) = &party.process {
        line.some(key("process.executable.path"), process.executable_path.as_deref());
        line.some(key("systemd.unit"), process.systemd_unit.as_deref());
    }
    line.some(key("container.id"), party.container.as_deref().map(|container| container.id.as_str()));
    let (workload, service) = (party.workload.as_deref(), party.service.as_deref());
    let node = workload.and_then(|workload| workload.node.as_deref()).or(party.node.as_deref());
    line.some(key("k8s.node.name"), node);
    let namespace = workload.map(|w| &w.namespace).or(service.map(|service| &service.namespace));
    line.some(key("k8s.namespace.name"), namespace.map(String::as_str));
    if let Some(workload) = workload {
        line.some(key("k8s.pod.name"), workload.pod.as_deref());
        line.put(key("k8s.workload.kind"), workload.kind.clone());
        line.put(key("k8s.workload.name"), workload.name.clone());
    }
    line.some(key("k8s.service.name"), service.map(|service| service.name.as_str()));
}
