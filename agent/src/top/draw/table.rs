//! Columns: those that matter most where there is little room, more of them where there is more.

use std::cmp::Ordering;

use super::{Context, Line, Span, Tone, text};

/// A column of a table of `T`.
pub struct Column<T> {
    /// Its heading.
    pub title: &'static str,
    /// Columns on the screen, at least.
    pub width: usize,
    /// Its part of what is left.
    pub grow: usize,
    /// Numbers stand at the right.
    pub is_right: bool,
    /// 0 is always there; the others come in this order as room allows.
    pub rank: u8,
    /// What is in it.
    pub cell: fn(&T, &Context) -> (String, Tone),
    /// The order of rows that is most useful; absent where there is none.
    pub order: Option<fn(&T, &T) -> Ordering>,
}

/// Which columns there is room for, and how wide each is.
pub fn layout<T>(columns: &[Column<T>], width: usize) -> Vec<(usize, usize)> {
    let ranks = columns.iter().map(|column| column.rank).max().unwrap_or_default();
    let mut chosen: Vec<usize> = Vec::new();
    let mut used = 0;
    for rank in 0..=ranks {
        for (place, column) in columns.iter().enumerate().filter(|(_, column)| column.rank == rank) {
            let more = column.width + usize::from(!chosen.is_empty());
            if rank == 0 || used + more <= width {
                chosen.push(place);
                used += more;
            }
        }
    }
    chosen.sort_unstable();
    let parts: usize = chosen.iter().filter_map(|place| columns.get(*place)).map(|column| column.grow).sum();
    let spare = width.saturating_sub(used);
    let (mut parts_left, mut spare_left) = (parts, spare);
    let mut widths = Vec::with_capacity(chosen.len());
    for place in chosen {
        let Some(column) = columns.get(place) else { continue };
        let more = (spare_left * column.grow).checked_div(parts_left).unwrap_or_default();
        parts_left -= column.grow;
        spare_left -= more;
        widths.push((place, column.width + more));
    }
    widths
}

/// The headings; the column that rows are sorted by has a mark.
pub fn heading<T>(columns: &[Column<T>], layout: &[(usize, usize)], sorted: Option<(usize, bool)>) -> Line {
    let cells = layout.iter().filter_map(|(place, width)| {
        let column = columns.get(*place)?;
        let mark = match sorted.filter(|(by, _)| by == place) {
            Some((_, true)) => "▲",
            Some((_, false)) => "▼",
            None => "",
        };
        Some(cell(&format!("{}{mark}", column.title), *width, column.is_right, Tone::Strong))
    });
    spaced(cells)
}

/// One row.
pub fn row<T>(columns: &[Column<T>], layout: &[(usize, usize)], item: &T, context: &Context) -> Line {
    let cells = layout.iter().filter_map(|(place, width)| {
        let column = columns.get(*place)?;
        let (content, tone) = (column.cell)(item, context);
        Some(cell(&content, *width, column.is_right, tone))
    });
    spaced(cells)
}

/// Everything that a row says, to be searched.
pub fn words<T>(columns: &[Column<T>], item: &T, context: &Context) -> String {
    let cells = columns.iter().map(|column| (column.cell)(item, context).0);
    cells.collect::<Vec<_>>().join(" ")
}

fn cell(content: &str, width: usize, is_right: bool, tone: Tone) -> Span {
    let fitted = text::fit(content, width);
    let pad = width.saturating_sub(text::width(&fitted));
    let text = match is_right {
        true => format!("{}{fitted}", " ".repeat(pad)),
        false => fitted,
    };
    Span { text, width, tone }
}

fn spaced(cells: impl Iterator<Item = Span>) -> Line {
    let mut line = Line::new();
    for cell in cells {
        if !line.is_empty() {
            line.push(Span { text: String::new(), width: 1, tone: Tone::Plain });
        }
        line.push(cell);
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(width: usize, grow: usize, rank: u8) -> Column<()> {
        Column {
            title: "X",
            width,
            grow,
            is_right: false,
            rank,
            cell: |(), _| (String::new(), Tone::Plain),
            order: None,
        }
    }

    #[test]
    fn columns_come_as_room_allows_and_fill_it() {
        let columns = [column(10, 2, 0), column(5, 0, 2), column(5, 1, 1)];
        assert_eq!(layout(&columns, 4), [(0, 10)]);
        assert_eq!(layout(&columns, 12), [(0, 12)]);
        assert_eq!(layout(&columns, 16), [(0, 10), (2, 5)]);
        assert_eq!(layout(&columns, 31), [(0, 16), (1, 5), (2, 8)]);
    }
}
