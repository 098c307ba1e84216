//! `cargo xtask build`: the BPF programs, then the agent that embeds them.

use std::env::consts::ARCH;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};

use crate::setup::bpf::Toolchain;
use crate::{places, setup, sh};

/// What to build, and how.
#[derive(clap::Args, Default)]
pub(crate) struct Args {
    /// Only the BPF programs
    #[arg(long)]
    pub(crate) bpf: bool,
    /// The agent without optimisations
    #[arg(long)]
    pub(crate) debug: bool,
    /// Install what is missing without asking
    #[arg(long, short)]
    pub(crate) yes: bool,
}

/// Sets up, builds the BPF object, builds the agent.
pub(crate) fn main(args: &Args) -> Result<()> {
    let toolchain = setup::for_building(args.yes)?;
    bpf(&toolchain)?;
    if !args.bpf {
        agent(args.debug)?;
    }
    Ok(())
}

/// Compiles agent-ebpf for this machine and puts the object where the agent's build script looks for it.
pub(crate) fn bpf(toolchain: &Toolchain) -> Result<()> {
    compile(toolchain, ARCH, places::bpf_object())
}

/// Compiles agent-ebpf for a processor, and returns the object.
pub(crate) fn bpf_for(toolchain: &Toolchain, arch: &str) -> Result<PathBuf> {
    let object = if arch == ARCH {
        places::bpf_object()
    } else {
        places::kept().join(format!("bpf/tlsight-{arch}.o"))
    };
    compile(toolchain, arch, object.clone())?;
    Ok(object)
}

fn compile(toolchain: &Toolchain, arch: &str, object: PathBuf) -> Result<()> {
    let mut cargo = toolchain.cargo();
    cargo.arg("build");
    sh::run(&mut bpf_command_for(arch, cargo, toolchain, &[]))?;
    let made = bpf_target().join("bpfel-unknown-none/release/tlsight");
    let new = fs::read(&made).with_context(|| format!("reading {}", made.display()))?;
    // Left alone when it is the same: its modification time decides whether the agent is built again.
    if fs::read(&object).ok().as_ref() != Some(&new) {
        if let Some(dir) = object.parent() {
            fs::create_dir_all(dir).with_context(|| format!("making {}", dir.display()))?;
        }
        fs::write(&object, new).with_context(|| format!("writing {}", object.display()))?;
    }
    eprintln!("BPF object: {}", object.display());
    Ok(())
}

fn bpf_target() -> PathBuf {
    places::kept().join("bpf/build")
}

/// Completes a Cargo command on agent-ebpf with everything the BPF target needs.
pub(crate) fn bpf_command(cmd: Command, toolchain: &Toolchain, more_flags: &[&str]) -> Command {
    bpf_command_for(ARCH, cmd, toolchain, more_flags)
}

fn bpf_command_for(arch: &str, mut cmd: Command, toolchain: &Toolchain, more_flags: &[&str]) -> Command {
    let mut flags = vec![
        format!("-Clinker={}", toolchain.linker.display()),
        // Decides which registers aya-ebpf's context types read.
        format!("--cfg=bpf_target_arch=\"{arch}\""),
        // Types and line numbers for the verifier's messages; bpf-linker turns DWARF into BTF.
        "-Cdebuginfo=2".to_owned(),
        "-Clink-arg=--btf".to_owned(),
    ];
    flags.extend(more_flags.iter().map(|&flag| flag.to_owned()));
    cmd.args(["--release", "--target", "bpfel-unknown-none"])
        .args(toolchain.cargo_args())
        .arg("--target-dir")
        .arg(bpf_target())
        .env("CARGO_ENCODED_RUSTFLAGS", flags.join("\u{1f}"))
        .env_remove("RUSTFLAGS")
        .current_dir(places::root().join("agent-ebpf"));
    cmd
}

/// Compiles the agent and returns the program.
pub(crate) fn agent(debug: bool) -> Result<PathBuf> {
    let mut cmd = sh::command(places::cargo());
    cmd.args(["build", "--package", "agent", "--bin", "tlsight"]).current_dir(places::root());
    if !debug {
        cmd.arg("--release");
    }
    sh::run(&mut cmd)?;
    let program = places::cargo_target()?.join(if debug { "debug" } else { "release" }).join("tlsight");
    eprintln!("agent: {}", program.display());
    Ok(program)
}
