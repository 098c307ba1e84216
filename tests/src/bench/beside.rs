//! What is on the host beside a load: nothing, the agent, or another tool that sees something of the same.

use std::collections::BTreeMap;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::child::{Child, command};
use crate::host::pause;
use crate::service::Service;
use crate::tools;

const LIMIT: Duration = Duration::from_secs(60);

/// What takes turns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Beside {
    /// Nothing.
    Nothing,
    /// `tlsight agent` as it comes: metrics, rules, probes.
    Agent,
    /// `bpftrace`, which counts: calls of OpenSSL's handshake, states of sockets.
    Bpftrace,
    /// `dumpcap` on the loopback device, which writes every packet to a file.
    Dumpcap,
    /// `tshark` on the loopback device, which prints every ClientHello.
    Tshark,
}

/// Counts a call as seldom as any tool could that wants to know of handshakes.
const BPFTRACE: &str = "uprobe:/usr/lib/x86_64-linux-gnu/libssl.so.3:SSL_do_handshake { @handshakes = count(); } \
     tracepoint:sock:inet_sock_set_state { @states = count(); }";

impl Beside {
    /// For tables.
    pub fn name(self) -> &'static str {
        match self {
            Beside::Nothing => "nothing",
            Beside::Agent => "agent",
            Beside::Bpftrace => "bpftrace",
            Beside::Dumpcap => "dumpcap",
            Beside::Tshark => "tshark",
        }
    }

    /// Whether the program is installed.
    pub fn is_there(self) -> bool {
        let program = match self {
            Beside::Nothing | Beside::Agent => return true,
            other => other.name(),
        };
        let path = std::env::var_os("PATH").unwrap_or_default();
        std::env::split_paths(&path).any(|dir| dir.join(program).is_file())
    }
}

/// Something that runs beside.
pub enum Running {
    /// Nothing does.
    Nothing,
    /// The agent.
    Agent(Box<Service>),
    /// Another tool.
    Tool(Child),
}

impl Running {
    /// Starts it, and waits until it sees something.
    pub fn start(beside: Beside) -> Result<Running> {
        Ok(match beside {
            Beside::Nothing => Running::Nothing,
            Beside::Agent => Running::Agent(Box::new(agent())),
            Beside::Bpftrace => {
                // Tracepoints are found in a file system that is mounted for this program alone.
                let script = "mount -t tracefs tracefs /sys/kernel/tracing && exec bpftrace -e \"$0\"";
                let child = Child::spawn(command("unshare", ["--mount", "sh", "-c", script, BPFTRACE]));
                child.wait_for_line("Attaching", LIMIT);
                // It says so before it does it.
                pause(Duration::from_millis(700));
                Running::Tool(child)
            }
            Beside::Dumpcap => {
                let mut cmd = command("dumpcap", ["-q", "-i", "lo", "-w"]);
                cmd.arg(tools::scratch().join("dumpcap.pcapng"));
                capture(cmd)
            }
            Beside::Tshark => capture(command(
                "tshark",
                ["-i", "lo", "-Y", "tls.handshake.type == 1", "-T", "fields", "-e", "tls.handshake.ja3"],
            )),
        })
    }

    /// Time that it ran so far, in microseconds.
    pub fn cpu(&self) -> f64 {
        match self {
            Running::Nothing => 0.0,
            Running::Agent(agent) => cpu(agent.child.pid),
            Running::Tool(child) => cpu(child.pid),
        }
    }

    /// Ends it. Of the agent: what it counted.
    pub fn stop(self) -> BTreeMap<String, f64> {
        match self {
            Running::Nothing => BTreeMap::new(),
            Running::Agent(agent) => {
                let counters = samples(&agent);
                agent.stop();
                counters
            }
            Running::Tool(child) => {
                // One that is behind by seconds, as tshark is, is not waited for.
                child.stop();
                BTreeMap::new()
            }
        }
    }
}

/// The agent as it comes.
pub fn agent() -> Service {
    Service::start("bench", "kubernetes: {enabled: off}\n")
}

fn capture(mut cmd: Command) -> Running {
    // Where it keeps packets that it has not looked at.
    cmd.env("TMPDIR", tools::scratch());
    let child = Child::spawn(cmd);
    child.wait_for_line("Capturing on", LIMIT);
    pause(Duration::from_millis(500));
    Running::Tool(child)
}

/// Time that the threads of a process ran so far, in microseconds; those of its children are not counted.
pub fn cpu(pid: u32) -> f64 {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten();
    let ran = |task: std::fs::DirEntry| {
        let text = std::fs::read_to_string(task.path().join("schedstat")).ok()?;
        text.split_whitespace().next()?.parse::<f64>().ok()
    };
    tasks.flatten().filter_map(ran).sum::<f64>() / 1000.0
}

/// What the agent's endpoint says: `name{labels}` and the number.
pub fn samples(agent: &Service) -> BTreeMap<String, f64> {
    let body = agent.get("/metrics", &[]).body;
    let sample = |line: &str| {
        let (name, value) = line.rsplit_once(' ')?;
        Some((name.to_owned(), value.parse().ok()?))
    };
    body.lines().filter(|line| !line.starts_with('#')).filter_map(sample).collect()
}

/// All samples of a metric together.
pub fn total(samples: &BTreeMap<String, f64>, metric: &str) -> f64 {
    let is_of =
        |name: &str| name.strip_prefix(metric).is_some_and(|rest| rest.is_empty() || rest.starts_with('{'));
    samples.iter().filter(|(name, _)| is_of(name)).map(|(_, n)| n).sum()
}

/// The value of a label in `name{labels}`.
pub fn label<'a>(sample: &'a str, name: &str) -> Option<&'a str> {
    let rest = sample.split_once(&format!("{name}=\""))?.1;
    rest.split_once('"').map(|(value, _)| value)
}

/// Reads `done seconds` that a peer printed last.
pub fn two_numbers(text: &str) -> Result<(f64, f64)> {
    let line = text.lines().last().unwrap_or_default();
    let (done, seconds) = line.split_once(' ').with_context(|| format!("not two numbers: {text}"))?;
    Ok((done.parse()?, seconds.parse()?))
}
