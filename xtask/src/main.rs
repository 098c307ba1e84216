//! `cargo xtask`: the one door to building, running and testing tlsight. One module per command.
#![forbid(unsafe_code)]

mod bench;
mod build;
mod demo;
mod deny;
mod docs;
mod fuzz;
mod image;
mod kernel;
mod kube;
mod lint;
mod manifests;
mod places;
mod run;
mod setup;
mod sh;
mod soak;
mod test;
mod vm;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

/// Builds, runs and tests tlsight.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Find what building needs, and install what is missing
    Setup(setup::Args),
    /// Compile the BPF programs and then the agent
    Build(build::Args),
    /// Build everything and run `tlsight watch` as root
    Run(run::Args),
    /// Show a small world on loopback with agent, Prometheus and Alertmanager, as root
    Demo(demo::Args),
    /// Test everything, the live kernel tests too
    Test(test::Args),
    /// Test with a real Kubernetes node: builds one, starts it, and leaves nothing behind
    Kube(kube::Args),
    /// Boot other kernels in a virtual machine, with the agent and a few connections
    Vm(vm::Args),
    /// Measure what tlsight costs
    Bench(bench::Args),
    /// Build a static agent, and a container image of it
    Image(image::Args),
    /// Write the plain manifests that the chart comes to
    Manifests(manifests::Args),
    /// Check formatting, clippy's advice, and licences and advisories of dependencies
    Lint(lint::Args),
    /// Write the references that come from the code (docs/metrics.md, docs/findings.md)
    Docs(docs::Args),
    /// Look for inputs that crash a parser
    Fuzz(fuzz::Args),
    /// Run traffic of all kinds for minutes, and tell whether what the agent holds grows
    Soak(soak::Args),
}

fn main() -> ExitCode {
    match dispatch() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // With its causes, and without a backtrace: what went wrong is nearly always another program.
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn dispatch() -> Result<()> {
    match Cli::parse().command {
        Command::Setup(args) => setup::main(&args),
        Command::Build(args) => build::main(&args),
        Command::Run(args) => run::main(&args),
        Command::Demo(args) => demo::main(&args),
        Command::Test(args) => test::main(&args),
        Command::Kube(args) => kube::main(&args),
        Command::Vm(args) => vm::main(&args),
        Command::Bench(args) => bench::main(&args),
        Command::Image(args) => image::main(&args),
        Command::Manifests(args) => manifests::main(&args),
        Command::Lint(args) => lint::main(&args),
        Command::Docs(args) => docs::main(&args),
        Command::Fuzz(args) => fuzz::main(&args),
        Command::Soak(args) => soak::main(&args),
    }
}
