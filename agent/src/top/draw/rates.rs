//! Live rates, sums, and every counter that says what is missing.

use super::services::Page;
use super::{Line, Tone, line, text};
use crate::top::snapshot::Snapshot;

/// The page.
pub fn lines(snapshot: &Snapshot, width: usize) -> Vec<Line> {
    let mut page = Page { lines: Vec::new(), width };
    let (r, t) = (&snapshot.rates, &snapshot.totals);
    let most = snapshot.history.iter().copied().max().unwrap_or_default();
    page.heading(&format!(
        "NEW CONNECTIONS PER SECOND, LAST MINUTE: {} now, {most} at most",
        text::rate(r.connections)
    ));
    for row in chart(&snapshot.history, most) {
        page.indented(line(row, Tone::Plain));
    }
    page.blank();
    page.heading("VERDICT          PER SECOND        SUM   SHARE");
    let all = t.counts.total();
    for (word, rate, n, tone) in [
        ("plaintext", r.plaintext, t.counts.plaintext, Tone::Bad),
        ("TLS", r.tls, t.counts.tls, Tone::Warn),
        ("mutual TLS", r.mtls, t.counts.mtls, Tone::Good),
        ("unknown", r.unknown, t.counts.unknown, Tone::Dim),
        ("all", r.connections, all, Tone::Plain),
    ] {
        let bar = "█".repeat(bar(n, all, width.saturating_sub(50).min(50)));
        let text = format!(
            "{word:<13} {:>11} {:>10} {:>7}  {bar}",
            text::rate(rate),
            text::count(n),
            text::share(n, all)
        );
        page.indented(line(text, tone));
    }
    page.blank();
    page.heading("HANDSHAKES       PER SECOND        SUM");
    for (word, rate, n) in [
        ("completed", Some(r.handshakes), t.handshakes),
        ("failed", Some(r.failures), t.handshakes_failed),
        ("resumed", None, t.resumed),
    ] {
        let rate = rate.map(text::rate).unwrap_or_default();
        page.indented(line(format!("{word:<13} {rate:>11} {:>10}", text::count(n)), Tone::Plain));
    }
    page.blank();
    page.heading("OTHER");
    page.field(
        "bytes",
        &format!(
            "{} per second, {} in all; counted when a connection ends",
            text::bytes(r.bytes),
            text::bytes(t.bytes as f64)
        ),
    );
    page.field("open now", &t.open.to_string());
    page.field("inside pods", &format!("{}; they count nowhere else", t.in_pod));
    page.field("no role", &format!("{}: which end is the client is not known", t.without_role));
    page.field("certificates", &format!("{} were replaced by others", t.certificates_replaced));
    page.blank();
    losses(&mut page, snapshot);
    page.lines
}

fn losses(page: &mut Page, snapshot: &Snapshot) {
    page.heading("LOST, AND LEFT OUT AT A BOUND");
    let cut = snapshot.limits.words();
    let reached: Vec<_> = cut.iter().filter(|(_, n, _)| *n > 0).collect();
    if reached.is_empty() && snapshot.losses.is_empty() {
        page.indented(line("nothing", Tone::Good));
    }
    for loss in &snapshot.losses {
        page.toned(&loss.count.to_string(), &loss.name, Tone::Bad);
    }
    for (_, n, words) in reached {
        page.toned(&n.to_string(), words, Tone::Warn);
    }
}

/// Columns of a bar.
fn bar(n: u64, all: u64, most: usize) -> usize {
    let columns = u128::from(n) * most as u128 / u128::from(all.max(1));
    usize::try_from(columns).unwrap_or(most).min(most).max(usize::from(n > 0 && most > 0))
}

/// Four rows, a column for each second.
fn chart(history: &[u64], most: u64) -> Vec<String> {
    const LEVELS: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    const ROWS: u64 = 4;
    let height = |n: u64| {
        let eighths = u128::from(n) * u128::from(ROWS * 8) / u128::from(most.max(1));
        u64::try_from(eighths).unwrap_or_default().max(u64::from(n > 0))
    };
    let rows = (0..ROWS).rev().map(|row| {
        let cells = history.iter().map(|n| {
            let level = height(*n).saturating_sub(row * 8).min(8);
            usize::try_from(level).ok().and_then(|level| LEVELS.get(level)).copied().unwrap_or(' ')
        });
        let label = if row == ROWS - 1 {
            text::count(most)
        } else if row == 0 {
            "0".to_owned()
        } else {
            String::new()
        };
        format!("{label:>6} │{}", cells.collect::<String>())
    });
    rows.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tallest_second_fills_the_chart_and_little_is_not_nothing() {
        let rows = chart(&[0, 1, 50, 100], 100);
        assert_eq!(rows, ["   100 │   █", "       │   █", "       │  ██", "     0 │ ▁██"]);
        assert_eq!((bar(1, 1_000_000, 20), bar(5, 10, 20), bar(0, 0, 20), bar(1, 1, 0)), (1, 10, 0, 0));
    }
}
