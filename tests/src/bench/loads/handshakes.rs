//! TLS handshakes, one after the other: `openssl s_time` to `openssl s_server`, both ends probed.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::{AtWork, Done, Kind, Load, OTHERS};
use crate::child::{Child, command};
use crate::peers::{Ask, Server, ServerConfig, ServerStack};
use crate::pki::pki;

pub(super) const FULL_13: Load = Load {
    name: "TLS 1.3 handshakes, full",
    unit: "handshakes/s",
    scale: 1.0,
    kind: Kind::Handshakes,
    budget: Some((">= 0.97", 0.97)),
    compared: OTHERS,
    start: || start(["-new", "-tls1_3"]),
};

pub(super) const FULL_12: Load = Load {
    name: "TLS 1.2 handshakes, full",
    budget: None,
    compared: &[],
    start: || start(["-new", "-tls1_2"]),
    ..FULL_13
};

pub(super) const RESUMED_13: Load =
    Load { name: "TLS 1.3 handshakes, resumed", start: || start(["-reuse", "-tls1_3"]), ..FULL_12 };

pub(super) const RESUMED_12: Load =
    Load { name: "TLS 1.2 handshakes, resumed", start: || start(["-reuse", "-tls1_2"]), ..FULL_12 };

struct Handshakes {
    server: Server,
    how: [&'static str; 2],
}

fn start(how: [&'static str; 2]) -> Result<Box<dyn AtWork>> {
    let config = ServerConfig::new(Ask::Never, &pki().server_p256);
    let server = ServerStack::OpenSsl.start(&config.extra(&["-quiet", "-www"]));
    Ok(Box::new(Handshakes { server, how }))
}

impl AtWork for Handshakes {
    fn run(&mut self, seconds: f64) -> Result<Done> {
        let at = SocketAddr::from(([127, 0, 0, 1], self.server.port));
        let whole = seconds.ceil().max(1.0);
        // It reads an answer: a client that is gone before its certificate was looked at is no measure.
        let mut cmd = command("openssl", ["s_time", "-www", "/", "-time", &whole.to_string()]);
        cmd.args(self.how).arg("-connect").arg(at.to_string()).arg("-CAfile").arg(&pki().ca);
        // Its own clock has no fractions of seconds.
        let start = Instant::now();
        let text = Child::spawn(cmd).finish(Duration::from_secs_f64(whole * 3.0 + 30.0)).text;
        let seconds = start.elapsed().as_secs_f64();
        // "812 connections in 3 real seconds, 0 bytes read per connection"
        let line = text.lines().find(|line| line.contains("real seconds"));
        let made = line.and_then(|line| line.split_once(" connections in "));
        let (made, _) = made.with_context(|| format!("s_time said {text}"))?;
        Ok(Done { work: made.trim().parse()?, seconds })
    }
}
