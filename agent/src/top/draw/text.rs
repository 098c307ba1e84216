//! Numbers, times and names for people, and text as wide as it may be.

use agent_core::policy::finding::Severity;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use super::Tone;
use crate::export::text::visible;

/// Columns on the screen.
pub fn width(text: &str) -> usize {
    text.width()
}

/// The text, clean and no wider than that; `…` where something is cut off.
pub fn fit(text: &str, most: usize) -> String {
    let text = visible(text);
    if width(&text) <= most {
        return text.into_owned();
    }
    let (mut out, mut used) = (String::new(), 0);
    for c in text.chars() {
        let wide = c.width().unwrap_or_default();
        if used + wide + 1 > most {
            break;
        }
        used += wide;
        out.push(c);
    }
    if most > 0 {
        out.push('…');
    }
    out
}

/// Lines no wider than that, broken between words where possible; at most 40.
pub fn wrap(text: &str, most: usize) -> Vec<String> {
    let (text, most) = (visible(text), most.max(8));
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let mut rest = word;
        while let Some(last) = lines.last_mut() {
            let space = usize::from(!last.is_empty());
            if width(last) + space + width(rest) <= most {
                if space > 0 {
                    last.push(' ');
                }
                last.push_str(rest);
                break;
            }
            if width(rest) <= most {
                lines.push(String::new());
                continue;
            }
            // Longer than a line: cut where the line ends.
            let room = most.saturating_sub(width(last) + space);
            let mut used = 0;
            let end = rest.char_indices().find(|(_, c)| {
                used += c.width().unwrap_or_default();
                used > room
            });
            let (head, tail) = rest.split_at(end.map_or(rest.len(), |(at, _)| at));
            if !head.is_empty() && space > 0 {
                last.push(' ');
            }
            last.push_str(head);
            rest = tail;
            lines.push(String::new());
            if lines.len() > 40 {
                return lines;
            }
        }
    }
    lines
}

/// A count in at most six columns: `123456`, `1.2M`.
pub fn count(n: u64) -> String {
    match n {
        0..=999_999 => n.to_string(),
        1_000_000..=999_999_999 => scaled(n as f64 / 1e6, "M"),
        1_000_000_000..=999_999_999_999 => scaled(n as f64 / 1e9, "G"),
        _ => scaled(n as f64 / 1e12, "T"),
    }
}

fn scaled(n: f64, unit: &str) -> String {
    if n < 99.95 { format!("{n:.1}{unit}") } else { format!("{n:.0}{unit}") }
}

/// Per second: `0`, `0.3`, `12.5`, `1234`.
pub fn rate(n: f64) -> String {
    if n <= 0.0 {
        "0".to_owned()
    } else if n < 99.95 {
        format!("{n:.1}")
    } else if n < 99_999.5 {
        format!("{n:.0}")
    } else {
        scaled(n / 1e6, "M")
    }
}

/// Bytes: `17 B`, `1.5 KiB`.
pub fn bytes(n: f64) -> String {
    let mut n = n;
    for unit in ["B", "KiB", "MiB", "GiB"] {
        if n < 1023.95 {
            return if unit == "B" { format!("{n:.0} {unit}") } else { format!("{n:.1} {unit}") };
        }
        n /= 1024.0;
    }
    format!("{n:.1} TiB")
}

/// `1 connection`, `2 connections`.
pub fn plural(n: u64, what: &str) -> String {
    format!("{n} {what}{}", if n == 1 { "" } else { "s" })
}

/// How much of all: `37 %`; `<1 %` where it is not nothing.
pub fn share(part: u64, all: u64) -> String {
    match (part, all) {
        (0, _) | (_, 0) => "0 %".to_owned(),
        (part, all) if u128::from(part) * 100 < u128::from(all) => "<1 %".to_owned(),
        (part, all) if part >= all => "100 %".to_owned(),
        // Not all of them is less than all.
        (part, all) => {
            let (part, all) = (u128::from(part), u128::from(all));
            format!("{} %", ((part * 100 + all / 2) / all).clamp(1, 99))
        }
    }
}

/// How long, of nanoseconds, in at most five columns: `3s`, `5m`, `2h`, `4d`.
pub fn span_of(nanos: u64) -> String {
    let seconds = nanos / 1_000_000_000;
    match seconds {
        0..=99 => format!("{seconds}s"),
        100..=5_999 => format!("{}m", seconds / 60),
        6_000..=359_999 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    }
}

/// How long ago, of nanoseconds.
pub fn age(now: u64, then: u64) -> String {
    span_of(now.saturating_sub(then))
}

