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
use crate::service::Service;

pub(super) const FIGURE: Figure = Figure { name: "memory", run };

/// Connections held, both ends of each on this host: the first half of them has as many ends as all of them would have if
/// their other ends were elsewhere.
const CONNECTIONS: usize = 10_000;

fn run(_: &Options) -> Result<Vec<Row>> {
    let port = free_port();
    let _server = loads::nginx(port)?;
    let agent = beside::agent();
    let before = Resident::of(agent.child.pid)?;
    let half = CONNECTIONS / 2;
    let (_first, holds_half) = hold(&agent, port, half)?;
    let (_second, holds_all) = hold(&agent, port, CONNECTIONS - half)?;
    agent.stop();
    let row = |what: String, (ends, held): (f64, Resident), is_budget: bool| Row {
        what: format!("resident memory, {what} ({ends} ends), in MiB"),
        measured: format!(
            "{:.1}, of these {:.1} anonymous ({:.1} and {:.1} without any)",
            held.all, held.anonymous, before.all, before.anonymous
        ),
        budget: if is_budget { "<= 30" } else { "" },
        met: is_budget.then_some(held.all <= 30.0),
        numbers: json!({
            "before": before.all, "before_anonymous": before.anonymous,
            "after": held.all, "anonymous": held.anonymous, "ends": ends,
        }),
    };
    Ok(vec![
        row(format!("{CONNECTIONS} live connections with one end here"), holds_half, true),
        row(format!("{CONNECTIONS} live connections with both ends here"), holds_all, false),
    ])
}

/// Holds so many more connections, until what is returned is dropped; how many ends the agent counts then, and what it takes.
fn hold(agent: &Service, port: u16, connections: usize) -> Result<(Child, (f64, Resident))> {
    let open = || total(&samples(agent), "tlsight_connections_open");
    let wanted = open() + (2 * connections) as f64;
    let hold = peer::command(&["hold", &format!("127.0.0.1:{port}"), &connections.to_string()]);
    let mut cmd = command("prlimit", ["--nofile=19000"]);
    cmd.arg(hold.get_program()).args(hold.get_args());
    let holder = Child::spawn_with_input(cmd, Some(Vec::new()), |_| None);
    holder.wait_for_line("holding", Duration::from_secs(120));
    let start = Instant::now();
    while open() < wanted && start.elapsed() < Duration::from_secs(30) {
        pause(Duration::from_millis(100));
    }
    let held = (open(), Resident::of(agent.child.pid)?);
    Ok((holder, held))
}

/// Memory of a process, in MiB.
#[derive(Clone, Copy)]
struct Resident {
    all: f64,
    /// The rest is pages of the program itself, which the kernel can drop and read again.
    anonymous: f64,
}

impl Resident {
    fn of(pid: u32) -> Result<Self> {
        Ok(Self { all: resident(pid, "VmRSS:")?, anonymous: resident(pid, "RssAnon:")? })
    }
}

/// In MiB.
fn resident(pid: u32, which: &str) -> Result<f64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = text.lines().find_map(|line| line.strip_prefix(which)).context("VmRSS")?;
    let kib: f64 = line.trim().trim_end_matches("kB").trim().parse()?;
    Ok(kib / 1024.0)
}
