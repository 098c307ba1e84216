//! Any bytes as a capture file, through dissection and the whole pipeline.
#![no_main]

use std::io;

use agent_core::engine::EngineConfig;
use agent_core::observation::{Observation, ProcessCertificates};
use libfuzzer_sys::fuzz_target;
use tlsight::filter::Filter;
use tlsight::pipeline::{Phases, Pipeline, Sink, View};
use tlsight::source::pcap::flow::FlowLimits;
use tlsight::source::pcap::run::CaptureReader;

/// Looks at what it is given, as an exporter would, and forgets it.
struct Looks;

impl Sink for Looks {
    fn name(&self) -> &str {
        "nothing"
    }

    fn observation(&mut self, observation: &Observation) -> io::Result<()> {
        let _ = format!("{observation:?}");
        Ok(())
    }

    fn process_certificates(&mut self, _: &ProcessCertificates) -> io::Result<()> {
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fuzz_target!(|file: &[u8]| {
    let view = View { filter: Filter::default(), phases: Phases::All, client_is_local: true, count: None };
    let mut pipeline = Pipeline::new(EngineConfig::default(), view, Box::new(Looks));
    let mut reader = CaptureReader::new(FlowLimits { open: 8, closed: 4, ..FlowLimits::default() });
    let _ = reader.run(file, &mut pipeline, &mut |_| {});
});
