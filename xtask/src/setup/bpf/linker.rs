//! bpf-linker, for a given LLVM.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};

use crate::setup::{Consent, apt, packages};
use crate::{places, sh};

/// The release that is installed where none fits.
const VERSION: &str = "0.13.0";

/// How sure it is that a linker reads what a compiler writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Linker {
    /// It is known to be built with the same LLVM.
    Fits,
    /// It is not known what it is built with.
    MayFit,
}

/// A linker that is there.
pub(super) fn find(llvm: u32, acceptable: Linker) -> Option<PathBuf> {
    let own = own_dir(llvm).join("bin/bpf-linker");
    let in_path = sh::which("bpf-linker");
    match acceptable {
        Linker::Fits if own.exists() => Some(own),
        Linker::Fits => in_path.filter(|_| built_with() == Some(llvm)),
        Linker::MayFit => in_path.filter(|_| built_with().is_none()),
    }
}

/// Where linkers are installed to: one for each LLVM, and not over the user's own.
fn own_dir(llvm: u32) -> PathBuf {
    places::tools().join(format!("bpf-linker-llvm-{llvm}"))
}

/// The LLVM of the linker that `cargo install` put where the user's programs are, by its notes on installed features.
fn built_with() -> Option<u32> {
    let notes = places::cargo_bin()?.parent()?.join(".crates2.json");
    parse_notes(&fs::read_to_string(notes).ok()?)
}

fn parse_notes(notes: &str) -> Option<u32> {
    let notes: serde_json::Value = serde_json::from_str(notes).ok()?;
    let installed =
        notes.get("installs")?.as_object()?.iter().find(|(name, _)| name.starts_with("bpf-linker "))?.1;
    let features = installed.get("features")?.as_array()?;
    features.iter().find_map(|feature| feature.as_str()?.strip_prefix("llvm-")?.parse().ok())
}

/// Whether the libraries are there, or can be had.
pub(super) fn can_be_built(llvm: u32) -> Result<bool> {
    Ok(packaged(llvm)? || llvm_config(llvm)?.is_some())
}

/// Builds it.
pub(super) fn install(llvm: u32, consent: Consent) -> Result<PathBuf> {
    let why =
        format!("links BPF programs; built here with LLVM {llvm}, which the compiler writes bitcode of");
    consent.obtain(&format!("bpf-linker {VERSION} (cargo install)"), &why)?;
    let prefix = llvm_prefix(llvm, consent)?;
    let mut cmd = sh::command(places::cargo());
    cmd.args(["install", "bpf-linker", "--version", VERSION, "--no-default-features", "--root"])
        .arg(own_dir(llvm))
        .arg(format!("--features=llvm-{llvm}"))
        .env("LLVM_PREFIX", &prefix)
        .env(format!("LLVM_SYS_{llvm}1_PREFIX"), &prefix)
        .env_remove("CARGO_TARGET_DIR")
        // Not inside the repository, whose settings are not meant for this.
        .current_dir("/");
    sh::run(&mut cmd)?;
    find(llvm, Linker::Fits).context("cargo installed bpf-linker, but not where it was told to")
}

fn dev_package(llvm: u32) -> String {
    format!("llvm-{llvm}-dev")
}

fn packaged(llvm: u32) -> Result<bool> {
    if sh::which("apt-get").is_none() {
        return Ok(false);
    }
    apt::update_if_stale()?;
    Ok(apt::is_available(&dev_package(llvm)))
}

fn llvm_config(llvm: u32) -> Result<Option<PathBuf>> {
    for config in [format!("llvm-config-{llvm}"), "llvm-config".to_owned()] {
        let Some(config) = sh::which(&config) else { continue };
        let version = sh::capture(sh::command(&config).arg("--version"))?;
        if version.starts_with(&format!("{llvm}.")) {
            return Ok(Some(PathBuf::from(sh::capture(sh::command(&config).arg("--prefix"))?.trim())));
        }
    }
    Ok(None)
}

/// The directory that this LLVM is installed under.
fn llvm_prefix(llvm: u32, consent: Consent) -> Result<PathBuf> {
    let (dev, polly) = (dev_package(llvm), format!("libpolly-{llvm}-dev"));
    if packaged(llvm)? {
        let mut names = vec![dev.as_str(), polly.as_str()];
        names.extend_from_slice(packages::BPF_LINKER_LIBRARIES);
        apt::ensure_names(&names, "bpf-linker is built against these libraries", consent)?;
        return Ok(PathBuf::from(format!("/usr/lib/llvm-{llvm}")));
    }
    match llvm_config(llvm)? {
        Some(prefix) => Ok(prefix),
        None => bail!(
            "no LLVM {llvm} to build bpf-linker with: install its development files (`{dev}` where packages are named \
             like Debian's), or a ready-made program with `cargo binstall bpf-linker`"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_llvm_out_of_the_notes_of_cargo_install() {
        let notes = r#"{"installs":{
            "cargo-deny 0.20.2 (registry+https://example.org)":{"features":[]},
            "bpf-linker 0.13.0 (registry+https://example.org)":{"features":["llvm-22"]}}}"#;
        assert_eq!(parse_notes(notes), Some(22));
        assert_eq!(parse_notes(r#"{"installs":{"bpf-linker 0.13.0 (x)":{"features":[]}}}"#), None);
        assert_eq!(parse_notes("{}"), None);
    }
}
