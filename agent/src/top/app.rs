//! The view as a whole: snapshot and state in, screen out. No terminal, no clock.

use std::cmp::Ordering;

use jiff::tz::TimeZone;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use super::draw::canvas::{Canvas, Emphasis};
use super::draw::table::{self, Column};
use super::draw::{
    Context, Line, Tone, certificates, connections, findings, header, help, line, rates, services, span, text,
};
use super::snapshot::{Certificate, Connection, Finding, Service, Snapshot};
use super::state::{Key, List, Reaction, Sight, State, View};

/// Messages that are kept to be shown.
const MAX_MESSAGES: usize = 100;

/// The view.
#[derive(Clone, Debug)]
pub struct App {
    /// What was chosen.
    pub state: State,
    snapshot: Option<Snapshot>,
    /// The newest one, while nothing moves.
    held: Option<Snapshot>,
    source: String,
    /// Why there is no news.
    trouble: Option<String>,
    /// Shown until the next key.
    message: Option<String>,
    messages: usize,
    color: bool,
    zone: TimeZone,
    size: (usize, usize),
}

/// Everything that a screen is made of.
struct Screen {
    header: Vec<Line>,
    tabs: Line,
    /// Fixed above the body.
    heading: Option<Line>,
    body: Vec<Line>,
    selected: Option<usize>,
    footer: Line,
}

/// What a list shows, whatever it is a list of.
struct Rows {
    names: Vec<String>,
    heading: Line,
    lines: Vec<Line>,
    sorts: Vec<usize>,
}

impl App {
    /// Nothing was seen so far. `source`: who is asked, for people.
    pub fn new(source: impl Into<String>, zone: TimeZone, color: bool) -> Self {
        let mut state = State::default();
        let sorts = [
            sort_column(services::COLUMNS, services::SORT),
            sort_column(certificates::COLUMNS, certificates::SORT),
            sort_column(findings::COLUMNS, findings::SORT),
            sort_column(connections::COLUMNS, connections::SORT),
        ];
        for (list, sort) in state.lists.iter_mut().zip(sorts) {
            list.sort = sort;
        }
        Self {
            state,
            snapshot: None,
            held: None,
            source: source.into(),
            trouble: None,
            message: None,
            messages: 0,
            color,
            zone,
            size: (80, 24),
        }
    }

    /// Takes news.
    pub fn update(&mut self, snapshot: Snapshot) {
        self.trouble = None;
        if self.state.is_paused {
            self.held = Some(snapshot);
        } else {
            self.snapshot = Some(snapshot);
        }
    }

    /// There are no news, and why.
    pub fn no_news(&mut self, why: impl Into<String>) {
        self.trouble = Some(why.into());
    }

    /// Somebody has something to say.
    pub fn say(&mut self, message: impl Into<String>) {
        if self.messages < MAX_MESSAGES {
            self.messages += 1;
            self.message = Some(message.into());
        }
    }

    /// Takes a key; false at the end.
    pub fn key(&mut self, key: Key) -> bool {
        self.message = None;
        let (width, height) = self.size;
        let screen_height = self.body_height(height);
        let rows = self.rows(width);
        let names = rows.as_ref().map(|rows| rows.names.clone()).unwrap_or_default();
        let sorts = rows.map(|rows| rows.sorts).unwrap_or_default();
        let lines = self.page(width).map_or(0, |page| page.len());
        let sight = Sight { names: &names, height: screen_height, lines, sorts: &sorts };
        match self.state.key(key, sight) {
            Reaction::Quit => return false,
            Reaction::Pause => {
                if let Some(held) = self.held.take().filter(|_| !self.state.is_paused) {
                    self.snapshot = Some(held);
                }
            }
            Reaction::None => {}
        }
        true
    }

    fn context(&self) -> Context {
        Context { now: self.snapshot.as_ref().map_or(0, |snapshot| snapshot.now), zone: self.zone.clone() }
    }

