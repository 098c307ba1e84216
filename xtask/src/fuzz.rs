//! `cargo xtask fuzz`: the libFuzzer targets of agent-core/fuzz and agent/fuzz.
//!
//! They are compiled by the compiler that compiles everything else: coverage instrumentation is an LLVM pass that stable
//! rustc can be told to run, and the targets' own code has no `unsafe` that would need a sanitizer. `cargo fuzz`, with a
//! nightly and AddressSanitizer, works on the same
//! directories.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use crate::{places, sh};

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
/// The slowest input that is no bug, in seconds.
const INPUT_TIMEOUT: u32 = 5;
/// The most memory that is no bug, in MiB.
const MEMORY: u32 = 1024;
/// How much of a failed target's log is shown.
const SHOWN_LINES: usize = 60;

/// What to fuzz, and for how long.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Target; all of them, one after the other, when none is named
    target: Option<String>,
    /// Minutes for each target
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    minutes: u32,
    /// Only list the targets
    #[arg(long)]
    list: bool,
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
    let chosen: Vec<&Target> = match &args.target {
        None => all.iter().collect(),
        Some(name) => all.iter().filter(|target| target.name == *name).collect(),
    };
    if chosen.is_empty() {
        let names: Vec<&str> = all.iter().map(|target| target.name.as_str()).collect();
        bail!("no such fuzz target; there are: {}", names.join(", "));
    }
    let built = build(&chosen)?;
    for target in chosen {
        match &args.input {
            Some(input) => {
                let input = input.canonicalize().with_context(|| format!("finding {}", input.display()))?;
                sh::run(command(&built, target)?.arg(input))?;
            }
            // What is found is kept between runs.
            None => {
                let corpus = target.dir.join("corpus").join(&target.name);
                let mut cmd = hunt(&built, target, args.minutes.saturating_mul(60), &corpus)?;
                sh::run(&mut cmd).with_context(|| target.how_to_repeat())?;
            }
        }
    }
    Ok(())
}

/// Runs every target for some seconds, from its seeds.
pub(crate) fn smoke(seconds: u32) -> Result<Vec<(String, Result<()>)>> {
    let targets = targets()?;
    let built = build(&targets.iter().collect::<Vec<_>>())?;
    let run = |target: Target| {
        let outcome = smoke_one(&built, &target, seconds);
        if let Ok(executed) = &outcome {
            eprintln!("fuzz target {}: {executed} inputs in {seconds} s, no failure", target.name);
        }
        (target.name, outcome.map(drop))
    };
    Ok(targets.into_iter().map(run).collect())
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
fn build(targets: &[&Target]) -> Result<PathBuf> {
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

/// A target that looks for crashing inputs, from the committed seeds and what was found before.
fn hunt(built: &Path, target: &Target, seconds: u32, found: &Path) -> Result<Command> {
    fs::create_dir_all(found).with_context(|| format!("making {}", found.display()))?;
    let mut cmd = command(built, target)?;
    cmd.args([format!("-max_total_time={seconds}"), format!("-max_len={MAX_LEN}")])
        .arg("-print_final_stats=1")
        .arg(found);
    let seeds = target.dir.join("seeds").join(&target.name);
    if seeds.is_dir() {
        cmd.arg(seeds);
    }
    Ok(cmd)
}

/// Some seconds of [`hunt`], with libFuzzer's many words kept in a file; how many inputs were run.
fn smoke_one(built: &Path, target: &Target, seconds: u32) -> Result<u64> {
    let dir = places::kept().join("fuzz/found").join(&target.name);
    let mut cmd = hunt(built, target, seconds, &dir)?;
    let log = places::kept().join("fuzz").join(format!("{}.log", target.name));
    let file = fs::File::create(&log).with_context(|| format!("writing {}", log.display()))?;
    cmd.stdout(file.try_clone()?).stderr(file);
    let status = sh::status(&mut cmd)?;
    let text = String::from_utf8_lossy(&fs::read(&log)?).into_owned();
    if !status.success() {
        let lines: Vec<&str> = text.lines().collect();
        let tail = lines.get(lines.len().saturating_sub(SHOWN_LINES)..).unwrap_or_default();
        eprintln!("{}", tail.join("\n"));
        bail!("{status}; {}", target.how_to_repeat());
    }
    let executed = text.lines().find_map(|line| line.strip_prefix("stat::number_of_executed_units:"));
    let executed = executed.and_then(|number| number.trim().parse().ok()).unwrap_or(0);
    ensure!(executed > 0, "ran no input; see {}", log.display());
    Ok(executed)
}
