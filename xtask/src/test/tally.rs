//! Adds up what every part reports.

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result};

use crate::sh;

/// Lines on each test that failed which are shown again at the end, and how much of each.
const AGAIN: (usize, usize) = (6, 400);
/// Tests that are shown again.
const MOST_AGAIN: usize = 8;

/// Sums over all parts.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    passed: u64,
    failed: u64,
    skipped: u64,
    /// Parts, with what is wrong about them.
    failures: Vec<String>,
    /// The tests that failed, with the first lines of why.
    why: Vec<String>,
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
        let mut reasons = Reasons::default();
        for line in BufReader::new(stdout).split(b'\n') {
            let line = line.with_context(|| format!("reading what {part} print"))?;
            shown.write_all(&line)?;
            shown.write_all(b"\n")?;
            let line = String::from_utf8_lossy(&line);
            reasons.see(&line);
            if let Some(counts) = parse(&line) {
                sum.passed += counts.passed;
                sum.failed += counts.failed;
                sum.ignored += counts.ignored;
            }
        }
        self.why.extend(reasons.lines);
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

    /// Why tests failed, what was left out, what failed, and the sums in the last line.
    pub(crate) fn print(&self) {
        println!();
        for line in &self.why {
            println!("{line}");
        }
        for part in &self.left_out {
            println!("NOT RUN: {part}");
        }
        for failure in &self.failures {
            println!("FAILED: {failure}");
        }
        println!("{} passed, {} failed, {} skipped", self.passed, self.failed, self.skipped);
    }
}

/// The beginnings of what libtest says of each test that failed: behind that, a part prints thousands of lines, and logs that
/// are kept somewhere are often kept in part.
#[derive(Debug, Default)]
struct Reasons {
    lines: Vec<String>,
    tests: usize,
    /// Lines still to be taken of the test at hand.
    left: usize,
}

impl Reasons {
    fn see(&mut self, line: &str) {
        if line.starts_with("---- ") && line.ends_with(" ----") {
            self.tests += 1;
            self.left = if self.tests <= MOST_AGAIN { AGAIN.0 + 1 } else { 0 };
        } else if line == "failures:" || line.starts_with("test result: ") {
            self.left = 0;
        }
        if self.left > 0 && !line.is_empty() {
            self.left -= 1;
            self.lines.push(line.chars().take(AGAIN.1).collect());
        }
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
        assert_eq!(tally, Tally { passed: 1, failed: 1, failures, ..Tally::default() });
        assert!(!tally.is_green());
    }

    #[test]
    fn why_tests_failed_is_kept_in_brief() {
        let long = "x".repeat(1000);
        let said = format!(
            "test a ... FAILED\n\nfailures:\n\n---- a ----\ntest panicked: no\n\n1\n2\n3\n4\n{long}\n6\n7\n\n\
             ---- b stdout ----\nwhy\n\n\nfailures:\n    a\n    b\n\n\
             test result: FAILED. 0 passed; 2 failed; 0 ignored\n---\n"
        );
        let mut tally = Tally::default();
        let mut cmd = sh::command("printf");
        cmd.args(["%s", &said]);
        tally.run_showing("part", &mut cmd, &mut Vec::new()).unwrap();
        let cut = &long[..400];
        let why = ["---- a ----", "test panicked: no", "1", "2", "3", "4", cut, "---- b stdout ----", "why"];
        assert_eq!(tally.why, why);
    }

    #[test]
    fn nothing_run_is_not_green() {
        assert!(!Tally::default().is_green());
    }
}
