//! `tlsight policy` as users and scripts meet it.
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

const ISTIO: &str = "\
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata:
  name: default
  namespace: shop
spec:
  mtls:
    mode: STRICT
---
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata:
  name: web
  namespace: shop
spec:
  selector:
    matchLabels:
      app: web
  portLevelMtls:
    8080:
      mode: PERMISSIVE
---
apiVersion: apps/v1
kind: Deployment
metadata:
  name: web
";
const BAD: &str = "\
apiVersion: tlsight.dev/v1alpha1
kind: TlsightPolicy
metadata:
  name: typo
spec:
  expect: strickt
";

/// A folder that goes away with the test.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str, files: &[(&str, &str)]) -> Self {
        let path = std::env::temp_dir().join(format!("tlsight-policy-{name}-{}", std::process::id()));
        let folder = Folder(path);
        for (name, text) in files {
            let file = folder.0.join(name);
            fs::create_dir_all(file.parent().expect("parent")).expect("folder");
            fs::write(file, text).expect("file");
        }
        folder
    }

    fn run(&self, args: &[&str]) -> Output {
        common::tlsight().arg("policy").args(args).current_dir(&self.0).output().expect("run tlsight")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn ends(output: &Output) -> (Option<i32>, String, String) {
    (output.status.code(), common::text(&output.stdout), common::text(&output.stderr))
}

const WEB: &[&str] = &[
    "explain",
    "--namespace",
    "shop",
    "--workload",
    "deployment/web",
    "--label",
    "app=web",
    "--port",
    "8080",
    "-f",
];

#[test]
fn valid_documents_are_counted() {
    let folder =
        Folder::new("valid", &[("a/istio.yaml", ISTIO), ("a/notes.txt", "not read"), ("a/.x/b.yaml", BAD)]);
    let expected = "1 file, 2 policy documents, 1 passed over: 0 errors, 0 warnings\n";
    assert_eq!(ends(&folder.run(&["check", "a"])), (Some(0), expected.to_owned(), String::new()));
}

#[test]
fn folders_without_policies_are_warned_of_and_other_data_in_them_is_left_out() {
    let folder = Folder::new("holds-none", &[("a/notes.txt", "not read"), ("b/x.json", "{\"a\": [1]}")]);
    for name in ["a", "b"] {
        let expected = format!(
            "{name}: warning: holds no policy documents and no rules\n\
             0 files, 0 policy documents, 0 passed over: 0 errors, 1 warning\n"
        );
        assert_eq!(ends(&folder.run(&["check", name])), (Some(0), expected, String::new()));
        assert_eq!(folder.run(&["check", "--strict", name]).status.code(), Some(1));
    }
    // Named by itself, it is meant to be one.
    assert_eq!(folder.run(&["check", "b/x.json"]).status.code(), Some(1));
}

#[test]
fn what_is_wrong_is_told_with_file_line_field_and_reason() {
    let folder = Folder::new("wrong", &[("bad.yaml", BAD), ("istio.yaml", ISTIO)]);
    let expected = "bad.yaml:6:11: error: TlsightPolicy typo: spec.expect: must be strict, tls, permissive or disable\n\
                    2 files, 3 policy documents, 1 passed over: 1 error, 0 warnings\n";
    let checked = folder.run(&["check", "bad.yaml", "istio.yaml"]);
    assert_eq!(ends(&checked), (Some(1), expected.to_owned(), String::new()));
    let (code, stdout, _) = ends(&folder.run(&["check", "-o", "json", "bad.yaml"]));
    let value: serde_json::Value = serde_json::from_str(&stdout).expect("JSON");
    assert_eq!((code, stdout.lines().count()), (Some(1), 1));
    assert_eq!(
        value["problems"],
        serde_json::json!([{
            "severity": "error", "document": "bad.yaml", "line": 6, "column": 11, "resource": "TlsightPolicy typo",
            "field": "spec.expect", "reason": "must be strict, tls, permissive or disable"
        }])
    );
    assert_eq!((&value["errors"], &value["counters"]["policy_resources"]), (&1.into(), &1.into()));
}

#[test]
fn warnings_fail_only_when_asked_to() {
    let text = ISTIO.replace("  namespace: shop\n", "");
    let folder = Folder::new("warnings", &[("w.yaml", &text)]);
    assert_eq!(folder.run(&["check", "w.yaml"]).status.code(), Some(0));
    assert_eq!(folder.run(&["check", "--strict", "w.yaml"]).status.code(), Some(1));
}

#[test]
fn unreadable_files_have_their_own_exit_codes() {
    let folder = Folder::new("unreadable", &[("istio.yaml", ISTIO), ("binary.yaml", "x")]);
    fs::write(folder.0.join("binary.yaml"), [0xff, 0xfe, 0x00]).expect("file");
    let (code, _, stderr) = ends(&folder.run(&["check", "missing.yaml"]));
    assert_eq!(code, Some(3));
    assert_eq!(stderr, "tlsight: cannot read missing.yaml: No such file or directory (os error 2)\n");
    let (code, stdout, stderr) = ends(&folder.run(&["check", "binary.yaml", "istio.yaml"]));
    assert_eq!((code, stderr.as_str()), (Some(4), "tlsight: cannot read binary.yaml: is not UTF-8 text\n"));
    assert!(stdout.contains("2 policy documents"), "{stdout}");
    let args = [WEB, &["istio.yaml", "missing.yaml"]].concat();
    assert_eq!(folder.run(&args).status.code(), Some(4));
    assert_eq!(folder.run(&[WEB, &["missing.yaml"]].concat()).status.code(), Some(3));
}

#[test]
fn standard_input_is_a_file_too() {
    let mut child = common::tlsight()
        .args(["policy", "check", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("run tlsight");
    child.stdin.take().expect("stdin").write_all(ISTIO.as_bytes()).expect("write");
    let output = child.wait_with_output().expect("output");
    assert_eq!(output.status.code(), Some(0));
    assert!(common::text(&output.stdout).starts_with("1 file, 2 policy documents"));
}

#[test]
fn explanation_names_the_document_the_line_and_why() {
    let folder = Folder::new("explain", &[("policies/istio.yaml", ISTIO)]);
    let expected = "\
permissive: anything goes
  from     policies/istio.yaml:21  PeerAuthentication shop/web  spec.portLevelMtls.8080.mode
  because  the narrowest that matches (istio, workload level, by port)

Also considered:
  inherited   policies/istio.yaml:15  PeerAuthentication shop/web  spec
              one for this port applies (istio, workload level)
  strict      policies/istio.yaml:8  PeerAuthentication shop/default  spec.mtls.mode
              a narrower one applies (istio, namespace level)
";
    let explained = folder.run(&[WEB, &["policies"]].concat());
    assert_eq!(ends(&explained), (Some(0), expected.to_owned(), String::new()));
}

#[test]
fn explanation_as_json_has_every_rule_when_asked() {
    let folder = Folder::new("json", &[("p.yaml", ISTIO)]);
    let explain = |extra: &[&str]| -> serde_json::Value {
        let args = [&["explain", "-o", "json", "-f", "p.yaml", "--port", "80"], extra].concat();
        let (code, stdout, _) = ends(&folder.run(&args));
        assert_eq!(code, Some(0));
        serde_json::from_str(&stdout).expect("JSON")
    };
    let value = explain(&["--namespace", "shop", "--label", "app=web"]);
    assert_eq!(
        value["expectation"],
        serde_json::json!({
            "mode": "strict",
            "origin": {"document": "p.yaml", "line": 8, "kind": "PeerAuthentication", "namespace": "shop",
                       "name": "default", "field": "spec.mtls.mode"}
        })
    );
    let outcomes = |value: &serde_json::Value| -> Vec<String> {
        let rules = value["considered"].as_array().expect("list");
        rules.iter().map(|rule| rule["outcome"].as_str().expect("string").to_owned()).collect()
    };
    assert_eq!(outcomes(&value), ["inherits", "applies", "does_not_match"]);
    let elsewhere = explain(&["--namespace", "other"]);
    assert_eq!(
        (elsewhere.get("expectation"), outcomes(&elsewhere)),
        (Some(&serde_json::Value::Null), vec![])
    );
    assert_eq!(outcomes(&explain(&["--namespace", "other", "--all"])), ["does_not_match"; 3]);
}

#[test]
fn nothing_expected_is_an_answer_and_documents_that_do_not_count_are_told() {
    let folder = Folder::new("nothing", &[("p.yaml", ISTIO), ("bad.yaml", BAD)]);
    let (code, stdout, stderr) = ends(&folder.run(&["explain", "--port", "80", "-f", "p.yaml"]));
    assert_eq!(code, Some(0));
    assert_eq!(
        (stdout.as_str(), stderr.as_str()),
        ("Nothing is expected: no document is about this connection.\n", "")
    );
    let (code, _, stderr) = ends(&folder.run(&["explain", "--port", "80", "-f", "p.yaml", "bad.yaml"]));
    assert_eq!(code, Some(4));
    assert!(stderr.starts_with("tlsight: bad.yaml:6:11: error: "), "{stderr}");
}

#[test]
fn wrong_arguments_are_usage_errors_that_say_what_to_try() {
    let folder = Folder::new("usage", &[("p.yaml", ISTIO)]);
    for args in [
        &[] as &[&str],
        &["check"],
        &["explain", "-f", "p.yaml"],
        &["explain", "-f", "p.yaml", "--port", "0"],
        &["explain", "-f", "p.yaml", "--port", "1", "--workload", "web"],
        &["explain", "-f", "p.yaml", "--port", "1", "--label", "web"],
        &["explain", "-f", "p.yaml", "--port", "1", "--label", "a=b"],
    ] {
        assert_eq!(folder.run(args).status.code(), Some(2), "{args:?}");
    }
    let (_, _, stderr) = ends(&folder.run(&["explain", "-f", "p.yaml", "--port", "1", "--service", "web"]));
    assert_eq!(
        stderr,
        "tlsight: cannot explain: --service names something within a namespace\n  try: add --namespace\n"
    );
}

#[test]
fn what_a_terminal_would_obey_is_written_out() {
    let folder = Folder::new("unsafe", &[("p.yaml", &BAD.replace("name: typo", "name: \"a\\e[31m\""))]);
    let (_, stdout, _) = ends(&folder.run(&["check", "p.yaml"]));
    assert!(stdout.contains("a\\u{1b}[31m") && !stdout.contains('\u{1b}'), "{stdout}");
}

const RULES: &str = "package tlsight.rules.old\n\nfindings contains {\"message\": \"old\"} if input[\"tls.protocol.version\"] == \"1.2\"\n";

#[test]
fn rules_in_rego_are_checked_with_the_documents() {
    let folder = Folder::new(
        "rego",
        &[
            ("a/istio.yaml", ISTIO),
            ("a/old.rego", RULES),
            ("a/old_test.rego", "package tlsight.rules.old_test\n"),
            ("broken.rego", "package tlsight.rules.broken\n\nfindings contains {\n"),
            (
                "bad.rego",
                "package tlsight.rules.bad\n\nfindings contains {\"message\": x} if {\n  input.y\n}\n",
            ),
        ],
    );
    let expected = "2 files, 2 policy documents, 1 package of rules, 1 passed over: 0 errors, 0 warnings\n";
    assert_eq!(ends(&folder.run(&["check", "a"])), (Some(0), expected.to_owned(), String::new()));
    let (code, stdout, _) = ends(&folder.run(&["check", "a", "bad.rego"]));
    assert_eq!(code, Some(0));
    let problem = stdout.lines().next().unwrap_or_default();
    assert!(problem.starts_with("bad.rego:3:31: warning: ") && problem.contains('x'), "{stdout}");
    assert_eq!(folder.run(&["check", "--strict", "a", "bad.rego"]).status.code(), Some(1));
    let (code, stdout, _) = ends(&folder.run(&["check", "-o", "json", "a/old.rego"]));
    let value: serde_json::Value = serde_json::from_str(&stdout).expect("JSON");
    assert_eq!((code, &value["files"], &value["packages"]), (Some(0), &1.into(), &1.into()));
    let (code, stdout, _) = ends(&folder.run(&["check", "a", "broken.rego"]));
    assert_eq!(code, Some(1));
    assert!(stdout.starts_with("broken.rego:4:1: error: "), "{stdout}");
    let (code, _, stderr) = ends(&folder.run(&["check", "missing.rego"]));
    assert_eq!(code, Some(3));
    assert_eq!(stderr, "tlsight: cannot read missing.rego: No such file or directory (os error 2)\n");
}