    /// The rows of the list; `None` where a page is shown.
    fn rows(&self, width: usize) -> Option<Rows> {
        let (snapshot, list) = (self.snapshot.as_ref()?, self.state.list()?);
        if self.state.is_page() {
            return None;
        }
        let context = self.context();
        let look = Look { list, filter: &self.state.filter, width, context: &context };
        Some(match self.state.view {
            View::Services => {
                let more = |s: &Service| format!("{} {}", services::name(s), s.endpoints.join(" "));
                rows(&snapshot.services, services::COLUMNS, services::name, more, &look)
            }
            View::Certificates => {
                let more =
                    |c: &Certificate| format!("{} {}", c.sha256, c.serial.as_deref().unwrap_or_default());
                rows(&snapshot.certificates, certificates::COLUMNS, |c| c.sha256.clone(), more, &look)
            }
            View::Findings => {
                let more = |f: &Finding| f.about.clone();
                rows(&snapshot.findings, findings::COLUMNS, finding_name, more, &look)
            }
            View::Connections => {
                // As details of services call them.
                let more = |c: &Connection| format!("{} {}", c.caller, c.service);
                rows(&snapshot.connections, connections::COLUMNS, |c| c.id.to_string(), more, &look)
            }
            View::Rates => return None,
        })
    }

    /// The lines of a page; `None` where a list is shown.
    fn page(&self, width: usize) -> Option<Vec<Line>> {
        if self.state.help {
            return Some(help::lines());
        }
        let snapshot = self.snapshot.as_ref()?;
        let context = self.context();
        let Some(detail) = &self.state.detail else {
            return (self.state.view == View::Rates).then(|| rates::lines(snapshot, width));
        };
        let name = &detail.name;
        let found = match self.state.view {
            View::Services => {
                let service = snapshot.services.iter().find(|s| services::name(s) == *name);
                service.map(|service| services::detail(service, snapshot, width, &context))
            }
            View::Certificates => {
                let certificate = snapshot.certificates.iter().find(|c| c.sha256 == *name);
                certificate.map(|certificate| certificates::detail(certificate, width, &context))
            }
            View::Findings => {
                let finding = snapshot.findings.iter().find(|f| finding_name(f) == *name);
                finding.map(|finding| findings::detail(finding, width, &context))
            }
            View::Connections => {
                let connection = snapshot.connections.iter().find(|c| c.id.to_string() == *name);
                connection.map(|connection| connections::detail(connection, width, &context))
            }
            View::Rates => None,
        };
        let gone = match self.state.view {
            View::Findings => "It no longer stands.",
            _ => "It is no longer kept.",
        };
        Some(found.unwrap_or_else(|| vec![line(gone, Tone::Dim), line("esc goes back", Tone::Dim)]))
    }

    fn header(&self, width: usize) -> Vec<Line> {
        let Some(snapshot) = &self.snapshot else {
            let title = text::fit(&format!("tlsight top  {}", self.source), width);
            return vec![line(title, Tone::Strong)];
        };
        let mut flags = Vec::new();
        if self.state.is_paused {
            flags.push("PAUSED".to_owned());
        }
        if self.trouble.is_some() {
            flags.push("NO NEWS".to_owned());
        }
        header::lines(snapshot, &self.source, &flags, width, &self.context())
    }

    /// Rows left for the body on a screen so high.
    fn body_height(&self, height: usize) -> usize {
        let parts = parts(self.header(self.size.0).len(), height);
        let heading = usize::from(!self.state.is_page());
        height.saturating_sub(parts.above + parts.below + heading).max(1)
    }

