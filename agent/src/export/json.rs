//! One observation, one line: a flat JSON object. docs/json.md describes every key; a test holds the two together.

mod object;

use std::io::{self, Write};

use agent_core::identity::Sighting;
use agent_core::observation::{Observation, ProcessCertificates};
use agent_core::policy::judge;
use agent_core::time::Timestamp;

use self::object::Object;
pub use self::object::to_line;
use super::fields;
pub(crate) use super::fields::rfc3339;
use crate::judging::{Judged, JudgedProcess};
use crate::pipeline::Sink;

/// Writes JSON lines.
pub struct JsonSink<W> {
    out: W,
    line: Vec<u8>,
    flush_each: bool,
    findings: bool,
}

impl<W: Write> JsonSink<W> {
    /// Lines to `out`; `flush_each` where somebody waits for them.
    pub fn new(out: W, flush_each: bool) -> Self {
        Self { out, line: Vec::with_capacity(2048), flush_each, findings: false }
    }

    /// Also writes news of findings, a line each.
    #[must_use]
    pub fn with_findings(self, findings: bool) -> Self {
        Self { findings, ..self }
    }

    fn write_line(&mut self) -> io::Result<()> {
        self.line.push(b'\n');
        self.out.write_all(&self.line)?;
        if self.flush_each { self.out.flush() } else { Ok(()) }
    }
}

impl<W: Write> Sink for JsonSink<W> {
    fn name(&self) -> &str {
        "standard output"
    }

    fn observation(&mut self, observation: &Observation) -> io::Result<()> {
        self.line.clear();
        write_observation(&mut self.line, observation)?;
        self.write_line()
    }

    fn sighting(&mut self, sighting: &Sighting) -> io::Result<()> {
        self.line.clear();
        write_sighting(&mut self.line, sighting)?;
        self.write_line()
    }

    fn judged(&mut self, judged: &Judged<'_>) -> io::Result<()> {
        self.line.clear();
        write_judged(&mut self.line, judged)?;
        self.write_line()
    }

    fn finding(&mut self, news: &judge::Output, now: Timestamp) -> io::Result<()> {
        if !self.findings {
            return Ok(());
        }
        self.line.clear();
        write_finding(&mut self.line, news, now)?;
        self.write_line()
    }

    fn process_certificates(&mut self, certificates: &ProcessCertificates) -> io::Result<()> {
        self.line.clear();
        write_process_certificates(&mut self.line, certificates)?;
        self.write_line()
    }

    fn judged_process(&mut self, judged: &JudgedProcess<'_>) -> io::Result<()> {
        self.line.clear();
        write_judged_process(&mut self.line, judged)?;
        self.write_line()
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// Appends one object, without a line end.
pub fn write_observation(out: &mut Vec<u8>, o: &Observation) -> io::Result<()> {
    object(out, |object| fields::observation(object, o, None))
}

/// Appends one object that also says who is at both ends, without a line end.
pub fn write_sighting(out: &mut Vec<u8>, sighting: &Sighting) -> io::Result<()> {
    object(out, |object| fields::sighting(object, sighting))
}

/// Appends one object that also says what was expected and what is wrong, without a line end.
pub fn write_judged(out: &mut Vec<u8>, judged: &Judged<'_>) -> io::Result<()> {
    object(out, |object| fields::judged(object, judged))
}

/// Appends one object, without a line end. `now`: when it became known.
pub fn write_finding(out: &mut Vec<u8>, news: &judge::Output, now: Timestamp) -> io::Result<()> {
    object(out, |object| fields::news(object, news, now))
}

/// Appends one object, without a line end.
pub fn write_process_certificates(out: &mut Vec<u8>, certificates: &ProcessCertificates) -> io::Result<()> {
    object(out, |object| fields::process_certificates(object, certificates))
}

/// Appends one object that also says what is wrong with them, without a line end.
pub fn write_judged_process(out: &mut Vec<u8>, judged: &JudgedProcess<'_>) -> io::Result<()> {
    object(out, |object| fields::judged_process(object, judged))
}

fn object(out: &mut Vec<u8>, write: impl FnOnce(&mut Object<'_>) -> io::Result<()>) -> io::Result<()> {
    let mut object = Object::begin(out);
    write(&mut object)?;
    object.end();
    Ok(())
}

#[cfg(test)]
mod tests;
