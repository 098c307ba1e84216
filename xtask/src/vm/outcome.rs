//! What the guest told, and what it should have.

use std::fs;

use anyhow::{Context, Result};
use serde_json::{Map, Value};

use super::kernel::Kernel;
use crate::places;

/// What `tlsight watch` should have said, whatever the kernel: [`Outcome::connections`].
const EXPECTED: &str = "tests/vm/expected.txt";
/// Keys of an observation that are the same in every run.
const KEYS: &[&str] = &[
    "tlsight.phase",
    "tlsight.security",
    "tlsight.security.reason",
    "tlsight.security.source",
    "network.protocol.name",
    "tls.protocol.version",
    "tls.established",
    "tlsight.server_name",
    "tlsight.client_certificate",
    "tls.server.subject",
    "tls.client.subject",
    "tlsight.close",
    "process.executable.name",
];
/// BPF, PERFMON, NET_ADMIN, SYS_PTRACE, DAC_READ_SEARCH; and SYS_ADMIN.
const RIGHTS: u64 = 1 << 39 | 1 << 38 | 1 << 12 | 1 << 19 | 1 << 2;
const SYS_ADMIN: u64 = 1 << 21;

/// Everything one guest told.
pub(crate) struct Outcome {
    told: Vec<(String, String)>,
}

impl Outcome {
    /// Head of the table.
    pub(crate) const HEAD: &'static str = "\
| kernel | `tlsight check` | programs loaded and attached within (emulated) | instructions verified, of the largest program | connections | probes without `SYS_ADMIN` | left behind |
|---|---|---|---|---|---|---|";

    /// Reads what was told.
    pub(crate) fn read(text: &str) -> Result<Self> {
        let word = |line: &str| {
            let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
            (word.to_owned(), rest.to_owned())
        };
        Ok(Self { told: text.lines().map(word).collect() })
    }

    fn all<'a>(&'a self, word: &'a str) -> impl Iterator<Item = &'a str> {
        self.told.iter().filter(move |(w, _)| w == word).map(|(_, rest)| rest.as_str())
    }

    fn one<'a>(&'a self, word: &'a str) -> &'a str {
        self.all(word).next().unwrap_or_default()
    }

    /// Checks of `tlsight check` that are not ok: name and outcome.
    fn not_ok(&self) -> Vec<String> {
        let checks = objects(self.all("check"));
        let is_ok = |check: &Map<String, Value>| check.get("outcome").is_some_and(|o| o == "ok");
        let told =
            |check: &Map<String, Value>| ["name", "outcome"].map(|key| text_of(check.get(key))).join(" ");
        checks.iter().filter(|check| !is_ok(check)).map(told).collect()
    }

    /// Every observation, without what differs from run to run: sorted by server, end and time.
    fn connections(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for line in objects(self.all("line")) {
            let get = |key: &str| match text_of(line.get(key)) {
                // Busybox goes by as many names as it has commands, and is over before it is asked for one.
                name if key == "process.executable.name" && name != "openssl" => String::new(),
                value => value,
            };
            // Plaintext that ends at once may be told with its end only.
            if get("tlsight.phase") == "verdict" && get("tlsight.security") == "plaintext" {
                continue;
            }
            let [port, network, role, time] =
                ["server.port", "network.type", "tlsight.role", "timestamp"].map(get);
            let values = KEYS.iter().map(|key| (key, get(key))).filter(|(_, value)| !value.is_empty());
            let values: Vec<String> = values.map(|(key, value)| format!("{key}={value}")).collect();
            let what = format!("{port} {network} {role}: {}", values.join(" "));
            lines.push(([port, network, role, time], what));
        }
        lines.sort();
        lines.into_iter().map(|(_, what)| what).collect()
    }

    /// Whether certificates of the strict run came from probes.
    fn probes_without_sys_admin(&self) -> bool {
        objects(self.all("strict-line")).iter().any(|line| line.contains_key("tls.client.subject"))
    }

    fn capabilities(&self, word: &str) -> Option<u64> {
        let line = self.all(word).find_map(|line| line.strip_prefix("CapEff:"))?;
        u64::from_str_radix(line.trim(), 16).ok()
    }

    /// A row of the table.
    pub(crate) fn row(&self) -> String {
        let check = match self.not_ok() {
            list if list.is_empty() => "everything ok".to_owned(),
            list => list.join(", "),
        };
        let seconds = self.one("watching-ms").parse::<u64>().unwrap_or_default().div_ceil(1000);
        let verified =
            self.all("verified").filter_map(|l| l.split(' ').next_back()?.parse::<u64>().ok()).max();
        let probes = if self.probes_without_sys_admin() { "work" } else { "refused" };
        let connections = self.all("client").count();
        format!(
            "| {} | {check} | {seconds} s | {} | {connections} | {probes} | {} programs, {} attachments |",
            self.one("kernel"),
            verified.unwrap_or_default(),
            difference(self.one("programs-after"), self.one("programs-before")),
            self.one("attached-after"),
        )
    }