fn zoned(nanos: u64, zone: &TimeZone, format: &str) -> String {
    let at = Timestamp::from_nanosecond(i128::from(nanos)).map(|at| at.to_zoned(zone.clone()));
    at.map_or_else(|_| "?".to_owned(), |at| at.strftime(format).to_string())
}

/// Time of day.
pub fn clock(nanos: u64, zone: &TimeZone) -> String {
    zoned(nanos, zone, "%H:%M:%S")
}

/// Date and time of day.
pub fn moment(nanos: u64, zone: &TimeZone) -> String {
    zoned(nanos, zone, "%Y-%m-%d %H:%M:%S")
}

/// The day of a second of Unix time, in UTC as certificates have it.
pub fn day(seconds: i64) -> String {
    let at = Timestamp::from_second(seconds);
    at.map_or_else(|_| "?".to_owned(), |at| at.strftime("%Y-%m-%d").to_string())
}

/// A name without the folders of an executable; details have all of it.
pub fn short(name: &str) -> &str {
    if !name.starts_with('/') {
        return name;
    }
    // The path ends where words begin: `/usr/sbin/nginx in container 7d1c0c3e6f4b`.
    let end = name.find(" in container ").unwrap_or(name.len());
    let start = name.get(..end).and_then(|path| path.rfind('/')).map_or(0, |at| at + 1);
    name.get(start..).filter(|rest| !rest.is_empty()).unwrap_or(name)
}

/// The word for a verdict.
pub fn verdict(security: &str) -> &str {
    match security {
        "mtls" => "mutual TLS",
        "tls" => "TLS",
        other => other,
    }
}

/// How a verdict is meant.
pub fn verdict_tone(security: &str) -> Tone {
    match security {
        "plaintext" => Tone::Bad,
        "tls" => Tone::Warn,
        "mtls" => Tone::Good,
        _ => Tone::Dim,
    }
}

/// How a severity is meant.
pub const fn severity_tone(severity: Severity) -> Tone {
    match severity {
        Severity::Critical => Tone::Bad,
        Severity::Warning => Tone::Warn,
        Severity::Information => Tone::Dim,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_cut_by_what_it_takes_on_the_screen() {
        assert_eq!(fit("server.example", 14), "server.example");
        assert_eq!(fit("server.example", 8), "server.…");
        assert_eq!(fit("漢字漢字", 6), "漢字…");
        assert_eq!(fit("漢字漢字", 5), "漢字…");
        assert_eq!(fit("漢字", 2), "…");
        assert_eq!(fit("ab", 1), "…");
        assert_eq!(fit("ab", 0), "");
        assert_eq!(fit("a\x1b[31mb", 20), "a\\u{1b}[31mb");
    }

    #[test]
    fn words_are_kept_together_and_long_ones_are_broken() {
        assert_eq!(wrap("one two three", 8), ["one two", "three"]);
        assert_eq!(wrap("aaaaaaaaaaaaaaaaaaaa b", 8), ["aaaaaaaa", "aaaaaaaa", "aaaa b"]);
        assert_eq!(wrap("", 8), [""]);
        assert!(wrap(&"x".repeat(10_000), 8).len() <= 41);
    }

    #[test]
    fn numbers_stay_narrow() {
        let counts = [0, 999_999, 1_000_000, 123_456_789, u64::MAX].map(count);
        assert_eq!(counts, ["0", "999999", "1.0M", "123M", "18446744T"]);
        assert_eq!([0.0, 0.25, 12.5, 1234.4].map(rate), ["0", "0.2", "12.5", "1234"]);
        assert_eq!([0.0, 1023.0, 1536.0, 5e12].map(bytes), ["0 B", "1023 B", "1.5 KiB", "4.5 TiB"]);
        assert_eq!(
            [(0, 5), (1, 200), (3, 8), (199, 200), (5, 5)].map(|(n, all)| share(n, all)),
            ["0 %", "<1 %", "38 %", "99 %", "100 %"]
        );
        assert_eq!([5, 300, 7_000, 400_000].map(|s| span_of(s * 1_000_000_000)), ["5s", "5m", "1h", "4d"]);
    }

    #[test]
    fn executables_go_by_their_name() {
        assert_eq!(short("/usr/sbin/nginx:443"), "nginx:443");
        assert_eq!(short("/usr/sbin/nginx in container 7d1c/x"), "nginx in container 7d1c/x");
        assert_eq!(short("Deployment shop/web"), "Deployment shop/web");
        assert_eq!(short("/"), "/");
    }
}
