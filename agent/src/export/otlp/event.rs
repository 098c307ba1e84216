//! Plaintext connections, findings and what clients showed, as log records.

use std::time::SystemTime;

use agent_core::policy::finding::Severity as Badness;
use agent_core::policy::judge;
use agent_core::policy::ledger::Change;
use agent_core::time::Timestamp;
use opentelemetry::logs::{AnyValue, LogRecord, Logger, LoggerProvider, Severity};
use opentelemetry::{Array, Value};
use opentelemetry_sdk::logs::{SdkLogRecord, SdkLogger, SdkLoggerProvider};

use super::attributes::Attributes;
use super::options::Limits;
use super::record::{Event, Seen, SeenProcess};
use super::span::system_time;
use crate::audit;
use crate::export::fields;

/// Names of events. They never change meaning.
pub(super) mod names {
    pub(crate) const PLAINTEXT: &str = "tlsight.connection.plaintext";
    pub(crate) const FINDING_RAISED: &str = "tlsight.finding.raised";
    pub(crate) const FINDING_UPDATED: &str = "tlsight.finding.updated";
    pub(crate) const FINDING_CLEARED: &str = "tlsight.finding.cleared";
    pub(crate) const CERTIFICATE_REPLACED: &str = "tlsight.certificate.replaced";
    pub(crate) const PROCESS_CERTIFICATES: &str = "tlsight.process.certificates";
    /// As in the audit log.
    pub(crate) const CLIENT_CERTIFICATE: &str = "tlsight.client_certificate";
}

/// What a record is beside its attributes.
struct Head {
    name: &'static str,
    time: Timestamp,
    severity: Severity,
    body: Option<String>,
}

/// Makes log records.
#[derive(Debug)]
pub(super) struct Events {
    /// The only one who can make an empty record.
    logger: SdkLogger,
    limits: Limits,
}

impl Events {
    pub(super) fn new(limits: Limits) -> Self {
        let nowhere = SdkLoggerProvider::builder()
            .with_resource(opentelemetry_sdk::Resource::builder_empty().build())
            .build();
        Self { logger: nowhere.logger("tlsight"), limits }
    }

    /// The record, how many attributes it had to leave out, and how many bytes the others have.
    pub(super) fn record(&self, event: &Event) -> Option<(SdkLogRecord, u32, usize)> {
        let mut attributes = Attributes::new(self.limits);
        let head = match event {
            Event::Plaintext(seen) => plaintext(&mut attributes, seen)?,
            Event::Audit(seen) => audit(&mut attributes, seen)?,
            Event::News(news, now) => self::news(&mut attributes, news, *now)?,
            Event::Process(process) => self::process(&mut attributes, process)?,
        };
        let (attributes, dropped, bytes) = attributes.done();
        let mut record = self.logger.create_log_record();
        record.set_event_name(head.name);
        record.set_timestamp(system_time(head.time));
        record.set_observed_timestamp(SystemTime::now());
        record.set_severity_number(head.severity);
        record.set_severity_text(head.severity.name());
        if let Some(body) = head.body {
            record.set_body(AnyValue::from(body));
        }
        record.add_attributes(attributes.into_iter().map(|kv| (kv.key, any(kv.value))));
        Some((record, dropped, bytes))
    }
}

fn any(value: Value) -> AnyValue {
    match value {
        Value::Bool(flag) => AnyValue::Boolean(flag),
        Value::I64(n) => AnyValue::Int(n),
        Value::F64(n) => AnyValue::Double(n),
        Value::String(text) => AnyValue::String(text),
        Value::Array(Array::String(texts)) => texts.into_iter().map(AnyValue::String).collect(),
        // Attributes here have no others.
        other => AnyValue::from(other.to_string()),
    }
}

fn plaintext(attributes: &mut Attributes, seen: &Seen) -> Option<Head> {
    match seen.as_judged() {
        Some(judged) => fields::judged(attributes, &judged),
        None => fields::sighting(attributes, &seen.sighting),
    }
    .ok()?;
    Some(Head {
        name: names::PLAINTEXT,
        time: seen.sighting.observation.time,
        severity: Severity::Info,
        body: None,
    })
}

fn audit(attributes: &mut Attributes, seen: &Seen) -> Option<Head> {
    let record = audit::object(&seen.as_judged()?)?;
    let is_fine = record.get("tlsight.audit.status").and_then(serde_json::Value::as_str) == Some("success");
    for (key, value) in record {
        // The record's own time and name say so already.
        if key != "event.name" {
            attributes.json(key, &value);
        }
    }
    Some(Head {
        name: names::CLIENT_CERTIFICATE,
        time: seen.sighting.observation.time,
        severity: if is_fine { Severity::Info } else { Severity::Warn },
        body: None,
    })
}

fn news(attributes: &mut Attributes, news: &judge::Output, now: Timestamp) -> Option<Head> {
    fields::news(attributes, news, now).ok()?;
    let bad = |badness: Badness| match badness {
        Badness::Information => Severity::Info,
        Badness::Warning => Severity::Warn,
        Badness::Critical => Severity::Error,
    };
    let (name, severity, body) = match news {
        judge::Output::Finding(change) => {
            let (name, standing, over) = match change {
                Change::Raised(standing) => (names::FINDING_RAISED, standing, false),
                Change::Updated(standing) => (names::FINDING_UPDATED, standing, false),
                Change::Cleared(standing, _) => (names::FINDING_CLEARED, standing, true),
            };
            let severity = if over { Severity::Info } else { bad(standing.finding.severity) };
            (name, severity, Some(standing.finding.summary.clone()))
        }
        judge::Output::CertificateReplaced(_) => (names::CERTIFICATE_REPLACED, Severity::Info, None),
    };
    Some(Head { name, time: now, severity, body })
}

fn process(attributes: &mut Attributes, process: &SeenProcess) -> Option<Head> {
    match process.as_judged() {
        Some(judged) => fields::judged_process(attributes, &judged),
        None => fields::process_certificates(attributes, &process.certificates),
    }
    .ok()?;
    let time = process.certificates.time;
    Some(Head { name: names::PROCESS_CERTIFICATES, time, severity: Severity::Info, body: None })
}
