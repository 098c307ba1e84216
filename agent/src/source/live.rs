//! Live events from the kernel.

use crate::cli::WatchArgs;
use crate::exit::{Exit, Failure};

/// Watches this host's connections until stopped.
pub fn run(_args: &WatchArgs) -> Result<Exit, Failure> {
    Err(Failure::new(Exit::Failure, "watch this host", "this build has no live capture")
        .hint("read a capture file instead: tlsight pcap FILE"))
}
