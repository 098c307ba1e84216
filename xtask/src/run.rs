//! `cargo xtask run`: everything from a fresh clone to a live view.

use std::os::unix::process::CommandExt;

use anyhow::{Context, Result};

use crate::{build, demo, setup, sh};

/// What `tlsight watch` is started with.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Install what is missing without asking
    #[arg(long, short)]
    yes: bool,
    /// Make some connections of every kind on loopback to look at
    #[arg(long)]
    demo: bool,
    /// Arguments of `tlsight watch`
    #[arg(last = true)]
    watch: Vec<String>,
}

/// Builds, then becomes `tlsight watch`.
pub(crate) fn main(args: &Args) -> Result<()> {
    let toolchain = setup::for_building(args.yes)?;
    build::bpf(&toolchain)?;
    let program = build::agent(false)?;
    let mut cmd = sh::as_root(program, "load BPF programs")?;
    cmd.arg("watch").args(&args.watch);
    if args.demo {
        demo::start()?;
    }
    // Replaced, not waited for: signals and the exit code are then tlsight's own.
    Err(cmd.exec()).context("starting tlsight")
}
