//! Embeds the compiled BPF programs, or, where they were not built, nothing: checking and testing the rest needs no BPF
//! toolchain. `cargo xtask build` compiles them first.

use std::path::PathBuf;
use std::process::Command;
use std::{env, fs, io};

fn main() -> io::Result<()> {
    if let Some(version) = compiler() {
        println!("cargo::rustc-env=TLSIGHT_RUST_VERSION={version}");
    }
    println!("cargo::rerun-if-env-changed=TLSIGHT_BPF_OBJECT");
    let manifest = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default());
    let object = env::var_os("TLSIGHT_BPF_OBJECT")
        .map_or_else(|| manifest.join("../target/bpf/tlsight.o"), PathBuf::from);
    println!("cargo::rerun-if-changed={}", object.display());
    let bytes = match fs::read(&object) {
        Ok(bytes) => bytes,
        Err(e) if e.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(e) => return Err(io::Error::new(e.kind(), format!("reading {}: {e}", object.display()))),
    };
    let out = PathBuf::from(env::var_os("OUT_DIR").unwrap_or_default());
    fs::write(out.join("tlsight.o"), bytes)
}

/// `1.95.0`, of the compiler that builds the agent.
fn compiler() -> Option<String> {
    let output = Command::new(env::var_os("RUSTC")?).arg("--version").output().ok()?;
    Some(String::from_utf8(output.stdout).ok()?.split_whitespace().nth(1)?.to_owned())
}
