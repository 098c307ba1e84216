//! Connections, the newest first.

use super::services::Page;
use super::table::Column;
use super::{Context, Line, Tone, text};
use crate::top::snapshot::Connection;

fn how(connection: &Connection) -> String {
    let c = connection;
    [c.version.as_deref(), c.protocol.as_deref()].into_iter().flatten().collect::<Vec<_>>().join(" ")
}

fn state(connection: &Connection) -> &'static str {
    if connection.over { "over" } else { "open" }
}

fn bytes(connection: &Connection) -> String {
    connection.bytes.map_or_else(String::new, |n| text::bytes(n as f64))
}

/// The columns of the list.
pub const COLUMNS: &[Column<Connection>] = &[
    Column {
        title: "SINCE",
        width: 8,
        grow: 0,
        is_right: false,
        rank: 0,
        cell: |c, context| (text::clock(c.time, &context.zone), Tone::Dim),
        order: Some(|a, b| b.time.cmp(&a.time).then(b.id.cmp(&a.id))),
    },
    Column {
        title: "VERDICT",
        width: 10,
        grow: 0,
        is_right: false,
        rank: 0,
        cell: |c, _| (text::verdict(&c.security).to_owned(), text::verdict_tone(&c.security)),
        order: Some(|a, b| a.security.cmp(&b.security)),
    },
    Column {
        title: "CALLER",
        width: 14,
        grow: 3,
        is_right: false,
        rank: 0,
        cell: |c, _| (text::short(&c.caller).to_owned(), Tone::Plain),
        order: Some(|a, b| text::short(&a.caller).cmp(text::short(&b.caller))),
    },
    Column {
        title: "SERVICE",
        width: 18,
        grow: 3,
        is_right: false,
        rank: 0,
        cell: |c, _| {
            // The observed end stands first where nobody knows who is the client.
            let mark = if c.has_role { "" } else { "(?) " };
            (format!("{mark}{}", text::short(&c.service)), Tone::Plain)
        },
        order: Some(|a, b| text::short(&a.service).cmp(text::short(&b.service))),
    },
    Column {
        title: "HOW",
        width: 14,
        grow: 1,
        is_right: false,
        rank: 1,
        cell: |c, _| {
            let how = how(c);
            let reason = || c.reason.as_deref().unwrap_or_default().replace('_', " ");
            (if how.is_empty() { reason() } else { how }, Tone::Plain)
        },
        order: None,
    },
    Column {
        title: "STATE",
        width: 5,
        grow: 0,
        is_right: false,
        rank: 1,
        cell: |c, _| (state(c).to_owned(), if c.over { Tone::Dim } else { Tone::Strong }),
        order: Some(|a, b| a.over.cmp(&b.over)),
    },
    Column {
        title: "FOR",
        width: 5,
        grow: 0,
        is_right: true,
        rank: 2,
        cell: |c, _| (text::span_of(c.duration), Tone::Plain),
        order: Some(|a, b| b.duration.cmp(&a.duration)),
    },
    Column {
        title: "BYTES",
        width: 10,
        grow: 0,
        is_right: true,
        rank: 3,
        cell: |c, _| (bytes(c), Tone::Plain),
        order: Some(|a, b| b.bytes.cmp(&a.bytes)),
    },
    Column {
        title: "ASKED FOR AS",
        width: 16,
        grow: 2,
        is_right: false,
        rank: 4,
        cell: |c, _| (c.server_name.clone().unwrap_or_default(), Tone::Plain),
        order: None,
    },
    Column {
        title: "CIPHER",
        width: 24,
        grow: 1,
        is_right: false,
        rank: 5,
        cell: |c, _| (c.cipher.clone().unwrap_or_default(), Tone::Plain),
        order: None,
    },
    Column {
        title: "FINDINGS",
        width: 18,
        grow: 2,
        is_right: false,
        rank: 6,
        cell: |c, _| (c.findings.join(", "), Tone::Warn),
        order: Some(|a, b| b.findings.len().cmp(&a.findings.len())),
    },
    Column {
        title: "CLIENT",
        width: 21,
        grow: 0,
        is_right: false,
        rank: 7,
        cell: |c, _| (c.client.clone(), Tone::Dim),
        order: None,
    },
    Column {
        title: "SERVER",
        width: 21,
        grow: 0,
        is_right: false,
        rank: 8,
        cell: |c, _| (c.server.clone(), Tone::Dim),
        order: None,
    },
];

/// The column that rows are sorted by at first.
pub const SORT: &str = "SINCE";

/// Everything about one connection.
pub fn detail(connection: &Connection, width: usize, context: &Context) -> Vec<Line> {
    let c = connection;
    let mut page = Page { lines: Vec::new(), width };
    page.heading(&format!("{} -> {}", c.caller, c.service));
    let mut verdict = text::verdict(&c.security).to_owned();
    if let Some(source) = &c.source {
        verdict.push_str(&format!(" (known from: {})", source.replace('_', " ")));
    }
    page.toned("verdict", &verdict, text::verdict_tone(&c.security));
    if let Some(reason) = &c.reason {
        page.field("reason", &reason.replace('_', " "));
    }
    if !c.has_role {
        page.field("roles", "not known: which end is the client was not seen");
    }
    page.maybe("expected", c.expectation.as_deref());
    page.list("findings", &c.findings);
    let (from, to) = if c.has_role { ("client", "server") } else { ("observed end", "other end") };
    page.field(from, &c.client);
    page.field(to, &c.server);
    page.maybe("scope", c.scope.as_deref());
    page.maybe("protocol", c.protocol.as_deref());
    page.maybe("asked for as", c.server_name.as_deref());
    page.maybe("TLS version", c.version.as_deref());
    page.maybe("cipher", c.cipher.as_deref());
    page.maybe("group", c.group.as_deref());
    if let Some(resumed) = c.resumed {
        page.field("resumed", if resumed { "yes: no certificates cross the wire" } else { "no" });
    }
    if let Some(us) = c.handshake_us {
        page.field("handshake", &format!("{}.{:03} ms", us / 1000, us % 1000));
    }
    page.maybe("server shows", c.server_subject.as_deref());
    page.maybe("client shows", c.client_subject.as_deref());
    if let Some(sent) = &c.client_certificate {
        page.field("client cert", &sent.replace('_', " "));
    }
    let since = text::moment(c.time, &context.zone);
    let state = match (&c.closed, c.over) {
        (Some(how), _) => format!("over ({how})"),
        (None, true) => "over".to_owned(),
        (None, false) => "open".to_owned(),
    };
    page.field("state", &format!("{state}, since {since}, for {}", text::span_of(c.duration)));
    if c.bytes.is_some() {
        page.field("bytes", &bytes(c));
    }
    page.lines
}
