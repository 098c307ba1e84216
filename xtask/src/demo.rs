//! A small world on loopback to look at: `cargo xtask run --demo`.

use std::process::Stdio;

use anyhow::{Context, Result, bail};

use crate::sh;

const WORLD: &str = include_str!("demo/world.py");

/// Starts the demo as a child of this process. It ends when this process does, also when this one has become another
/// program by then.
pub(crate) fn start() -> Result<()> {
    let (Some(python), Some(_)) = (sh::which("python3"), sh::which("openssl")) else {
        bail!("the demo needs python3 and openssl: install them, or watch without --demo");
    };
    let mut cmd = sh::command(python);
    cmd.args(["-c", WORLD]).stdin(Stdio::null()).stdout(Stdio::null());
    let demo = cmd.spawn().context("starting the demo")?;
    eprintln!("demo: process {}, on loopback", demo.id());
    Ok(())
}
