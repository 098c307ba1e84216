//! From lines to cells of a screen of any size: what has no room is left out.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::{Color, Modifier, Style};

use super::{Line, Tone};

/// A part of the screen.
pub struct Canvas<'a> {
    buffer: &'a mut Buffer,
    area: Rect,
    color: bool,
}

/// How a line is set off.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Emphasis {
    /// Not at all.
    #[default]
    None,
    /// It is the one that is selected.
    Selected,
}

impl<'a> Canvas<'a> {
    /// All of `area` that the screen has.
    pub fn new(buffer: &'a mut Buffer, area: Rect, color: bool) -> Self {
        let area = area.intersection(buffer.area);
        Self { buffer, area, color }
    }

    /// Rows.
    pub fn height(&self) -> usize {
        usize::from(self.area.height)
    }

    /// Columns.
    pub fn width(&self) -> usize {
        usize::from(self.area.width)
    }

    /// Writes a line into a row, from a column on.
    pub fn line(&mut self, x: usize, row: usize, line: &Line, emphasis: Emphasis) {
        let (Ok(row), true) = (u16::try_from(row), row < self.height()) else { return };
        let y = self.area.y + row;
        let mut x = x;
        for span in line {
            let room = self.width().saturating_sub(x);
            let most = span.width.min(room);
            if let (Ok(at), true) = (u16::try_from(x), most > 0) {
                let style = style(span.tone, self.color);
                // Where it ends in the middle of something, that is to be seen.
                let cut = super::text::fit(&span.text, most);
                self.buffer.set_stringn(self.area.x + at, y, cut, most, style);
            }
            x += span.width;
        }
        if emphasis == Emphasis::Selected {
            let whole = Rect { y, height: 1, ..self.area };
            self.buffer.set_style(whole, Style::new().add_modifier(Modifier::REVERSED));
        }
    }
}

/// How a tone looks. Without colour, the most important is bold.
fn style(tone: Tone, color: bool) -> Style {
    let plain = Style::new();
    match (tone, color) {
        (Tone::Plain, _) => plain,
        (Tone::Strong, _) | (Tone::Bad, false) => plain.add_modifier(Modifier::BOLD),
        (Tone::Good, true) => plain.fg(Color::Green),
        (Tone::Warn, true) => plain.fg(Color::Yellow),
        (Tone::Bad, true) => plain.fg(Color::Red).add_modifier(Modifier::BOLD),
        (Tone::Dim, _) => plain.add_modifier(Modifier::DIM),
        (Tone::Good | Tone::Warn, false) => plain,
    }
}

/// What is on a screen, as text without trailing spaces.
pub fn text_of(buffer: &Buffer) -> String {
    let mut out = String::new();
    for y in buffer.area.top()..buffer.area.bottom() {
        let mut line = String::new();
        let mut covered = 0;
        for x in buffer.area.left()..buffer.area.right() {
            let Some(cell) = buffer.cell((x, y)) else { continue };
            // A wide character covers the cell behind it.
            if covered > 0 {
                covered -= 1;
                continue;
            }
            line.push_str(cell.symbol());
            covered = super::text::width(cell.symbol()).saturating_sub(1);
        }
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out
}
