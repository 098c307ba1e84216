//! What this host can do for tlsight: each thing needed, whether it is there, what is lost without it, how to get it.

mod kubernetes;
mod rights;
mod tls_libraries;
mod translation;

use std::fmt;
use std::io::{self, Write};

use serde::Serialize;

use self::rights::{Rights, to_get_rights};
pub use self::tls_libraries::Library;
use crate::cli::CheckArgs;
use crate::cli::output::Format;
use crate::exit::{Exit, Failure};
use crate::loader::{CgroupRoot, Kernel, KernelConfig, LoadError, PROGRAMS};
use crate::source::live::existing;

/// Oldest kernel that has everything required.
const MIN_KERNEL: (u32, u32) = (5, 8);

/// How a check came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// There.
    Ok,
    /// Missing, and something is lost without it.
    Degraded,
    /// Not tried, because something before it is missing.
    NotTried,
    /// Missing, and nothing works without it.
    Failed,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Outcome::Ok => "ok",
            Outcome::Degraded => "degraded",
            Outcome::NotTried => "not tried",
            Outcome::Failed => "FAILED",
        })
    }
}

/// One check.
#[derive(Clone, Debug, Serialize)]
pub struct Check {
    /// What was looked at.
    pub name: String,
    /// How it came out.
    pub outcome: Outcome,
    /// What was found.
    pub found: String,
    /// What is lost without it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lost: Option<String>,
    /// How to get it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fix: Option<String>,
    /// The files it is about.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<Library>,
    #[serde(skip)]
    exit: Exit,
}

impl Check {
    /// Missing, and the rest works without it.
    fn degraded(name: impl Into<String>, found: impl Into<String>, lost: &str, fix: Option<String>) -> Self {
        let check = Self::missing(name, found, Exit::Ok, lost, "");
        Self { outcome: Outcome::Degraded, fix, ..check }
    }

    fn ok(name: impl Into<String>, found: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            outcome: Outcome::Ok,
            found: found.into(),
            lost: None,
            fix: None,
            files: Vec::new(),
            exit: Exit::Ok,
        }
    }

    fn missing(name: impl Into<String>, found: impl Into<String>, exit: Exit, lost: &str, fix: &str) -> Self {
        Self {
            name: name.into(),
            outcome: Outcome::Failed,
            found: found.into(),
            lost: Some(lost.to_owned()),
            fix: Some(fix.to_owned()),
            files: Vec::new(),
            exit,
        }
    }
}

/// Runs the checks and prints them.
///
/// # Errors
/// [`Failure`] when the result cannot be written. A failed check is the exit code's business.
pub fn run(args: &CheckArgs) -> Result<Exit, Failure> {
    let mut checks = all();
    checks.extend(kubernetes::checks(args.kubeconfig.as_deref()));
    let exit = checks.iter().map(|c| c.exit).find(|e| *e != Exit::Ok).unwrap_or(Exit::Ok);
    let text = match args.output {
        Format::Table => table(&checks, exit),
        Format::Json => {
            checks.iter().filter_map(|c| serde_json::to_string(c).ok()).map(|line| line + "\n").collect()
        }
    };
    let mut out = io::stdout();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => Ok(exit),
        Err(e) => Err(Failure::output("standard output", &e)),
    }
}

fn table(checks: &[Check], exit: Exit) -> String {
    let width = checks.iter().map(|c| c.name.len()).max().unwrap_or(0);
    let mut text = String::new();
    for c in checks {
        text.push_str(&format!("{:<width$}  {:<9}  {}\n", c.name, c.outcome, c.found));
        for (label, note) in [("lost without it", &c.lost), ("to get it", &c.fix)] {
            if let Some(note) = note {
                text.push_str(&format!("{:<width$}             {label}: {note}\n", ""));
            }
        }
    }
    text.push_str(match exit {
        Exit::Ok => "\nEverything required is here: `tlsight watch` works.\n",
        Exit::MissingRights => "\nRights are missing: run it with them to see what else there is.\n",
        _ => "\n`tlsight watch` cannot work here; `tlsight pcap` can.\n",
    });
    text
}

/// Every check of this host, in the order in which they depend on each other.
pub fn all() -> Vec<Check> {
    let rights = Rights::own();
    let mut checks = vec![kernel()];
    checks.extend(rights.checks());
    checks.extend([listing(), translation::check()]);
    let root = CgroupRoot::open(None);
    checks.push(match &root {
        Ok(root) => Check::ok("cgroup v2 root", root.to_string()),
        Err(e) => Check::missing(
            "cgroup v2 root",
            e.to_string(),
            Exit::MissingKernelFeature,
            "everything: its packets are seen there",
            "mount it: mount -t cgroup2 none /sys/fs/cgroup/unified (as root, tlsight mounts its own)",
        ),
    });
    let mut probes = Probes::NotTried;
    match root {
        Ok(root) => probes = programs(&root, &rights, &mut checks),
        Err(_) => not_tried(&mut checks),
    }
    checks.extend(tls_libraries::checks(probes));
    checks
}

