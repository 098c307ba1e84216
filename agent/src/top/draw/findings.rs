//! Findings that stand, the worst first.

use super::services::Page;
use super::table::Column;
use super::{Context, Line, Tone, text};
use crate::top::snapshot::Finding;

/// The columns of the list.
pub const COLUMNS: &[Column<Finding>] = &[
    Column {
        title: "SEVERITY",
        width: 11,
        grow: 0,
        is_right: false,
        rank: 0,
        cell: |f, _| (f.severity.as_str().to_owned(), text::severity_tone(f.severity)),
        order: Some(|a, b| b.severity.cmp(&a.severity).then(b.last.cmp(&a.last))),
    },
    Column {
        title: "RULE",
        width: 20,
        grow: 1,
        is_right: false,
        rank: 0,
        cell: |f, _| (f.rule.clone(), Tone::Plain),
        order: Some(|a, b| a.rule.cmp(&b.rule)),
    },
    Column {
        title: "SEEN",
        width: 6,
        grow: 0,
        is_right: true,
        rank: 1,
        cell: |f, _| (text::count(f.count), Tone::Plain),
        order: Some(|a, b| b.count.cmp(&a.count)),
    },
    Column {
        title: "LAST",
        width: 5,
        grow: 0,
        is_right: true,
        rank: 1,
        cell: |f, context| (text::age(context.now, f.last), Tone::Plain),
        order: Some(|a, b| b.last.cmp(&a.last)),
    },
    Column {
        title: "WHAT",
        width: 20,
        grow: 12,
        is_right: false,
        rank: 0,
        cell: |f, _| (f.summary.clone(), Tone::Plain),
        order: Some(|a, b| a.about.cmp(&b.about)),
    },
];

/// The column that rows are sorted by at first.
pub const SORT: &str = "SEVERITY";

/// Everything about one finding.
pub fn detail(finding: &Finding, width: usize, context: &Context) -> Vec<Line> {
    let mut page = Page { lines: Vec::new(), width };
    page.heading(&finding.rule);
    page.toned("severity", finding.severity.as_str(), text::severity_tone(finding.severity));
    page.field("what", &finding.summary);
    page.field("about", &finding.about);
    page.toned("advice", &finding.advice, Tone::Strong);
    let zone = &context.zone;
    let (first, last) = (text::moment(finding.first, zone), text::moment(finding.last, zone));
    page.field("seen", &format!("on {}, {first} to {last}", text::plural(finding.count, "connection")));
    page.blank();
    page.heading("EVIDENCE");
    for (key, value) in &finding.evidence {
        // A key says more than the column of labels holds.
        for (n, line) in text::wrap(&format!("{key} = {value}"), width.saturating_sub(4)).iter().enumerate() {
            let indent = if n == 0 { "" } else { "  " };
            page.indented(super::line(format!("{indent}{line}"), Tone::Plain));
        }
    }
    page.lines
}
