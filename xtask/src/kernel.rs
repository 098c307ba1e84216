//! Whether this machine can run the tests that load BPF programs.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::sh;

/// The oldest kernel that has all that the agent's programs use.
const MINIMUM: (u32, u32) = (5, 8);

/// Fails with what is missing, and with the way around it. Only what can be told without loading anything: the rest
/// (`tlsight check` knows it all) fails in the live tests themselves.
pub(crate) fn require_for_tests() -> Result<()> {
    let wrong = missing()?;
    if wrong.is_empty() {
        return Ok(());
    }
    bail!(
        "the live tests cannot run here: {}. `cargo xtask test --no-kernel` runs everything else",
        wrong.join("; ")
    )
}

fn missing() -> Result<Vec<String>> {
    let mut wrong = Vec::new();
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").context("reading the kernel's version")?;
    match version(release.trim()) {
        Some(version) if version < MINIMUM => {
            wrong.push(format!("kernel {} is older than {}.{}", release.trim(), MINIMUM.0, MINIMUM.1));
        }
        Some(_) => {}
        None => eprintln!("kernel version {:?} cannot be read; going on", release.trim()),
    }
    if !sh::is_root() && sh::which("sudo").is_none() {
        wrong.push("they load BPF programs, which takes root, and there is no sudo".to_owned());
    }
    let filesystems = fs::read_to_string("/proc/filesystems").unwrap_or_default();
    if !filesystems.lines().any(|line| line.ends_with("\tcgroup2")) {
        wrong.push("the kernel has no cgroup v2".to_owned());
    }
    if !Path::new("/proc/self/ns/net").exists() {
        wrong.push("the kernel has no network namespaces".to_owned());
    }
    Ok(wrong)
}

/// Major and minor number of a kernel release such as `6.1.0-18-amd64`.
fn version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_kernel_releases_of_distributions() {
        assert_eq!(version("6.1.0-18-amd64"), Some((6, 1)));
        assert_eq!(version("5.10.0"), Some((5, 10)));
        assert_eq!(version("6.18-rc1"), Some((6, 18)));
        assert_eq!(version("unknown"), None);
    }
}
