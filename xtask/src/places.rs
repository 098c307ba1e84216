//! Where things are.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::sh;

/// The root of the repository.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("."))
}

/// What xtask makes and keeps. Inside `target/`, so that one directory is all there is to cache or delete; not moved by
/// `CARGO_TARGET_DIR`, because build scripts must find the BPF object too.
pub(crate) fn kept() -> PathBuf {
    root().join("target")
}

/// The compiled BPF programs, where `agent/build.rs` looks for them.
pub(crate) fn bpf_object() -> PathBuf {
    std::env::var_os("TLSIGHT_BPF_OBJECT").map_or_else(|| kept().join("bpf/tlsight.o"), PathBuf::from)
}

/// Tools of the test-suite that come from package registries; several clones may share one such directory.
pub(crate) fn tools() -> PathBuf {
    std::env::var_os("TLSIGHT_TOOLS").map_or_else(|| kept().join("tools"), PathBuf::from)
}

/// The Cargo that runs this program, or the first in `PATH`.
pub(crate) fn cargo() -> PathBuf {
    std::env::var_os("CARGO").map_or_else(|| PathBuf::from("cargo"), PathBuf::from)
}

/// The directory `cargo install` puts programs into, which need not be in `PATH`.
pub(crate) fn cargo_bin() -> Option<PathBuf> {
    let home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    home.or_else(|| std::env::home_dir().map(|home| home.join(".cargo"))).map(|home| home.join("bin"))
}

/// Cargo's target directory of the root workspace, wherever environment or configuration put it.
pub(crate) fn cargo_target() -> Result<PathBuf> {
    let mut cmd = sh::command(cargo());
    cmd.args(["metadata", "--no-deps", "--format-version=1"]).current_dir(root());
    let metadata: serde_json::Value = serde_json::from_str(&sh::capture(&mut cmd)?)?;
    let dir = metadata.get("target_directory").and_then(|dir| dir.as_str());
    Ok(PathBuf::from(dir.context("cargo metadata names no target directory")?))
}
