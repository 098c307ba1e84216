//! Connections in plaintext, a line each way.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Result;

use super::{AtWork, Done, Kind, Load, OTHERS};
use crate::bench::beside::two_numbers;
use crate::bench::peer;
use crate::child::Child;
use crate::host::free_port;

pub(super) const LOAD: Load = Load {
    name: "plaintext connections",
    unit: "connections/s",
    scale: 1.0,
    kind: Kind::Plain,
    budget: None,
    compared: OTHERS,
    start,
};

struct Connections {
    _server: Child,
    at: SocketAddr,
}

fn start() -> Result<Box<dyn AtWork>> {
    let at = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let server = Child::spawn(peer::command(&["echo", &at.to_string()]));
    server.wait_for_line("listening", Duration::from_secs(20));
    Ok(Box::new(Connections { _server: server, at }))
}

impl AtWork for Connections {
    fn run(&mut self, seconds: f64) -> Result<Done> {
        let cmd = peer::command(&["connect", &self.at.to_string(), &seconds.to_string()]);
        let limit = Duration::from_secs_f64(seconds * 3.0 + 30.0);
        let (work, seconds) = two_numbers(&Child::spawn(cmd).finish(limit).text)?;
        Ok(Done { work, seconds })
    }
}
