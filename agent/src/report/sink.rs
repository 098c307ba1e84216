//! From the pipeline into a model, by way of the exporter's own JSON: there is one documented input.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use agent_core::identity::Sighting;
use agent_core::observation::{Observation, ProcessCertificates};
use agent_core::policy::judge;
use agent_core::time::Timestamp;

use super::line::Line;
use super::model::Model;
use crate::export::json;
use crate::judging::{Judged, JudgedProcess};
use crate::pipeline::Sink;

/// A model that a sink fills and somebody else reads afterwards.
pub type SharedModel = Arc<Mutex<Model>>;

/// Feeds a model.
pub struct ModelSink {
    model: SharedModel,
    source: u32,
    line: Vec<u8>,
}

impl ModelSink {
    /// A sink for the observations of one source.
    pub fn new(model: SharedModel, source: u32) -> Self {
        Self { model, source, line: Vec::with_capacity(2048) }
    }

    fn take(&mut self) -> io::Result<()> {
        let line = Line::parse(&self.line)?;
        self.model.lock().unwrap_or_else(PoisonError::into_inner).take(self.source, &line);
        self.line.clear();
        Ok(())
    }
}

impl Sink for ModelSink {
    fn name(&self) -> &str {
        "the report"
    }

    fn observation(&mut self, observation: &Observation) -> io::Result<()> {
        json::write_observation(&mut self.line, observation)?;
        self.take()
    }

    fn sighting(&mut self, sighting: &Sighting) -> io::Result<()> {
        json::write_sighting(&mut self.line, sighting)?;
        self.take()
    }

    fn judged(&mut self, judged: &Judged<'_>) -> io::Result<()> {
        json::write_judged(&mut self.line, judged)?;
        self.take()
    }

    fn process_certificates(&mut self, certificates: &ProcessCertificates) -> io::Result<()> {
        json::write_process_certificates(&mut self.line, certificates)?;
        self.take()
    }

    fn judged_process(&mut self, judged: &JudgedProcess<'_>) -> io::Result<()> {
        json::write_judged_process(&mut self.line, judged)?;
        self.take()
    }

    fn finding(&mut self, news: &judge::Output, now: Timestamp) -> io::Result<()> {
        json::write_finding(&mut self.line, news, now)?;
        self.take()
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
