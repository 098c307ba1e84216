//! One observation, one line for people: aligned columns that suit a stream.

mod row;
mod words;

use std::borrow::Cow;
use std::io::{self, Write};

use agent_core::event::Process;
use agent_core::identity::Sighting;
use agent_core::net::Side;
use agent_core::observation::{Observation, Phase, ProcessCertificates, Security};
use agent_core::policy::finding::{RuleId, Severity};
use agent_core::policy::judge;
use agent_core::time::Timestamp;
use anstyle::{AnsiColor, Style};
use jiff::tz::TimeZone;

use self::row::Row;
use super::text::visible;
use crate::judging::{Judged, JudgedProcess};
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
    /// Also write news of findings, a line each.
    pub findings: bool,
}

/// Writes a table.
pub struct TableSink<W> {
    out: W,
    look: Look,
    columns: Columns,
    header_pending: bool,
    line: String,
}

/// Which columns there are, and how wide.
#[derive(Clone, Copy, Debug)]
struct Columns {
    time: usize,
    protocol: bool,
    /// The local end of a live connection is told by its process.
    local: bool,
    name: bool,
    /// Grows with the names of ends.
    end: usize,
}

// Widths that fit what these columns hold most of the time. Addresses may be longer and are never cut: the columns behind
// them move instead.
const SECURITY: usize = 9;
const PROTOCOL: usize = 10;
const PROCESS: usize = 15;
const END: usize = 21;
const LONGEST_END: usize = 40;
const NAME: usize = 24;
/// Terminals narrower than this get fewer columns, so that what is left fits.
const NARROW: usize = 110;

impl Columns {
    fn of(look: &Look) -> Self {
        let is_narrow = look.width.is_some_and(|width| width < NARROW);
        let time = match (look.date, is_narrow) {
            (true, false) => 23,
            (true, true) => 14,
            (false, false) => 12,
            (false, true) => 8,
        };
        Self { time, protocol: !is_narrow, local: !is_narrow || look.date, name: !is_narrow, end: END }
    }

    fn format(self) -> &'static str {
        match self.time {
            23 => "%Y-%m-%d %H:%M:%S%.3f",
            14 => "%m-%d %H:%M:%S",
            12 => "%H:%M:%S%.3f",
            _ => "%H:%M:%S",
        }
    }
}

/// What is known of a connection beyond its observation.
#[derive(Clone, Copy, Debug, Default)]
struct Known<'a> {
    sighting: Option<&'a Sighting>,
    findings: &'a [RuleId],
    severities: &'a [Severity],
}

impl Known<'_> {
    /// `[mtls_missing certificate_expired] `; what nothing has to be done about now is in the JSON.
    fn findings(&self, row: &mut Row<'_>) {
        let shown = self.findings.iter().zip(self.severities).filter(|(_, s)| **s > Severity::Information);
        let mut is_first = true;
        for (rule, severity) in shown {
            row.piece(if is_first { "[" } else { " " }, Style::new());
            row.piece(rule.as_str(), severity_style(*severity));
            is_first = false;
        }
        if !is_first {
            row.piece("] ", Style::new());
        }
    }
}

impl<W: Write> TableSink<W> {
    /// A table written to `out`.
    pub fn new(out: W, look: Look) -> Self {
        let columns = Columns::of(&look);
        Self { out, look, columns, header_pending: true, line: String::with_capacity(512) }
    }

    fn header(&mut self) -> io::Result<()> {
        if !std::mem::take(&mut self.header_pending) {
            return Ok(());
        }
        let bold = Style::new().bold();
        let columns = self.columns;
        let time = if self.look.date { "DATE AND TIME" } else { "TIME" };
        let mut row = Row::new(&mut self.line, &self.look);
        row.cell(time, columns.time, bold);
        row.cell("SECURITY", SECURITY, bold);
        if columns.protocol {
            row.cell("PROTOCOL", PROTOCOL, bold);
        }
        if self.look.process {
            row.cell("PROCESS", PROCESS, bold);
        }
        if columns.local {
            row.cell(if self.look.date { "CLIENT" } else { "LOCAL" }, columns.end, bold);
        }
        row.cell("", 2, bold);
        row.cell(if self.look.date { "SERVER" } else { "PEER" }, columns.end, bold);
        if columns.name {
            row.cell("NAME", NAME, bold);
        }
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

    fn connection(&mut self, o: &Observation, known: Known<'_>) -> io::Result<()> {
        self.header()?;
        let plain = Style::new();
        let dim = plain.dimmed();
        let color = security_style(o.security);
        let time = time_of(o.time, &self.look, self.columns);
        let server_name = o.tls.as_ref().and_then(|tls| tls.server_name.as_deref()).unwrap_or_default();
        let arrow = match o.local_side {
            Some(Side::Client) => "->",
            Some(Side::Server) => "<-",
            None => "--",
        };
        let (local, peer) = words::ends(o, known.sighting);
        for end in [&local, &peer] {
            if let Cow::Owned(name) = end {
                self.columns.end = self.columns.end.max(name.chars().count().min(LONGEST_END));
            }
        }
        let address = |end: &Cow<'_, str>, endpoint: agent_core::net::Endpoint| match end {
            Cow::Owned(name) => name.clone(),
            Cow::Borrowed(_) => endpoint.to_string(),
        };
        let columns = self.columns;
        let mut row = Row::new(&mut self.line, &self.look);
        row.cell(&time, columns.time, dim);
        row.cell(&words::security(o), SECURITY, color);
        if columns.protocol {
            row.cell(words::protocol(o), PROTOCOL, plain);
        }
        if self.look.process {
            let process = o.process.as_deref().map(process);
            row.cell(process.as_deref().unwrap_or("-"), PROCESS, plain);
        }
        if columns.local {
            row.address(&address(&local, o.tuple.local), columns.end);
        }
        row.cell(arrow, 2, dim);
        row.address(&address(&peer, o.tuple.peer), columns.end);
        if columns.name {
            row.cell(if server_name.is_empty() { "-" } else { server_name }, NAME, plain);
        }
        known.findings(&mut row);
        let mut details = words::details(o);
        if let Some(service) = known.sighting.and_then(words::service) {
            words::append(&mut details, &service);
        }
        if !columns.name && !server_name.is_empty() {
            words::append(&mut details, server_name);
        }
        if !columns.protocol && words::protocol(o) != "-" {
            words::append(&mut details, words::protocol(o));
        }
        row.rest(&details, if o.phase == Phase::Final { dim } else { plain });
        self.write_line()
    }
}

