//! `tlsight report` as users and scripts meet it. `TLSIGHT_BLESS=1` writes the pages of tests/reports as they are now.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test says what went wrong by panicking"
)]

mod common;

use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Output, Stdio};

use serde_json::Value;

fn capture(name: &str) -> String {
    let all = common::captures();
    let found = all.iter().find(|path| path.file_stem().is_some_and(|stem| stem == name));
    found.expect("a capture").to_str().expect("UTF-8 path").to_owned()
}

fn report(args: &[&str]) -> Output {
    let fixed = ["report", "--now", "2026-11-22T12:00:00Z", "--no-system-roots"];
    common::run(&[&fixed, args].concat())
}

fn page(args: &[&str]) -> String {
    let output = report(args);
    assert!(output.status.success(), "{args:?}: {}", common::text(&output.stderr));
    assert_eq!(common::text(&output.stderr), "", "{args:?}");
    common::text(&output.stdout)
}

fn from_stdin(input: &str, args: &[&str]) -> Output {
    let mut child = common::tlsight()
        .args(["report", "--now", "2026-11-22T12:00:00Z"])
        .args(args)
        .arg("-")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("run tlsight");
    let mut stdin = child.stdin.take().expect("piped");
    stdin.write_all(input.as_bytes()).expect("write");
    drop(stdin);
    child.wait_with_output().expect("its end")
}

#[test]
fn captures_give_their_pages() {
    let folder = common::tests().join("reports");
    let bless = std::env::var_os("TLSIGHT_BLESS").is_some_and(|v| v == "1");
    if bless {
        fs::create_dir_all(&folder).expect("a folder");
    }
    let mut wrong = Vec::new();
    for name in ["nginx-curl", "redis", "stacks", "upgrades"] {
        for (form, extension) in [("text", "txt"), ("markdown", "md"), ("json", "json")] {
            let mut found = page(&["--min-connections", "2", "-o", form, &capture(name)]);
            if form == "json" {
                let mut report: Value = serde_json::from_str(&found).expect("JSON");
                assert_eq!(report["tlsight.version"], env!("CARGO_PKG_VERSION"));
                report["tlsight.version"] = "that of this build".into();
                found = format!("{report:#}\n");
            }
            let path = folder.join(format!("{name}.{extension}"));
            if bless {
                fs::write(&path, &found).expect("write a page");
            }
            let golden = fs::read_to_string(&path).unwrap_or_default();
            if found != golden {
                let line = found.lines().zip(golden.lines()).find(|(is, was)| is != was);
                wrong.push(format!("{}: {line:?}", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}\nTLSIGHT_BLESS=1 accepts all of it", wrong.join("\n"));
}

#[test]
fn the_example_of_the_documentation_is_what_is_printed() {
    let docs = fs::read_to_string(common::tests().with_file_name("docs/report.md")).expect("docs/report.md");
    let page = page(&["--min-connections", "2", &capture("nginx-curl")]);
    assert!(docs.contains(&page), "docs/report.md does not show\n{page}");
}

#[test]
fn a_capture_and_its_json_lines_give_the_same_report() {
    for name in ["nginx-curl", "stacks", "resumed", "refused"] {
        let of_capture: Value = serde_json::from_str(&page(&["-o", "json", &capture(name)])).expect("JSON");
        let lines = common::text(
            &common::run(&["pcap", "-o", "json", "--no-system-roots", "--findings", &capture(name)]).stdout,
        );
        let output = from_stdin(&lines, &["-o", "json"]);
        assert_eq!(common::text(&output.stderr), "", "{name}");
        let of_lines: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        assert_eq!(of_lines, of_capture, "{name}");
    }
}

#[test]
fn lines_that_are_none_are_counted_and_said() {
    let good = r#"{"timestamp":"2026-01-01T10:00:00Z","tlsight.connection":1,"tlsight.phase":"final","tlsight.security":"tls","tlsight.role":"client","network.local.address":"10.0.0.1","network.local.port":1,"network.peer.address":"10.0.0.2","network.peer.port":2}"#;
    let long = format!("{{\"a\":\"{}\"}}", "x".repeat(2 << 20));
    let output = from_stdin(&format!("{good}\n{{\"cut\n{{\"a\":1}}\n\n{long}\n{good}"), &["-o", "json"]);
    assert_eq!(output.status.code(), Some(4));
    assert_eq!(
        common::text(&output.stderr),
        "tlsight: -: 2 lines are no JSON objects; they were left out\n\
         tlsight: -: 1 lines are not tlsight's; they were left out\n"
    );
    let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(report["connections"]["total"], 1);
    let output = from_stdin("{\"a\":1}\n", &[]);
    assert_eq!((output.status.code(), common::text(&output.stdout)), (Some(3), String::new()));
}

#[test]
fn files_of_both_kinds_make_one_report() {
    let folder = std::env::temp_dir().join(format!("tlsight-report-{}", std::process::id()));
    fs::create_dir_all(&folder).expect("a folder");
    let file: PathBuf = folder.join("redis.jsonl");
    fs::write(&file, common::run(&["pcap", "-o", "json", &capture("redis")]).stdout).expect("write");
    let args =
        ["-o", "json", file.to_str().expect("UTF-8"), &capture("nginx-curl"), &capture("openssl-tls13")];
    let total = |args: &[&str]| -> u64 {
        let report: Value = serde_json::from_str(&page(args)).expect("JSON");
        report["connections"]["total"].as_u64().expect("a number")
    };
    let alone: u64 = args[2..].iter().map(|file| total(&["-o", "json", file])).sum();
    assert_eq!(total(&args), alone);
    let _ = fs::remove_dir_all(folder);
}

#[test]
fn what_cannot_be_read_is_named_with_what_to_try() {
    let output = report(&["/nonexistent.pcap"]);
    assert_eq!(output.status.code(), Some(3));
    assert!(common::text(&output.stderr).contains("cannot open /nonexistent.pcap"));
    let output = report(&["/nonexistent.pcap", &capture("redis")]);
    assert_eq!((output.status.code(), output.stdout.is_empty()), (Some(4), false));
    let output = report(&["--socket", "/nonexistent.sock"]);
    assert_eq!(output.status.code(), Some(3));
    let stderr = common::text(&output.stderr);
    assert!(stderr.contains("nobody answers there\n  try: start `tlsight watch --socket`"), "{stderr}");
    for args in [&["--now", "soon", "x"] as &[&str], &["--socket", "x", "y"], &["-o", "table", "x"]] {
        assert_eq!(common::run(&[&["report"], args].concat()).status.code(), Some(2), "{args:?}");
    }
}
