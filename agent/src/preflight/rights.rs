//! What this process may do: each capability and what is lost without it, and whether the kernel takes probes from it.

use std::fs;
use std::os::unix::fs::MetadataExt;

use super::Check;
use crate::exit::Exit;

/// A capability that the agent has a use for.
struct Capability {
    /// Its bit in CapEff (capability.h).
    bit: u32,
    name: &'static str,
    without: Without,
}

/// What becomes of the agent that lacks one.
#[derive(Clone, Copy)]
enum Without {
    /// It does not start. For some, CAP_SYS_ADMIN stands in, as it did before they came (Linux 5.8).
    Nothing { sys_admin_will_do: bool },
    /// It works, and this is lost.
    Less(&'static str),
}

const SYS_ADMIN: u32 = 21;

/// As docs/operations.md has them.
const CAPABILITIES: &[Capability] = &[
    Capability { bit: 39, name: "CAP_BPF", without: Without::Nothing { sys_admin_will_do: true } },
    Capability { bit: 38, name: "CAP_PERFMON", without: Without::Nothing { sys_admin_will_do: true } },
    Capability { bit: 12, name: "CAP_NET_ADMIN", without: Without::Nothing { sys_admin_will_do: false } },
    Capability {
        bit: 19,
        name: "CAP_SYS_PTRACE",
        without: Without::Less(
            "names, containers and TLS libraries of other users' processes; connections older than tlsight in other network \
             namespaces are seen only once they send",
        ),
    },
    Capability {
        bit: 2,
        name: "CAP_DAC_READ_SEARCH",
        without: Without::Less(
            "which processes of other users have connections older than tlsight; TLS libraries in folders that are closed to \
             others",
        ),
    },
    Capability {
        bit: SYS_ADMIN,
        name: "CAP_SYS_ADMIN",
        without: Without::Less(
            "connections older than tlsight in other network namespaces are seen only once they send; for certificates in TLS \
             1.3 see below",
        ),
    },
];

/// The capabilities of a process.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rights {
    /// CapEff of proc_pid_status(5).
    effective: u64,
}

impl Rights {
    /// This process's.
    pub(super) fn own() -> Self {
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let effective =
            status.lines().find_map(|l| u64::from_str_radix(l.strip_prefix("CapEff:")?.trim(), 16).ok());
        Self { effective: effective.unwrap_or(0) }
    }

    fn has(self, bit: u32) -> bool {
        self.effective >> bit & 1 == 1
    }

    /// What is required in one check; what is not, and is missing, in one each.
    pub(super) fn checks(self) -> Vec<Check> {
        let is_enough = |c: &Capability| match c.without {
            Without::Nothing { sys_admin_will_do: true } => self.has(c.bit) || self.has(SYS_ADMIN),
            Without::Nothing { sys_admin_will_do: false } | Without::Less(_) => self.has(c.bit),
        };
        let (there, missing): (Vec<_>, Vec<_>) = CAPABILITIES.iter().partition(|c| is_enough(c));
        let names = |all: &[&Capability]| all.iter().map(|c| c.name).collect::<Vec<_>>().join(" ");
        let (required, optional): (Vec<&Capability>, Vec<_>) =
            missing.into_iter().partition(|c| matches!(c.without, Without::Nothing { .. }));
        let all = "capabilities";
        let mut checks = vec![if required.is_empty() {
            Check::ok(all, names(&there))
        } else {
            Check::missing(
                all,
                format!("missing: {}", names(&required)),
                Exit::MissingRights,
                "everything that needs the kernel",
                to_get_rights("run as root: sudo tlsight check"),
            )
        }];
        checks.extend(optional.into_iter().filter_map(|c| match c.without {
            Without::Less(lost) => Some(Check::degraded(c.name, "missing", lost, Some(to_get(c.name)))),
            Without::Nothing { .. } => None,
        }));
        checks
    }

    /// How attaching a probe came out.
    pub(super) fn probes(self, tried: Result<(), String>) -> Check {
        let name = "probes in TLS libraries";
        let Err(cause) = tried else { return Check::ok(name, "the kernel takes them") };
        let fix = if self.has(SYS_ADMIN) {
            "let the seccomp profile or security module of the container allow perf_event_open(2)".to_owned()
        } else {
            format!(
                "{} (CAP_PERFMON is not enough since Linux 6.16, and since the stable releases of July 2025); or do without: \
                 --tls13-certificates off",
                to_get("CAP_SYS_ADMIN")
            )
        };
        let lost = "certificates in TLS 1.3; whether a connection is mutual TLS is seen all the same, by record lengths";
        Check::degraded(name, cause, lost, Some(fix))
    }
}

fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|m| m.uid() == 0)
}

/// How to get one capability.
fn to_get(name: &str) -> String {
    if is_root() {
        let short = name.trim_start_matches("CAP_");
        format!(
            "add {short} to the container's capabilities, or {name} to CapabilityBoundingSet= of the unit"
        )
    } else {
        format!("run as root, or with {name}")
    }
}

/// What to do about rights: `otherwise`, unless we are root already, who has not all of them in a container, in a user
/// namespace and on a locked down kernel.
pub(super) fn to_get_rights(otherwise: &'static str) -> &'static str {
    if is_root() {
        "this root has not all rights: give the container these, or run tlsight on the host"
    } else {
        otherwise
    }
}

#[cfg(test)]
mod tests {
    use super::super::Outcome;
    use super::*;

    const BASE: u64 = 1 << 39 | 1 << 38 | 1 << 12 | 1 << 19 | 1 << 2;

    fn told(effective: u64) -> Vec<(String, Outcome, String)> {
        let rights = Rights { effective };
        rights.checks().into_iter().map(|check| (check.name, check.outcome, check.found)).collect()
    }

    fn line(name: &str, outcome: Outcome, found: &str) -> (String, Outcome, String) {
        (name.to_owned(), outcome, found.to_owned())
    }

    #[test]
    fn what_the_agent_starts_without_is_a_loss_and_no_failure() {
        let all = "CAP_BPF CAP_PERFMON CAP_NET_ADMIN CAP_SYS_PTRACE CAP_DAC_READ_SEARCH CAP_SYS_ADMIN";
        assert_eq!(told(u64::MAX), [line("capabilities", Outcome::Ok, all)]);
        let fewer = "CAP_BPF CAP_PERFMON CAP_NET_ADMIN CAP_SYS_PTRACE CAP_DAC_READ_SEARCH";
        let expected =
            [line("capabilities", Outcome::Ok, fewer), line("CAP_SYS_ADMIN", Outcome::Degraded, "missing")];
        assert_eq!(told(BASE), expected);
    }

    #[test]
    fn sys_admin_stands_in_for_what_it_was_before_linux_5_8() {
        let expected = [
            line("capabilities", Outcome::Failed, "missing: CAP_NET_ADMIN"),
            line("CAP_SYS_PTRACE", Outcome::Degraded, "missing"),
            line("CAP_DAC_READ_SEARCH", Outcome::Degraded, "missing"),
        ];
        assert_eq!(told(1 << SYS_ADMIN), expected);
    }

    #[test]
    fn refused_probes_are_a_matter_of_sys_admin_where_it_is_missing() {
        let refused = || Err("perf_event_open: Permission denied".to_owned());
        let without = Rights { effective: BASE }.probes(refused());
        assert_eq!((without.outcome, without.exit), (Outcome::Degraded, Exit::Ok));
        assert_eq!(without.found, "perf_event_open: Permission denied");
        let fix = without.fix.expect("what to do");
        assert!(fix.contains("SYS_ADMIN") && fix.contains("--tls13-certificates off"), "{fix}");
        let with = Rights { effective: u64::MAX }.probes(refused());
        assert!(with.fix.is_some_and(|fix| fix.contains("seccomp")));
        assert_eq!(Rights { effective: BASE }.probes(Ok(())).outcome, Outcome::Ok);
    }

    /// Of one table in the chart's, the unit's and the agent's words; the unit is held against the chart elsewhere.
    #[test]
    fn the_chart_gives_what_is_asked_for_here() {
        let chart = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/chart/tlsight/values.yaml");
        let values = fs::read_to_string(chart).expect("the chart's values");
        let line = values.lines().find_map(|line| line.strip_prefix("capabilities: [")).expect("a list");
        let mut given: Vec<&str> = line.trim_end_matches(']').split(", ").chain(["SYS_ADMIN"]).collect();
        let mut asked: Vec<&str> = CAPABILITIES.iter().map(|c| c.name.trim_start_matches("CAP_")).collect();
        given.sort_unstable();
        asked.sort_unstable();
        assert_eq!(given, asked);
        let operations = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/operations.md");
        let text = fs::read_to_string(operations).expect("the manual");
        let mut told: Vec<&str> = text
            .lines()
            .skip_while(|line| !line.starts_with("| capability"))
            .skip(2)
            .map_while(|line| line.strip_prefix("| `")?.split_once('`'))
            .map(|(name, _)| name)
            .collect();
        told.sort_unstable();
        assert_eq!(told, asked);
    }
}
