//! A report for people, before it is laid out: headings, sentences and tables.

use super::document::{Readiness, Report, Service};
use super::protection::{Counts, Protection};

/// One piece of a page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Block {
    Title(String),
    Heading(&'static str),
    Sentence(String),
    Table { header: &'static [&'static str], rows: Vec<Vec<String>> },
}

/// The page.
pub(super) fn outline(report: &Report) -> Vec<Block> {
    let mut page = vec![Block::Title(format!("tlsight report of {}", report.timestamp)), seen(report)];
    readiness(report, &mut page);
    mixed(report, &mut page);
    certificates(report, &mut page);
    algorithms(report, &mut page);
    findings(report, &mut page);
    limits(report, &mut page);
    page
}

fn seen(report: &Report) -> Block {
    let c = &report.connections;
    let Some(period) = &report.period else { return Block::Sentence("Nothing was seen.".to_owned()) };
    let mut text = format!(
        "Seen from {} to {}: {}",
        period.first_seen,
        period.last_seen,
        number(c.total, "connection", "connections")
    );
    if c.total > 0 {
        text.push_str(&format!(" ({})", kinds(&c.counts)));
    }
    text.push('.');
    for (n, what) in [
        (c.in_pod, "stayed inside a pod and do not count"),
        (c.without_role, "count nowhere, because it is not known who the client is"),
    ] {
        if n > 0 {
            text.push_str(&format!(" {n} more {what}."));
        }
    }
    Block::Sentence(text)
}

fn readiness(report: &Report, page: &mut Vec<Block>) {
    page.push(Block::Heading("Readiness for STRICT (mutual TLS only)"));
    let (outside, ours): (Vec<&Service>, Vec<&Service>) =
        report.services.iter().partition(|service| service.readiness == Readiness::NotApplicable);
    if ours.is_empty() {
        page.push(Block::Sentence("No service was seen.".to_owned()));
    } else {
        let row = |service: &&Service| {
            let readiness = service.readiness.words().to_owned();
            vec![
                readiness,
                called(service),
                kinds(&service.connections),
                why(service, report.min_connections),
            ]
        };
        page.push(Block::Table {
            header: &["Verdict", "Service", "Connections", "Why"],
            rows: ours.iter().map(row).collect(),
        });
    }
    let mut rows = Vec::new();
    for service in &ours {
        for caller in service.callers.iter().filter(|caller| caller.breaking_connections > 0) {
            let how = caller.breaks.iter().map(|word| words_of(word));
            let protocols = match caller.breaks.iter().any(|word| word == "plaintext") {
                true if !caller.protocols.is_empty() => format!(" ({})", caller.protocols.join(", ")),
                _ => String::new(),
            };
            rows.push(vec![
                service.name.to_string(),
                caller.name.to_string(),
                join(how) + &protocols,
                format!("{} of {}", caller.breaking_connections, caller.connections.total()),
                caller.last_breaking.clone().unwrap_or_default(),
            ]);
        }
        let others = service.other_callers.unwrap_or_default();
        let breaking = others.sum(Protection::breaks);
        if breaking > 0 {
            rows.push(vec![
                service.name.to_string(),
                "other callers".to_owned(),
                kinds(&others),
                format!("{breaking} of {}", others.total()),
                String::new(),
            ]);
        }
    }
    if !rows.is_empty() {
        page.push(Block::Sentence("These callers would be refused:".to_owned()));
        page.push(Block::Table {
            header: &["Service", "Caller", "How it calls", "Connections", "Last seen"],
            rows,
        });
    }
    if let Some(others) = &report.other_services {
        page.push(Block::Sentence(format!("Other services, not listed one by one: {}.", kinds(others))));
    }
    if !outside.is_empty() {
        let n = number(outside.len() as u64, "service", "services");
        page.push(Block::Sentence(format!("{n} outside: what they insist on is up to others.")));
    }
}

fn called(service: &Service) -> String {
    let names: Vec<&str> = service.dialled.iter().chain(&service.server_names).map(String::as_str).collect();
    match names.is_empty() {
        true => service.name.to_string(),
        false => format!("{} ({})", service.name, names.join(", ")),
    }
}

fn why(service: &Service, min_connections: u64) -> String {
    match service.readiness {
        Readiness::NotReady => {
            let callers = service.callers.iter().filter(|caller| caller.breaking_connections > 0).count();
            let more = service.other_callers.is_some_and(|others| others.sum(Protection::breaks) > 0);
            format!(
                "{}{} would be refused",
                number(callers as u64, "caller", "callers"),
                if more { " and others" } else { "" }
            )
        }
        Readiness::NotEnoughSeen => join(service.reasons.iter().map(|reason| match reason.as_str() {
            "few_connections" => format!("{} of {min_connections} with mutual TLS", service.connections.mtls),
            "client_identity_unknown" => {
                "of a caller it is not known whether it shows a certificate".to_owned()
            }
            _ => "of a caller nothing is proven".to_owned(),
        })),
        Readiness::Ready => format!("{} with mutual TLS, no other", service.connections.mtls),
        Readiness::NotApplicable => String::new(),
    }
}

fn mixed(report: &Report, page: &mut Vec<Block>) {
    page.push(Block::Heading("Services with mixed security"));
    let mixed = report.services.iter().filter(|service| !service.mixed_security.is_empty());
    let rows: Vec<Vec<String>> =
        mixed.map(|service| vec![called(service), kinds(&service.connections)]).collect();
    page.push(table(&["Service", "Connections"], rows, "None."));
}

