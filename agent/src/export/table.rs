//! One observation, one line for people: aligned columns that suit a stream.

mod row;
mod words;

use std::io::{self, Write};

use agent_core::event::Process;
use agent_core::net::Side;
use agent_core::observation::{Observation, Phase, ProcessCertificates, Security};
use agent_core::time::Timestamp;
use anstyle::{AnsiColor, Style};
use jiff::tz::TimeZone;

use self::row::Row;
use super::text::visible;
use crate::pipeline::Sink;

/// How the table looks.
#[derive(Clone, Debug)]
pub struct Look {
    /// Use colour.
    pub color: bool,
    /// Columns of the terminal; lines are cut there. `None` when the output is no terminal: nothing is cut.
    pub width: Option<usize>,
    /// Time zone of the first column.
    pub zone: TimeZone,
    /// Show the date too (capture files), or only the time of day.
    pub date: bool,
    /// Show the process that owns the local end.
    pub process: bool,
    /// Hand each line on at once: somebody waits for it.
    pub flush_each: bool,
}

/// Writes a table.
pub struct TableSink<W> {
    out: W,
    look: Look,
    header_pending: bool,
    line: String,
}

// Widths that fit what these columns hold most of the time. Addresses may be longer and are never cut: the columns behind
// them move instead.
const SECURITY: usize = 9;
const PROTOCOL: usize = 10;
const PROCESS: usize = 15;
const END: usize = 21;
const NAME: usize = 24;

impl<W: Write> TableSink<W> {
    /// A table written to `out`.
    pub fn new(out: W, look: Look) -> Self {
        Self { out, look, header_pending: true, line: String::with_capacity(512) }
    }

    fn header(&mut self) -> io::Result<()> {
        self.header_pending = false;
        let bold = Style::new().bold();
        let time = if self.look.date { "DATE AND TIME" } else { "TIME" };
        let mut row = Row::new(&mut self.line, &self.look);
        row.cell(time, time_width(&self.look), bold);
        row.cell("SECURITY", SECURITY, bold);
        row.cell("PROTOCOL", PROTOCOL, bold);
        if self.look.process {
            row.cell("PROCESS", PROCESS, bold);
        }
        row.cell(if self.look.date { "CLIENT" } else { "LOCAL" }, END, bold);
        row.cell("", 2, bold);
        row.cell(if self.look.date { "SERVER" } else { "PEER" }, END, bold);
        row.cell("NAME", NAME, bold);
        row.rest("DETAILS", bold);
        self.write_line()
    }

    fn write_line(&mut self) -> io::Result<()> {
        let trimmed = self.line.trim_end_matches(' ').len();
        self.line.truncate(trimmed);
        self.line.push('\n');
        self.out.write_all(self.line.as_bytes())?;
        self.line.clear();
        if self.look.flush_each { self.out.flush() } else { Ok(()) }
    }
}

impl<W: Write> Sink for TableSink<W> {
    fn name(&self) -> &str {
        "standard output"
    }

    fn observation(&mut self, o: &Observation) -> io::Result<()> {
        if self.header_pending {
            self.header()?;
        }
        let plain = Style::new();
        let dim = plain.dimmed();
        let color = security_style(o.security);
        let time = time_of(o.time, &self.look);
        let name = o.tls.as_ref().and_then(|tls| tls.server_name.as_deref()).unwrap_or_default();
        let arrow = match o.local_side {
            Some(Side::Client) => "->",
            Some(Side::Server) => "<-",
            None => "--",
        };
        let details = words::details(o);
        let mut row = Row::new(&mut self.line, &self.look);
        row.cell(&time, time_width(&self.look), dim);
        row.cell(&words::security(o), SECURITY, color);
        row.cell(words::protocol(o), PROTOCOL, plain);
        if self.look.process {
            let process = o.process.as_deref().map(process);
            row.cell(process.as_deref().unwrap_or("-"), PROCESS, plain);
        }
        row.address(&o.tuple.local.to_string(), END);
        row.cell(arrow, 2, dim);
        row.address(&o.tuple.peer.to_string(), END);
        row.cell(if name.is_empty() { "-" } else { name }, NAME, plain);
        let style = if o.phase == Phase::Final { dim } else { plain };
        row.rest(&details, style);
        self.write_line()
    }

    fn process_certificates(&mut self, certificates: &ProcessCertificates) -> io::Result<()> {
        if self.header_pending {
            self.header()?;
        }
        let plain = Style::new();
        let dim = plain.dimmed();
        let time = time_of(certificates.time, &self.look);
        let details = words::process_certificates(certificates);
        let mut row = Row::new(&mut self.line, &self.look);
        row.cell(&time, time_width(&self.look), dim);
        // Not a connection: what is known is the process.
        row.cell("-", SECURITY, plain);
        row.cell("-", PROTOCOL, plain);
        if self.look.process {
            row.cell(&process(&certificates.process), PROCESS, plain);
        }
        row.address("-", END);
        row.cell("", 2, dim);
        row.address("-", END);
        row.cell("-", NAME, plain);
        row.rest(&details, plain);
        self.write_line()
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// `nginx[42]`.
fn process(process: &Process) -> String {
    format!("{}[{}]", visible(&process.executable_name), process.pid)
}

/// Red is what anybody on the way can read; green is what both ends proved; yellow what one end did.
fn security_style(security: Security) -> Style {
    match security {
        Security::Plaintext => AnsiColor::Red.on_default().bold(),
        Security::Tls => AnsiColor::Yellow.on_default(),
        Security::Mtls => AnsiColor::Green.on_default(),
        Security::Unknown => AnsiColor::BrightBlack.on_default(),
    }
}

fn time_width(look: &Look) -> usize {
    if look.date { 23 } else { 12 }
}

fn time_of(time: Timestamp, look: &Look) -> String {
    let format = if look.date { "%Y-%m-%d %H:%M:%S%.3f" } else { "%H:%M:%S%.3f" };
    match jiff::Timestamp::from_nanosecond(i128::from(time.as_nanos())) {
        Ok(time) => time.to_zoned(look.zone.clone()).strftime(format).to_string(),
        Err(_) => "-".to_owned(),
    }
}

#[cfg(test)]
mod tests;
