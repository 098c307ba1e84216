//! From the pipeline into a model, by the keys of the exporter's own JSON: there is one documented input.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use agent_core::identity::Sighting;
use agent_core::observation::{Observation, ProcessCertificates};
use agent_core::policy::judge;
use agent_core::time::Timestamp;

use super::line::{Line, Told};
use super::model::Model;
use crate::export::fields;
use crate::judging::{Judged, JudgedProcess};
use crate::pipeline::Sink;

/// A model that a sink fills and somebody else reads afterwards.
pub type SharedModel = Arc<Mutex<Model>>;

/// Feeds a model.
pub struct ModelSink {
    model: SharedModel,
    source: u32,
}

impl ModelSink {
    /// A sink for the observations of one source.
    pub fn new(model: SharedModel, source: u32) -> Self {
        Self { model, source }
    }

    fn take(&mut self, tell: impl FnOnce(&mut Told) -> io::Result<()>) -> io::Result<()> {
        let line = Line::told(tell)?;
        self.model.lock().unwrap_or_else(PoisonError::into_inner).take(self.source, &line);
        Ok(())
    }
}

impl Sink for ModelSink {
    fn name(&self) -> &str {
        "the report"
    }

    fn observation(&mut self, observation: &Observation) -> io::Result<()> {
        self.take(|line| fields::observation(line, observation, None))
    }

    fn sighting(&mut self, sighting: &Sighting) -> io::Result<()> {
        self.take(|line| fields::sighting(line, sighting))
    }

    fn judged(&mut self, judged: &Judged<'_>) -> io::Result<()> {
        self.take(|line| fields::judged(line, judged))
    }

    fn process_certificates(&mut self, certificates: &ProcessCertificates) -> io::Result<()> {
        self.take(|line| fields::process_certificates(line, certificates))
    }

    fn judged_process(&mut self, judged: &JudgedProcess<'_>) -> io::Result<()> {
        self.take(|line| fields::judged_process(line, judged))
    }

    fn finding(&mut self, news: &judge::Output, now: Timestamp) -> io::Result<()> {
        self.take(|line| fields::news(line, news, now))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
