//! The command line as users and scripts meet it: messages and exit codes.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test says what went wrong by panicking"
)]

mod common;

use std::fs::File;
use std::io::Read;
use std::process::Stdio;

fn capture() -> String {
    common::captures().first().expect("a capture").to_str().expect("UTF-8 path").to_owned()
}

/// Exit code and standard error.
fn fails(args: &[&str]) -> (Option<i32>, String) {
    let output = common::run(args);
    (output.status.code(), common::text(&output.stderr))
}

#[test]
fn wrong_arguments_are_usage_errors() {
    for args in [
        &["pcap"] as &[&str],
        &["pcap", "--nonsense", "x"],
        &["nonsense"],
        &["watch", "--security", "good"],
        &["watch", "--port", "70000"],
        &["watch", "--duration", "soon"],
        &["watch", "--count", "0"],
    ] {
        let (code, stderr) = fails(args);
        assert_eq!(code, Some(2), "{args:?}: {stderr}");
        assert!(stderr.contains("--help") || stderr.contains("Usage:"), "{args:?}: {stderr}");
    }
}

#[test]
fn help_and_version_are_answers() {
    for args in [&["--help"] as &[&str], &["--version"], &["watch", "--help"], &["pcap", "-h"]] {
        let output = common::run(args);
        assert_eq!(output.status.code(), Some(0), "{args:?}");
        assert!(!output.stdout.is_empty() && output.stderr.is_empty(), "{args:?}");
    }
    let version = common::text(&common::run(&["--version"]).stdout);
    assert!(version.starts_with(concat!("tlsight ", env!("CARGO_PKG_VERSION"))), "{version}");
    assert!(version.contains("ABI"), "{version}");
}

#[test]
fn completions_are_scripts_for_each_shell() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let output = common::run(&["completions", shell]);
        assert_eq!(output.status.code(), Some(0), "{shell}");
        assert!(common::text(&output.stdout).contains("tlsight"), "{shell}");
    }
}

#[test]
fn missing_file_is_named_with_what_to_try() {
    assert_eq!(
        fails(&["pcap", "/nonexistent.pcap"]),
        (
            Some(3),
            "tlsight: cannot open /nonexistent.pcap: No such file or directory (os error 2)\n  \
             try: check the name; `-` reads standard input\n"
                .to_owned()
        )
    );
}

#[test]
fn what_is_no_capture_is_said_to_be_none() {
    let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
    let (code, stderr) = fails(&["pcap", manifest]);
    assert_eq!(code, Some(3));
    assert!(stderr.contains("not a pcap or pcapng file\n  try: "), "{stderr}");
    let (code, stderr) = fails(&["pcap", env!("CARGO_MANIFEST_DIR")]);
    assert_eq!(code, Some(3), "{stderr}");
}

#[test]
fn one_unreadable_file_does_not_hide_the_others() {
    let output = common::run(&["pcap", "-o", "json", "/nonexistent.pcap", &capture()]);
    assert_eq!(output.status.code(), Some(4));
    assert!(!output.stdout.is_empty());
}

#[test]
fn full_disk_has_its_own_exit_code() {
    let full = File::options().write(true).open("/dev/full").expect("/dev/full");
    for args in [&["pcap", "-o", "json"] as &[&str], &["pcap"]] {
        let output = common::tlsight()
            .args(args)
            .arg(capture())
            .stdout(full.try_clone().expect("clone"))
            .output()
            .expect("run tlsight");
        assert_eq!(output.status.code(), Some(7));
        let stderr = common::text(&output.stderr);
        assert!(stderr.starts_with("tlsight: cannot write to standard output: "), "{stderr}");
        assert!(stderr.contains("\n  try: free some space"), "{stderr}");
    }
    let help = common::tlsight().arg("--help").stdout(full).output().expect("run tlsight");
    assert_eq!(help.status.code(), Some(7));
}

#[test]
fn closed_pipe_ends_quietly() {
    for args in [&["pcap", "-o", "json"] as &[&str], &["completions", "bash"]] {
        let mut command = common::tlsight();
        command.args(args).stdout(Stdio::piped()).stderr(Stdio::piped());
        if args.first() == Some(&"pcap") {
            // More than a pipe holds.
            for _ in 0..40 {
                command.args(common::captures());
            }
        }
        let mut child = command.spawn().expect("run tlsight");
        let mut stdout = child.stdout.take().expect("standard output");
        stdout.read_exact(&mut [0; 1]).expect("a first byte");
        drop(stdout);
        let output = child.wait_with_output().expect("tlsight ends");
        assert_eq!((output.status.code(), common::text(&output.stderr)), (Some(0), String::new()));
    }
}

#[test]
fn table_on_a_pipe_has_no_colour_unless_asked() {
    let plain = common::text(&common::run(&["pcap", &capture()]).stdout);
    assert!(!plain.contains('\x1b'));
    let colored = common::text(&common::run(&["pcap", "--color", "always", &capture()]).stdout);
    assert!(colored.contains('\x1b'));
}

#[test]
fn filters_leave_only_what_was_asked_for() {
    let lines = |args: &[&str]| {
        let args = [&["pcap", "-o", "json"], args].concat();
        common::text(&common::run(&args).stdout).lines().count()
    };
    let file = capture();
    let all = lines(&[&file]);
    let by_security: usize =
        ["plaintext", "tls", "mtls", "unknown"].map(|s| lines(&["--security", s, &file])).iter().sum();
    assert_eq!((all > 0, by_security), (true, all));
    assert_eq!(lines(&["--port", "1", &file]), 0);
    assert_eq!(lines(&["--process", "nginx", &file]), 0);
}
