//! The agent without a C library of the system: linked with musl, which resolves names by itself, so that it runs where there
//! is nothing else.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::Arch;
use crate::setup::{self, Consent, apt};
use crate::{build, places, sh};

/// Compiles the BPF programs and the agent for a processor, and returns the executable.
pub(super) fn build(arch: Arch, consent: Consent) -> Result<PathBuf> {
    let target = format!("{}-unknown-linux-musl", arch.name());
    ensure_target(&target, consent)?;
    let toolchain = setup::for_building(consent == Consent::Given)?;
    let object = build::bpf_for(&toolchain, arch.name())?;
    let mut cargo = sh::command(places::cargo());
    cargo.args(["build", "--release", "--package", "agent", "--bin", "tlsight", "--target", &target]);
    cargo.env("TLSIGHT_BPF_OBJECT", &object).current_dir(places::root());
    compiler(arch, &target, consent)?.apply(&mut cargo);
    sh::run(&mut cargo)?;
    let program = places::cargo_target()?.join(&target).join("release/tlsight");
    check(&program)?;
    Ok(program)
}

/// Rust's standard library for a target.
fn ensure_target(target: &str, consent: Consent) -> Result<()> {
    let mut rustc = sh::command("rustc");
    let libraries = sh::capture(
        rustc.args(["--print", "target-libdir", "--target", target]).current_dir(places::root()),
    )?;
    if PathBuf::from(libraries.trim()).is_dir() {
        return Ok(());
    }
    if sh::which("rustup").is_none() {
        bail!("Rust's standard library for {target} is missing, and there is no rustup that would bring it");
    }
    consent.obtain(&format!("Rust target {target}"), "the agent is linked statically with it")?;
    sh::run(sh::command("rustup").args(["target", "add", target]).current_dir(places::root()))
}

/// What compiles and links C and assembly of the libraries, as variables of Cargo and of the `cc` crate.
struct Compiler(Vec<(String, &'static str)>);

impl Compiler {
    fn apply(self, cmd: &mut Command) {
        cmd.envs(self.0);
    }
}

fn compiler(arch: Arch, target: &str, consent: Consent) -> Result<Compiler> {
    let lower = target.replace('-', "_");
    let mut variables = Vec::new();
    let (package, program) = match arch {
        Arch::X86_64 if std::env::consts::ARCH == "x86_64" => ("musl-tools", "musl-gcc"),
        Arch::Aarch64 if std::env::consts::ARCH == "aarch64" => ("musl-tools", "musl-gcc"),
        Arch::X86_64 => ("gcc-x86-64-linux-gnu", "x86_64-linux-gnu-gcc"),
        Arch::Aarch64 => ("gcc-aarch64-linux-gnu", "aarch64-linux-gnu-gcc"),
    };
    if sh::which(program).is_none() {
        apt::ensure_names(&[package], "libraries of the static agent have parts in C and assembly", consent)?;
    }
    if arch.name() != std::env::consts::ARCH {
        // A compiler for glibc's headers will do: what is compiled uses none of its functions. Rust's own linker joins it
        // with the musl that comes with Rust.
        variables.push((format!("CC_{lower}"), program));
        variables.push((format!("CARGO_TARGET_{}_LINKER", lower.to_uppercase()), "rust-lld"));
    }
    Ok(Compiler(variables))
}

/// An executable that asks for an interpreter would not start in an empty image.
fn check(program: &PathBuf) -> Result<()> {
    let bytes = std::fs::read(program).with_context(|| format!("reading {}", program.display()))?;
    if asks_for_interpreter(&bytes).context("the program is no 64-bit ELF file")? {
        bail!("{} is not static: it asks for a dynamic linker", program.display());
    }
    Ok(())
}

/// Whether an executable has a program header of type PT_INTERP (elf(5)); `None`: it is none.
fn asks_for_interpreter(elf: &[u8]) -> Option<bool> {
    let number = |at: usize, length: usize| {
        let bytes = elf.get(at..at.checked_add(length)?)?;
        Some(bytes.iter().rev().fold(0_usize, |n, byte| n << 8 | usize::from(*byte)))
    };
    // Magic, 64 bits, little-endian.
    elf.starts_with(b"\x7fELF\x02\x01").then_some(())?;
    let (first, size, count) = (number(32, 8)?, number(54, 2)?, number(56, 2)?);
    for header in 0..count {
        if number(first.checked_add(header * size)?, 4)? == 3 {
            return Some(true);
        }
    }
    Some(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_static_programs_from_others() {
        let own = std::fs::read("/proc/self/exe").expect("own program");
        assert_eq!(asks_for_interpreter(&own), Some(cfg!(not(target_env = "musl"))));
        assert_eq!(asks_for_interpreter(b"#!/bin/sh\n"), None);
        assert_eq!(asks_for_interpreter(own.get(..40).expect("its head")), None);
    }
}
