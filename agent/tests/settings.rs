//! What configuration file, environment and flags come to, as `tlsight agent --print-config` shows it.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test says what went wrong by panicking"
)]

mod common;

use std::fs;
use std::path::PathBuf;

use serde_json::{Value, json};
use tlsight::config::Config;

/// A file that goes away with the test.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str, text: &str) -> Self {
        let path = std::env::temp_dir().join(format!("tlsight-settings-{name}-{}.yaml", std::process::id()));
        fs::write(&path, text).expect("write");
        Scratch(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// The settings, as text and as JSON.
fn printed(args: &[&str], env: &[(&str, &str)]) -> (String, Value) {
    let mut command = common::tlsight();
    command.args(["agent", "--print-config"]).args(args).envs(env.iter().copied());
    let output = command.output().expect("run tlsight");
    assert_eq!(output.status.code(), Some(0), "{}", common::text(&output.stderr));
    let text = common::text(&output.stdout);
    let config = Config::parse(&text).unwrap_or_else(|e| panic!("{e} in\n{text}"));
    let json = serde_json::to_value(config).expect("JSON");
    (text, json)
}

#[test]
fn what_is_printed_is_a_configuration_that_comes_to_itself() {
    let (text, _) = printed(&[], &[]);
    let file = Scratch::new("itself", &text);
    let (again, _) = printed(&["--config", file.0.to_str().expect("UTF-8")], &[]);
    assert_eq!(again, text);
}

#[test]
fn flags_count_for_more_than_the_environment_and_that_for_more_than_the_file() {
    let file = Scratch::new(
        "precedence",
        "tls13: {detach_after: 10s}\npolicy: {files: [file.yaml], cluster_domain: example.org}\n\
         metrics: {listen: \"127.0.0.1:1\"}\nkubernetes: {node_name: file}\nagent: {socket: /run/file.sock}\n\
         audit: {log: file.log, keep: 3}\ncapture: {ring_buffer: 65536, tls_bytes: 2048}\n\
         trust: {bundles: {file: [file.pem]}}\nrules: {files: [file.rego], max_failures: 4}\n",
    );
    let file = file.0.to_str().expect("UTF-8");
    let of = |args: &[&str], env: &[(&str, &str)]| {
        let args = [&["--config", file], args].concat();
        let config = printed(&args, env).1;
        json!([
            config["tls13"]["detach_after"],
            config["policy"]["files"],
            config["policy"]["cluster_domain"],
            config["metrics"]["listen"],
            config["kubernetes"]["node_name"],
            config["agent"]["socket"],
            config["audit"]["log"],
            config["audit"]["keep"],
            config["capture"]["ring_buffer"],
            config["capture"]["tls_bytes"],
            config["trust"]["bundles"],
            config["rules"]["files"],
            config["rules"]["max_failures"],
        ])
    };
    let by_file = json!([
        "10s", ["file.yaml"], "example.org", "127.0.0.1:1", "file", "/run/file.sock", "file.log", 3, 65536, 2048,
        {"file": ["file.pem"]}, ["file.rego"], 4
    ]);
    assert_eq!(of(&[], &[]), by_file);
    let env = [
        ("TLSIGHT_TLS13_DETACH_AFTER", "20s"),
        ("TLSIGHT_POLICY", "env.yaml,more.yaml"),
        ("TLSIGHT_METRICS_LISTEN", "127.0.0.1:2"),
        ("TLSIGHT_NODE_NAME", "env"),
        ("TLSIGHT_SOCKET", "/run/env.sock"),
        ("TLSIGHT_AUDIT_LOG", "env.log"),
        ("TLSIGHT_AUDIT_KEEP", "4"),
        ("TLSIGHT_CA_BUNDLE", "env=env.pem"),
        ("TLSIGHT_RULES", "env.rego"),
    ];
    let by_env = json!([
        "20s", ["env.yaml", "more.yaml"], "example.org", "127.0.0.1:2", "env", "/run/env.sock", "env.log", 4, 65536,
        2048, {"env": ["env.pem"]}, ["env.rego"], 4
    ]);
    assert_eq!(of(&[], &env), by_env);
    let flags = [
        "--tls13-detach-after",
        "30s",
        "--policy",
        "flag.yaml",
        "--metrics-listen",
        "127.0.0.1:3",
        "--node-name",
        "flag",
        "--socket",
        "/run/flag.sock",
        "--audit-log",
        "flag.log",
        "--audit-keep",
        "5",
        "--ca-bundle",
        "flag=flag.pem",
        "--rules",
        "flag.rego",
        "--ring-buffer",
        "131072",
    ];
    let by_flags = json!([
        "30s", ["flag.yaml"], "example.org", "127.0.0.1:3", "flag", "/run/flag.sock", "flag.log", 5, 131_072, 2048,
        {"flag": ["flag.pem"]}, ["flag.rego"], 4
    ]);
    assert_eq!(of(&flags, &env), by_flags);
}

#[test]
fn a_wrong_setting_is_named_with_its_place_and_nothing_is_printed() {
    let file = Scratch::new("wrong", "agent:\n  shutdown_timeout: soon\n");
    let args = ["agent", "--print-config", "--config", file.0.to_str().expect("UTF-8")];
    let output = common::run(&args);
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(common::text(&output.stdout), "");
    let said = common::text(&output.stderr);
    assert!(
        said.contains("line 2, column 21: agent.shutdown_timeout: expected a time such as 10s"),
        "{said}"
    );
}
