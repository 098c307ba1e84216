//! Runs capture files through the pipeline.

use std::io::Read;

use agent_core::time::Timestamp;

use super::counters::Counters;
use super::file::{CaptureFile, Damage, OpenError};
use super::flow::{FlowLimits, FlowTracker};
use super::packet::dissect;
use crate::exit::Failure;
use crate::pipeline::Pipeline;

/// Packets between two calls of the progress report.
const PROGRESS_EVERY: u64 = 4096;

/// How a file went.
#[derive(Debug, Default)]
pub struct Outcome {
    /// What was read and what could not be.
    pub counters: Counters,
    /// Why reading stopped before the end.
    pub damage: Option<Damage>,
}

/// Why a file gave nothing, or everything has to stop.
#[derive(Debug)]
pub enum RunError {
    /// The input is no capture file.
    Open(OpenError),
    /// The output failed.
    Output(Failure),
}

impl From<Failure> for RunError {
    fn from(failure: Failure) -> Self {
        RunError::Output(failure)
    }
}

/// Reads capture files one after the other. Each stands alone: at its end every connection is over.
#[derive(Debug)]
pub struct CaptureReader {
    flows: FlowTracker,
}

impl CaptureReader {
    /// A reader with these bounds.
    pub fn new(limits: FlowLimits) -> Self {
        Self { flows: FlowTracker::new(limits) }
    }

    /// Reads a file to its end; calls `progress` with the bytes read so far now and then.
    pub fn run(
        &mut self,
        input: impl Read,
        pipeline: &mut Pipeline,
        progress: &mut dyn FnMut(u64),
    ) -> Result<Outcome, RunError> {
        let mut file = CaptureFile::open(input).map_err(RunError::Open)?;
        let mut outcome = Outcome::default();
        let mut now = Timestamp::default();
        let counters = &mut outcome.counters;
        loop {
            let packet = match file.next_packet() {
                Ok(Some(packet)) => packet,
                Ok(None) => break,
                Err(damage) => {
                    outcome.damage = Some(damage);
                    break;
                }
            };
            now = packet.time;
            if let Some(segment) = dissect(&packet, counters) {
                self.flows.segment(&segment, now, counters, &mut |event, at| pipeline.handle(event, at))?;
                // Files are read whole whatever the engine still needs; what it does not need it ignores.
                while pipeline.poll_control().is_some() {}
            }
            if counters.packets % PROGRESS_EVERY == 0 {
                progress(file.offset());
            }
        }
        counters.blocks = file.counters;
        pipeline.tick(now)?;
        self.flows.finish(now, &mut |event, at| pipeline.handle(event, at))?;
        pipeline.finish(now)?;
        Ok(outcome)
    }
}
