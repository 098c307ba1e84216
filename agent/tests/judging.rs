//! Policy and findings of `tlsight pcap`, as users and scripts meet them; `watch` takes the same options.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test says what went wrong by panicking"
)]

mod common;

use std::fs;
use std::path::PathBuf;
use std::process::Output;

use serde_json::{Value, json};

/// Strict on the first of the ports in the capture, and on no other.
const POLICY: &str = "\
apiVersion: tlsight.dev/v1alpha1
kind: TlsightPolicy
metadata:
  name: redis
spec:
  selector: {ports: [36379]}
  expect: strict
";

/// A folder that goes away with the test.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str, files: &[(&str, &str)]) -> Self {
        let path = std::env::temp_dir().join(format!("tlsight-judging-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).expect("folder");
        for (name, text) in files {
            fs::write(path.join(name), text).expect("file");
        }
        Folder(path)
    }

    /// What becomes of the capture of redis.
    fn redis(&self, args: &[&str]) -> Output {
        let capture = common::tests().join("captures/redis.pcap");
        let mut command = common::tlsight();
        command.args(["pcap", "--no-system-roots"]).args(args).arg(capture).current_dir(&self.0);
        command.output().expect("run tlsight")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn lines(output: &Output) -> Vec<Value> {
    assert!(output.status.success(), "{}", common::text(&output.stderr));
    common::text(&output.stdout).lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

/// Port, expectation and findings of each connection.
fn judged(lines: &[Value]) -> Vec<(u64, Option<&str>, Option<Value>)> {
    let connections = lines.iter().filter(|line| line.get("tlsight.event").is_none());
    connections
        .map(|line| {
            let mode = line.get("tlsight.expectation").and_then(Value::as_str);
            (line["server.port"].as_u64().expect("a port"), mode, line.get("tlsight.findings").cloned())
        })
        .collect()
}

#[test]
fn connections_are_held_against_the_policy_that_is_about_them() {
    let folder = Folder::new("policy", &[("policy.yaml", POLICY)]);
    let output = folder.redis(&["-o", "json", "--policy", "policy.yaml"]);
    let lines = lines(&output);
    for (port, mode, findings) in judged(&lines) {
        let expected = match port {
            36379 => (Some("strict"), Some(json!(["plaintext_traffic"]))),
            // A TLS port to which some talk plaintext.
            36380 if findings == Some(json!(["handshake_failed"])) => continue,
            _ => (None, Some(json!(["not_quantum_safe"]))),
        };
        assert_eq!((mode, findings), expected, "{port}");
    }
    let source = lines.iter().find_map(|line| line["tlsight.expectation.source"].as_str());
    assert_eq!(source, Some("TlsightPolicy redis spec.expect (policy.yaml:7)"));
    assert!(lines.iter().all(|line| line.get("tlsight.event").is_none()), "nobody asked for news");
}

#[test]
fn news_are_told_where_they_are_asked_for_whatever_is_shown() {
    let folder = Folder::new("news", &[("policy.yaml", POLICY)]);
    let policy = ["--policy", "policy.yaml", "--findings"];
    let lines = lines(&folder.redis(&[&["-o", "json", "--port", "1"], &policy[..]].concat()));
    let raised: Vec<(&str, &str)> = lines
        .iter()
        .map(|line| {
            assert_eq!(line["tlsight.event"], "finding_raised");
            (
                line["tlsight.finding.rule"].as_str().expect("a rule"),
                line["tlsight.finding.severity"].as_str().expect("a severity"),
            )
        })
        .collect();
    assert!(raised.contains(&("plaintext_traffic", "critical")), "{raised:?}");
    let table = folder.redis(&policy);
    let text = common::text(&table.stdout);
    let raised = "critical   plaintext_traffic: a client on this host talks plaintext (redis) to 127.0.0.1:36379, \
                  where policy expects strict";
    assert!(text.contains(raised), "{text}");
    assert!(text.contains("[plaintext_traffic]"), "{text}");
}

#[test]
fn errors_in_documents_are_told_as_policy_check_tells_them_and_nothing_is_read() {
    let folder =
        Folder::new("errors", &[("bad.yaml", &POLICY.replace("strict", "strickt")), ("ok.yaml", POLICY)]);
    for (args, code, message) in [
        (
            ["--policy", "bad.yaml", "--policy", "ok.yaml"].as_slice(),
            1,
            "tlsight: bad.yaml:7:11: error: TlsightPolicy redis: spec.expect: must be strict, tls, permissive or disable\n\
             tlsight: cannot go by the policies: 1 error in the documents\n",
        ),
        (&["--policy", "missing.yaml"], 3, "tlsight: cannot read missing.yaml: "),
        (
            &["--ca-bundle", "missing.pem"],
            3,
            "tlsight: cannot take the bundle missing: cannot read missing.pem: ",
        ),
        (
            &["--ca-bundle", "empty=ok.yaml"],
            3,
            "tlsight: cannot take the bundle empty: no certificate in ok.yaml",
        ),
        (&["--config", "ok.yaml"], 2, "tlsight: cannot read the configuration ok.yaml: line 1, column 1: "),
    ] {
        let output = folder.redis(args);
        let stderr = common::text(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{args:?}: {stderr}");
        assert!(stderr.starts_with(message), "{args:?}: {stderr}");
        assert_eq!(common::text(&output.stdout), "", "{args:?}");
    }
}

#[test]
fn the_configuration_is_read_and_flags_count_for_more() {
    let config = "policy: {files: [policy.yaml]}\nfindings:\n  plaintext_traffic: {severity: warning}\n  \
                  not_quantum_safe: {enabled: false}\n";
    let other = POLICY.replace("strict", "permissive");
    let folder =
        Folder::new("config", &[("policy.yaml", POLICY), ("other.yaml", &other), ("tlsight.yaml", config)]);
    let mode = |args: &[&str]| {
        let lines = lines(&folder.redis(&[&["-o", "json", "--config", "tlsight.yaml"], args].concat()));
        let judged = judged(&lines);
        let tls = judged.iter().find(|(port, ..)| *port != 36379).expect("TLS");
        assert_eq!(tls.2, Some(json!([])), "the rule is switched off");
        let redis = judged.iter().find(|(port, ..)| *port == 36379).expect("redis");
        (redis.1.map(str::to_owned), redis.2.clone())
    };
    assert_eq!(mode(&[]), (Some("strict".to_owned()), Some(json!(["plaintext_traffic"]))));
    let flag = ["--policy", "other.yaml"];
    assert_eq!(mode(&flag), (Some("permissive".to_owned()), Some(json!([]))));
    let lines = lines(&folder.redis(&["-o", "json", "--config", "tlsight.yaml", "--findings"]));
    let raised = lines.iter().find(|line| line.get("tlsight.event").is_some()).expect("news");
    assert_eq!(raised["tlsight.finding.severity"], "warning");
}

#[test]
fn a_bundle_that_a_policy_names_and_nobody_configured_is_told() {
    let policy = format!("{POLICY}  trust: shop-ca\n");
    let folder = Folder::new("bundle", &[("policy.yaml", &policy)]);
    let output = folder.redis(&["--policy", "policy.yaml"]);
    assert_eq!(
        common::text(&output.stderr),
        "tlsight: a policy names the bundle shop-ca, which is not configured (--ca-bundle shop-ca=FILE)\n"
    );
    assert!(output.status.success());
}

#[test]
fn counters_of_policy_and_findings_are_printed() {
    let folder = Folder::new("counters", &[("policy.yaml", POLICY)]);
    let stderr = common::text(&folder.redis(&["--policy", "policy.yaml", "--stats"]).stderr);
    for line in ["policy.rules 1\n", "policy.connections_expected 2\n", "findings.refused 0\n"] {
        assert!(stderr.contains(line), "{line}: {stderr}");
    }
}
