//! Any bytes as a capture file, and what every exporter writes of it: JSON that is read back, and nothing that a terminal
//! obeys.
#![no_main]

use std::cell::RefCell;
use std::io;
use std::rc::Rc;
use std::sync::{Arc, Mutex};

use agent_core::engine::EngineConfig;
use agent_core::observation::{Observation, ProcessCertificates};
use agent_core::time::Timestamp;
use jiff::tz::TimeZone;
use libfuzzer_sys::fuzz_target;
use tlsight::export::json::JsonSink;
use tlsight::export::prometheus::{Format, Health, MetricsSink, Options, metrics};
use tlsight::export::table::{Look, TableSink};
use tlsight::export::text::is_unsafe;
use tlsight::filter::Filter;
use tlsight::pipeline::{Phases, Pipeline, Sink, View};
use tlsight::report::limits::Limits;
use tlsight::report::line::Line;
use tlsight::report::model::Model;
use tlsight::report::sink::ModelSink;
use tlsight::report::summary::Options as Summary;
use tlsight::report::text;
use tlsight::source::pcap::flow::FlowLimits;
use tlsight::source::pcap::run::CaptureReader;

/// Bytes that somebody reads afterwards.
#[derive(Clone, Default)]
struct Written(Rc<RefCell<Vec<u8>>>);

impl io::Write for Written {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.borrow_mut().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

struct All {
    json: JsonSink<Written>,
    table: TableSink<Written>,
    metrics: MetricsSink,
    report: ModelSink,
}

impl Sink for All {
    fn name(&self) -> &str {
        "everything"
    }

    fn observation(&mut self, observation: &Observation) -> io::Result<()> {
        self.json.observation(observation)?;
        self.table.observation(observation)?;
        self.metrics.observation(observation)?;
        self.report.observation(observation)
    }

    fn process_certificates(&mut self, certificates: &ProcessCertificates) -> io::Result<()> {
        self.json.process_certificates(certificates)?;
        self.table.process_certificates(certificates)?;
        self.metrics.process_certificates(certificates)?;
        self.report.process_certificates(certificates)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn harmless(text: &[u8]) {
    let text = std::str::from_utf8(text).expect("UTF-8");
    assert!(!text.chars().any(|c| c != '\n' && is_unsafe(c)), "{text:?}");
}

fuzz_target!(|file: &[u8]| {
    let (json, table) = (Written::default(), Written::default());
    let look = Look {
        color: false,
        width: Some(120),
        zone: TimeZone::UTC,
        date: true,
        process: true,
        flush_each: false,
        findings: true,
    };
    let (sink, exposition) = metrics(Options::default()).expect("defaults are good");
    let model = Arc::new(Mutex::new(Model::new(Limits::default())));
    let all = All {
        json: JsonSink::new(json.clone(), true),
        table: TableSink::new(table.clone(), look),
        metrics: sink,
        report: ModelSink::new(Arc::clone(&model), 0),
    };
    let view = View { filter: Filter::default(), phases: Phases::All, client_is_local: true, count: None };
    let mut pipeline = Pipeline::new(EngineConfig::default(), view, Box::new(all));
    let mut reader = CaptureReader::new(FlowLimits { open: 8, closed: 4, ..FlowLimits::default() });
    let _ = reader.run(file, &mut pipeline, &mut |_| {});
    drop(pipeline);
    harmless(&json.0.borrow());
    harmless(&table.0.borrow());
    for line in json.0.borrow().split(|b| *b == b'\n').filter(|line| !line.is_empty()) {
        Line::parse(line).expect("what is written can be read");
    }
    let report = model
        .lock()
        .expect("nobody failed with it")
        .report(Summary { now: Timestamp(1_700_000_000_000_000_000), min_connections: 1 });
    harmless(text::text(&report).as_bytes());
    for format in [Format::Text, Format::OpenMetrics] {
        harmless(&exposition.render(format, &Health::default()).expect("renders"));
    }
});
