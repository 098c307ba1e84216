//! The options on output that several commands share.

use std::fs::File;
use std::io::{self, BufWriter, IsTerminal, Write};
use std::os::fd::AsFd;

use clap::{Args, ValueEnum};
use jiff::tz::TimeZone;

use crate::audit::AuditLog;
use crate::export::json::JsonSink;
use crate::export::outlet::{Backlog, Outlet, ROOM};
use crate::export::silent::SilentSink;
use crate::export::table::{Look, TableSink};
use crate::pipeline::Sink;

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

/// What is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Perspective {
    /// This host, now: local and peer, processes, the time of day.
    Live,
    /// A capture file: client and server, no processes, date and time.
    CaptureFile,
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

    /// Also print news of findings: what is found to be wrong, what is over, which certificates were replaced; those of
    /// connections that filters leave out too
    #[arg(long)]
    pub findings: bool,

    /// At the end, print every counter to standard error: what was seen, and what each limit cut
    #[arg(long)]
    pub stats: bool,
}

impl OutputArgs {
    /// The sink that was asked for, on `out`, which is standard output. `waiting`: lines go out one by one, because whoever
    /// reads them does not want to wait for more.
    fn sink(&self, out: impl Write + 'static, waiting: bool, perspective: Perspective) -> Box<dyn Sink> {
        let terminal = io::stdout().is_terminal();
        let flush_each = waiting || terminal;
        let out = BufWriter::with_capacity(64 * 1024, out);
        match self.output {
            Format::Json => Box::new(JsonSink::new(out, flush_each).with_findings(self.findings)),
            Format::Table => {
                let width = terminal.then(terminal_size::terminal_size).flatten();
                let look = Look {
                    color: self.color_stdout(),
                    width: width.map(|(width, _)| usize::from(width.0)),
                    zone: TimeZone::system(),
                    date: perspective == Perspective::CaptureFile,
                    process: perspective == Perspective::Live,
                    flush_each,
                    findings: self.findings,
                };
                Box::new(TableSink::new(out, look))
            }
        }
    }

    /// The sink that was asked for, of a capture file, unless standard output belongs to the audit log.
    pub fn sink_beside(&self, audit: Option<&AuditLog>, waiting: bool) -> Box<dyn Sink> {
        match audit.is_some_and(|audit| !audit.has_file()) {
            true => Box::new(SilentSink),
            false => self.sink(stdout(), waiting, Perspective::CaptureFile),
        }
    }

    /// The same of live connections, which do not wait for whoever reads the lines: what nobody took yet comes with it.
    pub fn live_sink_beside(&self, audit: Option<&AuditLog>) -> (Box<dyn Sink>, Option<Backlog>) {
        if audit.is_some_and(|audit| !audit.has_file()) {
            return (Box::new(SilentSink), None);
        }
        let Ok(file) = io::stdout().as_fd().try_clone_to_owned() else {
            return (self.sink(io::stdout(), true, Perspective::Live), None);
        };
        let outlet = Outlet::new(file.into(), ROOM);
        let backlog = outlet.backlog();
        (self.sink(outlet, true, Perspective::Live), Some(backlog))
    }

    /// Whether to colour what goes to standard output.
    pub fn color_stdout(&self) -> bool {
        let env = |name| std::env::var_os(name).map(|v| v.to_string_lossy().into_owned());
        self.color.decide(io::stdout().is_terminal(), env("NO_COLOR").as_deref(), env("TERM").as_deref())
    }
}

/// Standard output without the line buffer that the standard library puts in front of it.
pub(super) fn stdout() -> Box<dyn Write> {
    match io::stdout().as_fd().try_clone_to_owned() {
        Ok(fd) => Box::new(File::from(fd)),
        Err(_) => Box::new(io::stdout()),
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
