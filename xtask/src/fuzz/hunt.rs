//! One target that looks for inputs that break something, and what it took.

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, ExitStatus};
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};

use super::ledger::{Ledger, Run};
use super::{MAX_LEN, Target, command};
use crate::{places, sh};

/// How much of a failed target's log is shown.
const SHOWN_LINES: usize = 60;
/// Characters of an input, in Base64, that an error message may have.
const MAX_SHOWN: usize = 8000;
/// Fields of proc_pid_stat(5) behind the name of the process: time in user mode and in the kernel, in clock ticks.
const TIMES: std::ops::Range<usize> = 14 - 3..16 - 3;

/// Runs a target for some seconds, from the committed seeds and what was found before. libFuzzer's many words go to a file.
pub(super) fn hunt(built: &Path, target: &Target, seconds: u32, ledger: &Ledger) -> Result<()> {
    let found = target.found();
    fs::create_dir_all(&found).with_context(|| format!("making {}", found.display()))?;
    let mut cmd = command(built, target)?;
    cmd.args([format!("-max_total_time={seconds}"), format!("-max_len={MAX_LEN}")])
        .arg("-print_final_stats=1")
        .arg(&found);
    let seeds = target.dir.join("seeds").join(&target.name);
    if seeds.is_dir() {
        cmd.arg(seeds);
    }
    let log = places::kept().join("fuzz").join(format!("{}.log", target.name));
    let file = fs::File::create(&log).with_context(|| format!("writing {}", log.display()))?;
    cmd.stdout(file.try_clone()?).stderr(file);
    let started = Instant::now();
    let (status, cpu_seconds) = finish(sh::spawn(&mut cmd)?)?;
    let text = String::from_utf8_lossy(&fs::read(&log)?).into_owned();
    let executed = text.lines().find_map(|line| line.strip_prefix("stat::number_of_executed_units:"));
    let executions = executed.and_then(|number| number.trim().parse().ok()).unwrap_or(0);
    let failed = !status.success();
    let run = Run::new(&target.name, started.elapsed(), cpu_seconds, executions, failed);
    ledger.add(&run)?;
    if failed {
        let lines: Vec<&str> = text.lines().collect();
        let tail = lines.get(lines.len().saturating_sub(SHOWN_LINES)..).unwrap_or_default();
        eprintln!("{}", tail.join("\n"));
        let signal = status.signal().map(|signal| format!(" (signal {signal})")).unwrap_or_default();
        // Whoever reads only the end of a log has the input all the same.
        let input =
            text.lines().rfind(|line| line.starts_with("Base64: ")).filter(|line| line.len() <= MAX_SHOWN);
        bail!("{status}{signal}; {}; {}", target.how_to_repeat(), input.unwrap_or("it is long"));
    }
    ensure!(executions > 0, "ran no input; see {}", log.display());
    eprintln!(
        "fuzz target {}: {executions} inputs in {cpu_seconds:.0} s of a processor, no failure",
        target.name
    );
    Ok(())
}

/// Waits for the end of a program, and tells the processor time that it took, in seconds.
fn finish(mut child: Child) -> Result<(ExitStatus, f64)> {
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw).context("a process id")?;
    // Not reaped yet, so that procfs still knows it.
    waitid(WaitId::Pid(pid), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT).context("waiting for its end")?;
    let stat = fs::read_to_string(format!("/proc/{}/stat", child.id())).unwrap_or_default();
    let status = child.wait()?;
    Ok((status, cpu_seconds(&stat, rustix::param::clock_ticks_per_second())))
}

fn cpu_seconds(stat: &str, ticks_per_second: u64) -> f64 {
    let Some((_, behind_name)) = stat.rsplit_once(')') else { return 0.0 };
    let fields: Vec<&str> = behind_name.split_ascii_whitespace().collect();
    let ticks = fields.get(TIMES).into_iter().flatten().filter_map(|ticks| ticks.parse::<u64>().ok());
    ticks.sum::<u64>() as f64 / ticks_per_second as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processor_time_is_that_in_user_mode_and_in_the_kernel() {
        let stat = "7 (a) b) Z 1 7 7 0 -1 4 100 0 0 0 250 50 9 9 20 0 1 0 5 0 0";
        assert_eq!(cpu_seconds(stat, 100), 3.0);
        assert_eq!(cpu_seconds("", 100), 0.0);
    }
}
