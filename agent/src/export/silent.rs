//! Nothing at all: where standard output belongs to somebody else.

use std::io;

use agent_core::observation::{Observation, ProcessCertificates};

use crate::pipeline::Sink;

/// Writes nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct SilentSink;

impl Sink for SilentSink {
    fn name(&self) -> &str {
        "nothing"
    }

    fn observation(&mut self, _: &Observation) -> io::Result<()> {
        Ok(())
    }

    fn process_certificates(&mut self, _: &ProcessCertificates) -> io::Result<()> {
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
