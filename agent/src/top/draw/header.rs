//! The lines above every view: who is asked, sums and rates, and what was lost.

use agent_core::policy::finding::Severity;

use super::{Context, Line, Tone, line, span, text};
use crate::top::snapshot::Snapshot;

/// The title, the sums, the rates; and, where something was lost, a line that says so.
pub fn lines(
    snapshot: &Snapshot,
    source: &str,
    flags: &[String],
    width: usize,
    context: &Context,
) -> Vec<Line> {
    let mut lines = vec![title(snapshot, source, flags, width, context), sums(snapshot), rates(snapshot)];
    let lost = lost(snapshot);
    if !lost.is_empty() {
        lines.push(line(text::fit(&format!("LOST: {}", lost.join("; ")), width), Tone::Bad));
    }
    lines
}

fn title(snapshot: &Snapshot, source: &str, flags: &[String], width: usize, context: &Context) -> Line {
    let since = text::age(snapshot.now, snapshot.since);
    let time = text::clock(snapshot.now, &context.zone);
    let mut right: Line = Vec::new();
    for flag in flags {
        right.push(span(format!("[{flag}] "), Tone::Warn));
    }
    right.push(span(format!("{time}, counting for {since}"), Tone::Plain));
    let taken: usize = right.iter().map(|span| span.width).sum();
    let mut left = vec![span("tlsight top ", Tone::Strong)];
    let room = width.saturating_sub(taken + 12 + 1);
    let mut who = span(text::fit(source, room), Tone::Dim);
    who.width = room + 1;
    left.push(who);
    left.extend(right);
    left
}

fn sums(snapshot: &Snapshot) -> Line {
    let (c, t) = (&snapshot.totals.counts, &snapshot.totals);
    let all = c.total();
    let mut out =
        vec![span(format!("{} connections, {} open:", text::count(all), text::count(t.open)), Tone::Plain)];
    for (n, word, tone) in [
        (c.plaintext, "plaintext", Tone::Bad),
        (c.tls, "TLS", Tone::Warn),
        (c.mtls, "mutual TLS", Tone::Good),
        (c.unknown, "unknown", Tone::Dim),
    ] {
        let tone = if n == 0 { Tone::Dim } else { tone };
        let comma = if word == "unknown" { "" } else { "," };
        out.push(span(format!(" {} {word}{comma}", text::share(n, all)), tone));
    }
    out
}

/// What counts most stands first: a narrow screen cuts the rest.
fn rates(snapshot: &Snapshot) -> Line {
    let r = &snapshot.rates;
    let of = |severity| snapshot.findings.iter().filter(|f| f.severity == severity).count();
    let (critical, warning) = (of(Severity::Critical), of(Severity::Warning));
    let failed =
        if r.failures > 0.0 { format!(" ({} failed)", text::rate(r.failures)) } else { String::new() };
    vec![
        span("Findings: ", Tone::Plain),
        span(format!("{critical} critical"), if critical > 0 { Tone::Bad } else { Tone::Dim }),
        span(", ", Tone::Plain),
        span(format!("{warning} warning"), if warning > 0 { Tone::Warn } else { Tone::Dim }),
        span(
            format!(
                "; per s: {} new, {} handshakes{failed}, {}",
                text::rate(r.connections),
                text::rate(r.handshakes),
                text::bytes(r.bytes)
            ),
            Tone::Plain,
        ),
    ]
}

/// What was lost, in words; nothing when all went well.
pub fn lost(snapshot: &Snapshot) -> Vec<String> {
    let dropped = snapshot.limits.records_dropped;
    let own = (dropped > 0).then(|| format!("{dropped} sightings (this view did not keep up)"));
    let others = snapshot.losses.iter().map(|loss| format!("{} {}", loss.count, loss.name));
    own.into_iter().chain(others).collect()
}
