//! What rotel should print.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use tlsight_tests::rotel::{Attributes, Received, Span};

use crate::captures::lines;

fn words(value: &Value) -> String {
    match value {
        Value::String(text) => format!("Str({text})"),
        Value::Bool(flag) => format!("Bool({flag})"),
        Value::Number(number) if number.is_f64() => {
            format!("Double({:?})", number.as_f64().expect("a number"))
        }
        Value::Number(number) => format!("Int({number})"),
        Value::Array(values) => format!("Slice({})", values.iter().map(words).collect::<Vec<_>>().join(", ")),
        other => panic!("no attribute is {other}"),
    }
}

fn attributes(line: &Map<String, Value>) -> Attributes {
    let kept = line.iter().filter(|(key, _)| *key != "timestamp");
    kept.map(|(key, value)| (key.clone(), words(value))).collect()
}

/// What should be received of these files: by their lines of JSON, and by what docs/otlp.md says of when a span goes out.
pub(crate) fn expected(files: &[&str]) -> Received {
    let mut connections: BTreeMap<u64, Vec<Map<String, Value>>> = BTreeMap::new();
    for line in lines(files) {
        if let Some(conn) = line.get("tlsight.connection").and_then(Value::as_u64) {
            connections.entry(conn).or_default().push(line);
        }
    }
    let mut expected = Received::default();
    for lines in connections.values() {
        let plain = lines.iter().find(|line| line["tlsight.security"] == "plaintext");
        expected.plaintext.extend(plain.map(attributes));
        expected.spans.extend(lines.iter().find(|line| goes_out(line)).map(span));
    }
    expected.sorted()
}

fn goes_out(line: &Map<String, Value>) -> bool {
    let is_final = line["tlsight.phase"] == "final";
    let has_handshake = line.contains_key("tls.client.ja3") || line.contains_key("tls.protocol.version");
    let established = line.get("tls.established").and_then(Value::as_bool);
    let is_tls13 = line.get("tls.protocol.version").is_some_and(|version| version == "1.3");
    // A certificate of the client may be refused, and one of the server may come from a probe.
    let may_become_more = established == Some(false)
        || (is_tls13 && (line["tlsight.client_certificate"] == "sent" || line["tls.resumed"] == false));
    line.contains_key("tlsight.client_certificate")
        && has_handshake
        && (is_final || (established.is_some() && !may_become_more))
}

fn span(line: &Map<String, Value>) -> Span {
    let mut attributes = attributes(line);
    let text = |key: &str| line.get(key).and_then(Value::as_str);
    let reason = text("tlsight.security.reason");
    let error = match line.get("tls.established").and_then(Value::as_bool) {
        Some(true) => None,
        Some(false) => text("tlsight.alert.name").or(reason),
        None => reason
            .filter(|reason| ["handshake_failed", "handshake_incomplete", "malformed_tls"].contains(reason)),
    };
    if let Some(error) = error {
        attributes.insert("error.type".to_owned(), format!("Str({error})"));
    }
    let millis = line.get("tlsight.handshake_duration_ms").and_then(Value::as_f64);
    Span {
        // Capture files are read from the client's side.
        name: format!("TLS client handshake {}", text("server.address").expect("a server")),
        kind: "SPAN_KIND_INTERNAL".to_owned(),
        status: if error.is_some() { "STATUS_CODE_ERROR" } else { "STATUS_CODE_UNSET" }.to_owned(),
        message: error.unwrap_or_default().to_owned(),
        lasted: millis.map(|millis| (millis * 1000.0).round() as u64 * 1000),
        attributes,
    }
}

/// The name of the span that a line of oteltap is about.
pub(crate) fn name_in_json(line: &str) -> Option<String> {
    let value: Value = serde_json::from_str(line).ok()?;
    value.get("name")?.as_str().map(str::to_owned)
}
