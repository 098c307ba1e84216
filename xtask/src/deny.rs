//! Licences, sources, bans and advisories of dependencies, by cargo-deny.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::{lint, places, sh};

/// Where advisories come from.
const DATABASE: &str = "https://github.com/RustSec/advisory-db";
/// One advisory, about nothing: cargo-deny refuses a database without any.
const PLACEHOLDER: &str = include_str!("deny/placeholder.md");

/// Checks every workspace. Where the advisory database cannot be fetched (it is a git repository of its own, in no
/// package registry), everything else still decides, and it is said loudly that advisories were not looked at.
pub(crate) fn check(require_advisories: bool) -> Result<()> {
    let config = places::root().join("deny.toml");
    let fetched = sh::capture(deny(&config).args(["fetch", "db"]).current_dir(places::root()));
    let stand_in = if fetched.is_err() { Some(StandIn::make(&config)?) } else { None };
    let mut objections = Vec::new();
    for dir in lint::WORKSPACES {
        let dir = places::root().join(dir);
        let mut all = deny(&config);
        all.args(["check", "--hide-inclusion-graph", "licenses", "bans", "sources"]).current_dir(&dir);
        match &stand_in {
            None => {
                all.arg("advisories");
            }
            Some(stand_in) => {
                // Quiet unless it objects: its "advisories ok" would not be true.
                if let Err(error) = sh::capture(&mut stand_in.yanked(&dir)) {
                    objections.push(format!("{error:#}"));
                }
            }
        }
        if !sh::status(&mut all)?.success() {
            objections.push(format!("cargo-deny objects to dependencies of {}", dir.display()));
        }
    }
    if let Err(error) = fetched {
        let line = "#".repeat(100);
        eprintln!(
            "{line}\n# SECURITY ADVISORIES WERE NOT CHECKED: their database could not be fetched.\n{line}"
        );
        if require_advisories {
            objections.push(format!("advisories are required: {error:#}"));
        }
    }
    if !objections.is_empty() {
        bail!("{}", objections.join("\n"));
    }
    Ok(())
}

fn deny(config: &Path) -> Command {
    let mut cmd = sh::command(sh::which("cargo-deny").unwrap_or_else(|| PathBuf::from("cargo-deny")));
    cmd.arg("--config").arg(config);
    cmd
}

/// cargo-deny looks for yanked versions only together with advisories, and for those only with a database: this is one
/// that says nothing, so that yanked versions are found where the real one is out of reach.
struct StandIn {
    repository: PathBuf,
    config: PathBuf,
}

impl StandIn {
    fn make(config: &Path) -> Result<Self> {
        let dir = places::kept().join("deny");
        let repository = dir.join("stand-in");
        let advisory = repository.join("crates/placeholder/RUSTSEC-2000-0001.md");
        fs::create_dir_all(advisory.parent().unwrap_or(&repository))?;
        fs::write(&advisory, PLACEHOLDER).with_context(|| format!("writing {}", advisory.display()))?;
        let identity =
            ["-c", "user.name=xtask", "-c", "user.email=xtask@localhost", "-c", "commit.gpgsign=false"];
        sh::capture(git(&repository).args(["init", "--quiet", "--initial-branch=main"]))?;
        sh::capture(git(&repository).args(["add", "--all"]))?;
        sh::capture(git(&repository).args(identity).args([
            "commit",
            "--quiet",
            "--allow-empty",
            "-m",
            "stand-in",
        ]))?;
        // Databases of its own: the real one must not be mixed up with this.
        let text = fs::read_to_string(config).with_context(|| format!("reading {}", config.display()))?;
        let databases = dir.join("databases");
        let table = format!("[advisories]\ndb-path = {:?}\n", databases.display().to_string());
        let config = dir.join("deny.toml");
        fs::write(&config, text.replace("[advisories]\n", &table))?;
        Ok(Self { repository, config })
    }

    fn yanked(&self, dir: &Path) -> Command {
        let mut cmd = deny(&self.config);
        cmd.args(["check", "--hide-inclusion-graph", "advisories"])
            .env("GIT_CONFIG_COUNT", "1")
            .env("GIT_CONFIG_KEY_0", format!("url.file://{}.insteadOf", self.repository.display()))
            .env("GIT_CONFIG_VALUE_0", DATABASE)
            .current_dir(dir);
        cmd
    }
}

fn git(repository: &Path) -> Command {
    let mut cmd = sh::command("git");
    cmd.arg("-C").arg(repository);
    for name in ["GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"] {
        cmd.env_remove(name);
    }
    cmd
}
