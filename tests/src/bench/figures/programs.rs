//! What each BPF program costs the kernel for each run, by the kernel's own statistics. They are switched on for this and set
//! back to what they were.

use std::fs;

use anyhow::{Context, Result};
use serde_json::json;

use super::Figure;
use crate::bench::beside::{self, label, samples};
use crate::bench::loads::LOADS;
use crate::bench::options::Options;
use crate::bench::row::Row;

pub(super) const FIGURE: Figure = Figure { name: "programs", run };

const SWITCH: &str = "/proc/sys/kernel/bpf_stats_enabled";

/// Loads that it is looked at with, and the programs of which nearly every run is for a packet of a finished connection.
const WITH: [(&str, &[&str]); 3] = [
    ("bulk TCP, loopback", &["skb_egress", "skb_ingress"]),
    ("redis, GET of 20 clients", &["skb_egress", "skb_ingress"]),
    ("TLS 1.3 handshakes, full", &[]),
];

/// Counting, until it goes.
struct Counting(String);

impl Counting {
    fn on() -> Result<Counting> {
        let before = fs::read_to_string(SWITCH).context(SWITCH)?;
        fs::write(SWITCH, "1").context(SWITCH)?;
        Ok(Counting(before))
    }
}

impl Drop for Counting {
    fn drop(&mut self) {
        let _ = fs::write(SWITCH, &self.0);
    }
}

fn run(options: &Options) -> Result<Vec<Row>> {
    let _counting = Counting::on()?;
    let agent = beside::agent();
    let mut rows = Vec::new();
    for (name, finished) in WITH {
        let Some(load) = LOADS.iter().find(|load| load.name == name) else { continue };
        let mut at_work = (load.start)()?;
        let before = samples(&agent);
        let done = at_work.run(options.seconds)?;
        let after = samples(&agent);
        let grown = |metric: &str, program: &str| {
            let name = format!("{metric}{{program=\"{program}\"}}");
            let of = |samples: &std::collections::BTreeMap<String, f64>| {
                samples.get(&name).copied().unwrap_or(0.0)
            };
            of(&after) - of(&before)
        };
        let names = after.keys().filter(|key| key.starts_with("tlsight_bpf_program_runs_total"));
        for program in names.filter_map(|key| label(key, "program")) {
            let runs = grown("tlsight_bpf_program_runs_total", program);
            let nanos = grown("tlsight_bpf_program_run_seconds_total", program) * 1e9;
            if runs < 100.0 {
                continue;
            }
            let each = nanos / runs;
            let is_finished = finished.contains(&program);
            rows.push(Row {
                what: format!("{program}, with {name}: ns a run"),
                measured: format!("{each:.0} ({runs} runs, {:.1} for each unit of work)", runs / done.work),
                budget: if is_finished { "aim: 100" } else { "" },
                met: is_finished.then_some(each <= 100.0),
                numbers: json!({ "runs": runs, "nanoseconds": nanos, "work": done.work }),
            });
        }
    }
    agent.stop();
    Ok(rows)
}
