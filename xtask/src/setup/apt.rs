//! Debian packages.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::Consent;
use super::packages::Debian;
use crate::sh;

const INSTALL: &str = include_str!("apt-install.sh");

/// Package lists that are older are fetched anew.
const STALE: Duration = Duration::from_secs(24 * 3600);

/// Makes sure that packages are installed.
pub(crate) fn ensure(packages: &[Debian], why: &str, consent: Consent) -> Result<()> {
    let there = |p: &&Debian| p.program.is_some_and(|program| sh::which(program).is_some());
    let names: Vec<&str> = packages.iter().filter(|p| !there(p)).map(|p| p.package).collect();
    let missing = ensure_names(&names, why, consent)?;
    let fresh = packages.iter().filter(|p| missing.contains(&p.package));
    let units: Vec<&str> = fresh.flat_map(|p| p.units.iter().copied()).collect();
    if !units.is_empty() && Path::new("/run/systemd/system").exists() {
        let mut cmd = sh::as_root("systemctl", "keep newly installed services from starting at boot")?;
        sh::run(cmd.arg("disable").args(units))?;
    }
    Ok(())
}

/// [`ensure`] for packages that bring no services; returns those that were missing.
pub(crate) fn ensure_names<'a>(names: &[&'a str], why: &str, consent: Consent) -> Result<Vec<&'a str>> {
    if names.is_empty() {
        return Ok(Vec::new());
    }
    let installed = installed(names)?;
    let missing: Vec<&str> = names.iter().copied().filter(|name| !installed.contains(*name)).collect();
    if missing.is_empty() {
        return Ok(missing);
    }
    consent.obtain(&format!("Debian packages {}", missing.join(" ")), why)?;
    if sh::which("apt-get").is_none() {
        bail!("there is no apt-get here: install what corresponds to {} by hand", missing.join(", "));
    }
    update_if_stale()?;
    let mut cmd = sh::as_root("sh", "install packages")?;
    cmd.args(["-c", INSTALL, "apt-install.sh"]).args(&missing);
    sh::run(&mut cmd).with_context(|| format!("installing {}", missing.join(", ")))?;
    Ok(missing)
}

/// Whether apt knows a version of this package that could be installed, with the lists it has now.
pub(crate) fn is_available(package: &str) -> bool {
    sh::capture(sh::command("apt-cache").args(["policy", package]).env("LC_ALL", "C"))
        .is_ok_and(|text| text.lines().any(|l| l.trim().starts_with("Candidate:") && !l.contains("(none)")))
}

/// Fetches the package lists where there are none, as on a fresh image, or none of today: what an old list names may be gone
/// from the archive, and it does not know what came since (Debian's rustc-web for BPF is an update of its security archive).
pub(crate) fn update_if_stale() -> Result<()> {
    let lists = Path::new("/var/lib/apt/lists");
    let some = lists.read_dir().is_ok_and(|dir| {
        dir.flatten().any(|entry| entry.file_name().to_string_lossy().contains("_Packages"))
    });
    // apt fetches into `partial`, whatever comes of it.
    let age = [lists.to_path_buf(), lists.join("partial")]
        .iter()
        .filter_map(|dir| dir.metadata().ok()?.modified().ok()?.elapsed().ok())
        .min();
    if some && age.is_none_or(|age| age < STALE) {
        return Ok(());
    }
    let mut cmd = sh::as_root("apt-get", "fetch package lists")?;
    match sh::run(cmd.arg("update")) {
        Err(error) if some => {
            eprintln!("going on with the package lists there are: {error:#}");
            Ok(())
        }
        done => done,
    }
}

fn installed(names: &[&str]) -> Result<BTreeSet<String>> {
    let Some(query) = sh::which("dpkg-query") else {
        return Ok(BTreeSet::new());
    };
    // Exits with 1 when any of them is unknown to dpkg, having printed the others.
    let output = sh::command(query)
        .args(["--show", "--showformat=${db:Status-Status} ${Package}\\n"])
        .args(names)
        .output()
        .context("asking dpkg what is installed")?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    Ok(text.lines().filter_map(|line| line.strip_prefix("installed ")).map(str::to_owned).collect())
}
