//! Runs the cases of one test binary: named trials, the shared agent, and what must hold when all are over.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::OpenOptions;
use std::io::{ErrorKind, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::process::{Command, ExitCode};
use std::sync::{PoisonError, RwLock};
use std::time::{Duration, Instant};

use libtest_mimic::{Arguments, Failed, Trial};

use crate::{agent, child, host, netns, tools};

/// Environment variable with which `cargo xtask test --no-kernel` switches these tests off.
const NO_KERNEL: &str = "TLSIGHT_NO_KERNEL";

/// Cases that run side by side hold it for reading, a case that must be alone on the host for writing.
static HOST: RwLock<()> = RwLock::new(());

/// A named case.
pub fn case(name: impl Into<String>, run: impl FnOnce() + Send + 'static) -> Trial {
    trial(name.into(), move || {
        let _beside_others = HOST.read().unwrap_or_else(PoisonError::into_inner);
        run();
    })
}

/// A case that counts what an agent sees of the whole host: no other runs at the same time.
pub fn case_alone(name: impl Into<String>, run: impl FnOnce() + Send + 'static) -> Trial {
    trial(name.into(), move || {
        let _alone = HOST.write().unwrap_or_else(PoisonError::into_inner);
        run();
    })
}

fn trial(name: String, run: impl FnOnce() + Send + 'static) -> Trial {
    Trial::test(name.clone(), move || {
        host::CASE.set(name);
        run();
        Ok::<(), Failed>(())
    })
}

/// Calls `before`, starts the agent, runs all trials, stops everything, and checks that nothing is left behind.
pub fn run(before: impl FnOnce(), trials: impl FnOnce() -> Vec<Trial>) -> ExitCode {
    let mut args = Arguments::from_args();
    if std::env::var_os(NO_KERNEL).is_some_and(|v| v == "1") && !args.list {
        println!("switched off by --no-kernel");
        return ExitCode::SUCCESS;
    }
    let live = !args.list && std::env::var_os("TLSIGHT_TESTS_PEERS_ONLY").is_none();
    if live && let Err(why) = preflight() {
        eprintln!(
            "{why}\nTo leave these tests out on purpose, set {NO_KERNEL}=1 (`cargo xtask test --no-kernel`)."
        );
        return ExitCode::FAILURE;
    }
    // Cases mostly wait for other programs to start and to answer.
    args.test_threads.get_or_insert(6);
    if !args.list {
        netns::remove_stale();
        before();
        agent::shared();
    }
    // Other agents may run on this host: only what this one brought must go with it.
    let brought =
        if live { agent::shared().map(agent::Agent::programs).unwrap_or_default() } else { BTreeSet::new() };
    if live && brought.is_empty() {
        eprintln!("the agent holds no BPF programs");
        return ExitCode::FAILURE;
    }
    let conclusion = libtest_mimic::run(&args, trials());
    let mut failed = conclusion.has_failed();
    let leaks = leaked_probes();
    if let Err(why) = agent::stop_shared() {
        eprintln!("after the last case: {why}");
        failed = true;
    }
    // Nobody else probes the same files by now: it is this agent that takes the probes out.
    let leaks = leaked_probes().saturating_sub(leaks);
    if leaks > 0 {
        eprintln!("the kernel could not take out {leaks} probes when the agent ended (see its log)");
        failed = true;
    }
    child::stop_all();
    // The kernel frees programs some time after the last user is gone.
    let deadline = Instant::now() + Duration::from_secs(5);
    let left = loop {
        let programs = if live { loaded() } else { BTreeMap::new() };
        let left: Vec<String> =
            programs.into_iter().filter(|(id, _)| brought.contains(id)).map(|(_, name)| name).collect();
        if left.is_empty() || Instant::now() > deadline {
            break left;
        }
        host::pause(Duration::from_millis(50));
    };
    if !left.is_empty() {
        eprintln!("still loaded in the kernel after the agent ended:\n{}", left.join("\n"));
        failed = true;
    }
    let _ = std::fs::remove_dir_all(tools::scratch());
    if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

fn preflight() -> Result<(), String> {
    // SAFETY: a plain system call without arguments.
    if unsafe { libc::geteuid() } != 0 {
        return Err(
            "the live tests load BPF programs and make network namespaces: run them as root".to_owned()
        );
    }
    let out = Command::new("bpftool").args(["prog", "list"]).output();
    let out = out.map_err(|e| format!("bpftool does not start ({e}): run `cargo xtask setup --tests`"))?;
    if !out.status.success() {
        return Err(format!(
            "this kernel does not list BPF programs: {}",
            String::from_utf8_lossy(&out.stderr)
        ));
    }
    Ok(())
}

/// Every BPF program in the kernel, by id.
fn loaded() -> BTreeMap<u32, String> {
    let out = Command::new("bpftool").args(["--json", "prog", "list"]).output();
    let Ok(out) = out else { return BTreeMap::new() };
    let Ok(serde_json::Value::Array(programs)) = serde_json::from_slice(&out.stdout) else {
        return BTreeMap::new();
    };
    let id = |p: &serde_json::Value| u32::try_from(p["id"].as_u64()?).ok();
    programs
        .iter()
        .filter_map(|p| Some((id(p)?, format!("{} {} {}", p["id"], p["type"], p["name"]))))
        .collect()
}

/// How many probes the kernel has logged that it could not take out.
fn leaked_probes() -> usize {
    let log = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open("/dev/kmsg");
    let mut log = log.expect("the kernel's log");
    let (mut record, mut leaks) = ([0; 8192], 0);
    loop {
        match log.read(&mut record) {
            Ok(n) => leaks += usize::from(String::from_utf8_lossy(&record[..n]).contains("leaking uprobe")),
            // A record was overwritten before it was read.
            Err(e) if e.kind() == ErrorKind::BrokenPipe => {}
            Err(e) if e.kind() == ErrorKind::WouldBlock => return leaks,
            Err(e) => panic!("the kernel's log: {e}"),
        }
    }
}
