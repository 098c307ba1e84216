//! The toolchain that compiles agent-ebpf: a compiler with `core` for the BPF target, and bpf-linker.
//!
//! Two compilers will do: a rustup nightly with its rust-src component (the usual one on a developer's machine), or Debian's
//! rustc-web, which has `core` for BPF prebuilt. bpf-linker reads the bitcode that the compiler writes, so it has to be
//! built with the same LLVM; the first compiler found for which there is such a linker, or can be one, is used.

mod linker;

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use self::linker::Linker;
use super::{Consent, apt, packages};
use crate::{places, sh};

/// Debian's compiler and where it puts `core` for BPF.
const DEBIAN_RUSTC: &str = "/usr/bin/rustc";
const DEBIAN_CLIPPY: &str = "/usr/bin/cargo-clippy";

/// What compiles for BPF.
#[derive(Debug)]
pub(crate) struct Toolchain {
    compiler: Compiler,
    /// bpf-linker.
    pub(crate) linker: PathBuf,
}

#[derive(Clone, Debug)]
enum Compiler {
    /// A rustup toolchain with the sources of the standard library, by name.
    Rustup(String),
    /// Debian's rustc-web.
    Debian,
}

impl fmt::Display for Toolchain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.compiler {
            Compiler::Rustup(name) => write!(f, "rustup's {name} with rust-src")?,
            Compiler::Debian => write!(f, "Debian's rustc-web")?,
        }
        write!(f, ", {}", self.linker.display())
    }
}

impl Toolchain {
    /// Cargo with this compiler.
    pub(crate) fn cargo(&self) -> Command {
        match &self.compiler {
            Compiler::Rustup(name) => {
                let mut cmd = sh::command("rustup");
                cmd.args(["run", name, "cargo"]).env_remove("RUSTUP_TOOLCHAIN");
                cmd
            }
            Compiler::Debian => {
                let mut cmd = sh::command(places::cargo());
                // A stable compiler: the unstable features of aya-ebpf need the bootstrap key.
                cmd.env("RUSTC", DEBIAN_RUSTC).env("RUSTC_BOOTSTRAP", "1");
                cmd
            }
        }
    }

    /// Clippy of the same compiler, where it is installed.
    pub(crate) fn clippy(&self) -> Option<Command> {
        match &self.compiler {
            Compiler::Rustup(name) => {
                let mut cmd = sh::command("rustup");
                let there =
                    sh::capture(sh::command("rustup").args(["run", name, "cargo-clippy", "--version"]));
                cmd.args(["run", name, "cargo", "clippy"]).env_remove("RUSTUP_TOOLCHAIN");
                there.is_ok().then_some(cmd)
            }
            Compiler::Debian => {
                // By its path: Cargo looks for subcommands in PATH, where rustup's come first.
                let mut cmd = sh::command(DEBIAN_CLIPPY);
                cmd.arg("clippy").env("RUSTC", DEBIAN_RUSTC).env("RUSTC_BOOTSTRAP", "1");
                Path::new(DEBIAN_CLIPPY).exists().then_some(cmd)
            }
        }
    }

    /// What linting needs besides.
    pub(crate) fn ensure_clippy(&self, consent: Consent) -> Result<()> {
        if self.clippy().is_some() {
            return Ok(());
        }
        match &self.compiler {
            Compiler::Rustup(name) => {
                consent.obtain(&format!("component clippy of rustup's {name}"), "lints agent-ebpf")?;
                sh::run(sh::command("rustup").args(["component", "add", "clippy", "--toolchain", name]))
            }
            Compiler::Debian => apt::ensure(packages::BPF_CLIPPY, "lints agent-ebpf", consent),
        }
    }

    /// What Cargo must be told besides the target.
    pub(crate) fn cargo_args(&self) -> &'static [&'static str] {
        match self.compiler {
            Compiler::Rustup(_) => &["-Zbuild-std=core"],
            Compiler::Debian => &[],
        }
    }
}

