//! Programs that the checks use, installed by `cargo install`.

use anyhow::Result;

use super::Consent;
use super::packages::CARGO_TOOLS;
use crate::{places, sh};

/// Makes sure that all of them are installed; whichever version is there is kept.
pub(crate) fn ensure_all(consent: Consent) -> Result<()> {
    for tool in CARGO_TOOLS {
        if sh::which(tool.name).is_some() {
            continue;
        }
        consent.obtain(&format!("{} {} (cargo install)", tool.name, tool.version), tool.why)?;
        let mut cmd = sh::command(places::cargo());
        cmd.args(["install", "--locked", tool.name, "--version", tool.version])
            .env_remove("CARGO_TARGET_DIR")
            .current_dir("/");
        sh::run(&mut cmd)?;
    }
    Ok(())
}