/// `5.15.0-91-generic` as (5, 15).
fn version(release: &str) -> Option<(u32, u32)> {
    let mut parts = release.split(|c: char| !c.is_ascii_digit());
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

fn kernel() -> Check {
    let name = "kernel";
    let uname = rustix::system::uname();
    let release = uname.release().to_string_lossy().into_owned();
    match version(&release) {
        Some(v) if v >= MIN_KERNEL => Check::ok(name, release),
        _ => Check::missing(
            name,
            release,
            Exit::MissingKernelFeature,
            "everything: the BPF ring buffer came with Linux 5.8",
            "use Linux 5.8 or later",
        ),
    }
}

fn listing() -> Check {
    let name = "socket listing";
    match existing::try_listing() {
        Ok(()) => Check::ok(name, "tcp_diag"),
        Err(e) => Check {
            name: name.to_owned(),
            outcome: Outcome::Degraded,
            found: e.to_string(),
            lost: Some("connections older than tlsight are seen only once they send".to_owned()),
            fix: Some("load the kernel module tcp_diag: modprobe tcp_diag".to_owned()),
            files: Vec::new(),
            exit: Exit::Ok,
        },
    }
}

/// Whether there can be probes in TLS libraries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Probes {
    /// The kernel takes them.
    Taken,
    /// The kernel refuses them, or has none.
    Refused,
    /// Something before them is missing.
    NotTried,
}

fn programs(root: &CgroupRoot, rights: &Rights, checks: &mut Vec<Check>) -> Probes {
    match Kernel::attach(&KernelConfig::default(), root) {
        Ok((kernel, _events, uprobes)) => {
            for spec in PROGRAMS {
                let name = format!("program {}", spec.name);
                let degraded = kernel.degraded.iter().find(|(d, _)| d.name == spec.name);
                checks.push(match degraded {
                    None => Check::ok(name, spec.purpose),
                    Some((_, cause)) => Check {
                        name,
                        outcome: Outcome::Degraded,
                        found: cause.clone(),
                        lost: Some(spec.lost_without.to_owned()),
                        fix: Some(format!("Linux {}.{} or later", spec.min_kernel.0, spec.min_kernel.1)),
                        files: Vec::new(),
                        exit: Exit::Ok,
                    },
                });
            }
            // Without the kind of event at all, the programs above said so.
            let Some(mut uprobes) = uprobes else { return Probes::Refused };
            let check = rights.probes(uprobes.try_attach());
            let probes = if check.outcome == Outcome::Ok { Probes::Taken } else { Probes::Refused };
            checks.push(check);
            probes
        }
        Err(e) => {
            let (exit, fix) = match &e {
                LoadError::Rights { .. } => {
                    (Exit::MissingRights, to_get_rights("run as root, or with the capabilities above"))
                }
                LoadError::NotBuilt | LoadError::Missing(_) => {
                    (Exit::Failure, "build with `cargo xtask build`")
                }
                _ => {
                    (Exit::MissingKernelFeature, "use a kernel with CONFIG_BPF_SYSCALL and CONFIG_CGROUP_BPF")
                }
            };
            checks.push(Check::missing(
                "programs",
                e.to_string(),
                exit,
                "everything that needs the kernel",
                fix,
            ));
            Probes::NotTried
        }
    }
}

fn not_tried(checks: &mut Vec<Check>) {
    for spec in PROGRAMS {
        let mut check = Check::ok(format!("program {}", spec.name), spec.purpose);
        check.outcome = Outcome::NotTried;
        checks.push(check);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_kernel_releases_as_distributions_write_them() {
        assert_eq!(version("5.15.0-91-generic"), Some((5, 15)));
        assert_eq!(version("6.1.0-18-cloud-amd64"), Some((6, 1)));
        assert_eq!(version("6.18.44"), Some((6, 18)));
        assert_eq!(version("unknown"), None);
    }

    #[test]
    fn the_table_tells_what_is_lost_and_how_to_get_it() {
        let checks = [
            Check::ok("kernel", "6.1.0"),
            Check::missing(
                "capabilities",
                "missing: CAP_BPF",
                Exit::MissingRights,
                "everything",
                "run as root",
            ),
        ];
        let text = table(&checks, Exit::MissingRights);
        let expected = "\
kernel        ok         6.1.0
capabilities  FAILED     missing: CAP_BPF
                         lost without it: everything
                         to get it: run as root

Rights are missing: run it with them to see what else there is.
";
        assert_eq!(text, expected);
    }
}