/// The toolchain, installed if need be.
pub(crate) fn find_or_install(consent: Consent) -> Result<Toolchain> {
    let mut found = Vec::new();
    let present =
        [rustup_nightly_with_src().map(Compiler::Rustup), debian_compiler().then_some(Compiler::Debian)];
    for compiler in present.into_iter().flatten() {
        let llvm = compiler_llvm(&compiler)?;
        found.push((compiler, llvm));
    }
    // What is there and fits; then what is there and may fit; then what can be made to fit.
    for acceptable in [Linker::Fits, Linker::MayFit] {
        for (compiler, llvm) in &found {
            if let Some(linker) = linker::find(*llvm, acceptable) {
                return Ok(Toolchain { compiler: compiler.clone(), linker });
            }
        }
    }
    for (compiler, llvm) in &found {
        if linker::can_be_built(*llvm)? {
            return Ok(Toolchain { compiler: compiler.clone(), linker: linker::install(*llvm, consent)? });
        }
    }
    let compiler = install_compiler(consent)?;
    let llvm = compiler_llvm(&compiler)?;
    let linker = match linker::find(llvm, Linker::Fits).or_else(|| linker::find(llvm, Linker::MayFit)) {
        Some(linker) => linker,
        None => linker::install(llvm, consent)?,
    };
    Ok(Toolchain { compiler, linker })
}

/// rustup is asked for the list only: naming a toolchain that is not there would make it fetch one.
fn rustup_nightly_with_src() -> Option<String> {
    let list = sh::capture(sh::command("rustup").args(["toolchain", "list", "-v"])).ok()?;
    list.lines().filter(|line| line.starts_with("nightly")).find_map(|line| {
        let name = line.split_whitespace().next()?;
        let sysroot = line.split_whitespace().last()?;
        let core = Path::new(sysroot).join("lib/rustlib/src/rust/library/core/Cargo.toml");
        core.exists().then(|| name.to_owned())
    })
}

fn debian_compiler() -> bool {
    // Any Debian rustc has the same library path; what tells them apart is whether `core` for BPF is in it.
    let Ok(sysroot) = sh::capture(sh::command(DEBIAN_RUSTC).args(["--print", "sysroot"])) else {
        return false;
    };
    Path::new(sysroot.trim()).join("lib/rustlib/bpfel-unknown-none/lib").exists()
}

fn install_compiler(consent: Consent) -> Result<Compiler> {
    let why = "the BPF programs are Rust, and need a compiler with `core` for bpfel-unknown-none";
    // Debian's first, where there is one: its LLVM comes with the libraries that bpf-linker is built against, while a
    // nightly's may be newer than any that the distribution has.
    if sh::which("apt-get").is_some() {
        apt::update_if_stale()?;
        if packages::BPF_COMPILER.iter().all(|debian| apt::is_available(debian.package)) {
            apt::ensure(packages::BPF_COMPILER, why, consent)?;
            if debian_compiler() {
                return Ok(Compiler::Debian);
            }
            eprintln!("{DEBIAN_RUSTC} has no `core` for BPF all the same; trying rustup instead");
        }
    }
    if sh::which("rustup").is_none() {
        bail!("no BPF toolchain, and neither Debian's rustc-web nor rustup to install one with");
    }
    consent.obtain("rustup toolchain nightly with the component rust-src", why)?;
    let mut cmd = sh::command("rustup");
    cmd.args(["toolchain", "install", "nightly", "--profile=minimal", "--component=rust-src"]);
    sh::run(&mut cmd)?;
    rustup_nightly_with_src().map(Compiler::Rustup).context("rustup installed no nightly with rust-src")
}

/// Major version of the LLVM in the compiler.
fn compiler_llvm(compiler: &Compiler) -> Result<u32> {
    let mut cmd = match compiler {
        Compiler::Rustup(name) => {
            let mut cmd = sh::command("rustup");
            cmd.args(["run", name, "rustc"]);
            cmd
        }
        Compiler::Debian => sh::command(DEBIAN_RUSTC),
    };
    let text = sh::capture(cmd.arg("-vV"))?;
    let version = text.lines().find_map(|line| line.strip_prefix("LLVM version: "));
    let major = version.and_then(|version| version.split('.').next()).and_then(|major| major.parse().ok());
    major.context("rustc -vV names no LLVM version")
}
