//! A report as aligned text.

use unicode_width::UnicodeWidthStr;

use super::document::Report;
use super::outline::{Block, outline};
use crate::export::text::visible;

/// The report for a terminal.
pub fn text(report: &Report) -> String {
    let mut out = String::new();
    for block in outline(report) {
        match block {
            Block::Title(title) => out.push_str(&format!("{title}\n")),
            Block::Heading(heading) => out.push_str(&format!("\n{}\n", heading.to_uppercase())),
            Block::Sentence(sentence) => out.push_str(&format!("{}\n", visible(&sentence))),
            Block::Table { header, rows } => table(&mut out, header, &rows),
        }
    }
    out
}

fn table(out: &mut String, header: &[&str], rows: &[Vec<String>]) {
    let header: Vec<String> = header.iter().map(|cell| cell.to_uppercase()).collect();
    let rows: Vec<Vec<String>> = std::iter::once(header)
        .chain(rows.iter().map(|row| row.iter().map(|cell| visible(cell).into_owned()).collect()))
        .collect();
    let mut widths: Vec<usize> = Vec::new();
    for row in &rows {
        widths.resize(widths.len().max(row.len()), 0);
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.width());
        }
    }
    for row in &rows {
        let mut line = String::from("  ");
        for (cell, width) in row.iter().zip(&widths) {
            line.push_str(cell);
            line.push_str(&" ".repeat(width.saturating_sub(cell.width()) + 2));
        }
        out.push_str(line.trim_end());
        out.push('\n');
    }
}
