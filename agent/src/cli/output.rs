//! The options on output that several commands share.

use std::io::{self, IsTerminal};

use clap::{Args, ValueEnum};

/// How observations are printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Aligned columns for people
    #[default]
    Table,
    /// One JSON object a line, for programs
    Json,
}

/// When colour is used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Color {
    /// On a terminal, unless the environment says NO_COLOR
    #[default]
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}

impl Color {
    /// Whether to use colour on a stream that is, or is not, a terminal. `no_color` and `term` are the environment's
    /// NO_COLOR (<https://no-color.org>: any value but the empty one) and TERM.
    pub fn decide(self, terminal: bool, no_color: Option<&str>, term: Option<&str>) -> bool {
        match self {
            Color::Always => true,
            Color::Never => false,
            Color::Auto => terminal && no_color.is_none_or(str::is_empty) && term != Some("dumb"),
        }
    }
}

/// How and where output goes.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Output")]
pub struct OutputArgs {
    /// How to print connections
    #[arg(short, long, value_enum, default_value_t)]
    pub output: Format,

    /// When to use colour in the table
    #[arg(long, value_enum, value_name = "WHEN", default_value_t)]
    pub color: Color,

    /// In the table, add a second line when a connection is over, with its bytes and how it ended (JSON always has both,
    /// told apart by tlsight.phase)
    #[arg(long = "final")]
    pub show_final: bool,
}

impl OutputArgs {
    /// Whether to colour what goes to standard output.
    pub fn color_stdout(&self) -> bool {
        let env = |name| std::env::var_os(name).map(|v| v.to_string_lossy().into_owned());
        self.color.decide(io::stdout().is_terminal(), env("NO_COLOR").as_deref(), env("TERM").as_deref())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colour_follows_flag_then_no_color_then_terminal() {
        assert!(Color::Always.decide(false, Some("1"), Some("dumb")));
        assert!(!Color::Never.decide(true, None, None));
        assert!(Color::Auto.decide(true, None, Some("xterm")));
        assert!(Color::Auto.decide(true, Some(""), Some("xterm")));
        assert!(!Color::Auto.decide(true, Some("1"), Some("xterm")));
        assert!(!Color::Auto.decide(true, None, Some("dumb")));
        assert!(!Color::Auto.decide(false, None, Some("xterm")));
    }
}
