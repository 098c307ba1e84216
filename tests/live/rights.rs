//! What `tlsight check` says to a process that has fewer rights than root, as containers and units do.

use libtest_mimic::Trial;
use serde_json::{Value, json};
use tlsight_tests::agent::binary;
use tlsight_tests::child::{command, output};
use tlsight_tests::run::case;

/// The chart's and the unit's, without SYS_ADMIN.
const BASE: [&str; 5] = ["bpf", "perfmon", "net_admin", "sys_ptrace", "dac_read_search"];

/// Adds the cases.
pub(crate) fn add(trials: &mut Vec<Trial>) {
    trials.push(case("rights::check_tries_a_probe_and_says_what_it_takes", tried));
    trials.push(case("rights::check_tells_what_is_lost_without_each", told));
}

/// Exit code, and what each check of `tlsight check` says, as root with these capabilities.
fn check(capabilities: &[&str]) -> (Option<i32>, Vec<Value>) {
    let all: String = capabilities.iter().map(|name| format!(",+{name}")).collect();
    let mut check =
        command("setpriv", [format!("--bounding-set=-all{all}"), format!("--inh-caps=-all{all}")]);
    check.args(["--no-new-privs", "--"]).arg(binary()).args(["check", "-o", "json"]);
    let out = check.output().expect("setpriv starts");
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    assert!(!text.is_empty(), "{}", String::from_utf8_lossy(&out.stderr));
    (out.status.code(), text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect())
}

fn of<'a>(checks: &'a [Value], name: &str) -> &'a Value {
    checks.iter().find(|check| check["name"] == name).unwrap_or_else(|| panic!("no {name} in {checks:?}"))
}

/// Whether a uprobe takes CAP_SYS_ADMIN here: since Linux 6.16, and older ones that were mended in July 2025 do as well.
fn takes_sys_admin() -> bool {
    let release = output(command("uname", ["-r"]));
    let mut parts = release.split(|c: char| !c.is_ascii_digit()).map(|part| part.parse::<u32>().unwrap_or(0));
    (parts.next(), parts.next()) >= (Some(6), Some(16))
}

fn tried() {
    let (code, with) = check(&[&BASE[..], &["sys_admin"]].concat());
    let probes = of(&with, "probes in TLS libraries");
    assert_eq!((code, &probes["outcome"], probes.get("fix")), (Some(0), &json!("ok"), None), "{probes}");

    let (code, without) = check(&BASE);
    let probes = of(&without, "probes in TLS libraries");
    assert_eq!(code, Some(0), "the rest works");
    if takes_sys_admin() {
        assert_eq!(probes["outcome"], "degraded", "{probes}");
    }
    if probes["outcome"] == "degraded" {
        let text = |key: &str| probes[key].as_str().unwrap_or_default().to_owned();
        assert!(text("found").contains("Permission denied"), "{probes}");
        assert!(text("fix").contains("add SYS_ADMIN to the container's capabilities"), "{probes}");
        assert!(text("lost").contains("certificates in TLS 1.3"), "{probes}");
        // Whatever libraries processes use here, none is said to be seen.
        let seen = |check: &&Value| {
            let name = check["name"].as_str().unwrap_or_default();
            name.starts_with("TLS by ") && check["outcome"] == "ok"
        };
        assert_eq!(without.iter().find(seen), None);
    }
}

fn told() {
    let (code, checks) = check(&["bpf", "perfmon", "net_admin"]);
    assert_eq!(code, Some(0), "{checks:?}");
    let found = &of(&checks, "capabilities")["found"];
    assert_eq!(found, "CAP_BPF CAP_PERFMON CAP_NET_ADMIN");
    for name in ["CAP_SYS_PTRACE", "CAP_DAC_READ_SEARCH", "CAP_SYS_ADMIN"] {
        let check = of(&checks, name);
        assert_eq!((&check["outcome"], &check["found"]), (&json!("degraded"), &json!("missing")));
        assert!(check["lost"].is_string() && check["fix"].is_string(), "{check}");
    }
    let (code, checks) = check(&["bpf", "perfmon"]);
    let capabilities = of(&checks, "capabilities");
    assert_eq!(
        (code, &capabilities["outcome"], &capabilities["found"]),
        (Some(5), &json!("failed"), &json!("missing: CAP_NET_ADMIN"))
    );
}
