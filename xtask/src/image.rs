//! `cargo xtask image`: the agent as a static program, alone in a container image. No container engine is needed: the image
//! is written as an archive (OCI image layout) that `ctr image import`, `skopeo copy`, `podman load` and `docker load` take.

mod archive;
mod program;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::ValueEnum;

use self::archive::{Contents, Image};
use crate::setup::Consent;
use crate::{places, sh};

/// Where distributions keep the authorities that they trust, in one file.
const BUNDLES: &[&str] =
    &["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"];

/// What the image is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Arch {
    /// Intel and AMD, 64 bits
    #[value(name = "x86_64")]
    X86_64,
    /// ARM, 64 bits
    #[value(name = "aarch64")]
    Aarch64,
}

impl Arch {
    /// As Rust names it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::X86_64 => "x86_64",
            Self::Aarch64 => "aarch64",
        }
    }

    fn of_host() -> Self {
        if std::env::consts::ARCH == "aarch64" { Self::Aarch64 } else { Self::X86_64 }
    }
}

/// What to make.
#[derive(clap::Args, Default)]
pub(crate) struct Args {
    /// Processor of the image [default: this machine's]
    #[arg(long, value_enum)]
    arch: Option<Arch>,
    /// The archive [default: target/image/tlsight-ARCH.tar]
    #[arg(long, short, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Name and tag [default: tlsight:VERSION]
    #[arg(long, value_name = "NAME:TAG")]
    name: Option<String>,
    /// Put this program in it instead of building one
    #[arg(long, value_name = "FILE")]
    program: Option<PathBuf>,
    /// Authorities that the image trusts, PEM [default: this machine's]
    #[arg(long, value_name = "FILE", conflicts_with = "no_ca_bundle")]
    ca_bundle: Option<PathBuf>,
    /// Trust no authorities: certificates are then held against those of the configuration alone
    #[arg(long)]
    no_ca_bundle: bool,
    /// Install what is missing without asking
    #[arg(long, short)]
    yes: bool,
}

/// Builds, packs, writes.
pub(crate) fn main(args: &Args) -> Result<()> {
    let arch = args.arch.unwrap_or_else(Arch::of_host);
    let program = match &args.program {
        Some(program) => program.clone(),
        None => program::build(arch, Consent::from_yes(args.yes))?,
    };
    let out = match &args.out {
        Some(out) => out.clone(),
        None => of(arch),
    };
    write(args, arch, &program, &out)?;
    eprintln!("image: {}", out.display());
    Ok(())
}

/// The image that tests install: the one that `TLSIGHT_IMAGE` names, else one that is made now.
pub(crate) fn for_tests() -> Result<PathBuf> {
    if let Some(image) = std::env::var_os("TLSIGHT_IMAGE") {
        return Ok(image.into());
    }
    let arch = Arch::of_host();
    let out = of(arch);
    let args = Args { out: Some(out.clone()), ..Args::default() };
    write(&args, arch, &program::build(arch, Consent::Ask)?, &out)?;
    Ok(out)
}

/// Where an image is put unless told otherwise.
fn of(arch: Arch) -> PathBuf {
    places::kept().join("image").join(format!("tlsight-{}.tar", arch.name()))
}

fn write(args: &Args, arch: Arch, program: &Path, out: &Path) -> Result<()> {
    let read = |path: &Path| fs::read(path).with_context(|| format!("reading {}", path.display()));
    let bundle =
        args.ca_bundle.clone().or_else(|| BUNDLES.iter().map(PathBuf::from).find(|path| path.is_file()));
    let bundle = bundle.filter(|_| !args.no_ca_bundle);
    let version = env!("CARGO_PKG_VERSION");
    let image = Image {
        arch,
        name: args.name.clone().unwrap_or_else(|| format!("tlsight:{version}")),
        version: version.to_owned(),
        revision: revision(),
        created: created()?,
    };
    let contents = Contents { program: read(program)?, ca_bundle: bundle.as_deref().map(read).transpose()? };
    let bytes = archive::pack(&image, &contents)?;
    if let Some(dir) = out.parent() {
        fs::create_dir_all(dir).with_context(|| format!("making {}", dir.display()))?;
    }
    fs::write(out, bytes).with_context(|| format!("writing {}", out.display()))
}

fn git(words: &[&str]) -> Option<String> {
    let mut git = sh::command("git");
    git.arg("-C").arg(places::root()).args(words).env("TZ", "UTC");
    let text = sh::capture(&mut git).ok()?.trim().to_owned();
    (!text.is_empty()).then_some(text)
}

/// The commit that is built, and whether it is not quite that; nothing outside of a repository.
fn revision() -> Option<String> {
    let commit = git(&["rev-parse", "HEAD"])?;
    let changed = git(&["status", "--porcelain", "--untracked-files=no"]).is_some();
    Some(if changed { format!("{commit}-modified") } else { commit })
}

/// When what is built was made: never now, so that the same sources give the same bytes.
fn created() -> Result<String> {
    const FORMAT: &str = "%Y-%m-%dT%H:%M:%SZ";
    if let Ok(epoch) = std::env::var("SOURCE_DATE_EPOCH") {
        let mut date = sh::command("date");
        date.args(["-u", "-d", &format!("@{epoch}"), &format!("+{FORMAT}")]);
        return Ok(sh::capture(&mut date).context("reading SOURCE_DATE_EPOCH")?.trim().to_owned());
    }
    let format = format!("--date=format-local:{FORMAT}");
    Ok(git(&["log", "-1", "--format=%cd", &format]).unwrap_or_else(|| "1970-01-01T00:00:00Z".to_owned()))
}
