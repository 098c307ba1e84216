//! `tlsight check`: what works on this host.

use std::path::PathBuf;

use clap::Args;

use super::output::Format;
use crate::exit::{Exit, Failure};
use crate::preflight;

/// Arguments of `tlsight check`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  sudo tlsight check          what works here, and how to get what does not
  tlsight check               the same, without the parts that only root can try")]
pub struct CheckArgs {
    /// How to print the result
    #[arg(short, long, value_enum, default_value_t)]
    pub output: Format,

    /// Kubernetes: this file says how to reach the API server (found without it in a pod)
    #[arg(long, value_name = "FILE", env = "TLSIGHT_KUBECONFIG", help_heading = "Kubernetes")]
    pub kubeconfig: Option<PathBuf>,
}

/// Runs the checks and prints them.
pub(super) fn run(args: &CheckArgs) -> Result<Exit, Failure> {
    preflight::run(args)
}
