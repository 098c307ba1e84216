//! Other people's programs, and where things are.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

/// The repository.
pub(crate) fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask is in the repository")
}

fn tools() -> PathBuf {
    std::env::var_os("TLSIGHT_TOOLS").map_or_else(|| repository().join("target/tools"), PathBuf::from)
}

/// Helm.
pub(crate) fn helm() -> Command {
    let unpacked = tools().join("helm/helm");
    Command::new(if unpacked.is_file() { unpacked } else { "helm".into() })
}

/// A program of the Python packages.
pub(crate) fn python(program: &str) -> Command {
    Command::new(tools().join("venv/bin").join(program))
}

/// This package's own program.
pub(crate) fn xtask() -> Command {
    let mut xtask = Command::new(env!("CARGO_BIN_EXE_xtask"));
    xtask.current_dir(repository());
    xtask
}

/// What became of it. A program that is not there is the test's failure.
pub(crate) fn run(command: &mut Command) -> Output {
    command.stdin(Stdio::null()).output().unwrap_or_else(|e| {
        panic!("start {command:?}: {e}; `cargo xtask setup --tests` installs what is missing")
    })
}

/// What it printed; anything but success is the test's failure.
pub(crate) fn output(command: &mut Command) -> String {
    let output = run(command);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {}\n{text}{errors}", output.status);
    text
}

/// What it said on both outputs where it had to fail.
pub(crate) fn refused(command: &mut Command) -> String {
    let output = run(command);
    assert!(!output.status.success(), "{command:?} succeeded:\n{}", String::from_utf8_lossy(&output.stdout));
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// A folder that goes with the value.
pub(crate) struct Scratch(pub(crate) PathBuf);

impl Scratch {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("tlsight-deploy-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&folder).expect("make a folder");
        Self(folder)
    }

    pub(crate) fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        std::fs::write(&path, text).expect("write a file");
        path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
