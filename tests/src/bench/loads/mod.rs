//! The loads, one file each.

mod bulk;
mod connections;
mod handshakes;
mod http;
mod redis;

pub(in crate::bench) use self::http::nginx;

use anyhow::Result;

use super::beside::Beside;

/// A load: what it is called, what it counts, and what it may lose beside the agent.
pub struct Load {
    /// Its name, for the table and for `--only`.
    pub name: &'static str,
    /// What is counted, a second.
    pub unit: &'static str,
    /// How many of what is counted make one in the table.
    pub scale: f64,
    /// What kind it is of.
    pub kind: Kind,
    /// Its budget in words, and the lowest ratio that meets it.
    pub budget: Option<(&'static str, f64)>,
    /// Other tools that it is run beside.
    pub compared: &'static [Beside],
    /// Starts its servers.
    pub start: fn() -> Result<Box<dyn AtWork>>,
}

/// What a load is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Bytes, requests, connections.
    Plain,
    /// One TLS handshake for each unit of work, with both ends on this host.
    Handshakes,
}

/// Servers that wait for work.
pub trait AtWork {
    /// Works for about so long.
    fn run(&mut self, seconds: f64) -> Result<Done>;
}

/// What was done.
#[derive(Clone, Copy, Debug)]
pub struct Done {
    /// In units of the load.
    pub work: f64,
    /// How long it took.
    pub seconds: f64,
}

const OTHERS: &[Beside] = &[Beside::Bpftrace, Beside::Dumpcap, Beside::Tshark];

/// All loads, in the order of the table.
pub const LOADS: &[&Load] = &[
    &bulk::LOOPBACK,
    &bulk::VETH,
    &redis::LOAD,
    &http::LOAD,
    &connections::LOAD,
    &handshakes::FULL_13,
    &handshakes::FULL_12,
    &handshakes::RESUMED_13,
    &handshakes::RESUMED_12,
];
