//! docs/findings.md is written from the rules' own texts.

use std::fmt::Write;
use std::path::Path;

use super::rules::RULES;
use super::settings::{Field, LedgerSettings, MemorySettings, Settings};

const HEAD: &str = "# Findings

<!-- Written from the rules by `TLSIGHT_BLESS=1 cargo test -p agent-core reference`; do not edit. -->

A finding is a judgement on something that was seen: which rule spoke, how bad it is, what it is about, what it rests on
(under the keys of [docs/json.md](json.md)), and what to do. Findings of one rule about the same thing are one finding with a
first and a last time and a count of connections. It clears when a good sighting of the same thing came and nothing bad within
`ledger.settle_minutes` of it, when time alone makes it untrue, after `ledger.silence_hours` without another sighting,
or when a reload gives its rule other settings: what is still true then is raised anew.

What cannot be told raises nothing: a verdict `unknown`, certificates that a resumed session or TLS 1.3 without a probe does not
show, signatures by algorithms that are not verified here. Certificates are judged by the time of the connection that
showed them.

What a finding is about:

- a *hop*: who calls (workload, systemd unit, executable, node, or somebody unnamed inside or outside of the cluster) and what
  is called (Service, workload, the name of a server outside, or an address), with its port
- a *target*: what is called
- a *server certificate*: the target, and the name it was asked for
- a *client certificate*: who calls, and the identity in the certificate
- a *certificate of a process*: who was shown it, and the identity in it, where it fits no single connection

| rule | severity |
|---|---|
";

fn reference() -> String {
    let mut out = HEAD.to_owned();
    for rule in RULES {
        let _ = writeln!(out, "| [{0}](#{0}) | {1} |", rule.id, rule.severity.as_str());
    }
    let defaults = serde_json::to_value(Settings::default()).expect("settings are JSON");
    for rule in RULES {
        let _ = write!(
            out,
            "\n## {}\n\nSeverity: {}\n\n{}\n\n**What to do**: {}\n\n**Clears when**: {}\n\n",
            rule.id,
            rule.severity.as_str(),
            rule.checks,
            rule.advice,
            rule.clears
        );
        table(&mut out, Settings::fields(&rule.id), &defaults[rule.id.as_str()]);
    }
    out.push_str("\n## How findings come and go\n\nSettings under `ledger`:\n\n");
    table(&mut out, LedgerSettings::FIELDS, &defaults["ledger"]);
    out.push_str(
        "\n## What is remembered\n\nBounds under `memory`; what is forgotten to keep them is counted:\n\n",
    );
    table(&mut out, MemorySettings::FIELDS, &defaults["memory"]);
    out
}

fn table(out: &mut String, fields: &[Field], defaults: &serde_json::Value) {
    out.push_str("| setting | default | meaning |\n|---|---|---|\n");
    for field in fields {
        let default = match &defaults[field.name] {
            serde_json::Value::Null => "none".to_owned(),
            value => format!("`{value}`"),
        };
        let _ = writeln!(out, "| `{}` | {default} | {} |", field.name, field.doc.trim());
    }
}

#[test]
fn the_reference_says_what_the_rules_say() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/findings.md");
    let text = reference();
    if std::env::var_os("TLSIGHT_BLESS").is_some_and(|v| v == "1") {
        std::fs::write(&path, &text).expect("write docs/findings.md");
    }
    let there = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(there == text, "docs/findings.md is out of date: TLSIGHT_BLESS=1 writes it anew");
}

#[test]
fn every_rule_says_what_it_checks_what_to_do_and_when_it_clears() {
    for rule in RULES {
        for text in [rule.checks, rule.advice, rule.clears] {
            assert!(text.len() > 20 && text.ends_with('.'), "{}: {text:?}", rule.id);
            assert!(!text.contains("  "), "{}: {text:?}", rule.id);
        }
    }
}
