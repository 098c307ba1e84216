//! Copies of installed libraries, and the places in them.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use tlsight::libraries::{Contents, ProbePoint};

/// A directory that goes with this value.
pub(crate) struct Scratch(pub(crate) PathBuf);

impl Scratch {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let n = NEXT.fetch_add(1, Ordering::Relaxed);
        let dir = std::env::temp_dir().join(format!("tlsight-probes-{}-{n}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        Self(dir)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

pub(crate) fn output(cmd: &mut Command) -> String {
    let out = cmd.output().unwrap();
    assert!(out.status.success(), "{cmd:?}: {}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8(out.stdout).unwrap()
}

/// The file that `program` gets for a library, copied to `dir`.
pub(crate) fn copy_of(program: &str, library: &str, dir: &Path) -> PathBuf {
    let program = output(Command::new("sh").args(["-c", "command -v \"$0\"", program]));
    let ldd = output(Command::new("ldd").arg(program.trim()));
    let line = ldd.lines().find(|l| l.trim().starts_with(library)).unwrap();
    let from = PathBuf::from(line.split_whitespace().nth(2).unwrap());
    let to = dir.join(from.file_name().unwrap());
    std::fs::copy(from, &to).unwrap();
    to
}

/// The places in a file that has one TLS library.
pub(crate) fn points(path: &Path) -> Vec<ProbePoint> {
    match tlsight::libraries::inspect(&File::open(path).unwrap(), path) {
        Contents::Probes(libraries) if libraries.len() == 1 => libraries[0].1.clone(),
        other => panic!("{other:?}"),
    }
}
