//! What spans and log records look like, as a collector reads them.

use std::collections::BTreeMap;

use agent_core::event::CloseKind;
use agent_core::net::ConnId;
use agent_core::observation::{AlertFact, Phase, ProcessCertificates, Reason, Security};
use agent_core::policy::about::About;
use agent_core::policy::finding::{Evidence, Finding, RuleId, Severity};
use agent_core::policy::judge;
use agent_core::policy::ledger::{Change, Cleared, Standing};
use agent_core::tls::codepoints::{AlertDescription, AlertLevel};
use serde_json::{Value, json};

use super::collector::{Collector, OK};
use super::*;
use crate::export::{json, sample};
use crate::judging::Judged;
use crate::pipeline::Sink;

/// Attributes as an object of plain values.
pub(super) fn attributes(item: &Value) -> BTreeMap<String, Value> {
    let attributes = item["attributes"].as_array().cloned().unwrap_or_default();
    attributes.iter().map(|kv| (kv["key"].as_str().unwrap().to_owned(), plain(&kv["value"]))).collect()
}

fn plain(value: &Value) -> Value {
    let (kind, value) = value.as_object().unwrap().iter().next().unwrap();
    match kind.as_str() {
        "intValue" => json!(value.as_str().unwrap().parse::<i64>().unwrap()),
        "arrayValue" => value["values"].as_array().unwrap().iter().map(plain).collect(),
        _ => value.clone(),
    }
}

/// A line of JSON without what a record has of its own.
fn line(write: impl FnOnce(&mut Vec<u8>) -> std::io::Result<()>) -> BTreeMap<String, Value> {
    let mut out = Vec::new();
    write(&mut out).unwrap();
    let mut line: BTreeMap<String, Value> = serde_json::from_slice(&out).unwrap();
    line.remove("timestamp");
    line.remove("tlsight.event");
    line
}

/// What a collector has after these were seen.
fn exported(see: impl FnOnce(&mut OtlpSink)) -> Collector {
    let collector = Collector::start(OK);
    let (handle, mut sink) = start(&options(collector.address)).unwrap();
    see(&mut sink);
    handle.shutdown(LONG);
    collector
}

#[test]
fn a_span_has_every_key_that_a_line_of_json_has() {
    let seen = sighting(sample::everything());
    let judged = Judged {
        sighting: &seen,
        expectation: None,
        findings: &[RuleId::WeakCipher],
        severities: &[Severity::Warning],
        about_client: &[],
    };
    let collector = exported(|sink| sink.judged(&judged).unwrap());
    let spans = collector.spans();
    assert_eq!(spans.len(), 1);
    assert_eq!(attributes(&spans[0]), line(|out| json::write_judged(out, &judged)));
    let mut head = spans[0].clone();
    for key in ["attributes", "traceId", "spanId"] {
        assert!(head.as_object_mut().unwrap().remove(key).is_some());
    }
    let start = sample::TIME.0 + 1_000_000;
    assert_eq!(head["name"], "TLS server handshake");
    assert_eq!(head["kind"], 1, "INTERNAL");
    assert_eq!(head["startTimeUnixNano"], start.to_string());
    assert_eq!(head["endTimeUnixNano"], (start + 12_345_000).to_string());
    assert_eq!(head["status"].get("code").cloned().unwrap_or(json!(0)), json!(0));
    assert_eq!(head["parentSpanId"], "");
    let requests = collector.requests();
    let request = requests.iter().find(|request| request.path == "/v1/traces").unwrap();
    let resource = &request.body["resourceSpans"][0];
    assert_eq!(attributes(&resource["resource"])["service.name"], "tlsight");
    let scope = &resource["scopeSpans"][0];
    assert_eq!(
        (&scope["scope"]["name"], &scope["schemaUrl"]),
        (&json!("tlsight"), &json!(resource::SCHEMA_URL))
    );
    // The certificate of the client that it showed is a record of the audit log.
    let logs = collector.logs();
    let names: Vec<&Value> = logs.iter().map(|log| &log["eventName"]).collect();
    assert_eq!(names, ["tlsight.client_certificate"]);
    assert_eq!(attributes(&logs[0])["tls.client.subject"], "CN=alice");
}

