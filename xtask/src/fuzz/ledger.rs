//! What all runs of the targets together came to.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use super::Target;
use crate::places;

/// One run of a target.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Run {
    target: String,
    /// When it began, Unix time.
    started: u64,
    /// How long it ran, by the clock.
    seconds: f64,
    /// What it had of a processor.
    cpu_seconds: f64,
    executions: u64,
    /// It ended with a crash, an input that took too long, or too much memory.
    failed: bool,
}

impl Run {
    /// One that is over just now.
    pub(super) fn new(target: &str, took: Duration, cpu_seconds: f64, executions: u64, failed: bool) -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self {
            target: target.to_owned(),
            started: now.saturating_sub(took).as_secs(),
            seconds: took.as_secs_f64(),
            cpu_seconds,
            executions,
            failed,
        }
    }
}

/// A file with a line for each run.
pub(super) struct Ledger(PathBuf);

impl Ledger {
    /// The one of this clone.
    pub(super) fn open() -> Self {
        Self(places::kept().join("fuzz/ledger.jsonl"))
    }

    pub(super) fn add(&self, run: &Run) -> Result<()> {
        let mut line = serde_json::to_vec(run)?;
        line.push(b'\n');
        // In one write: targets run side by side.
        let write = || OpenOptions::new().create(true).append(true).open(&self.0)?.write_all(&line);
        write().with_context(|| format!("writing {}", self.0.display()))
    }

    /// A table in Markdown of all runs of these targets.
    pub(super) fn totals(&self, targets: &[Target]) -> Result<String> {
        let text = fs::read_to_string(&self.0).unwrap_or_default();
        let runs = text.lines().map(serde_json::from_str).collect::<Result<Vec<Run>, _>>();
        let runs = runs.with_context(|| format!("reading {}", self.0.display()))?;
        // What is slow now and then is no failure: others had the processor.
        let open = |target: &Target| (files(&target.found(), ""), files(&target.artifacts(), "slow-unit-"));
        let rows = targets.iter().map(|target| (target.name.as_str(), open(target))).collect();
        Ok(table(&runs, &rows))
    }
}

/// Files of a folder, but those whose name begins so.
fn files(dir: &Path, but: &str) -> usize {
    let is_meant = |name: &str| but.is_empty() || !name.starts_with(but);
    let entries = dir.read_dir().into_iter().flatten().flatten();
    entries.filter(|entry| is_meant(&entry.file_name().to_string_lossy())).count()
}

/// `kept` are the inputs kept of each target, and those that failed.
fn table(runs: &[Run], kept: &BTreeMap<&str, (usize, usize)>) -> String {
    let mut out = String::from(
        "| target | runs | executions | processor time, min | inputs kept | failing inputs |\n|---|--:|--:|--:|--:|--:|\n",
    );
    let mut all = (0, 0, 0.0, 0, 0);
    for (name, (inputs, failing)) in kept {
        let of = || runs.iter().filter(|run| run.target == **name);
        let (executions, cpu) =
            (of().map(|run| run.executions).sum::<u64>(), of().fold(0.0, |sum, run| sum + run.cpu_seconds));
        // Writing to a string cannot fail.
        let _ = writeln!(
            out,
            "| {name} | {} | {executions} | {:.1} | {inputs} | {failing} |",
            of().count(),
            cpu / 60.0
        );
        all = (all.0 + of().count(), all.1 + executions, all.2 + cpu, all.3 + inputs, all.4 + failing);
    }
    let _ = writeln!(
        out,
        "| **all** | {} | {} | {:.1} ({:.2} h) | {} | {} |",
        all.0,
        all.1,
        all.2 / 60.0,
        all.2 / 3600.0,
        all.3,
        all.4
    );
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_what_was_run_of_each_target_and_shows_those_that_never_were() {
        let run = |target: &str, cpu_seconds, executions| {
            Run::new(target, Duration::from_secs(60), cpu_seconds, executions, false)
        };
        let runs = [run("a", 60.0, 5), run("b", 30.0, 7), run("a", 90.0, 1), run("gone", 9.0, 9)];
        let kept = BTreeMap::from([("a", (2, 0)), ("b", (1, 1)), ("c", (0, 0))]);
        let table = table(&runs, &kept);
        let rows: Vec<&str> = table.lines().skip(2).collect();
        let expected = [
            "| a | 2 | 6 | 2.5 | 2 | 0 |",
            "| b | 1 | 7 | 0.5 | 1 | 1 |",
            "| c | 0 | 0 | 0.0 | 0 | 0 |",
            "| **all** | 3 | 13 | 3.0 (0.05 h) | 3 | 1 |",
        ];
        assert_eq!(rows, expected);
    }

    #[test]
    fn a_line_is_read_as_it_was_written() {
        let run = Run::new("engine", Duration::from_secs(2), 1.5, 100, true);
        let line = serde_json::to_string(&run).unwrap();
        assert_eq!(serde_json::from_str::<Run>(&line).unwrap(), run);
    }
}
