//! The toolchain that compiles agent-ebpf: a compiler with `core` for the BPF target, and bpf-linker.
//!
//! Two compilers will do, and the first found is used: a rustup nightly with its rust-src component (the usual one on a
//! developer's machine), or Debian's rustc-web, which has `core` for BPF prebuilt.

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::{Consent, apt, packages};
use crate::{places, sh};

/// The release of bpf-linker that is installed where there is none.
const LINKER_VERSION: &str = "0.13.0";
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

#[derive(Debug)]
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
    let compiler = match find_compiler() {
        Some(compiler) => compiler,
        None => install_compiler(consent)?,
    };
    let linker = match sh::which("bpf-linker") {
        Some(linker) => linker,
        None => install_linker(&compiler, consent)?,
    };
    Ok(Toolchain { compiler, linker })
}

fn find_compiler() -> Option<Compiler> {
    rustup_nightly_with_src().map(Compiler::Rustup).or_else(|| debian_compiler().then_some(Compiler::Debian))
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
    if sh::which("rustup").is_some() {
        consent.obtain("rustup toolchain nightly with the component rust-src", why)?;
        let mut cmd = sh::command("rustup");
        cmd.args(["toolchain", "install", "nightly", "--profile=minimal", "--component=rust-src"]);
        if sh::status(&mut cmd)?.success() {
            if let Some(name) = rustup_nightly_with_src() {
                return Ok(Compiler::Rustup(name));
            }
        }
        eprintln!("rustup could not provide it; trying Debian's rustc-web instead");
    }
    if sh::which("apt-get").is_none() {
        bail!(
            "no BPF toolchain: `rustup toolchain install nightly --component rust-src` is needed \
             (this is not Debian, where rustc-web would do)"
        );
    }
    apt::ensure(packages::BPF_COMPILER, why, consent)?;
    if !debian_compiler() {
        bail!(
            "rustc-web is installed, and yet {DEBIAN_RUSTC} has no bpfel-unknown-none: is there a package \
             libstd-rust-web-dev-bpf for this release of Debian?"
        );
    }
    Ok(Compiler::Debian)
}

/// bpf-linker reads the bitcode that rustc writes, so the LLVM it is built with must not be older than the compiler's.
fn install_linker(compiler: &Compiler, consent: Consent) -> Result<PathBuf> {
    let llvm = compiler_llvm(compiler)?;
    let why =
        format!("links BPF programs; built here with LLVM {llvm}, which the compiler writes bitcode of");
    consent.obtain(&format!("bpf-linker {LINKER_VERSION} (cargo install)"), &why)?;
    let prefix = llvm_prefix(llvm, consent)?;
    let mut cmd = sh::command(places::cargo());
    cmd.args(["install", "bpf-linker", "--version", LINKER_VERSION, "--no-default-features"])
        .arg(format!("--features=llvm-{llvm}"))
        .env("LLVM_PREFIX", &prefix)
        .env(format!("LLVM_SYS_{llvm}1_PREFIX"), &prefix)
        .env_remove("CARGO_TARGET_DIR")
        // Not inside the repository, whose settings are not meant for this.
        .current_dir("/");
    sh::run(&mut cmd)?;
    sh::which("bpf-linker").context("cargo installed bpf-linker, but not where it can be found")
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

/// The directory that LLVM `major` is installed under.
fn llvm_prefix(major: u32, consent: Consent) -> Result<PathBuf> {
    let prefix = PathBuf::from(format!("/usr/lib/llvm-{major}"));
    let dev = format!("llvm-{major}-dev");
    let polly = format!("libpolly-{major}-dev");
    if sh::which("apt-get").is_some() {
        apt::update_if_empty()?;
        if apt::is_available(&dev) {
            let mut names = vec![dev.as_str(), polly.as_str()];
            names.extend_from_slice(packages::BPF_LINKER_LIBRARIES);
            apt::ensure_names(&names, "bpf-linker is built against these libraries", consent)?;
            return Ok(prefix);
        }
    }
    for config in [format!("llvm-config-{major}"), "llvm-config".to_owned()] {
        let Some(config) = sh::which(&config) else { continue };
        let version = sh::capture(sh::command(&config).arg("--version"))?;
        if version.starts_with(&format!("{major}.")) {
            return Ok(PathBuf::from(sh::capture(sh::command(&config).arg("--prefix"))?.trim()));
        }
    }
    bail!(
        "no LLVM {major} to build bpf-linker with: install its development files (`{dev}` where packages are named \
         like Debian's), or a ready-made program with `cargo binstall bpf-linker`"
    )
}
