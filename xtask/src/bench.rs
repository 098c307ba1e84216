//! `cargo xtask bench`: what tlsight costs, measured side by side with and without it. Numbers to read, nothing is asserted.

use std::path::PathBuf;

use anyhow::{Context, Result};

use crate::test::live::{self, Surroundings};
use crate::{build, kernel, places, setup, sh};

/// What to measure.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: What,
    /// Install what is missing without asking
    #[arg(long, short, global = true)]
    yes: bool,
}

#[derive(clap::Subcommand)]
enum What {
    /// Full TLS 1.3 handshakes, and small requests, a second: without an agent, without and with TLS 1.3 certificates
    Handshakes(Handshakes),
}

#[derive(clap::Args)]
struct Handshakes {
    /// Rounds; the three take turns within each, in random order
    #[arg(long, default_value_t = 9, value_parser = clap::value_parser!(u32).range(1..=1000))]
    rounds: u32,
    /// Seconds for each turn
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=600))]
    seconds: u32,
    /// Only loads whose name contains this: openssl, go, pythontonginx, redis, mutual
    #[arg(long)]
    only: Option<String>,
    /// Write every number to this file too
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// Builds everything as it is released, and measures.
pub(crate) fn main(args: &Args) -> Result<()> {
    kernel::require_for_tests()?;
    let toolchain = setup::for_building(args.yes)?;
    setup::for_testing(setup::Consent::from_yes(args.yes))?;
    build::bpf(&toolchain)?;
    let surroundings = Surroundings::new(build::agent(false)?)?;
    let What::Handshakes(what) = &args.what;
    let mut cmd = live::as_root(&bench()?, &surroundings, &[])?;
    cmd.args(["--rounds", &what.rounds.to_string(), "--seconds", &what.seconds.to_string()]);
    if let Some(only) = &what.only {
        cmd.args(["--only", only]);
    }
    if let Some(file) = &what.json {
        let file = std::path::absolute(file).context("the directory for --json")?;
        cmd.arg("--json").arg(file);
    }
    sh::run(&mut cmd)
}

/// Compiles the program that measures.
fn bench() -> Result<PathBuf> {
    const NAME: &str = "bench-handshakes";
    let mut cmd = sh::command(places::cargo());
    cmd.args(["build", "--package", "tlsight-tests", "--bin", NAME]).current_dir(places::root());
    sh::run(&mut cmd)?;
    Ok(places::cargo_target()?.join("debug").join(NAME))
}
