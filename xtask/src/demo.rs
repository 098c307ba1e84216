//! Small worlds on loopback to look at: `cargo xtask demo`, with services as people run them, Prometheus and Alertmanager;
//! and for `cargo xtask run --demo` one that needs nothing installed.

use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Stdio;

use anyhow::{Context, Result, bail};

use crate::{build, places, setup, sh};

const WORLD: &str = include_str!("demo/world.py");

/// How the demo runs.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// End by itself after this many seconds
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(1..))]
    duration: Option<u32>,
    /// Use this agent instead of building one
    #[arg(long, value_name = "FILE")]
    tlsight: Option<PathBuf>,
    /// Install what is missing without asking
    #[arg(long, short)]
    yes: bool,
}

/// Builds, then becomes the demo.
pub(crate) fn main(args: &Args) -> Result<()> {
    let program = match &args.tlsight {
        Some(program) => program.clone(),
        None => {
            let toolchain = setup::for_building(args.yes)?;
            build::bpf(&toolchain)?;
            build::agent(false)?
        }
    };
    setup::for_demo(setup::Consent::from_yes(args.yes))?;
    let mut cmd = sh::as_root(setup::pypi::venv().join("bin/python3"), "load BPF programs")?;
    cmd.arg("-B").arg(places::root().join("xtask/src/demo/main.py"));
    cmd.arg("--tlsight").arg(program).arg("--tools").arg(places::tools());
    cmd.arg("--rules").arg(places::root().join("dashboards/prometheus"));
    if let Some(seconds) = args.duration {
        cmd.args(["--duration", &seconds.to_string()]);
    }
    // Replaced, not waited for: Ctrl-C is then the demo's own to handle.
    Err(cmd.exec()).context("starting the demo")
}

/// Starts the world of `run --demo` as a child of this process. It ends when this process does, also when this one has
/// become another program by then.
pub(crate) fn start() -> Result<()> {
    let (Some(python), Some(_)) = (sh::which("python3"), sh::which("openssl")) else {
        bail!("the demo needs python3 and openssl: install them, or watch without --demo");
    };
    let mut cmd = sh::command(python);
    cmd.args(["-c", WORLD]).stdin(Stdio::null()).stdout(Stdio::null());
    let demo = cmd.spawn().context("starting the demo")?;
    eprintln!("demo: process {}, on loopback", demo.id());
    Ok(())
}
