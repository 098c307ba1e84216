//! Running other programs.

use std::env;
use std::ffi::OsStr;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};

use anyhow::{Context, Result, bail};

use crate::places;

/// A command that runs outside the surroundings Cargo made for this program: a compiler wrapper, another toolchain or
/// other flags in the environment would end up in what is built.
pub(crate) fn command(program: impl AsRef<OsStr>) -> Command {
    let mut cmd = Command::new(program);
    for name in ["RUSTC", "RUSTC_WRAPPER", "RUSTC_WORKSPACE_WRAPPER", "CARGO_MANIFEST_DIR", "CARGO_PKG_NAME"]
    {
        cmd.env_remove(name);
    }
    cmd
}

/// The command as a line to read: environment it adds, program, arguments.
fn line(cmd: &Command) -> String {
    let mut words = Vec::new();
    for (name, value) in cmd.get_envs() {
        if let Some(value) = value {
            let value = value.to_string_lossy().replace('\u{1f}', " ");
            words.push(format!("{}={}", name.to_string_lossy(), quoted(&value)));
        }
    }
    words.push(quoted(&cmd.get_program().to_string_lossy()));
    words.extend(cmd.get_args().map(|arg| quoted(&arg.to_string_lossy())));
    words.join(" ")
}

fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,+@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else if word.contains('\n') {
        "'...'".to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

/// Says what is run and runs it; its output goes where ours goes.
pub(crate) fn status(cmd: &mut Command) -> Result<ExitStatus> {
    eprintln!("+ {}", line(cmd));
    cmd.status().with_context(|| format!("starting {}", cmd.get_program().to_string_lossy()))
}

/// Says what is run and starts it.
pub(crate) fn spawn(cmd: &mut Command) -> Result<Child> {
    eprintln!("+ {}", line(cmd));
    cmd.spawn().with_context(|| format!("starting {}", cmd.get_program().to_string_lossy()))
}

/// [`status`], with anything but success an error.
pub(crate) fn run(cmd: &mut Command) -> Result<()> {
    let status = status(cmd)?;
    if !status.success() {
        bail!("{} failed: {status}", line(cmd));
    }
    Ok(())
}

/// Runs a command quietly and returns what it printed.
pub(crate) fn capture(cmd: &mut Command) -> Result<String> {
    let output = cmd.output().with_context(|| format!("starting {}", cmd.get_program().to_string_lossy()))?;
    if !output.status.success() {
        bail!("{} failed: {}\n{}", line(cmd), output.status, String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// A program in `PATH`, where system programs live (not in everybody's `PATH`), or where Cargo installs.
pub(crate) fn which(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain(["/usr/local/sbin", "/usr/sbin", "/sbin"].map(PathBuf::from))
        .chain(places::cargo_bin())
        .map(|dir| dir.join(name))
        .find(|file| is_executable(file))
}

fn is_executable(file: &Path) -> bool {
    file.metadata().is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

/// Whether this process has root's user id.
pub(crate) fn is_root() -> bool {
    // The owner of /proc/self is the effective user id of the process.
    Path::new("/proc/self").metadata().is_ok_and(|meta| meta.uid() == 0)
}

/// A command with root's rights: as it is for root, through sudo for everybody else. `why` ends the sentence
/// "root rights are needed to ...".
pub(crate) fn as_root(program: impl AsRef<OsStr>, why: &str) -> Result<Command> {
    if is_root() {
        return Ok(command(program));
    }
    let Some(sudo) = which("sudo") else {
        bail!(
            "root rights are needed to {why}, and there is no sudo here: run this command as root \
             (for example `su -c 'cargo xtask ...'`), or install sudo"
        );
    };
    let mut cmd = command(sudo);
    cmd.arg(program);
    Ok(cmd)
}
