//! As many bytes as fit through one connection.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Result;

use super::{AtWork, Done, Kind, Load, OTHERS};
use crate::bench::beside::two_numbers;
use crate::bench::peer;
use crate::child::Child;
use crate::host::free_port;
use crate::netns::Pair;

pub(super) const LOOPBACK: Load = Load {
    name: "bulk TCP, loopback",
    unit: "MB/s",
    scale: 1e6,
    kind: Kind::Plain,
    budget: Some((">= 0.99", 0.99)),
    compared: OTHERS,
    start: || Ok(Box::new(Bulk::start(None))),
};

pub(super) const VETH: Load = Load {
    name: "bulk TCP, veth",
    compared: &[],
    start: || Ok(Box::new(Bulk::start(Some(Pair::direct())))),
    ..LOOPBACK
};

struct Bulk {
    /// Held: it is stopped when it goes, and before its namespace.
    _sink: Child,
    at: SocketAddr,
    pair: Option<Pair>,
}

impl Bulk {
    fn start(pair: Option<Pair>) -> Bulk {
        let at = match &pair {
            Some(pair) => SocketAddr::from((pair.server_address, free_port())),
            None => SocketAddr::from(([127, 0, 0, 1], free_port())),
        };
        let cmd = peer::command(&["sink", &at.to_string()]);
        let sink = Child::spawn(match &pair {
            Some(pair) => pair.server.enter(&cmd),
            None => cmd,
        });
        sink.wait_for_line("listening", Duration::from_secs(20));
        Bulk { _sink: sink, at, pair }
    }
}

impl AtWork for Bulk {
    fn run(&mut self, seconds: f64) -> Result<Done> {
        let cmd = peer::command(&["send", &self.at.to_string(), &seconds.to_string()]);
        let sender = Child::spawn(match &self.pair {
            Some(pair) => pair.client.enter(&cmd),
            None => cmd,
        });
        let (work, seconds) =
            two_numbers(&sender.finish(Duration::from_secs_f64(seconds * 3.0 + 30.0)).text)?;
        Ok(Done { work, seconds })
    }
}
