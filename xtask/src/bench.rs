//! `cargo xtask bench`: what tlsight costs, measured side by side with and without it. Numbers to read, nothing is asserted.

mod micro;

use std::path::PathBuf;

use anyhow::{Context, Result};

use crate::test::live::{self, Surroundings};
use crate::{build, kernel, places, setup, sh};

/// What to measure.
#[derive(clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: Option<What>,
    #[command(flatten)]
    budgets: Budgets,
    /// Install what is missing without asking
    #[arg(long, short, global = true)]
    yes: bool,
}

#[derive(clap::Subcommand)]
enum What {
    /// Full TLS 1.3 handshakes, and small requests, a second: without an agent, without and with TLS 1.3 certificates
    Handshakes(Handshakes),
    /// Instructions of single operations, counted by callgrind
    Micro(micro::Args),
}

/// The budgets: every load with and without the agent and beside other tools, and figures that are measured once.
#[derive(clap::Args)]
struct Budgets {
    /// Rounds; everything that is compared has one turn in each, in random order
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1000))]
    rounds: u32,
    /// Seconds of load in each turn
    #[arg(long, default_value_t = 1.5)]
    seconds: f64,
    /// Only loads and figures whose name contains this; several with commas: bulk, redis, memory, programs, capture ...
    #[arg(long)]
    only: Option<String>,
    /// TLS handshakes in the capture file that is read
    #[arg(long, default_value_t = 100_000)]
    handshakes: u32,
    /// Write every number to this file too
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
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
    if let Some(What::Micro(what)) = &args.what {
        return micro::main(what, args.yes);
    }
    kernel::require_for_tests()?;
    let toolchain = setup::for_building(args.yes)?;
    let consent = setup::Consent::from_yes(args.yes);
    setup::for_testing(consent)?;
    build::bpf(&toolchain)?;
    let mut words: Vec<(&str, String)> = Vec::new();
    let (program, only, json) = match &args.what {
        Some(What::Handshakes(what)) => {
            words.extend([("--rounds", what.rounds.to_string()), ("--seconds", what.seconds.to_string())]);
            ("bench-handshakes", &what.only, &what.json)
        }
        _ => {
            setup::for_measuring(consent)?;
            let what = &args.budgets;
            words.extend([("--rounds", what.rounds.to_string()), ("--seconds", what.seconds.to_string())]);
            words.push(("--handshakes", what.handshakes.to_string()));
            ("bench", &what.only, &what.json)
        }
    };
    let surroundings = Surroundings::new(build::agent(false)?)?;
    let mut cmd = live::as_root(&compiled(program)?, &surroundings, &[])?;
    let wants_parsers =
        only.as_ref().is_none_or(|only| only.split(',').any(|part| "capture file".contains(part)));
    if program == "bench" && wants_parsers {
        words.push(("--parsers", micro::compiled("parsers")?.display().to_string()));
    }
    for (flag, value) in &words {
        cmd.args([*flag, value.as_str()]);
    }
    if let Some(only) = only {
        cmd.args(["--only", only]);
    }
    if let Some(file) = json {
        let file = std::path::absolute(file).context("the directory for --json")?;
        cmd.arg("--json").arg(file);
    }
    sh::run(&mut cmd)
}

/// Compiles a program that measures.
fn compiled(name: &str) -> Result<PathBuf> {
    let mut cmd = sh::command(places::cargo());
    cmd.args(["build", "--package", "tlsight-tests", "--bin", name]).current_dir(places::root());
    sh::run(&mut cmd)?;
    Ok(places::cargo_target()?.join("debug").join(name))
}
