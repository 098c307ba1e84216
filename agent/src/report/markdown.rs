//! A report as Markdown, for tickets and pull requests.

use super::document::Report;
use super::outline::{Block, outline};
use crate::export::text::visible;

/// The report in GitHub's Markdown.
pub fn markdown(report: &Report) -> String {
    let mut out = String::new();
    for block in outline(report) {
        match block {
            Block::Title(title) => out.push_str(&format!("# {}\n", escape(&title))),
            Block::Heading(heading) => out.push_str(&format!("\n## {}\n", escape(heading))),
            Block::Sentence(sentence) => out.push_str(&format!("\n{}\n", escape(&sentence))),
            Block::Table { header, rows } => {
                out.push('\n');
                row(&mut out, header.iter().copied());
                row(&mut out, header.iter().map(|_| "---"));
                for cells in &rows {
                    let cells: Vec<String> = cells.iter().map(|cell| escape(cell)).collect();
                    row(&mut out, cells.iter().map(String::as_str));
                }
            }
        }
    }
    out
}

fn row<'a>(out: &mut String, cells: impl Iterator<Item = &'a str>) {
    out.push('|');
    for cell in cells {
        out.push_str(&format!(" {cell} |"));
    }
    out.push('\n');
}

/// Names come from the wire: what Markdown and HTML give a meaning to is taken by its letter.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in visible(text).chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '\\' | '`' | '*' | '_' | '[' | ']' | '|' | '#' | '~' | '!' => out.extend(['\\', c]),
            // GitHub makes a link of a bare address, and a mention of this.
            '@' => out.push_str("&#64;"),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_from_the_wire_are_taken_by_their_letters() {
        assert_eq!(
            escape("a|b <img src=x> [l](u) `c` @me \u{1b}[2J"),
            "a\\|b &lt;img src=x&gt; \\[l\\](u) \\`c\\` &#64;me \\\\u{1b}\\[2J"
        );
    }
}
