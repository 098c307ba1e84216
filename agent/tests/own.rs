//! Rules of one's own and the audit log of `tlsight pcap`, as users and scripts meet them; `watch` takes the same options.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test says what went wrong by panicking"
)]

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;

use serde_json::Value;

/// A folder that goes away with the test.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str, files: &[(&str, &str)]) -> Self {
        let path = std::env::temp_dir().join(format!("tlsight-own-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).expect("folder");
        for (name, text) in files {
            fs::write(path.join(name), text).expect("file");
        }
        Folder(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn pcap(folder: &Path, args: &[&str], capture: &Path) -> Output {
    let mut command = common::tlsight();
    command.args(["pcap", "--no-system-roots"]).args(args).arg(capture).current_dir(folder);
    command.output().expect("run tlsight")
}

fn lines(text: &[u8]) -> Vec<Value> {
    common::text(text).lines().map(|line| serde_json::from_str(line).expect(line)).collect()
}

fn examples() -> PathBuf {
    common::tests().parent().expect("workspace").join("docs/examples/rego")
}

/// Every connection of every recorded capture that showed a client certificate has a line that says the same as its last
/// observation, and no other connection has one.
#[test]
fn recorded_connections_are_audited_once_each() {
    let folder = Folder::new("audit", &[]);
    let mut audited = 0;
    for capture in common::captures() {
        let shown = pcap(&folder.0, &["-o", "json"], &capture);
        let ends = lines(&shown.stdout).into_iter().filter(|line| line["tlsight.phase"] == "final");
        let mut ends: BTreeMap<u64, Value> = ends
            .filter(|line| line["tlsight.client_certificate"] == "sent")
            .map(|line| (line["tlsight.connection"].as_u64().expect("a number"), line))
            .collect();
        let log = pcap(&folder.0, &["--audit-log", "-"], &capture);
        assert_eq!(log.status.code(), shown.status.code(), "{}", common::text(&log.stderr));
        for line in lines(&log.stdout) {
            let conn = line["tlsight.connection"].as_u64().expect("a number");
            let end = ends.remove(&conn).unwrap_or_else(|| panic!("{}: {line}", capture.display()));
            for key in [
                "timestamp",
                "client.address",
                "client.port",
                "server.address",
                "server.port",
                "tls.protocol.version",
                "tls.cipher",
                "tls.established",
                "tls.client.subject",
                "tls.client.issuer",
                "tls.client.not_before",
                "tls.client.not_after",
                "tls.client.hash.sha256",
                "tlsight.client.serial",
                "tlsight.client.san",
                "tlsight.client.chain_length",
                "tlsight.alert.name",
                "tlsight.security",
            ] {
                assert_eq!(line.get(key), end.get(key), "{}: {key} of {conn}", capture.display());
            }
            let status = line["tlsight.audit.status"].as_str().expect("a status");
            match line["tls.established"].as_bool() {
                Some(true) => assert!(["success", "expired", "untrusted"].contains(&status), "{line}"),
                Some(false) => assert_ne!(status, "success", "{line}"),
                None => {}
            }
            audited += 1;
        }
        assert!(ends.is_empty(), "{}: no line of {:?}", capture.display(), ends.keys());
    }
    assert!(audited >= 10, "{audited}");
}

#[test]
fn an_audit_file_takes_turns_with_nothing() {
    let folder = Folder::new("file", &[]);
    let capture = common::tests().join("captures/openssl-tls12.pcap");
    let capture = if capture.exists() { capture } else { capture.with_extension("pcapng") };
    let plain = pcap(&folder.0, &["-o", "json"], &capture);
    let args = ["-o", "json", "--audit-log", "audit.log", "--audit-format", "ecs", "--stats"];
    let output = pcap(&folder.0, &args, &capture);
    // What is shown stays the same.
    assert_eq!(output.stdout, plain.stdout);
    let written = lines(&fs::read(folder.0.join("audit.log")).expect("the log"));
    assert!(!written.is_empty());
    assert!(written.iter().all(|line| line["ecs.version"] == "8.17.0" && line.get("@timestamp").is_some()));
    let stats = common::text(&output.stderr);
    assert!(stats.contains(&format!("audit.lines_written {}\n", written.len())), "{stats}");
    // Another run appends.
    pcap(&folder.0, &args, &capture);
    let both = lines(&fs::read(folder.0.join("audit.log")).expect("the log"));
    assert_eq!(both, [written.clone(), written].concat());
    let nowhere = pcap(&folder.0, &["--audit-log", "no/such/folder/audit.log"], &capture);
    assert_eq!(nowhere.status.code(), Some(7));
    let said = common::text(&nowhere.stderr);
    assert!(said.starts_with("tlsight: cannot open the audit log no/such/folder/audit.log: "), "{said}");
}

#[test]
fn rules_of_ones_own_are_named_among_the_findings() {
    let rule = "package tlsight.rules.clients\n\nfindings contains {\"message\": \"a client certificate\", \
                \"about\": \"client_certificate\"} if input[\"tls.client.hash.sha256\"]\n";
    let config = "rules: {files: [clients.rego]}\n";
    let folder = Folder::new("rules", &[("clients.rego", rule), ("tlsight.yaml", config)]);
    let capture = common::captures()
        .into_iter()
        .find(|c| c.file_stem().is_some_and(|stem| stem == "openssl-tls12"))
        .expect("recorded");
    for args in [["--rules", "clients.rego"], ["--config", "tlsight.yaml"]] {
        let output = pcap(&folder.0, &[&["-o", "json", "--stats"], &args[..]].concat(), &capture);
        let mut with = 0;
        for line in lines(&output.stdout) {
            let found = line["tlsight.findings"].to_string().contains("\"rego:clients\"");
            assert_eq!(found, line.get("tls.client.hash.sha256").is_some(), "{line}");
            with += u64::from(found);
        }
        assert!(with > 0);
        let stats = common::text(&output.stderr);
        assert!(stats.contains("rego.packages 1\n") && stats.contains("rego.failed 0\n"), "{stats}");
    }
    let folder_of_rules = examples();
    let output =
        pcap(&folder.0, &["-o", "json", "--rules", folder_of_rules.to_str().expect("UTF-8")], &capture);
    assert!(common::text(&output.stdout).contains("\"rego:workload_certificates/long_lived\""));
    assert_eq!(common::text(&output.stderr), "");
}

#[test]
fn wrong_rules_end_it_before_it_begins() {
    let folder = Folder::new("wrong", &[("bad.rego", "package tlsight.rules.bad\n\nfindings contains {\n")]);
    let capture = common::captures().remove(0);
    let output = pcap(&folder.0, &["--rules", "bad.rego"], &capture);
    let said = common::text(&output.stderr);
    assert_eq!((output.status.code(), output.stdout.len()), (Some(1), 0), "{said}");
    assert!(said.starts_with("tlsight: bad.rego:") && said.contains("tlsight policy check"), "{said}");
    let output = pcap(&folder.0, &["--rules", "missing.rego"], &capture);
    assert_eq!(output.status.code(), Some(3));
    assert!(common::text(&output.stderr).starts_with("tlsight: cannot read missing.rego: "));
}

#[test]
fn a_rule_that_fails_is_told_of_once() {
    let rule = "package tlsight.rules.broken\n\nn := 1\nn := 2 if input.timestamp\n\
                findings contains {\"message\": \"m\"} if n == 1\n";
    let folder = Folder::new("broken", &[("broken.rego", rule)]);
    let capture = common::captures().remove(0);
    let output = pcap(&folder.0, &["--rules", "broken.rego"], &capture);
    assert!(output.status.code().is_some_and(|code| code == 0 || code == 4));
    let said = common::text(&output.stderr);
    assert!(said.matches("rego:broken failed: ").count() == 1, "{said}");
}
