//! Debian's kernels: found by apt, unpacked and not installed.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::setup::apt;
use crate::sh;

/// A series of kernels.
pub(crate) struct Kernel {
    /// As people call it.
    pub(crate) series: &'static str,
    /// What the names of its packages begin with. They end with [`FLAVOUR`].
    prefix: &'static str,
    /// Whether it lets probes into libraries with CAP_PERFMON alone.
    pub(crate) probes_without_sys_admin: bool,
}

/// For virtual machines: a tenth of the size of the general one.
const FLAVOUR: &str = "-cloud-amd64";

/// Those that Debian 12 has, from its own suite and from backports of later ones.
pub(crate) const KERNELS: &[Kernel] = &[
    Kernel { series: "6.1", prefix: "linux-image-6.1.0-", probes_without_sys_admin: false },
    Kernel { series: "6.12", prefix: "linux-image-6.12.", probes_without_sys_admin: false },
];

/// A kernel to boot.
pub(crate) struct Image {
    /// The kernel itself.
    pub(crate) vmlinuz: PathBuf,
    /// Its modules.
    pub(crate) modules: PathBuf,
}

impl Kernel {
    /// The newest of its series that apt has, unpacked below `folder`.
    pub(crate) fn fetch(&self, folder: &Path) -> Result<Image> {
        apt::update_if_stale()?;
        let names = sh::capture(sh::command("apt-cache").args(["pkgnames", self.prefix]))?;
        let newest = names.lines().filter(|name| name.ends_with(FLAVOUR)).max_by_key(|name| numbers(name));
        let Some(package) = newest else {
            bail!("apt knows no {}N{FLAVOUR}: this wants the package lists of Debian 12", self.prefix);
        };
        let dir = folder.join(package);
        if !dir.join("boot").exists() {
            let fresh = folder.join(format!("{package}.new"));
            let _ = fs::remove_dir_all(&fresh);
            fs::create_dir_all(&fresh)?;
            sh::run(sh::command("apt-get").args(["download", package]).current_dir(&fresh))?;
            let file = only(&fresh, |name| name.ends_with(".deb"))?;
            sh::run(sh::command("dpkg-deb").arg("--extract").arg(&file).arg(&fresh))?;
            fs::remove_file(file)?;
            fs::rename(&fresh, &dir)?;
        }
        Ok(Image {
            vmlinuz: only(&dir.join("boot"), |name| name.starts_with("vmlinuz-"))?,
            modules: dir.join("lib/modules"),
        })
    }
}

/// Every number in a name, in order: `linux-image-6.1.0-56-cloud-amd64` is newer than `...-9-...`.
fn numbers(name: &str) -> Vec<u64> {
    name.split(|c: char| !c.is_ascii_digit()).filter_map(|digits| digits.parse().ok()).collect()
}

fn only(dir: &Path, is_it: impl Fn(&str) -> bool) -> Result<PathBuf> {
    let entries = fs::read_dir(dir).with_context(|| format!("reading {}", dir.display()))?.flatten();
    let mut found = entries.filter(|entry| is_it(&entry.file_name().to_string_lossy()));
    let first = found.next().with_context(|| format!("not in {}", dir.display()))?;
    Ok(first.path())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_is_the_one_with_the_highest_numbers() {
        let names = [
            "linux-image-6.1.0-9-cloud-amd64",
            "linux-image-6.1.0-56-cloud-amd64",
            "linux-image-6.1.0-50-cloud-amd64",
        ];
        let newest = names.iter().max_by_key(|name| numbers(name));
        assert_eq!(newest, Some(&"linux-image-6.1.0-56-cloud-amd64"));
    }
}
