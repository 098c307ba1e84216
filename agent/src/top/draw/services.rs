//! Services: how each is protected, by whom it is called, and whether that is what is expected.

use std::cmp::Ordering;

use agent_core::policy::finding::Severity;

use super::table::{self, Column};
use super::{Context, Line, Tone, line, span, text};
use crate::top::model::service_name;
use crate::top::snapshot::{Caller, Certificate, Service, Snapshot};

/// What a service is called and where it is.
pub fn name(service: &Service) -> String {
    service_name(&service.name, service.port)
}

/// The columns of the list.
pub const COLUMNS: &[Column<Service>] = &[
    Column {
        title: "SERVICE",
        width: 18,
        grow: 3,
        is_right: false,
        rank: 0,
        cell: |s, _| (text::short(&name(s)).to_owned(), Tone::Plain),
        order: Some(|a, b| text::short(&a.name).cmp(text::short(&b.name)).then(a.port.cmp(&b.port))),
    },
    Column {
        title: "PLAINTEXT",
        width: 10,
        grow: 0,
        is_right: true,
        rank: 0,
        cell: |s, _| counted(s.counts.plaintext, Tone::Bad),
        order: Some(|a, b| b.counts.plaintext.cmp(&a.counts.plaintext)),
    },
    Column {
        title: "TLS",
        width: 6,
        grow: 0,
        is_right: true,
        rank: 0,
        cell: |s, _| counted(s.counts.tls, Tone::Warn),
        order: Some(|a, b| b.counts.tls.cmp(&a.counts.tls)),
    },
    Column {
        title: "MTLS",
        width: 6,
        grow: 0,
        is_right: true,
        rank: 0,
        cell: |s, _| counted(s.counts.mtls, Tone::Good),
        order: Some(|a, b| b.counts.mtls.cmp(&a.counts.mtls)),
    },
    Column {
        title: "UNKNOWN",
        width: 8,
        grow: 0,
        is_right: true,
        rank: 0,
        cell: |s, _| counted(s.counts.unknown, Tone::Dim),
        order: Some(|a, b| b.counts.unknown.cmp(&a.counts.unknown)),
    },
    Column {
        title: "NEW/S",
        width: 6,
        grow: 0,
        is_right: true,
        rank: 1,
        cell: |s, _| (text::rate(s.rate), Tone::Plain),
        order: Some(|a, b| b.rate.total_cmp(&a.rate)),
    },
    Column {
        title: "OPEN",
        width: 5,
        grow: 0,
        is_right: true,
        rank: 4,
        cell: |s, _| (text::count(s.open), Tone::Plain),
        order: Some(|a, b| b.open.cmp(&a.open)),
    },
    Column {
        title: "CALLERS",
        width: 8,
        grow: 0,
        is_right: true,
        rank: 3,
        cell: |s, _| (s.callers.len().to_string(), Tone::Plain),
        order: Some(|a, b| b.callers.len().cmp(&a.callers.len())),
    },
    Column {
        title: "EXPECTED",
        width: 10,
        grow: 0,
        is_right: false,
        rank: 1,
        cell: |s, _| expected(s),
        order: Some(|a, b| unmet(b).cmp(&unmet(a))),
    },
    Column {
        title: "FINDING",
        width: 8,
        grow: 0,
        is_right: false,
        rank: 1,
        cell: |s, _| match s.worst {
            Some(Severity::Information) => ("info".to_owned(), Tone::Dim),
            Some(severity) => (severity.as_str().to_owned(), text::severity_tone(severity)),
            None => ("-".to_owned(), Tone::Dim),
        },
        order: Some(worst_first),
    },
    Column {
        title: "LAST",
        width: 5,
        grow: 0,
        is_right: true,
        rank: 5,
        cell: |s, context| (text::age(context.now, s.last), Tone::Plain),
        order: Some(|a, b| b.last.cmp(&a.last)),
    },
    Column {
        title: "HOW",
        width: 14,
        grow: 1,
        is_right: false,
        rank: 6,
        cell: |s, _| ([s.versions.as_slice(), s.protocols.as_slice()].concat().join(", "), Tone::Plain),
        order: None,
    },
    Column {
        title: "ASKED FOR AS",
        width: 16,
        grow: 2,
        is_right: false,
        rank: 7,
        cell: |s, _| (s.server_names.join(", "), Tone::Plain),
        order: None,
    },
    Column {
        title: "CALLED BY",
        width: 16,
        grow: 3,
        is_right: false,
        rank: 8,
        cell: |s, _| (called_by(s), Tone::Plain),
        order: None,
    },
];

/// The column that rows are sorted by at first: what is worst comes first.
pub const SORT: &str = "FINDING";

fn counted(n: u64, tone: Tone) -> (String, Tone) {
    (text::count(n), if n == 0 { Tone::Dim } else { tone })
}

