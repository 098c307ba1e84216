//! `cargo xtask vm`: other kernels, in a virtual machine by software emulation, with the real agent and a few programs that
//! connect. What the agent said there is compared as a whole.

mod boot;
mod initrd;
mod kernel;
mod outcome;

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};

use self::kernel::{KERNELS, Kernel};
use self::outcome::Outcome;
use crate::setup::Consent;
use crate::{build, places, setup};

/// Which kernels, and with what.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Only these of Debian's kernels (6.1, 6.12) [default: all]
    kernels: Vec<String>,
    /// Boot this agent instead of building one
    #[arg(long, value_name = "FILE")]
    program: Option<PathBuf>,
    /// Install what is missing without asking
    #[arg(long, short)]
    yes: bool,
}

/// Boots each kernel, and fails where one says something else than expected.
pub(crate) fn main(args: &Args) -> Result<()> {
    if std::env::consts::ARCH != "x86_64" {
        bail!("the machine that is emulated is an x86-64 one, and so must be the agent: run this on one");
    }
    let wanted = wanted(&args.kernels)?;
    setup::for_vm(Consent::from_yes(args.yes))?;
    let program = match &args.program {
        Some(program) => program.clone(),
        None => {
            let toolchain = setup::for_building(args.yes)?;
            build::bpf(&toolchain)?;
            build::agent(false)?
        }
    };
    let folder = places::tools().join("vm");
    fs::create_dir_all(&folder).with_context(|| format!("making {}", folder.display()))?;
    let mut outcomes = Vec::new();
    for kernel in wanted {
        let image = kernel.fetch(&folder)?;
        let initrd = initrd::make(&folder, kernel, &image, &program)?;
        let said = boot::run(&folder, kernel, &image, &initrd)?;
        outcomes.push((kernel, Outcome::read(&said)?));
    }
    let mut wrong = Vec::new();
    println!("{}", Outcome::HEAD);
    for (kernel, outcome) in &outcomes {
        println!("{}", outcome.row());
        wrong
            .extend(outcome.objections(kernel)?.into_iter().map(|what| format!("{}: {what}", kernel.series)));
    }
    if !wrong.is_empty() {
        bail!("not as expected:\n{}", wrong.join("\n"));
    }
    Ok(())
}

fn wanted(names: &[String]) -> Result<Vec<&'static Kernel>> {
    if names.is_empty() {
        return Ok(KERNELS.iter().collect());
    }
    let find = |name: &String| KERNELS.iter().find(|kernel| kernel.series == name);
    names.iter().map(|name| find(name).with_context(|| format!("no kernel {name} is known here"))).collect()
}