    fn tabs(&self) -> Line {
        let counts = self
            .snapshot
            .as_ref()
            .map(|s| [s.services.len(), s.certificates.len(), s.findings.len(), s.connections.len()]);
        let mut out = Line::new();
        for (n, view) in View::ALL.into_iter().enumerate() {
            let count = counts.and_then(|counts| counts.get(n).copied());
            let count = count.map(|count| format!(" {count}")).unwrap_or_default();
            let label = format!("{} {}{count}", n + 1, view.title());
            let (label, tone) = match view == self.state.view {
                true => (format!("[{label}]"), Tone::Strong),
                false => (format!(" {label} "), Tone::Plain),
            };
            out.push(span(label, tone));
        }
        out
    }

    fn footer(&self) -> Line {
        if let Some(message) = &self.message {
            return line(message, Tone::Warn);
        }
        if self.state.typing.is_some() {
            return vec![
                span(format!("filter: {}_", self.state.filter), Tone::Strong),
                span("   enter keeps it, esc does not", Tone::Dim),
            ];
        }
        if let Some(trouble) = &self.trouble {
            return line(trouble, Tone::Bad);
        }
        let filter = if self.state.filter.is_empty() || self.state.is_page() {
            String::new()
        } else {
            format!("filter: {} (esc)  ", self.state.filter)
        };
        let keys = match (self.state.is_page(), self.state.view) {
            (true, View::Services) if !self.state.help => {
                "arrows move  esc back  c connections  ? help  q quit"
            }
            (true, _) => "arrows move  esc back  1-5 views  ? help  q quit",
            (false, _) => "enter details  / filter  s sort  r reverse  p pause  ? help  q quit",
        };
        vec![span(filter, Tone::Strong), span(keys, Tone::Dim)]
    }

    fn screen(&mut self, width: usize, height: usize) -> Screen {
        self.size = (width, height);
        let body_height = self.body_height(height);
        let (header, tabs, footer) = (self.header(width), self.tabs(), self.footer());
        let mut screen = Screen { header, tabs, heading: None, body: Vec::new(), selected: None, footer };
        if let Some(page) = self.page(width) {
            let last = page.len().saturating_sub(body_height);
            let scroll = match &mut self.state.detail {
                Some(detail) if !self.state.help => &mut detail.scroll,
                _ => &mut self.state.scroll,
            };
            *scroll = (*scroll).min(last);
            if *scroll < last {
                let more = text::plural(u64::try_from(last - *scroll).unwrap_or(u64::MAX), "line");
                screen.footer.push(span(format!("  ({more} more)"), Tone::Strong));
            }
            let body = page.into_iter().skip(*scroll).take(body_height).collect();
            return Screen { body, ..screen };
        }
        let Some(rows) = self.rows(width) else {
            let waiting = self.trouble.as_deref().unwrap_or("waiting for the first news ...");
            let body = text::wrap(waiting, width).into_iter().map(|text| line(text, Tone::Plain)).collect();
            return Screen { body, ..screen };
        };
        let Some(list) = self.state.lists.get_mut(self.state.view.index()) else { return screen };
        list.settle(&rows.names, body_height);
        let selected = (!rows.lines.is_empty()).then(|| list.row.saturating_sub(list.offset));
        let mut body: Vec<Line> = rows.lines.into_iter().skip(list.offset).take(body_height).collect();
        if body.is_empty() {
            body.push(line(self.nothing(), Tone::Dim));
        }
        Screen { heading: Some(rows.heading), body, selected, ..screen }
    }

