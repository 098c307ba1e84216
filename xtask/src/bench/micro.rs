//! Instructions of single operations: a number that does not depend on what else the machine does.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, Result, bail};

use crate::{build, places, setup, sh};

/// Which operations.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Only operations whose name contains this
    #[arg(long)]
    only: Option<String>,
    /// Keep what callgrind writes of each operation in this directory, for callgrind_annotate
    #[arg(long, value_name = "DIRECTORY")]
    keep: Option<PathBuf>,
}

/// How often an operation is done: the difference between the two is without the start of the program.
const TIMES: [u32; 2] = [280, 2800];

pub(super) fn main(args: &Args, yes: bool) -> Result<()> {
    let toolchain = setup::for_building(yes)?;
    setup::for_measuring(setup::Consent::from_yes(yes))?;
    build::bpf(&toolchain)?;
    let program = compiled("micro")?;
    let list = sh::capture(&mut sh::command(&program))?;
    println!("| operation | what one is | instructions |\n|---|---|---|");
    for line in list.lines() {
        let (name, unit) = line.split_once('\t').context("a name and what it is")?;
        if args.only.as_ref().is_some_and(|only| !name.contains(only.as_str())) {
            continue;
        }
        let mut counted = [0, 0];
        for (times, counted) in TIMES.into_iter().zip(&mut counted) {
            *counted = count(&program, name, times, args.keep.as_deref())?;
        }
        let [few, many] = counted;
        let [less, more] = TIMES;
        println!("| {name} | {unit} | {} |", many.saturating_sub(few) / u64::from(more - less));
    }
    Ok(())
}

/// Compiles a benchmark of the agent as the agent is released.
pub(super) fn compiled(name: &str) -> Result<PathBuf> {
    let mut cmd = sh::command(places::cargo());
    cmd.args(["bench", "--no-run", "--package", "agent", "--bench", name])
        .arg("--message-format=json-render-diagnostics")
        .current_dir(places::root())
        .stderr(Stdio::inherit());
    let messages = sh::capture(&mut cmd)?;
    let mut executable = messages.lines().filter_map(|line| {
        let message: serde_json::Value = serde_json::from_str(line).ok()?;
        let is_it = message.pointer("/target/name")? == name;
        message.get("executable")?.as_str().filter(|_| is_it).map(PathBuf::from)
    });
    executable.next_back().with_context(|| format!("cargo built no {name}"))
}

/// Instructions of the whole program.
fn count(program: &Path, name: &str, times: u32, keep: Option<&Path>) -> Result<u64> {
    let mut cmd = sh::command("valgrind");
    cmd.arg("--tool=callgrind");
    let file = keep
        .map_or_else(|| PathBuf::from("/dev/null"), |directory| directory.join(format!("{name}.{times}")));
    cmd.arg(format!("--callgrind-out-file={}", file.display()));
    let output = cmd.arg(program).arg(name).arg(times.to_string()).output().context("start valgrind")?;
    let text = String::from_utf8_lossy(&output.stderr);
    // "==123== Collected : 1600505684"
    let counted = text.lines().find_map(|line| line.split_once("Collected : ")?.1.trim().parse().ok());
    match counted.filter(|_| output.status.success()) {
        Some(counted) => Ok(counted),
        None => bail!("valgrind counted nothing of {name}: {text}"),
    }
}
