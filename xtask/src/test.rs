//! `cargo xtask test`: everything there is to test, with one line of sums at the end.

pub(crate) mod live;
pub(crate) mod tally;

use std::process::Command;

use anyhow::{Result, bail};

use crate::{build, fuzz, kernel, kube, places, setup, sh};
use tally::Tally;

/// What to test.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Leave out the tests that load BPF programs (they need root and a kernel that allows it)
    #[arg(long)]
    no_kernel: bool,
    /// Leave out the tests with a Kubernetes node (compiling one takes five minutes, once)
    #[arg(long)]
    no_kube: bool,
    /// How often the live tests are run, one after the other
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1000))]
    runs: u32,
    /// Leave out the fuzz targets
    #[arg(long)]
    no_fuzz: bool,
    /// Seconds for each fuzz target
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=3600))]
    fuzz_seconds: u32,
    /// Only the live tests
    #[arg(long, conflicts_with = "no_kernel")]
    live: bool,
    /// Install what is missing without asking
    #[arg(long, short)]
    yes: bool,
    /// Only tests whose name contains this; fuzz targets are left out then
    filter: Option<String>,
}

/// Runs the parts in order, cheapest first, and ends with the sums. A part that fails does not keep the others from
/// running: one run shows all that is wrong.
pub(crate) fn main(args: &Args) -> Result<()> {
    let kernel = !args.no_kernel;
    if kernel {
        // Before anything is built: this is nothing to learn after ten minutes.
        kernel::require_for_tests()?;
    }
    let kube = kernel && !args.no_kube && !args.live;
    if kube {
        kube::require()?;
    }
    let toolchain = setup::for_building(args.yes)?;
    setup::for_testing(setup::Consent::from_yes(args.yes))?;
    if kube {
        kube::prepare(setup::Consent::from_yes(args.yes))?;
    }
    build::bpf(&toolchain)?;
    let program = build::agent(false)?;
    let surroundings = live::Surroundings::new(program)?;

    let mut tally = Tally::default();
    if !args.live {
        tally.run("unit and integration tests", &mut cargo_test(args, &surroundings))?;
    }
    if kernel {
        if !args.live {
            let probes = live::build(live::PROBES)?;
            let mut cmd = live::command(&probes, args.filter.as_deref(), &surroundings)?;
            tally.run("probe tests", &mut cmd)?;
            let alerts = live::build(live::ALERTS)?;
            let mut cmd = live::command(&alerts, args.filter.as_deref(), &surroundings)?;
            tally.run("alerts and dashboards", &mut cmd)?;
        }
        let live = live::build(live::LIVE)?;
        for run in 1..=args.runs {
            let name = if args.runs == 1 {
                "live tests".into()
            } else {
                format!("live tests, run {run} of {}", args.runs)
            };
            tally.run(&name, &mut live::command(&live, args.filter.as_deref(), &surroundings)?)?;
        }
    } else {
        tally.leave_out("probe tests", "--no-kernel");
        tally.leave_out("alerts and dashboards", "--no-kernel");
        tally.leave_out("live tests", "--no-kernel");
    }
    if kube {
        kube::run(args.filter.as_deref(), &surroundings, &mut tally)?;
    } else {
        let why = if args.no_kube { "--no-kube" } else { "not asked for" };
        tally.leave_out("tests with Kubernetes", why);
    }
    if args.no_fuzz || args.live || args.filter.is_some() {
        tally.leave_out("fuzz targets", "not asked for");
    } else {
        for (target, outcome) in fuzz::smoke(args.fuzz_seconds)? {
            tally.count(&format!("fuzz target {target}"), outcome);
        }
    }
    tally.print();
    if !tally.is_green() {
        bail!("not everything passed; see above");
    }
    Ok(())
}

/// All tests that need neither root nor a kernel that cooperates.
fn cargo_test(args: &Args, surroundings: &live::Surroundings) -> Command {
    let mut cmd = sh::command(places::cargo());
    cmd.args(["test", "--workspace", "--no-fail-fast"]).current_dir(places::root());
    // The live tests are a part of their own, run as root.
    cmd.env("TLSIGHT_NO_KERNEL", "1");
    if let Some(filter) = &args.filter {
        cmd.arg(filter);
    }
    surroundings.apply(&mut cmd);
    cmd
}
