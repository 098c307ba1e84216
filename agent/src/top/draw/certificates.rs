//! Certificates by days left.

use super::services::Page;
use super::table::Column;
use super::{Context, Line, Tone, text};
use crate::top::snapshot::Certificate;

const DAY: i64 = 86_400;

/// Whole days until it ends, rounded down; negative when it has ended.
fn days(certificate: &Certificate, context: &Context) -> Option<i64> {
    let now = i64::try_from(context.now / 1_000_000_000).unwrap_or(i64::MAX);
    certificate.not_after.map(|end| end.saturating_sub(now).div_euclid(DAY))
}

/// The same in words.
pub(super) fn days_text(certificate: &Certificate, context: &Context) -> String {
    days(certificate, context).map_or_else(|| "days unknown".to_owned(), |days| format!("{days} days"))
}

/// Whether it holds, as the rules `certificate_expiring` and `certificate_expired` have it by default.
pub(super) fn state(certificate: &Certificate, context: &Context) -> (&'static str, Tone) {
    let now = i64::try_from(context.now / 1_000_000_000).unwrap_or(i64::MAX);
    if certificate.not_before.is_some_and(|start| start > now) {
        return ("not yet valid", Tone::Bad);
    }
    match days(certificate, context) {
        None => ("end unknown", Tone::Dim),
        Some(..=-1) => ("EXPIRED", Tone::Bad),
        Some(0..=6) => ("ends in days", Tone::Bad),
        Some(7..=29) => ("ends soon", Tone::Warn),
        Some(_) => ("valid", Tone::Good),
    }
}

/// The name that says most about whose it is.
pub(super) fn subject(certificate: &Certificate) -> String {
    match certificate.subject.as_deref() {
        Some(subject) if !subject.is_empty() => subject.to_owned(),
        _ => certificate.san.first().cloned().unwrap_or_else(|| "(without a name)".to_owned()),
    }
}

fn shown_by(certificate: &Certificate) -> String {
    let places: Vec<&str> = certificate.shown_by.iter().map(|place| text::short(place)).collect();
    places.join(", ")
}

/// The columns of the list.
pub const COLUMNS: &[Column<Certificate>] = &[
    Column {
        title: "DAYS",
        width: 6,
        grow: 0,
        is_right: true,
        rank: 0,
        cell: |c, context| {
            let text = days(c, context).map_or_else(|| "?".to_owned(), |days| days.to_string());
            (text, state(c, context).1)
        },
        order: Some(|a, b| {
            // What has no end that could be read comes last.
            (a.not_after.is_none(), a.not_after).cmp(&(b.not_after.is_none(), b.not_after))
        }),
    },
    Column {
        title: "STATE",
        width: 13,
        grow: 0,
        is_right: false,
        rank: 0,
        cell: |c, context| {
            let (word, tone) = state(c, context);
            (word.to_owned(), tone)
        },
        order: None,
    },
    Column {
        title: "SIDE",
        width: 6,
        grow: 0,
        is_right: false,
        rank: 1,
        cell: |c, _| (c.sides.join("+"), Tone::Plain),
        order: Some(|a, b| a.sides.cmp(&b.sides)),
    },
    Column {
        title: "SUBJECT",
        width: 16,
        grow: 3,
        is_right: false,
        rank: 0,
        cell: |c, _| (subject(c), Tone::Plain),
        order: Some(|a, b| subject(a).cmp(&subject(b))),
    },
    Column {
        title: "ISSUER",
        width: 14,
        grow: 2,
        is_right: false,
        rank: 1,
        cell: |c, _| (c.issuer.clone().unwrap_or_default(), Tone::Plain),
        order: Some(|a, b| a.issuer.cmp(&b.issuer)),
    },
    Column {
        title: "SHOWN BY",
        width: 14,
        grow: 3,
        is_right: false,
        rank: 1,
        cell: |c, _| (shown_by(c), Tone::Plain),
        order: None,
    },
    Column {
        title: "SEEN",
        width: 6,
        grow: 0,
        is_right: true,
        rank: 4,
        cell: |c, _| (text::count(c.count), Tone::Plain),
        order: Some(|a, b| b.count.cmp(&a.count)),
    },
    Column {
        title: "LAST",
        width: 5,
        grow: 0,
        is_right: true,
        rank: 3,
        cell: |c, context| (text::age(context.now, c.last), Tone::Plain),
        order: Some(|a, b| b.last.cmp(&a.last)),
    },
    Column {
        title: "NOT AFTER",
        width: 10,
        grow: 0,
        is_right: false,
        rank: 2,
        cell: |c, _| (c.not_after.map_or_else(|| "?".to_owned(), text::day), Tone::Plain),
        order: None,
    },
    Column {
        title: "KEY",
        width: 10,
        grow: 0,
        is_right: false,
        rank: 5,
        cell: |c, _| (c.key.clone().unwrap_or_default(), Tone::Plain),
        order: None,
    },
    Column {
        title: "NAMES",
        width: 16,
        grow: 2,
        is_right: false,
        rank: 6,
        cell: |c, _| (c.san.join(", "), Tone::Plain),
        order: None,
    },
];

/// The column that rows are sorted by at first.
pub const SORT: &str = "DAYS";

/// Everything about one certificate.
pub fn detail(certificate: &Certificate, width: usize, context: &Context) -> Vec<Line> {
    let mut page = Page { lines: Vec::new(), width };
    page.heading(&subject(certificate));
    let (word, tone) = state(certificate, context);
    page.toned("state", &format!("{word}: {} left", days_text(certificate, context)), tone);
    let day = |seconds: Option<i64>| seconds.map_or_else(|| "?".to_owned(), text::day);
    let from = day(certificate.not_before);
    page.field("valid", &format!("{from} to {} (UTC)", day(certificate.not_after)));
    page.maybe("subject", certificate.subject.as_deref());
    page.maybe("issuer", certificate.issuer.as_deref());
    if certificate.self_signed {
        page.field("self-signed", "it looks so; its signature was not verified");
    }
    page.maybe("serial", certificate.serial.as_deref());
    page.list("names", &certificate.san);
    page.maybe("key", certificate.key.as_deref());
    page.maybe("signature", certificate.signature.as_deref());
    page.field("SHA-256", &certificate.sha256);
    page.list("side", &certificate.sides);
    page.list("shown by", &certificate.shown_by);
    let last = text::moment(certificate.last, &context.zone);
    page.field("seen", &format!("{}, last {last}", text::plural(certificate.count, "time")));
    page.lines
}