impl<W: Write> Sink for TableSink<W> {
    fn name(&self) -> &str {
        "standard output"
    }

    fn observation(&mut self, o: &Observation) -> io::Result<()> {
        self.connection(o, Known::default())
    }

    fn sighting(&mut self, sighting: &Sighting) -> io::Result<()> {
        self.connection(&sighting.observation, Known { sighting: Some(sighting), ..Known::default() })
    }

    fn judged(&mut self, judged: &Judged<'_>) -> io::Result<()> {
        let Judged { sighting, findings, severities, .. } = *judged;
        self.connection(&sighting.observation, Known { sighting: Some(sighting), findings, severities })
    }

    fn finding(&mut self, news: &judge::Output, now: Timestamp) -> io::Result<()> {
        if !self.look.findings {
            return Ok(());
        }
        let Some(news) = words::news(news) else { return Ok(()) };
        self.header()?;
        let time = time_of(now, &self.look, self.columns);
        let (is_over, style) = match news.severity {
            Some(severity) if !news.is_over => (false, severity_style(severity)),
            _ => (news.is_over, Style::new().dimmed()),
        };
        let word = match news.severity {
            _ if is_over => "cleared",
            Some(Severity::Critical) => "critical",
            Some(Severity::Warning) => "warning",
            Some(Severity::Information) => "info",
            None => "replaced",
        };
        let mut row = Row::new(&mut self.line, &self.look);
        row.cell(&time, self.columns.time, Style::new().dimmed());
        row.cell(word, SECURITY, style);
        row.rest(&news.text, Style::new());
        self.write_line()
    }

    fn judged_process(&mut self, judged: &JudgedProcess<'_>) -> io::Result<()> {
        let JudgedProcess { certificates, findings, severities, .. } = *judged;
        self.process(certificates, Known { sighting: None, findings, severities })
    }

    fn process_certificates(&mut self, certificates: &ProcessCertificates) -> io::Result<()> {
        self.process(certificates, Known::default())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

impl<W: Write> TableSink<W> {
    fn process(&mut self, certificates: &ProcessCertificates, known: Known<'_>) -> io::Result<()> {
        self.header()?;
        let plain = Style::new();
        let dim = plain.dimmed();
        let columns = self.columns;
        let time = time_of(certificates.time, &self.look, columns);
        let details = words::process_certificates(certificates);
        let mut row = Row::new(&mut self.line, &self.look);
        row.cell(&time, columns.time, dim);
        // Not a connection: what is known is the process.
        row.cell("-", SECURITY, plain);
        if columns.protocol {
            row.cell("-", PROTOCOL, plain);
        }
        if self.look.process {
            row.cell(&process(&certificates.process), PROCESS, plain);
        }
        if columns.local {
            row.address("-", columns.end);
        }
        row.cell("", 2, dim);
        row.address("-", columns.end);
        if columns.name {
            row.cell("-", NAME, plain);
        }
        known.findings(&mut row);
        row.rest(&details, plain);
        self.write_line()
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

fn severity_style(severity: Severity) -> Style {
    match severity {
        Severity::Critical => AnsiColor::Red.on_default().bold(),
        Severity::Warning => AnsiColor::Yellow.on_default(),
        Severity::Information => AnsiColor::Cyan.on_default(),
    }
}

fn time_of(time: Timestamp, look: &Look, columns: Columns) -> String {
    match jiff::Timestamp::from_nanosecond(i128::from(time.as_nanos())) {
        Ok(time) => time.to_zoned(look.zone.clone()).strftime(columns.format()).to_string(),
        Err(_) => "-".to_owned(),
    }
}

#[cfg(test)]
mod tests;
