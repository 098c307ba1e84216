//! The model, fed with lines as tlsight writes them.

mod bounds;
mod counting;
mod pages;
mod readiness;

use agent_core::time::Timestamp;
use serde_json::{Map, Value, json};

use super::document::{Readiness, Report, Service};
use super::limits::Limits;
use super::line::Line;
use super::model::{Model, Taken};
use super::summary::Options;

/// 2026-01-02T00:00:00Z
pub(super) const NOW: Timestamp = Timestamp::from_secs(1_767_312_000);

/// A line of one end, changed by the keys of `more`; a null takes a key away.
pub(super) fn line(connection: u64, role: &str, security: &str, more: Value) -> Value {
    let mut object = json!({
        "timestamp": "2026-01-01T10:00:00Z",
        "tlsight.connection": connection,
        "tlsight.phase": "final",
        "tlsight.security": security,
        "tlsight.role": role,
        "network.local.address": "10.0.0.1",
        "network.local.port": 40000 + connection,
        "network.peer.address": "10.0.0.2",
        "network.peer.port": 443,
    });
    if role == "server" {
        set(
            &mut object,
            &json!({
                "network.local.address": "10.0.0.2", "network.local.port": 443,
                "network.peer.address": "10.0.0.1", "network.peer.port": 40000 + connection,
            }),
        );
    }
    set(&mut object, &more);
    object
}

pub(super) fn set(object: &mut Value, more: &Value) {
    let more: Map<String, Value> = more.as_object().expect("an object").clone();
    let object = object.as_object_mut().expect("an object");
    for (key, value) in more {
        match value {
            Value::Null => object.remove(&key),
            value => object.insert(key, value),
        };
    }
}

/// A workload at the observed end, or at the other one.
pub(super) fn workload(of: &str, name: &str) -> Value {
    let own = if of == "local" {
        "k8s.namespace.name".to_owned()
    } else {
        "tlsight.peer.k8s.namespace.name".to_owned()
    };
    let prefix = if of == "local" { "tlsight.k8s" } else { "tlsight.peer.k8s" };
    json!({own: "shop", format!("{prefix}.workload.kind"): "Deployment", format!("{prefix}.workload.name"): name})
}

pub(super) fn both(mut one: Value, two: &Value) -> Value {
    set(&mut one, two);
    one
}

pub(super) fn model_of(limits: Limits, lines: &[Value]) -> Model {
    let mut model = Model::new(limits);
    for line in lines {
        let line = Line::parse(line.to_string().as_bytes()).expect("a line");
        assert_eq!(model.take(0, &line), Taken::Counted);
    }
    model
}

pub(super) fn report_of(lines: &[Value]) -> Report {
    model_of(Limits::default(), lines).report(Options { now: NOW, min_connections: 1 })
}

/// Name, readiness and reasons of every service.
pub(super) fn verdicts(report: &Report) -> Vec<(String, Readiness, String)> {
    let verdict = |s: &Service| (s.name.to_string(), s.readiness, s.reasons.join(" "));
    report.services.iter().map(verdict).collect()
}
