//! What the BPF programs cost the kernel, while it counts that (`kernel.bpf_stats_enabled`).

use std::sync::Arc;

use super::descriptor::{BaseUnit, Descriptor, Kind, Label};
use super::family::{Sample, Snapshot, Value};
use crate::loader::ProgramCost;

const PROGRAM: Label = Label::closed("program", "name of the program: `skb_egress` ...");
const RUNS: Descriptor = Descriptor::own(
    Kind::Counter,
    "tlsight_bpf_program_runs_total",
    "How often a BPF program of the agent ran, while the kernel counted (sysctl kernel.bpf_stats_enabled).",
    &[PROGRAM],
);
const SECONDS: Descriptor = Descriptor::own(
    Kind::Counter,
    "tlsight_bpf_program_run_seconds_total",
    "How long it ran, while the kernel counted.",
    &[PROGRAM],
)
.in_unit(BaseUnit::Seconds);

pub(super) const DESCRIPTORS: &[&Descriptor] = &[&RUNS, &SECONDS];

pub(super) fn collect(costs: &[ProgramCost]) -> [Snapshot; 2] {
    let by_program = |descriptor, value: fn(&ProgramCost) -> Value| {
        let sample = |cost: &ProgramCost| Sample {
            labels: Arc::from([(PROGRAM.name, Arc::from(cost.program))]),
            value: value(cost),
        };
        Snapshot { descriptor, samples: costs.iter().map(sample).collect() }
    };
    let seconds =
        |cost: &ProgramCost| Value::Float(std::time::Duration::from_nanos(cost.nanoseconds).as_secs_f64());
    [by_program(&RUNS, |cost| Value::Integer(cost.runs)), by_program(&SECONDS, seconds)]
}
