//! Runs the cases of one test binary: named trials, the shared agent, and what must hold when all are over.

use std::collections::BTreeSet;
use std::process::{Command, ExitCode};

use libtest_mimic::{Arguments, Failed, Trial};

use crate::{agent, child, tools};

/// Environment variable with which `cargo xtask test --no-kernel` switches these tests off.
const NO_KERNEL: &str = "TLSIGHT_NO_KERNEL";

/// A named case.
pub fn case(name: impl Into<String>, run: impl FnOnce() + Send + 'static) -> Trial {
    Trial::test(name, move || {
        run();
        Ok::<(), Failed>(())
    })
}

/// Runs all trials, stops everything, and checks that nothing is left behind.
pub fn run(trials: impl FnOnce() -> Vec<Trial>) -> ExitCode {
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
    let before = if live { attached() } else { BTreeSet::new() };
    let conclusion = libtest_mimic::run(&args, trials());
    let mut failed = conclusion.has_failed();
    if let Err(why) = agent::stop_shared() {
        eprintln!("after the last case: {why}");
        failed = true;
    }
    child::stop_all();
    let left: Vec<String> = if live { attached().difference(&before).cloned().collect() } else { Vec::new() };
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

/// Programs and links in the kernel that carry the agent's names, by id.
fn attached() -> BTreeSet<String> {
    let out = Command::new("bpftool").args(["--json", "prog", "list"]).output();
    let Ok(out) = out else { return BTreeSet::new() };
    let Ok(serde_json::Value::Array(programs)) = serde_json::from_slice(&out.stdout) else {
        return BTreeSet::new();
    };
    programs.iter().map(|p| format!("program {} {} {}", p["id"], p["type"], p["name"])).collect()
}