#[test]
fn a_plaintext_connection_is_one_event_however_often_it_is_seen() {
    let seen = sighting(sample::plaintext());
    let mut last = sighting(sample::plaintext());
    last.observation.phase = Phase::Final;
    let collector = exported(|sink| {
        sink.sighting(&seen).unwrap();
        sink.sighting(&seen).unwrap();
        sink.sighting(&last).unwrap();
    });
    let logs = collector.logs();
    assert_eq!(logs.len(), 1);
    assert_eq!(logs[0]["eventName"], "tlsight.connection.plaintext");
    assert_eq!(logs[0]["severityText"], "INFO");
    assert_eq!(logs[0]["timeUnixNano"], sample::TIME.0.to_string());
    assert_eq!(attributes(&logs[0]), line(|out| json::write_sighting(out, &seen)));
    assert_eq!(collector.spans(), [] as [Value; 0]);
}

#[test]
fn a_failed_handshake_says_why_and_lasts_as_long_as_its_connection() {
    let mut o = sample::everything();
    (o.security, o.reason) = (Security::Unknown, Some(Reason::HandshakeFailed));
    o.duration = Some(Duration::from_millis(7));
    let tls = o.tls_mut().unwrap();
    (tls.established, tls.handshake_duration) = (Some(false), None);
    let mut silent = o.clone();
    silent.conn = ConnId(8);
    let tls = silent.tls_mut().unwrap();
    tls.alert = Some(AlertFact { content: None, ..tls.alert.unwrap() });
    let mut cut = silent.clone();
    (cut.conn, cut.reason, cut.closed) =
        (ConnId(9), Some(Reason::HandshakeIncomplete), Some(CloseKind::Reset));
    (cut.tls_mut().unwrap().established, cut.tls_mut().unwrap().alert) = (None, None);
    let collector = exported(|sink| {
        for o in [o, silent, cut] {
            sink.sighting(&sighting(o)).unwrap();
        }
    });
    let errors: Vec<Value> =
        collector.spans().iter().map(|span| attributes(span)["error.type"].clone()).collect();
    assert_eq!(errors, ["bad_certificate", "handshake_failed", "handshake_incomplete"]);
    for span in collector.spans() {
        assert_eq!(span["status"]["code"], 2, "ERROR");
        assert_eq!(span["status"]["message"], attributes(&span)["error.type"]);
        assert_eq!(span["startTimeUnixNano"], (sample::TIME.0 + 1_000_000).to_string());
        assert_eq!(span["endTimeUnixNano"], (sample::TIME.0 + 7_000_000).to_string());
    }
}

#[test]
fn a_handshake_that_is_refused_a_moment_later_is_one_span_that_failed() {
    let mut presumed = sample::everything();
    presumed.phase = Phase::Verdict;
    let tls = presumed.tls_mut().unwrap();
    tls.negotiated_version = Some(agent_core::tls::codepoints::ProtocolVersion::TLS_1_3);
    tls.alert = None;
    let mut refused = presumed.clone();
    (refused.phase, refused.security) = (Phase::Final, Security::Unknown);
    refused.reason = Some(Reason::HandshakeFailed);
    let tls = refused.tls_mut().unwrap();
    tls.established = Some(false);
    tls.alert = Some(AlertFact {
        sender: agent_core::net::Side::Server,
        content: Some((AlertLevel::FATAL, AlertDescription::UNKNOWN_CA)),
    });
    let collector = exported(|sink| {
        sink.sighting(&sighting(presumed)).unwrap();
        sink.sighting(&sighting(refused)).unwrap();
    });
    let spans = collector.spans();
    assert_eq!(spans.len(), 1);
    assert_eq!(attributes(&spans[0])["error.type"], "unknown_ca");
}

