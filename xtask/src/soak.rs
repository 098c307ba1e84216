//! `cargo xtask soak`: whether anything grows that should not. Traffic of all kinds, an agent with every exporter, a table.

use std::path::PathBuf;

use anyhow::{Context, Result};

use crate::test::live::{self, Surroundings};
use crate::{build, kernel, places, setup, sh};

/// How long.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Minutes of traffic
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    minutes: u32,
    /// Write every sample to this file too
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Install what is missing without asking
    #[arg(long, short)]
    yes: bool,
}

/// Builds everything as it is released, and runs it.
pub(crate) fn main(args: &Args) -> Result<()> {
    const NAME: &str = "soak";
    kernel::require_for_tests()?;
    let toolchain = setup::for_building(args.yes)?;
    setup::for_testing(setup::Consent::from_yes(args.yes))?;
    build::bpf(&toolchain)?;
    let surroundings = Surroundings::new(build::agent(false)?)?;
    let mut cmd = sh::command(places::cargo());
    cmd.args(["build", "--package", "tlsight-tests", "--bin", NAME]).current_dir(places::root());
    sh::run(&mut cmd)?;
    let soak = places::cargo_target()?.join("debug").join(NAME);
    let mut cmd = live::as_root(&soak, &surroundings, &[])?;
    cmd.args(["--minutes", &args.minutes.to_string()]);
    if let Some(file) = &args.json {
        let file = std::path::absolute(file).context("the directory for --json")?;
        cmd.arg("--json").arg(file);
    }
    sh::run(&mut cmd)
}
