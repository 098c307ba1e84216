//! What this host can do for tlsight.

use crate::cli::CheckArgs;
use crate::exit::{Exit, Failure};

/// Runs the checks and prints them.
pub fn run(_args: &CheckArgs) -> Result<Exit, Failure> {
    Err(Failure::new(Exit::Failure, "check this host", "this build has no checks"))
}
