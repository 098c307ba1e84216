//! One observation, one line for people: aligned columns that suit a stream.

mod words;

use std::borrow::Cow;
use std::io::{self, Write};

use agent_core::net::Side;
use agent_core::observation::{Observation, Phase, ProcessCertificates, Security};
use agent_core::time::Timestamp;
use anstyle::{AnsiColor, Style};
use jiff::tz::TimeZone;
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

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
            let process = o.process.as_ref().map(|p| format!("{}[{}]", visible(&p.executable_name), p.pid));
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

    fn process_certificates(&mut self, _certificates: &ProcessCertificates) -> io::Result<()> {
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
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

/// One line being written, cell by cell.
struct Row<'a> {
    line: &'a mut String,
    color: bool,
    width: Option<usize>,
    used: usize,
}

impl<'a> Row<'a> {
    fn new(line: &'a mut String, look: &Look) -> Self {
        line.clear();
        Self { line, color: look.color, width: look.width, used: 0 }
    }

    /// A cell of that width; on a terminal, what is longer ends in an ellipsis.
    fn cell(&mut self, text: &str, width: usize, style: Style) {
        let limit = self.width.map(|total| width.min(total.saturating_sub(self.used)));
        self.put(text, limit, width, style);
    }

    /// A cell that is never cut except by the end of the line.
    fn address(&mut self, text: &str, width: usize) {
        let limit = self.width.map(|total| total.saturating_sub(self.used));
        self.put(text, limit, width, Style::new());
    }

    /// The last cell: whatever room is left.
    fn rest(&mut self, text: &str, style: Style) {
        let limit = self.width.map(|total| total.saturating_sub(self.used));
        self.put(text, limit, 0, style);
    }

    fn put(&mut self, text: &str, limit: Option<usize>, width: usize, style: Style) {
        if limit == Some(0) {
            return;
        }
        let text = visible(text);
        let text = match limit {
            Some(limit) => ellipsize(&text, limit),
            None => text,
        };
        if self.color && !style.is_plain() && !text.is_empty() {
            self.line.push_str(&format!("{style}{text}{style:#}"));
        } else {
            self.line.push_str(&text);
        }
        let shown = text.width();
        let pad = width.saturating_sub(shown) + 2;
        self.line.extend(std::iter::repeat_n(' ', pad));
        self.used += shown + pad;
    }
}

fn ellipsize(text: &str, limit: usize) -> Cow<'_, str> {
    if text.width() <= limit {
        return Cow::Borrowed(text);
    }
    let mut cut = String::with_capacity(limit);
    let mut used = 1;
    for c in text.chars() {
        used += c.width().unwrap_or(0);
        if used > limit {
            break;
        }
        cut.push(c);
    }
    cut.push('…');
    Cow::Owned(cut)
}

#[cfg(test)]
mod tests;
