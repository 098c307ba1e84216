//! One line of the table.

use std::borrow::Cow;

use anstyle::Style;
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use super::Look;
use crate::export::text::visible;

/// One line being written, cell by cell.
pub(super) struct Row<'a> {
    line: &'a mut String,
    color: bool,
    width: Option<usize>,
    used: usize,
}

impl<'a> Row<'a> {
    pub(super) fn new(line: &'a mut String, look: &Look) -> Self {
        line.clear();
        Self { line, color: look.color, width: look.width, used: 0 }
    }

    /// A cell of that width; on a terminal, what is longer ends in an ellipsis.
    pub(super) fn cell(&mut self, text: &str, width: usize, style: Style) {
        let limit = self.width.map(|total| width.min(total.saturating_sub(self.used)));
        self.put(text, limit, width, style);
    }

    /// A cell that is never cut except by the end of the line.
    pub(super) fn address(&mut self, text: &str, width: usize) {
        let limit = self.width.map(|total| total.saturating_sub(self.used));
        self.put(text, limit, width, Style::new());
    }

    /// The last cell: whatever room is left.
    pub(super) fn rest(&mut self, text: &str, style: Style) {
        let limit = self.width.map(|total| total.saturating_sub(self.used));
        self.put(text, limit, 0, style);
    }

    /// A part of the last cell.
    pub(super) fn piece(&mut self, text: &str, style: Style) {
        let limit = self.width.map(|total| total.saturating_sub(self.used));
        self.used += self.write(text, limit, style);
    }

    fn put(&mut self, text: &str, limit: Option<usize>, width: usize, style: Style) {
        if limit == Some(0) {
            return;
        }
        let shown = self.write(text, limit, style);
        let pad = width.saturating_sub(shown) + 2;
        self.line.extend(std::iter::repeat_n(' ', pad));
        self.used += shown + pad;
    }

    /// Columns that it took.
    fn write(&mut self, text: &str, limit: Option<usize>, style: Style) -> usize {
        if limit == Some(0) {
            return 0;
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
        text.width()
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
