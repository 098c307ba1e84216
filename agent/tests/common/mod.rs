//! What the tests of the program share.
#![allow(dead_code, missing_docs, unreachable_pub, reason = "each test program uses a part of it")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// The program under test, without the caller's colours and time zone.
pub fn tlsight() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tlsight"));
    command.env_remove("NO_COLOR").env("TZ", "UTC");
    command
}

/// Runs it to its end.
pub fn run(args: &[&str]) -> Output {
    tlsight().args(args).output().expect("run tlsight")
}

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("UTF-8")
}

/// `tests/` of the workspace.
pub fn tests() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("workspace").join("tests")
}

/// All recorded captures. A missing or empty folder fails: a test over nothing shows nothing.
pub fn captures() -> Vec<PathBuf> {
    let folder = tests().join("captures");
    let mut captures: Vec<PathBuf> = std::fs::read_dir(&folder)
        .expect("tests/captures")
        .map(|entry| entry.expect("entry").path())
        .filter(|path| path.extension().is_some_and(|e| e == "pcap" || e == "pcapng"))
        .collect();
    captures.sort();
    assert!(!captures.is_empty(), "no capture in {}", folder.display());
    captures
}

/// The JSON lines that `tlsight pcap` gives for a file.
pub fn observations(path: &Path) -> Vec<serde_json::Value> {
    let output = run(&["pcap", "-o", "json", "--no-system-roots", path.to_str().expect("UTF-8 path")]);
    assert!(output.status.success(), "{}: {}", path.display(), text(&output.stderr));
    text(&output.stdout).lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}
