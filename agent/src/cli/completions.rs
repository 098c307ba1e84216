//! `tlsight completions`: a completion script for a shell.

use std::io::{self, Write};

use clap::Args;
use clap_complete::Shell;

use crate::exit::{Exit, Failure};

/// Arguments of `tlsight completions`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  source <(tlsight completions bash)
  tlsight completions zsh > ~/.zfunc/_tlsight
  tlsight completions fish > ~/.config/fish/completions/tlsight.fish")]
pub struct CompletionsArgs {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

/// Writes the script to standard output.
pub(super) fn run(args: &CompletionsArgs) -> Result<Exit, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut super::command(), "tlsight", &mut script);
    let mut out = io::stdout().lock();
    out.write_all(&script).and_then(|()| out.flush()).map_err(|e| Failure::output("standard output", &e))?;
    Ok(Exit::Ok)
}
