//! The machine: two processors, 1 GiB, no disk, no network, two serial ports.

use std::fs;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result, bail};

use super::kernel::{Image, Kernel};
use crate::sh;

/// Seconds for one kernel. Emulated, loading the programs takes up to half a minute, and all of it about two minutes on a
/// machine that does nothing else.
const LIMIT: &str = "900";

/// Boots, and returns what the guest told on its second serial port.
pub(crate) fn run(folder: &Path, kernel: &Kernel, image: &Image, initrd: &Path) -> Result<String> {
    let console = folder.join(format!("console-{}.log", kernel.series));
    let told = folder.join(format!("told-{}.log", kernel.series));
    let _ = fs::remove_file(&told);
    let mut cmd = sh::command("timeout");
    cmd.args(["--kill-after=10", LIMIT, "qemu-system-x86_64", "-accel", "tcg", "-cpu", "max", "-smp", "2"]);
    cmd.args(["-m", "1024", "-nographic", "-nodefaults", "-no-reboot", "-nic", "none"]);
    cmd.arg("-serial").arg(format!("file:{}", console.display()));
    cmd.arg("-serial").arg(format!("file:{}", told.display()));
    cmd.arg("-kernel").arg(&image.vmlinuz).arg("-initrd").arg(initrd);
    cmd.args(["-append", "console=ttyS0 quiet panic=-1 oops=panic"]);
    let start = Instant::now();
    let status = sh::status(&mut cmd)?;
    eprintln!("{} took {} s", kernel.series, start.elapsed().as_secs());
    let text = fs::read(&told).with_context(|| format!("reading {}", told.display()))?;
    let text = String::from_utf8_lossy(&text).replace('\r', "");
    if !status.success() || !text.lines().any(|line| line.trim_end() == "end") {
        bail!("{} did not come to its end ({status}); see {}", kernel.series, console.display());
    }
    Ok(text)
}
