//! Adds up what every part reports.

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result};

use crate::sh;

/// Sums over all parts.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    passed: u64,
    failed: u64,
    skipped: u64,
    /// Parts, with what is wrong about them.
    failures: Vec<String>,
    left_out: Vec<String>,
}

/// Numbers of one `test result:` line of libtest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Counts {
    passed: u64,
    failed: u64,
    ignored: u64,
}

impl Tally {
    /// Runs a part, showing what it prints and adding up its `test result:` lines. Its exit code counts too: a harness
    /// that dies before it prints any is a failure.
    pub(crate) fn run(&mut self, part: &str, cmd: &mut Command) -> Result<()> {
        self.run_showing(part, cmd, &mut std::io::stdout())
    }

    fn run_showing(&mut self, part: &str, cmd: &mut Command, shown: &mut impl Write) -> Result<()> {
        eprintln!("\n=== {part}");
        let started = Instant::now();
        let mut child = sh::spawn(cmd.stdout(Stdio::piped()))?;
        let stdout = child.stdout.take().context("the pipe to the tests is gone")?;
        let mut sum = Counts::default();
        for line in BufReader::new(stdout).split(b'\n') {
            let line = line.with_context(|| format!("reading what {part} print"))?;
            shown.write_all(&line)?;
            shown.write_all(b"\n")?;
            if let Some(counts) = parse(&String::from_utf8_lossy(&line)) {
                sum.passed += counts.passed;
                sum.failed += counts.failed;
                sum.ignored += counts.ignored;
            }
        }
        let status = child.wait()?;
        self.passed += sum.passed;
        self.failed += sum.failed;
        self.skipped += sum.ignored;
        if sum.failed > 0 {
            self.failures.push(format!("{part}: {} failed", sum.failed));
        } else if !status.success() {
            self.failed += 1;
            self.failures.push(format!("{part}: {status}"));
        }
        eprintln!("=== {part}: {} passed, {} failed in {:.0?}", sum.passed, sum.failed, started.elapsed());
        Ok(())
    }

    /// A part that either passes or fails as a whole.
    pub(super) fn count(&mut self, part: &str, outcome: Result<()>) {
        match outcome {
            Ok(()) => self.passed += 1,
            Err(error) => {
                self.failed += 1;
                self.failures.push(format!("{part}: {error:#}"));
            }
        }
    }

    /// A part that was not run.
    pub(super) fn leave_out(&mut self, part: &str, why: &str) {
        self.left_out.push(format!("{part}: {why}"));
    }

    /// Everything that ran passed, and something ran.
    pub(crate) fn is_green(&self) -> bool {
        self.failures.is_empty() && self.failed == 0 && self.passed > 0
    }

    /// What was left out, what failed, and the sums in the last line.
    pub(crate) fn print(&self) {
        println!();
        for part in &self.left_out {
            println!("NOT RUN: {part}");
        }
        for failure in &self.failures {
            println!("FAILED: {failure}");
        }
        println!("{} passed, {} failed, {} skipped", self.passed, self.failed, self.skipped);
    }
}

/// Reads `test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 2 filtered out; finished in 0.00s`.
fn parse(line: &str) -> Option<Counts> {
    let (_, numbers) = line.strip_prefix("test result: ")?.split_once(". ")?;
    let mut counts = Counts::default();
    for part in numbers.split("; ") {
        let Some((number, what)) = part.split_once(' ') else { continue };
        let into = match what {
            "passed" => &mut counts.passed,
            "failed" => &mut counts.failed,
            "ignored" => &mut counts.ignored,
            _ => continue,
        };
        *into = number.parse().ok()?;
    }
    Some(counts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_sums_of_libtest() {
        let line = "test result: FAILED. 3 passed; 2 failed; 1 ignored; 0 measured; 9 filtered out; finished in 0.01s";
        assert_eq!(parse(line), Some(Counts { passed: 3, failed: 2, ignored: 1 }));
        assert_eq!(parse("running 3 tests"), None);
    }

    #[test]
    fn a_part_that_dies_without_a_result_is_a_failure() {
        let mut tally = Tally::default();
        let mut shown = Vec::new();
        let mut cmd = sh::command("sh");
        cmd.args(["-c", "echo 'test result: ok. 1 passed; 0 failed'; exit 3"]);
        tally.run_showing("part", &mut cmd, &mut shown).unwrap();
        assert_eq!(
            shown,
            b"test result: ok. 1 passed; 0 failed
"
        );
        let failures = vec!["part: exit status: 3".to_owned()];
        assert_eq!(tally, Tally { passed: 1, failed: 1, skipped: 0, failures, left_out: vec![] });
        assert!(!tally.is_green());
    }

    #[test]
    fn nothing_run_is_not_green() {
        assert!(!Tally::default().is_green());
    }
}