#[test]
fn what_is_held_goes_when_its_time_comes_and_once_only() {
    let mut held = sample::everything();
    held.phase = Phase::Verdict;
    held.tls_mut().unwrap().negotiated_version = Some(agent_core::tls::codepoints::ProtocolVersion::TLS_1_3);
    let mut last = held.clone();
    last.phase = Phase::Final;
    let collector = Collector::start(OK);
    let (handle, mut sink) = start(&options(collector.address)).unwrap();
    sink.sighting(&sighting(held)).unwrap();
    until("sent", || counter(&handle, "otlp.spans_exported") == 1);
    sink.sighting(&sighting(last)).unwrap();
    let counters = handle.shutdown(LONG);
    assert_eq!(named(&counters, "otlp.spans_late"), 1);
    assert_eq!(collector.spans().len(), 1);
}

fn standing(severity: Severity) -> Box<Standing> {
    Box::new(Standing {
        finding: Finding {
            rule: RuleId::PlaintextTraffic,
            severity,
            about: About::Other("curl -> 10.0.0.2:80".into()),
            evidence: {
                let mut evidence = Evidence::default();
                evidence.set("server.port", 80_u16);
                evidence
            },
            summary: "curl talks plaintext".to_owned(),
            advice: "Turn on TLS.".into(),
            turn: None,
        },
        first_seen: sample::TIME,
        last_seen: sample::TIME,
        count: 3,
    })
}

#[test]
fn news_of_findings_are_log_records_of_their_severity() {
    let news = [
        Change::Raised(standing(Severity::Critical)),
        Change::Updated(standing(Severity::Warning)),
        Change::Cleared(standing(Severity::Critical), Cleared::Good),
    ]
    .map(judge::Output::Finding);
    let collector = exported(|sink| {
        for news in &news {
            sink.finding(news, sample::TIME).unwrap();
        }
    });
    let logs = collector.logs();
    let heads: Vec<(&Value, &Value, &Value)> = logs
        .iter()
        .map(|log| (&log["eventName"], &log["severityText"], &log["body"]["stringValue"]))
        .collect();
    let [raised, updated, cleared] =
        ["raised", "updated", "cleared"].map(|n| json!(format!("tlsight.finding.{n}")));
    let [error, warn, info, body] = ["ERROR", "WARN", "INFO", "curl talks plaintext"].map(|text| json!(text));
    assert_eq!(heads, [(&raised, &error, &body), (&updated, &warn, &body), (&cleared, &info, &body)]);
    for (log, news) in logs.iter().zip(&news) {
        assert_eq!(attributes(log), line(|out| json::write_finding(out, news, sample::TIME)));
        assert_eq!(log["timeUnixNano"], sample::TIME.0.to_string());
    }
}

#[test]
fn certificates_of_a_process_are_a_log_record() {
    let certificates: ProcessCertificates = sample::process_certificates(None);
    let collector = exported(|sink| sink.process_certificates(&certificates).unwrap());
    let logs = collector.logs();
    assert_eq!(logs[0]["eventName"], "tlsight.process.certificates");
    assert_eq!(attributes(&logs[0]), line(|out| json::write_process_certificates(out, &certificates)));
}

#[test]
fn limits_cut_texts_and_leave_out_attributes_and_count_them() {
    let collector = Collector::start(OK);
    let mut options = options(collector.address);
    options.traces.as_mut().unwrap().limits = Limits { count: 3, value_length: 4 };
    let (handle, mut sink) = start(&options).unwrap();
    let mut o = sample::everything();
    o.tls_mut().unwrap().established = Some(false);
    sink.sighting(&sighting(o.clone())).unwrap();
    let counters = handle.shutdown(LONG);
    let span = collector.spans().remove(0);
    let expected =
        [("error.type", json!("bad_")), ("tlsight.connection", json!(7)), ("tlsight.phase", json!("fina"))];
    assert_eq!(attributes(&span), expected.map(|(key, value)| (key.to_owned(), value)).into());
    let all = line(|out| json::write_sighting(out, &sighting(o))).len() + 1;
    assert_eq!(span["droppedAttributesCount"], json!(all - 3));
    assert_eq!(named(&counters, "otlp.attributes_dropped"), (all - 3) as u64);
}
