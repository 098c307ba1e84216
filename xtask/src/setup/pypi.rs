//! Python packages, in a virtual environment of their own under `target/tools/`.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};

use super::{Consent, apt};
use crate::{places, sh};

/// The virtual environment; programs are in its `bin`.
pub(crate) fn venv() -> PathBuf {
    places::tools().join("venv")
}

/// Makes sure that the virtual environment has these packages.
pub(crate) fn ensure(packages: &[&str], why: &str, consent: Consent) -> Result<()> {
    let venv = venv();
    // Asking pip takes half a second: what was last installed is written down instead.
    let marker = venv.join("installed-by-xtask");
    let wanted = packages.join("\n");
    if fs::read_to_string(&marker).is_ok_and(|installed| installed == wanted) {
        return Ok(());
    }
    consent.obtain(&format!("Python packages {} (in {})", packages.join(" "), venv.display()), why)?;
    let python = python(consent)?;
    sh::run(sh::command(&python).args(["-m", "venv"]).arg(&venv))?;
    let mut pip = sh::command(venv.join("bin/python"));
    pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]).args(packages);
    sh::run(&mut pip)?;
    fs::write(&marker, wanted).with_context(|| format!("writing {}", marker.display()))
}

/// A Python that can make virtual environments: Debian's needs a package for it.
fn python(consent: Consent) -> Result<PathBuf> {
    if let Some(python) = sh::which("python3") {
        // `venv` imports without `ensurepip`, and then fails half-way.
        if sh::capture(sh::command(&python).args(["-c", "import venv, ensurepip"])).is_ok() {
            return Ok(python);
        }
    }
    apt::ensure_names(&["python3", "python3-venv"], "makes the environment for Python packages", consent)?;
    // Debian's own: the first in PATH may be another one that has just shown it cannot.
    Ok(PathBuf::from("/usr/bin/python3"))
}
