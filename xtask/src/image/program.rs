//! The agent with its C library inside, so that it runs where there is nothing else. glibc resolves names by itself since 2.34:
//! from `/etc/hosts` and by DNS, which is what a pod has.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use super::Arch;
use crate::setup::{self, Consent, apt};
use crate::{build, places, sh};

/// Compiles the BPF programs and the agent for a processor, and returns the executable.
pub(super) fn build(arch: Arch, consent: Consent) -> Result<PathBuf> {
    let toolchain = setup::for_building(consent == Consent::Given)?;
    let object = build::bpf_for(&toolchain, arch.name())?;
    let mut cargo = sh::command(places::cargo());
    cargo.args(["rustc", "--release", "--package", "agent", "--bin", "tlsight"]);
    cargo.env("TLSIGHT_BPF_OBJECT", &object).current_dir(places::root());
    let mut folder = places::cargo_target()?;
    if arch != Arch::of_host() {
        let target = format!("{}-unknown-linux-gnu", arch.name());
        cargo.args(["--target", &target]).envs(cross(arch, &target, consent)?);
        folder.push(target);
    }
    // For this executable alone: libraries are the same as those of other builds, and are not compiled again.
    sh::run(cargo.args(["--", "-C", "target-feature=+crt-static"]))?;
    let built = folder.join("release/tlsight");
    check(&built)?;
    // Where the next ordinary build does not replace it.
    let program = places::kept().join("image").join(format!("tlsight-{}", arch.name()));
    std::fs::create_dir_all(places::kept().join("image")).context("making target/image")?;
    std::fs::copy(&built, &program).with_context(|| format!("writing {}", program.display()))?;
    eprintln!("static agent: {}", program.display());
    Ok(program)
}

/// What compiles for another processor: Rust's standard library, and a C compiler with its C library.
fn cross(arch: Arch, target: &str, consent: Consent) -> Result<[(String, &'static str); 2]> {
    let mut rustc = sh::command("rustc");
    rustc.args(["--print", "target-libdir", "--target", target]).current_dir(places::root());
    if !PathBuf::from(sh::capture(&mut rustc)?.trim()).is_dir() {
        if sh::which("rustup").is_none() {
            bail!(
                "Rust's standard library for {target} is missing, and there is no rustup that would bring it: build on {}, or put \
                 a program that was built there in an image with `--program FILE`",
                arch.name()
            );
        }
        consent.obtain(&format!("Rust target {target}"), "the agent is compiled for it")?;
        let mut rustup = sh::command("rustup");
        sh::run(rustup.args(["target", "add", target]).current_dir(places::root())).with_context(|| {
            format!("fetching Rust's standard library for {target}, without which nothing is compiled for it")
        })?;
    }
    let (packages, compiler) = match arch {
        Arch::X86_64 => (["gcc-x86-64-linux-gnu", "libc6-dev-amd64-cross"], "x86_64-linux-gnu-gcc"),
        Arch::Aarch64 => (["gcc-aarch64-linux-gnu", "libc6-dev-arm64-cross"], "aarch64-linux-gnu-gcc"),
    };
    // Where there is no apt, the compiler has another package's name.
    if sh::which("apt-get").is_some() || sh::which(compiler).is_none() {
        apt::ensure_names(&packages, "the agent is linked for another processor", consent)?;
    }
    let lower = target.replace('-', "_");
    let linker = format!("CARGO_TARGET_{}_LINKER", lower.to_uppercase());
    Ok([(format!("CC_{lower}"), compiler), (linker, compiler)])
}

/// An executable that asks for an interpreter would not start in an empty image.
fn check(program: &Path) -> Result<()> {
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
