//! Events out of capture files: container, link and network layers, tunnels, connections.

pub mod counters;
pub mod file;
pub mod flow;
mod link;
pub mod packet;
pub mod run;
pub mod tunnel;
