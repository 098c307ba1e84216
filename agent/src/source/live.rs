//! Live events from the kernel.

use crate::cli::WatchArgs;
use crate::exit::{Exit, Failure};
use crate::pipeline::Pipeline;

/// Watches this host's connections until stopped, or until `pipeline` [is done](Pipeline::is_done) or `args.duration` is
/// over.
pub fn run(_args: &WatchArgs, _pipeline: Pipeline) -> Result<Exit, Failure> {
    Err(Failure::new(Exit::Failure, "watch this host", "this build has no live capture")
        .hint("read a capture file instead: tlsight pcap FILE"))
}
