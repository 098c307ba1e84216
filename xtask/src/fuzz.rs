//! `cargo xtask fuzz`: the libFuzzer targets of agent-core/fuzz and agent/fuzz.
//!
//! They are compiled by the compiler that compiles everything else: coverage instrumentation is an LLVM pass that stable
//! rustc can be told to run, and the targets' own code has no `unsafe` that would need a sanitizer. `cargo fuzz`, with a
//! nightly and AddressSanitizer, works on the same
//! directories.

mod hunt;
mod ledger;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::thread;

use anyhow::{Context, Result, bail, ensure};

use crate::{places, sh};
use ledger::Ledger;

/// What `cargo fuzz` passes for coverage, less the sanitizer.
const COVERAGE: &[&str] = &[
    "--cfg=fuzzing",
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    "-Cdebug-assertions",
    "-Coverflow-checks",
    "-Ccodegen-units=1",
];
/// The longest input, in bytes: several TLS records.
const MAX_LEN: u32 = 20_000;
/// The slowest input that is no bug, in seconds. By the clock: others may have the processors for a while.
const INPUT_TIMEOUT: u32 = 25;
/// The most memory that is no bug, in MiB.
const MEMORY: u32 = 1024;
/// What to fuzz, and for how long.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Target; all of them when none is named
    target: Option<String>,
    /// Minutes for each target
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    minutes: u32,
    /// Targets at a time; each keeps a processor busy
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=256))]
    jobs: u32,
    /// Only list the targets
    #[arg(long)]
    list: bool,
    /// Only show what was run so far: executions and processor time of each target, and inputs that failed
    #[arg(long, conflicts_with = "list")]
    totals: bool,
    /// Run this one input instead of looking for new ones
    #[arg(long, requires = "target")]
    input: Option<PathBuf>,
}

/// Where targets are: each a workspace in `cargo fuzz`'s layout.
const DIRS: &[&str] = &["agent-core/fuzz", "agent/fuzz"];

/// A file of some fuzz_targets/.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Target {
    name: String,
    dir: PathBuf,
}

impl Target {
    /// Inputs that showed a failure.
    fn artifacts(&self) -> PathBuf {
        self.dir.join("artifacts").join(&self.name)
    }

    /// Inputs that were found to reach something new, kept between runs.
    fn found(&self) -> PathBuf {
        places::kept().join("fuzz/found").join(&self.name)
    }

    fn how_to_repeat(&self) -> String {
        let (name, artifacts) = (&self.name, self.artifacts());
        format!("the input is in {}; `cargo xtask fuzz {name} --input FILE` repeats it", artifacts.display())
    }
}

/// The command.
pub(crate) fn main(args: &Args) -> Result<()> {
    let all = targets()?;
    if args.list {
        all.iter().for_each(|target| println!("{}", target.name));
        return Ok(());
    }
    let ledger = Ledger::open();
    if args.totals {
        print!("{}", ledger.totals(&all)?);
        return Ok(());
    }
    let chosen: Vec<Target> = match &args.target {
        None => all.clone(),
        Some(name) => all.iter().filter(|target| target.name == *name).cloned().collect(),
    };
    if chosen.is_empty() {
        let names: Vec<&str> = all.iter().map(|target| target.name.as_str()).collect();
        bail!("no such fuzz target; there are: {}", names.join(", "));
    }
    let built = build(&chosen)?;
    if let Some(input) = &args.input {
        let input = input.canonicalize().with_context(|| format!("finding {}", input.display()))?;
        return chosen.iter().try_for_each(|target| sh::run(command(&built, target)?.arg(&input)));
    }
    let mut failed = Vec::new();
    for (name, outcome) in run(&built, chosen, args.minutes.saturating_mul(60), args.jobs, &ledger) {
        if let Err(why) = outcome {
            eprintln!("fuzz target {name}: {why:#}");
            failed.push(name);
        }
    }
    print!("{}", ledger.totals(&all)?);
    ensure!(failed.is_empty(), "failed: {}", failed.join(", "));
    Ok(())
}

/// Runs every target for some seconds, from its seeds.
pub(crate) fn smoke(seconds: u32) -> Result<Vec<(String, Result<()>)>> {
    let targets = targets()?;
    let built = build(&targets)?;
    Ok(run(&built, targets, seconds, 1, &Ledger::open()))
}

/// Runs targets for that long each, some at a time. One that fails does not keep the others from running.
fn run(
    built: &Path,
    targets: Vec<Target>,
    seconds: u32,
    jobs: u32,
    ledger: &Ledger,
) -> Vec<(String, Result<()>)> {
    let outcomes = Mutex::new(Vec::new());
    let waiting = Mutex::new(targets.into_iter());
    // Poisoned only by a panic, of which there are none.
    let next = || waiting.lock().ok()?.next();
    thread::scope(|scope| {
        for _ in 0..jobs {
            scope.spawn(|| {
                while let Some(target) = next() {
                    let outcome = hunt::hunt(built, &target, seconds, ledger);
                    if let Ok(mut outcomes) = outcomes.lock() {
                        outcomes.push((target.name, outcome));
                    }
                }
            });
        }
    });
    outcomes.into_inner().unwrap_or_default()
}

/// A new file is a new target.
fn targets() -> Result<Vec<Target>> {
    let mut targets = Vec::new();
    for dir in DIRS.iter().map(|dir| places::root().join(dir)) {
        let files = dir.join("fuzz_targets");
        let before = targets.len();
        for entry in files.read_dir().with_context(|| format!("listing {}", files.display()))? {
            let path = entry?.path();
            if path.extension().is_some_and(|ext| ext == "rs") {
                let name = path.file_stem().map(|stem| stem.to_string_lossy().into_owned());
                targets.extend(name.map(|name| Target { name, dir: dir.clone() }));
            }
        }
        ensure!(targets.len() > before, "{} is empty", files.display());
    }
    targets.sort();
    Ok(targets)
}

/// Compiles targets and returns the directory they are in.
fn build(targets: &[Target]) -> Result<PathBuf> {
    let target_dir = places::kept().join("fuzz");
    let triple = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let mut dirs: Vec<&Path> = targets.iter().map(|target| target.dir.as_path()).collect();
    dirs.sort();
    dirs.dedup();
    for dir in dirs {
        let mut cmd = sh::command(places::cargo());
        cmd.args(["build", "--release", "--target", &triple, "--target-dir"])
            .arg(&target_dir)
            .env("CARGO_ENCODED_RUSTFLAGS", COVERAGE.join("\u{1f}"))
            .env("CARGO_INCREMENTAL", "0")
            .env_remove("RUSTFLAGS")
            .current_dir(dir);
        for target in targets.iter().filter(|target| target.dir == dir) {
            cmd.args(["--bin", &target.name]);
        }
        sh::run(&mut cmd)?;
    }
    Ok(target_dir.join(triple).join("release"))
}

/// A target, ready for inputs as arguments.
fn command(built: &Path, target: &Target) -> Result<Command> {
    let artifacts = target.artifacts();
    fs::create_dir_all(&artifacts).with_context(|| format!("making {}", artifacts.display()))?;
    let mut cmd = sh::command(built.join(&target.name));
    cmd.args([format!("-timeout={INPUT_TIMEOUT}"), format!("-rss_limit_mb={MEMORY}")])
        .arg(format!("-artifact_prefix={}/", artifacts.display()))
        .current_dir(&target.dir);
    Ok(cmd)
}