    fn nothing(&self) -> &'static str {
        match (self.state.filter.is_empty(), self.state.view) {
            (false, _) => "  nothing here contains the filter",
            (true, View::Services) => "  no connection was seen yet",
            (true, View::Certificates) => "  no certificate was seen yet",
            (true, View::Findings) => "  nothing is found to be wrong",
            (true, _) => "  no connection was seen yet",
        }
    }

    /// Draws onto all of the screen's cells.
    pub fn draw(&mut self, buffer: &mut Buffer, area: Rect) {
        let color = self.color;
        let mut canvas = Canvas::new(buffer, area, color);
        let (width, height) = (canvas.width(), canvas.height());
        let screen = self.screen(width, height);
        let parts = parts(screen.header.len(), height);
        let mut row = 0;
        if parts.above > 1 {
            for line in &screen.header {
                canvas.line(0, row, line, Emphasis::None);
                row += 1;
            }
        }
        if parts.above > 0 {
            canvas.line(0, row, &screen.tabs, Emphasis::None);
            row += 1;
        }
        let is_list = screen.heading.is_some();
        if let Some(heading) = &screen.heading {
            canvas.line(1, row, heading, Emphasis::None);
            row += 1;
        }
        let end = height.saturating_sub(parts.below);
        for (n, line) in screen.body.iter().enumerate() {
            if row >= end {
                break;
            }
            let is_selected = screen.selected == Some(n);
            canvas.line(
                usize::from(is_list),
                row,
                line,
                if is_selected { Emphasis::Selected } else { Emphasis::None },
            );
            if is_selected {
                canvas.line(0, row, &super::draw::line(">", Tone::Strong), Emphasis::Selected);
            }
            row += 1;
        }
        if parts.below > 0 {
            canvas.line(0, end, &screen.footer, Emphasis::None);
        }
    }

    /// One screen of this size, as text.
    pub fn text(&mut self, width: u16, height: u16) -> String {
        let area = Rect::new(0, 0, width, height);
        let mut buffer = Buffer::empty(area);
        self.draw(&mut buffer, area);
        super::draw::canvas::text_of(&buffer)
    }
}

/// Rows above and below the body.
struct Parts {
    above: usize,
    below: usize,
}

/// What there is room for: of little, the body is what counts.
fn parts(header: usize, height: usize) -> Parts {
    match height {
        0..=2 => Parts { above: 0, below: 0 },
        3..=9 => Parts { above: 1, below: usize::from(height > 4) },
        _ => Parts { above: header + 1, below: 1 },
    }
}

fn sort_column<T>(columns: &[Column<T>], title: &str) -> usize {
    columns.iter().position(|column| column.title == title).unwrap_or_default()
}

fn finding_name(finding: &Finding) -> String {
    format!("{} {}", finding.rule, finding.about)
}

/// How a list is looked at.
struct Look<'a> {
    list: &'a List,
    filter: &'a str,
    width: usize,
    context: &'a Context,
}

/// `more`: what a filter looks at besides what columns say.
fn rows<T>(
    items: &[T],
    columns: &[Column<T>],
    name: impl Fn(&T) -> String,
    more: impl Fn(&T) -> String,
    look: &Look<'_>,
) -> Rows {
    let Look { list, filter, width, context } = *look;
    let wanted = filter.to_lowercase();
    let is_wanted = |item: &&T| {
        wanted.is_empty()
            || table::words(columns, item, context).to_lowercase().contains(&wanted)
            || more(item).to_lowercase().contains(&wanted)
    };
    let mut named: Vec<(String, &T)> =
        items.iter().filter(is_wanted).map(|item| (name(item), item)).collect();
    let order = columns.get(list.sort).and_then(|column| column.order);
    // Rows that are equal keep their places from one second to the next.
    named.sort_by(|(a_name, a), (b_name, b)| {
        let by = order.map_or(Ordering::Equal, |order| order(a, b));
        let by = if list.reverse { by.reverse() } else { by };
        by.then_with(|| a_name.cmp(b_name))
    });
    let layout = table::layout(columns, width.saturating_sub(1));
    let heading = table::heading(columns, &layout, Some((list.sort, list.reverse)));
    let lines = named.iter().map(|(_, item)| table::row(columns, &layout, item, context)).collect();
    let sorts = columns.iter().enumerate().filter(|(_, column)| column.order.is_some());
    Rows {
        heading,
        lines,
        sorts: sorts.map(|(place, _)| place).collect(),
        names: named.into_iter().map(|(name, _)| name).collect(),
    }
}
