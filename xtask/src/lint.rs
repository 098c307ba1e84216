//! `cargo xtask lint`: formatting, clippy with warnings denied, and what dependencies are allowed to be.

use anyhow::{Result, bail};

use crate::{build, deny, places, setup, sh};

/// The workspaces of this repository, as directories below its root.
pub(crate) const WORKSPACES: &[&str] = &["", "agent-ebpf", "agent-core/fuzz", "agent/fuzz"];

/// What to check.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Fail where the advisory database cannot be fetched, instead of saying so loudly
    #[arg(long)]
    require_advisories: bool,
    /// Install what is missing without asking
    #[arg(long, short)]
    yes: bool,
}

/// Runs every check, whatever the others say, and fails if any failed.
pub(crate) fn main(args: &Args) -> Result<()> {
    let toolchain = setup::for_building(args.yes)?;
    setup::for_linting(&toolchain, setup::Consent::from_yes(args.yes))?;
    let mut failed = Vec::new();
    let mut check = |name: &str, outcome: Result<()>| {
        if let Err(error) = outcome {
            eprintln!("error: {error:#}");
            failed.push(name.to_owned());
        }
    };
    for dir in WORKSPACES {
        check("fmt", fmt(dir));
    }
    check("clippy", clippy());
    check("clippy of agent-ebpf", bpf_clippy(&toolchain));
    check("dependencies", deny::check(args.require_advisories));
    if !failed.is_empty() {
        bail!("failed: {}", failed.join(", "));
    }
    Ok(())
}

fn fmt(dir: &str) -> Result<()> {
    let mut cmd = sh::command(places::cargo());
    cmd.args(["fmt", "--check"]).current_dir(places::root().join(dir));
    if dir.is_empty() {
        cmd.arg("--all");
    }
    sh::run(&mut cmd)
}

fn clippy() -> Result<()> {
    let mut cmd = sh::command(places::cargo());
    cmd.args(["clippy", "--workspace", "--all-targets", "--", "-Dwarnings"]).current_dir(places::root());
    sh::run(&mut cmd)
}

/// Clippy where there is one of the BPF compiler's version, else `cargo check`.
fn bpf_clippy(toolchain: &setup::bpf::Toolchain) -> Result<()> {
    let Some(clippy) = toolchain.clippy() else {
        eprintln!("no clippy for the BPF compiler; `cargo check` instead");
        let mut cargo = toolchain.cargo();
        cargo.arg("check");
        return sh::run(&mut build::bpf_command(cargo, toolchain, &["-Dwarnings"]));
    };
    // Behind `--`, so that the flags of the build stay the same and its artifacts are used.
    sh::run(build::bpf_command(clippy, toolchain, &[]).args(["--", "-Dwarnings"]))
}
