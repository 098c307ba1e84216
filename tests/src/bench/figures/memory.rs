//! Memory while many connections are open.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde_json::json;

use super::Figure;
use crate::bench::beside::{self, samples, total};
use crate::bench::loads;
use crate::bench::options::Options;
use crate::bench::peer;
use crate::bench::row::Row;
use crate::child::{Child, command};
use crate::host::{free_port, pause};

pub(super) const FIGURE: Figure = Figure { name: "memory", run };

/// Connections held, both ends of each on this host.
const CONNECTIONS: usize = 10_000;

fn run(_: &Options) -> Result<Vec<Row>> {
    let port = free_port();
    let _server = loads::nginx(port)?;
    let agent = beside::agent();
    let before = resident(agent.child.pid, "VmRSS:")?;
    let hold = peer::command(&["hold", &format!("127.0.0.1:{port}"), &CONNECTIONS.to_string()]);
    let mut cmd = command("prlimit", ["--nofile=19000"]);
    cmd.arg(hold.get_program()).args(hold.get_args());
    let holder = Child::spawn_with_input(cmd, Some(Vec::new()), |_| None);
    holder.wait_for_line("holding", Duration::from_secs(120));
    let wanted = (2 * CONNECTIONS) as f64;
    let (start, mut open) = (Instant::now(), 0.0);
    while open < wanted && start.elapsed() < Duration::from_secs(30) {
        open = total(&samples(&agent), "tlsight_connections_open");
        pause(Duration::from_millis(100));
    }
    let after = resident(agent.child.pid, "VmRSS:")?;
    // The rest is pages of the program itself, which the kernel can drop and read again.
    let anonymous = resident(agent.child.pid, "RssAnon:")?;
    holder.type_in(None);
    agent.stop();
    Ok(vec![Row {
        what: format!(
            "resident memory, {CONNECTIONS} live connections with both ends here ({open} ends), in MiB"
        ),
        measured: format!("{after:.1}, of these {anonymous:.1} anonymous ({before:.1} without any)"),
        budget: "<= 30",
        met: Some(after <= 30.0),
        numbers: json!({ "before": before, "after": after, "anonymous": anonymous, "connections": CONNECTIONS, "ends": open }),
    }])
}

/// In MiB.
fn resident(pid: u32, which: &str) -> Result<f64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = text.lines().find_map(|line| line.strip_prefix(which)).context("VmRSS")?;
    let kib: f64 = line.trim().trim_end_matches("kB").trim().parse()?;
    Ok(kib / 1024.0)
}