fn unmet(service: &Service) -> Option<(u64, u64)> {
    service.expectation.as_ref().map(|expectation| (expectation.unmet, expectation.met))
}

fn worst_first(a: &Service, b: &Service) -> Ordering {
    let key = |s: &Service| (s.worst, unmet(s).map(|(unmet, _)| unmet), s.counts.plaintext, s.counts.total());
    key(b).cmp(&key(a))
}

fn called_by(service: &Service) -> String {
    let mut callers: Vec<&Caller> = service.callers.iter().collect();
    callers.sort_by(|a, b| b.counts.total().cmp(&a.counts.total()).then(a.name.cmp(&b.name)));
    let mut names: Vec<&str> = Vec::new();
    for caller in callers {
        let name = text::short(&caller.name);
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names.truncate(8);
    names.join(", ")
}

/// What policy expects, and whether it is so: `strict NO`.
fn expected(service: &Service) -> (String, Tone) {
    let Some(expectation) = &service.expectation else { return ("-".to_owned(), Tone::Dim) };
    let mode = expectation.mode.as_str();
    if matches!(mode, "permissive" | "disable") {
        // Anything meets it.
        return (mode.to_owned(), Tone::Plain);
    }
    match (expectation.unmet, expectation.unproven, expectation.met) {
        (1.., _, _) => (format!("{mode} NO"), Tone::Bad),
        (0, _, 1..) => (format!("{mode} yes"), Tone::Good),
        (0, _, 0) => (format!("{mode} ?"), Tone::Dim),
    }
}

/// Everything about one service.
pub fn detail(service: &Service, snapshot: &Snapshot, width: usize, context: &Context) -> Vec<Line> {
    let mut page = Page { lines: Vec::new(), width };
    page.heading(&name(service));
    let c = &service.counts;
    page.field(
        "connections",
        &format!(
            "{}: {} plaintext, {} TLS, {} mutual TLS, {} unknown; {} open, {} new per second",
            c.total(),
            c.plaintext,
            c.tls,
            c.mtls,
            c.unknown,
            service.open,
            text::rate(service.rate)
        ),
    );
    if service.failed > 0 {
        page.field("handshakes", &format!("{} failed", service.failed));
    }
    page.field("bytes", &format!("{} in connections that are over", text::bytes(service.bytes as f64)));
    match &service.expectation {
        Some(e) => {
            let all = text::plural(e.met.saturating_add(e.unmet).saturating_add(e.unproven), "connection");
            let mut verdict = match (e.unmet, e.met, e.mode.as_str()) {
                (_, _, "permissive" | "disable") => format!("{}: anything meets it", e.mode),
                (0, 0, _) => format!("{}: it cannot be told whether it is met", e.mode),
                (0, met, _) => format!("{}: met by {met} of {all}", e.mode),
                (bad, ..) => format!("{}: NOT met by {bad} of {all}", e.mode),
            };
            if e.unproven > 0 {
                verdict.push_str(&format!("; of {} it cannot be told", e.unproven));
            }
            page.toned("expected", &verdict, if e.unmet > 0 { Tone::Bad } else { Tone::Plain });
            page.field("says", &e.source);
        }
        None => page.field("expected", "no policy speaks of it"),
    }
    page.list("reached at", &service.endpoints);
    page.list("asked for as", &service.server_names);
    page.list("protocols", &service.protocols);
    page.list("TLS versions", &service.versions);
    page.list("ciphers", &service.ciphers);
    page.list("groups", &service.groups);
    page.list("scope", &service.scopes);
    let zone = &context.zone;
    page.field(
        "seen",
        &format!("{} to {}", text::moment(service.first, zone), text::moment(service.last, zone)),
    );
    page.blank();
    callers(&mut page, service, context);
    page.blank();
    let shown: Vec<&Certificate> =
        snapshot.certificates.iter().filter(|c| service.certificates.contains(&c.sha256)).collect();
    page.heading(&format!("CERTIFICATES ({})", shown.len()));
    for certificate in shown {
        let (state, tone) = super::certificates::state(certificate, context);
        let subject = super::certificates::subject(certificate);
        page.toned(
            &super::certificates::days_text(certificate, context),
            &format!("{state}: {subject}"),
            tone,
        );
    }
    page.blank();
    page.heading(&format!("FINDINGS ({})", service.findings.len()));
    for finding in service.findings.iter().filter_map(|place| snapshot.findings.get(*place)) {
        let what = format!("{}: {}", finding.rule, finding.summary);
        page.toned(finding.severity.as_str(), &what, text::severity_tone(finding.severity));
    }
    page.lines
}

const CALLERS: &[Column<Caller>] = &[
    Column {
        title: "CALLER",
        width: 16,
        grow: 2,
        is_right: false,
        rank: 0,
        cell: |c, _| (c.name.clone(), Tone::Plain),
        order: None,
    },
    Column {
        title: "PLAINTEXT",
        width: 9,
        grow: 0,
        is_right: true,
        rank: 0,
        cell: |c, _| counted(c.counts.plaintext, Tone::Bad),
        order: None,
    },
    Column {
        title: "TLS",
        width: 6,
        grow: 0,
        is_right: true,
        rank: 0,
        cell: |c, _| counted(c.counts.tls, Tone::Warn),
        order: None,
    },
    Column {
        title: "MTLS",
        width: 6,
        grow: 0,
        is_right: true,
        rank: 0,
        cell: |c, _| counted(c.counts.mtls, Tone::Good),
        order: None,
    },
    Column {
        title: "UNKNOWN",
        width: 7,
        grow: 0,
        is_right: true,
        rank: 0,
        cell: |c, _| counted(c.counts.unknown, Tone::Dim),
        order: None,
    },
    Column {
        title: "OPEN",
        width: 5,
        grow: 0,
        is_right: true,
        rank: 2,
        cell: |c, _| (text::count(c.open), Tone::Plain),
        order: None,
    },
    Column {
        title: "UNMET",
        width: 5,
        grow: 0,
        is_right: true,
        rank: 3,
        cell: |c, _| counted(c.unmet, Tone::Bad),
        order: None,
    },
    Column {
        title: "LAST",
        width: 5,
        grow: 0,
        is_right: true,
        rank: 1,
        cell: |c, context| (text::age(context.now, c.last), Tone::Plain),
        order: None,
    },
    Column {
        title: "HOW",
        width: 8,
        grow: 2,
        is_right: false,
        rank: 1,
        cell: |c, _| {
            let cipher = c.cipher.as_ref().map(|cipher| format!(" {cipher}")).unwrap_or_default();
            (format!("{}{cipher}", c.versions.join(", ")), Tone::Plain)
        },
        order: None,
    },
];

fn callers(page: &mut Page, service: &Service, context: &Context) {
    let more = match service.callers_forgotten {
        0 => String::new(),
        n => format!(", {n} forgotten to make room"),
    };
    page.heading(&format!("CALLERS ({}{more})", service.callers.len()));
    let layout = table::layout(CALLERS, page.width.saturating_sub(2));
    page.indented(table::heading(CALLERS, &layout, None));
    let mut callers: Vec<&Caller> = service.callers.iter().collect();
    // Those that break the expectation first, then those that talk least protected.
    callers.sort_by(|a, b| {
        let key = |c: &Caller| (c.unmet, c.counts.plaintext, c.counts.tls, c.last);
        key(b).cmp(&key(a)).then(a.name.cmp(&b.name))
    });
    for caller in &callers {
        // Two programs of one name are told apart by their paths.
        let is_other = |other: &&&Caller| text::short(&other.name) == text::short(&caller.name);
        let is_only = callers.iter().filter(is_other).count() == 1;
        let name = if is_only { text::short(&caller.name) } else { &caller.name };
        let named = Caller { name: name.to_owned(), ..(*caller).clone() };
        page.indented(table::row(CALLERS, &layout, &named, context));
    }
}

/// Lines of details, one under the other.
pub(super) struct Page {
    pub(super) lines: Vec<Line>,
    pub(super) width: usize,
}

/// Columns of the names of fields.
const LABEL: usize = 14;

impl Page {
    pub(super) fn heading(&mut self, heading: &str) {
        self.lines.push(line(text::fit(heading, self.width), Tone::Strong));
    }

    pub(super) fn blank(&mut self) {
        self.lines.push(Line::new());
    }

    pub(super) fn field(&mut self, label: &str, value: &str) {
        self.toned(label, value, Tone::Plain);
    }

    pub(super) fn maybe(&mut self, label: &str, value: Option<&str>) {
        if let Some(value) = value {
            self.field(label, value);
        }
    }

    pub(super) fn list(&mut self, label: &str, values: &[String]) {
        if !values.is_empty() {
            self.field(label, &values.join(", "));
        }
    }

    pub(super) fn toned(&mut self, label: &str, value: &str, tone: Tone) {
        let lines = text::wrap(value, self.width.saturating_sub(LABEL + 2));
        for (n, value) in lines.iter().enumerate() {
            let mut label = span(if n == 0 { text::fit(label, LABEL - 1) } else { String::new() }, Tone::Dim);
            label.width = LABEL;
            self.indented(vec![label, span(value, tone)]);
        }
    }

    pub(super) fn indented(&mut self, mut line: Line) {
        line.insert(0, span("  ", Tone::Plain));
        self.lines.push(line);
    }
}