    /// What is not as it should be.
    ///
    /// # Errors
    /// When the file that says what should be cannot be read.
    pub(crate) fn objections(&self, kernel: &Kernel) -> Result<Vec<String>> {
        let mut wrong = Vec::new();
        let mut same = |what: &str, is: String, should: &str| {
            if is != should {
                wrong.push(format!("{what}: {is:?} instead of {should:?}"));
            }
        };
        let list = |word: &str| self.all(word).collect::<Vec<_>>().join("; ");
        same("checks that are not ok", self.not_ok().join(", "), "");
        same("checks", (objects(self.all("check")).len() >= 10).to_string(), "true");
        same(
            "exit codes",
            ["check-code", "watch-code", "strict-code"].map(|w| self.one(w)).join(" "),
            "0 0 0",
        );
        let clients = "tls12 0; tls13 0; mtls12 0; mtls13 0; declined 1; ipv6 0; http 0; refused 1; strict 0";
        same("clients", list("client"), clients);
        same("the agent's words", list("said"), "tlsight: watching; stop with Ctrl-C");
        let status =
            format!("CapEff: {0:016x}; CapBnd: {0:016x}; NoNewPrivs: 1; Seccomp: 2", RIGHTS | SYS_ADMIN);
        same("rights", list("status"), &status);
        same(
            "strict rights",
            format!("{:x?}", self.capabilities("strict-status")),
            &format!("{:x?}", Some(RIGHTS)),
        );
        let probes = kernel.probes_without_sys_admin;
        same("probes without SYS_ADMIN", self.probes_without_sys_admin().to_string(), &probes.to_string());
        let told = list("strict-said").contains("TLS libraries not probed: the kernel refused");
        same("the user is told of that", told.to_string(), &(!probes).to_string());
        same("programs left", self.one("programs-after").to_owned(), self.one("programs-before"));
        same("attachments left", self.one("attached-after").to_owned(), "0");
        same("the kernel's complaints", list("kernel-complaint"), "");
        wrong.extend(self.differences()?);
        Ok(wrong)
    }

    /// Lines of observations that are missing, or too many.
    fn differences(&self) -> Result<Vec<String>> {
        let file = places::root().join(EXPECTED);
        let expected = fs::read_to_string(&file).with_context(|| format!("reading {}", file.display()))?;
        let mut expected: Vec<&str> = expected.lines().collect();
        let mut wrong = Vec::new();
        for line in self.connections() {
            match expected.iter().position(|e| *e == line) {
                Some(at) => drop(expected.remove(at)),
                None => wrong.push(format!("not expected: {line}")),
            }
        }
        wrong.extend(expected.into_iter().map(|line| format!("missing: {line}")));
        Ok(wrong)
    }
}

fn objects<'a>(lines: impl Iterator<Item = &'a str>) -> Vec<Map<String, Value>> {
    lines.filter_map(|line| serde_json::from_str(line).ok()).collect()
}

/// A value in one word.
fn text_of(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    }
}

fn difference(after: &str, before: &str) -> String {
    match (after.parse::<i64>(), before.parse::<i64>()) {
        (Ok(after), Ok(before)) => (after - before).to_string(),
        _ => "?".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn observations_are_told_without_what_differs_from_run_to_run() {
        let line = |port: u16, phase: &str, time: &str| {
            format!(
                r#"line {{"timestamp":"{time}","tlsight.phase":"{phase}","server.port":{port},"tlsight.role":"client","network.type":"ipv4","tls.established":true,"process.pid":7}}"#
            )
        };
        let text = [line(2, "final", "b"), line(1, "verdict", "a"), line(2, "verdict", "a")].join("\n");
        let outcome = Outcome::read(&text).unwrap();
        let rest = |port: u16, phase: &str| {
            format!("{port} ipv4 client: tlsight.phase={phase} tls.established=true")
        };
        assert_eq!(outcome.connections(), [rest(1, "verdict"), rest(2, "verdict"), rest(2, "final")]);
    }

    #[test]
    fn a_guest_that_says_nothing_is_not_as_expected() {
        let nothing = Outcome::read("end\n").unwrap();
        let kernel = super::super::KERNELS.first().unwrap();
        assert!(nothing.objections(kernel).unwrap().len() > 10);
    }
}
