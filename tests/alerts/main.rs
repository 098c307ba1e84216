//! Alerts and dashboards with everything real: the agent, programs that talk, Prometheus, Alertmanager, and a webhook that
//! alerts reach and that hears of their end.

mod about_agent;
mod about_traffic;
mod demo;
mod http;
mod shortened;
mod traffic;
mod webhook;
mod world;

use std::collections::BTreeSet;
use std::process::ExitCode;

use libtest_mimic::Arguments;
use tlsight_tests::{child, netns, tools};

use self::webhook::Status;

/// Environment variable with which `cargo xtask test --no-kernel` switches these tests off.
const NO_KERNEL: &str = "TLSIGHT_NO_KERNEL";

fn main() -> ExitCode {
    let mut args = Arguments::from_args();
    if std::env::var_os(NO_KERNEL).is_some_and(|v| v == "1") && !args.list {
        println!("switched off by --no-kernel");
        return ExitCode::SUCCESS;
    }
    // SAFETY: a plain system call without arguments.
    if !args.list && unsafe { libc::geteuid() } != 0 {
        eprintln!(
            "these tests load BPF programs and make network namespaces: run them as root, or set {NO_KERNEL}=1"
        );
        return ExitCode::FAILURE;
    }
    args.test_threads.get_or_insert(6);
    let is_whole = args.filter.is_none() && args.skip.is_empty() && !args.list;
    if !args.list {
        netns::remove_stale();
    }
    let mut trials = Vec::new();
    about_traffic::add(&mut trials);
    about_agent::add(&mut trials);
    demo::add(&mut trials);
    let conclusion = libtest_mimic::run(&args, trials);
    let mut failed = conclusion.has_failed();
    if is_whole {
        let left = not_seen();
        if !left.is_empty() {
            eprintln!("alerts that no case raised and ended: {left:?}");
            failed = true;
        }
    }
    if let Err(why) = world::stop() {
        eprintln!("after the last case: {why}");
        failed = true;
    }
    child::stop_all();
    let _ = std::fs::remove_dir_all(tools::scratch());
    if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// Alerts that the webhook did not hear of, of their beginning or of their end.
fn not_seen() -> BTreeSet<(String, String)> {
    let mut left = shortened::alerts();
    left.retain(|(name, severity)| {
        [Status::Firing, Status::Resolved].iter().any(|status| !world::heard(name, severity, *status))
    });
    left
}
