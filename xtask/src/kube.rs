//! `cargo xtask kube`: the tests that need a Kubernetes node (tests/kube). The node's programs are compiled once, the node
//! itself lives as long as the tests do.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::setup::{self, Consent};
use crate::test::live::{self, Surroundings};
use crate::test::tally::Tally;
use crate::{build, image, kernel, places, sh};

/// The case that installs the image.
const HELM: &str = "helm_installs_upgrades_and_removes_it";

/// What to run.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Install what is missing without asking
    #[arg(long, short)]
    yes: bool,
    /// Only build what the tests need
    #[arg(long)]
    build: bool,
    /// Only tests whose name contains this
    filter: Option<String>,
}

/// Builds everything, and runs the tests.
pub(crate) fn main(args: &Args) -> Result<()> {
    kernel::require_for_tests()?;
    require()?;
    let consent = Consent::from_yes(args.yes);
    let toolchain = setup::for_building(args.yes)?;
    setup::for_testing(consent)?;
    prepare(consent)?;
    build::bpf(&toolchain)?;
    let surroundings = Surroundings::new(build::agent(false)?)?;
    if args.build {
        return live::build(live::KUBE).map(drop);
    }
    let mut tally = Tally::default();
    run(args.filter.as_deref(), &surroundings, &mut tally)?;
    tally.print();
    if !tally.is_green() {
        bail!("not everything passed; see above");
    }
    Ok(())
}

/// Fails where no such node can be: nothing to learn after ten minutes.
pub(crate) fn require() -> Result<()> {
    let mut wrong = Vec::new();
    let filesystems = std::fs::read_to_string("/proc/filesystems").unwrap_or_default();
    if !filesystems.lines().any(|line| line.ends_with("\toverlay")) {
        wrong.push("the kernel has no overlayfs, which containers are made of");
    }
    for (file, what) in [("pid", "process"), ("mnt", "mount"), ("net", "network")] {
        if !Path::new("/proc/self/ns").join(file).exists() {
            wrong.push(match what {
                "process" => "the kernel has no process namespaces",
                "mount" => "the kernel has no mount namespaces",
                _ => "the kernel has no network namespaces",
            });
        }
    }
    if sh::which("apt-get").is_none() {
        wrong.push("there is no apt-get, which brings Kubernetes' sources");
    }
    if wrong.is_empty() {
        return Ok(());
    }
    bail!(
        "no Kubernetes node can run here: {}. `cargo xtask test --no-kube` runs everything else",
        wrong.join("; ")
    )
}

/// Where the node's programs are, and while it runs its state.
fn dir() -> PathBuf {
    places::tools().join("kube")
}

/// Installs what building and running a node takes, and builds it where that was not done before.
pub(crate) fn prepare(consent: Consent) -> Result<()> {
    setup::for_kube(consent)?;
    if !dir().join("bin/complete").exists() {
        eprintln!("compiling Kubernetes (five minutes on two cores, once)");
        let mut build = sh::as_root("bash", "fetch the sources of Debian packages")?;
        sh::run(build.arg(script("build.sh")).arg(dir())).context("compiling Kubernetes")?;
    }
    Ok(())
}

/// Runs the tests. Whatever becomes of them, the node is gone afterwards.
pub(crate) fn run(filter: Option<&str>, surroundings: &Surroundings, tally: &mut Tally) -> Result<()> {
    let tests = live::build(live::KUBE)?;
    let mut variables = vec![("TLSIGHT_KUBE", dir().into())];
    if filter.is_none_or(|filter| HELM.contains(filter)) {
        variables.push(("TLSIGHT_IMAGE", image::for_tests()?.into()));
    }
    let mut cmd = live::as_root(&tests, surroundings, &variables)?;
    cmd.args(filter);
    let outcome = tally.run("tests with Kubernetes", &mut cmd);
    // Nothing is left of it, unless the tests were killed.
    sh::run(clean()?.arg(dir().join("state"))).context("removing the Kubernetes node")?;
    outcome
}

fn clean() -> Result<Command> {
    let mut cmd = sh::as_root("bash", "remove a Kubernetes node")?;
    cmd.arg(script("node.sh")).arg("clean");
    Ok(cmd)
}

fn script(name: &str) -> PathBuf {
    places::root().join("tests/kube").join(name)
}
