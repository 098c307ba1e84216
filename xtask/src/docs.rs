//! `cargo xtask docs`: references that are written from the code. The tests that hold code and reference together write
//! them.

use anyhow::{Result, bail};

use crate::{places, sh};

/// References, the packages that they are about, and their tests.
const REFERENCES: &[(&str, &str, &str)] = &[
    ("docs/metrics.md", "agent", "the_reference_says_what_the_metrics_say"),
    ("docs/findings.md", "agent-core", "the_reference_says_what_the_rules_say"),
];

/// What to do with references.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Write nothing; fail where a reference is not what the code says
    #[arg(long)]
    check: bool,
}

/// Writes every reference, or looks at every one.
pub(crate) fn main(args: &Args) -> Result<()> {
    let mut stale = Vec::new();
    for (file, package, test) in REFERENCES {
        let mut cmd = sh::command(places::cargo());
        cmd.args(["test", "--quiet", "--package", package, "--lib", test]).current_dir(places::root());
        match args.check {
            true => cmd.env_remove("TLSIGHT_BLESS"),
            false => cmd.env("TLSIGHT_BLESS", "1"),
        };
        if !sh::status(&mut cmd)?.success() {
            stale.push(*file);
        }
    }
    if !stale.is_empty() {
        bail!("out of date, or could not be written: {}", stale.join(", "));
    }
    Ok(())
}
