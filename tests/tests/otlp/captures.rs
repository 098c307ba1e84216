//! Captures through the pipeline, with the exporter as one of those that listen.

use std::cell::RefCell;
use std::fs::File;
use std::io::{self, BufReader};
use std::rc::Rc;

use agent_core::engine::EngineConfig;
use agent_core::observation::{Observation, ProcessCertificates};
use agent_core::policy::judge;
use agent_core::policy::settings::Settings;
use agent_core::time::Timestamp;
use tlsight::export::json::JsonSink;
use tlsight::export::otlp::OtlpSink;
use tlsight::export::silent::SilentSink;
use tlsight::filter::Filter;
use tlsight::judging::{Judged, Judging};
use tlsight::pipeline::{Phases, Pipeline, Sink, View};
use tlsight::source::pcap::flow::FlowLimits;
use tlsight::source::pcap::run::CaptureReader;
use tlsight_tests::tools::repository;

/// Reads these files as `tlsight pcap` does.
pub(crate) fn run(files: &[&str], sink: Box<dyn Sink>) {
    let view = View { filter: Filter::default(), phases: Phases::All, client_is_local: true, count: None };
    let config = EngineConfig { seen_at_local_end: false, ..EngineConfig::default() };
    let judging = Judging::new(Settings::default()).expect("settings");
    let mut pipeline =
        Pipeline::new(config, view, Box::new(SilentSink)).with_judging(judging).with_recorder(sink);
    let mut reader = CaptureReader::new(FlowLimits::default());
    for file in files {
        let file = File::open(repository().join("tests/captures").join(file)).expect("a capture");
        let outcome = reader.run(BufReader::new(file), &mut pipeline, &mut |_| {}).expect("readable");
        assert!(outcome.damage.is_none());
    }
}

/// What was seen in these files, as lines of JSON.
pub(crate) fn lines(files: &[&str]) -> Vec<serde_json::Map<String, serde_json::Value>> {
    let out = Rc::new(RefCell::new(Vec::new()));
    run(files, Box::new(JsonSink::new(Shared(Rc::clone(&out)), false)));
    let lines = out.borrow();
    let lines = lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    lines.map(|line| serde_json::from_slice(line).expect("JSON")).collect()
}

struct Shared(Rc<RefCell<Vec<u8>>>);

impl io::Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.borrow_mut().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// One exporter that sees captures more than once.
pub(crate) struct Repeated(Rc<RefCell<OtlpSink>>);

impl Repeated {
    pub(crate) fn new(sink: OtlpSink) -> Self {
        Self(Rc::new(RefCell::new(sink)))
    }

    pub(crate) fn run(&mut self, files: &[&str]) {
        run(files, Box::new(Self(Rc::clone(&self.0))));
    }
}

impl Sink for Repeated {
    fn name(&self) -> &str {
        "the collector"
    }

    fn observation(&mut self, observation: &Observation) -> io::Result<()> {
        self.0.borrow_mut().observation(observation)
    }

    fn judged(&mut self, judged: &Judged<'_>) -> io::Result<()> {
        self.0.borrow_mut().judged(judged)
    }

    fn finding(&mut self, news: &judge::Output, now: Timestamp) -> io::Result<()> {
        self.0.borrow_mut().finding(news, now)
    }

    fn process_certificates(&mut self, certificates: &ProcessCertificates) -> io::Result<()> {
        self.0.borrow_mut().process_certificates(certificates)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