fn certificates(report: &Report, page: &mut Vec<Block>) {
    page.push(Block::Heading("Certificates by days left"));
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    let rows = report.certificates.iter().map(|c| {
        vec![
            c.days_left.map_or_else(|| "?".to_owned(), |days| days.to_string()),
            text(&c.not_after),
            c.sides.join(", "),
            text(&c.subject),
            text(&c.issuer),
            text(&c.serial),
            c.shown_by.join(", "),
            c.sha256.clone(),
        ]
    });
    page.push(table(
        &["Days", "Not after", "Side", "Subject", "Issuer", "Serial", "Shown by", "SHA-256"],
        rows.collect(),
        "None was seen.",
    ));
}

fn algorithms(report: &Report, page: &mut Vec<Block>) {
    page.push(Block::Heading("Algorithms in use"));
    let a = &report.algorithms;
    let mut rows: Vec<Vec<String>> = Vec::new();
    let mut group = |kind: &str, unit: (&str, &str), used: &mut dyn Iterator<Item = (String, u64)>| {
        let used: Vec<(String, u64)> = used.collect();
        let total = used.iter().fold(0u64, |sum, (_, n)| sum.saturating_add(*n));
        for (name, n) in used {
            rows.push(vec![kind.to_owned(), name, number(n, unit.0, unit.1), share(n, total)]);
        }
    };
    const CONNECTIONS: (&str, &str) = ("connection", "connections");
    const CERTIFICATES: (&str, &str) = ("certificate", "certificates");
    group("protocol version", CONNECTIONS, &mut a.versions.iter().map(|u| (u.name.clone(), u.count)));
    group(
        "cipher suite",
        CONNECTIONS,
        &mut a.suites.iter().map(|u| (format!("{} ({})", u.suite.name, u.suite.version), u.count)),
    );
    group("group", CONNECTIONS, &mut a.groups.iter().map(|u| (u.name.clone(), u.count)));
    group("signature", CERTIFICATES, &mut a.signature_algorithms.iter().map(|u| (u.name.clone(), u.count)));
    group("key", CERTIFICATES, &mut a.keys.iter().map(|u| (u.name.clone(), u.count)));
    page.push(table(&["Kind", "Name", "Used in", "Share"], rows, "No TLS was seen."));
    let k = &a.key_exchange;
    let known = k.post_quantum.saturating_add(k.classical);
    if known > 0 {
        let mut text = format!(
            "Post-quantum key exchange: {} of {} ({}).",
            k.post_quantum,
            number(known, "connection", "connections"),
            share(k.post_quantum, known)
        );
        for (n, what) in [(k.pre_shared_key, "rest on a pre-shared key alone"), (k.unknown, "are not known")]
        {
            if n > 0 {
                text.push_str(&format!(" {n} more {what}."));
            }
        }
        page.push(Block::Sentence(text));
    }
}

fn findings(report: &Report, page: &mut Vec<Block>) {
    page.push(Block::Heading("Findings"));
    let severity = |severity: &Option<String>| severity.clone().unwrap_or_else(|| "own rule".to_owned());
    let rows = report.findings.iter().map(|finding| {
        vec![
            severity(&finding.severity),
            finding.rule.clone(),
            number(finding.connections, "connection", "connections"),
            finding.last_seen.clone(),
            finding.services.join(", "),
        ]
    });
    page.push(table(&["Severity", "Rule", "Seen in", "Last seen", "Services"], rows.collect(), "None."));
    let mut rows = Vec::new();
    for finding in &report.findings {
        for active in &finding.active {
            rows.push(vec![
                severity(&active.severity),
                finding.rule.clone(),
                active.last_seen.clone(),
                active.summary.clone().unwrap_or_else(|| active.about.clone()),
            ]);
        }
    }
    if !rows.is_empty() {
        page.push(Block::Sentence("These stand:".to_owned()));
        page.push(Block::Table { header: &["Severity", "Rule", "Last seen", "What"], rows });
    }
}

fn limits(report: &Report, page: &mut Vec<Block>) {
    let reached: Vec<Vec<String>> = report
        .limits
        .words()
        .into_iter()
        .filter(|(n, _)| *n > 0)
        .map(|(n, what)| vec![n.to_string(), what.to_owned()])
        .collect();
    if !reached.is_empty() {
        page.push(Block::Heading("Not everything is in this report"));
        page.push(Block::Table { header: &["Count", "What"], rows: reached });
    }
}

fn table(header: &'static [&'static str], rows: Vec<Vec<String>>, none: &str) -> Block {
    match rows.is_empty() {
        true => Block::Sentence(none.to_owned()),
        false => Block::Table { header, rows },
    }
}

/// `3 mutual TLS, 1 plaintext`
fn kinds(counts: &Counts) -> String {
    let some = Protection::ALL.into_iter().rev().filter(|p| counts.get(*p) > 0);
    join(some.map(|protection| format!("{} {}", counts.get(protection), protection.words())))
}

fn words_of(word: &str) -> String {
    let protection = Protection::ALL.into_iter().find(|p| p.as_str() == word);
    protection.map_or_else(|| word.to_owned(), |protection| protection.words().to_owned())
}

fn join(texts: impl Iterator<Item = String>) -> String {
    texts.collect::<Vec<_>>().join(", ")
}

fn number(n: u64, one: &str, more: &str) -> String {
    format!("{n} {}", if n == 1 { one } else { more })
}

fn share(n: u64, total: u64) -> String {
    format!("{:.1} %", n as f64 * 100.0 / total.max(1) as f64)
}
