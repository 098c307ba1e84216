//! Small requests over connections that stay: `redis-benchmark`.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::{AtWork, Done, Kind, Load, OTHERS};
use crate::child::{Child, command};
use crate::host::{free_port, wait_until_listening};
use crate::tools;

pub(super) const LOAD: Load = Load {
    name: "redis, GET of 20 clients",
    unit: "requests/s",
    scale: 1.0,
    kind: Kind::Plain,
    budget: Some((">= 0.97", 0.97)),
    compared: OTHERS,
    start,
};

struct Redis {
    _server: Child,
    port: u16,
    /// Requests a second, as of last time: it wants to be told how many, not how long.
    rate: f64,
}

fn start() -> Result<Box<dyn AtWork>> {
    let port = free_port();
    let mut cmd = command("redis-server", ["--save", "", "--appendonly", "no", "--port", &port.to_string()]);
    cmd.arg("--dir").arg(tools::scratch_dir("redis"));
    let server = Child::spawn(cmd);
    let at = SocketAddr::from(([127, 0, 0, 1], port));
    if !wait_until_listening(at, Duration::from_secs(20), || server.is_running()) {
        bail!("redis does not listen: {}", server.text());
    }
    Ok(Box::new(Redis { _server: server, port, rate: 30_000.0 }))
}

impl AtWork for Redis {
    fn run(&mut self, seconds: f64) -> Result<Done> {
        let n = (seconds * self.rate).round();
        let mut cmd = command("redis-benchmark", ["-q", "-t", "get", "-c", "20", "--threads", "1", "-p"]);
        cmd.args([&self.port.to_string(), "-n", &n.to_string()]);
        let text = Child::spawn(cmd).finish(Duration::from_secs_f64(seconds * 5.0 + 30.0)).text;
        let rate = text.rsplit("GET: ").next().and_then(|rest| rest.split_whitespace().next());
        self.rate = rate.with_context(|| format!("redis-benchmark said {text}"))?.parse()?;
        Ok(Done { work: n, seconds: n / self.rate })
    }
}
