//! Progress of long files, on standard error when somebody looks at it.

use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

/// Silence at first: most files are read before anybody wonders.
const DELAY: Duration = Duration::from_secs(1);
const INTERVAL: Duration = Duration::from_millis(200);

/// One line that is written over and over.
pub(super) struct Progress {
    name: String,
    total: Option<u64>,
    started: Instant,
    next: Duration,
    shown: bool,
    enabled: bool,
}

impl Progress {
    /// For a file of `total` bytes, where known. Not where the result goes to a terminal: that is progress enough.
    pub(super) fn new(name: &str, total: Option<u64>) -> Self {
        let enabled = io::stderr().is_terminal() && !io::stdout().is_terminal();
        Self { name: name.to_owned(), total, started: Instant::now(), next: DELAY, shown: false, enabled }
    }

    /// So many bytes were read.
    pub(super) fn at(&mut self, bytes: u64) {
        let elapsed = self.started.elapsed();
        if !self.enabled || elapsed < self.next {
            return;
        }
        self.next = elapsed + INTERVAL;
        self.shown = true;
        // Nothing depends on it.
        let _ = write!(io::stderr(), "\r\x1b[K{}", line(&self.name, bytes, self.total, elapsed));
    }

    /// Wipes the line.
    pub(super) fn done(&mut self) {
        if std::mem::take(&mut self.shown) {
            let _ = write!(io::stderr(), "\r\x1b[K");
        }
    }
}

fn line(name: &str, bytes: u64, total: Option<u64>, elapsed: Duration) -> String {
    let mib = |n: u64| n / (1024 * 1024);
    let rate = u64::try_from(u128::from(bytes) * 1000 / elapsed.as_millis().max(1)).unwrap_or(u64::MAX);
    match total.filter(|total| *total > 0) {
        Some(total) => format!(
            "{name}: {} % of {} MiB, {} MiB/s",
            bytes.min(total).saturating_mul(100) / total,
            mib(total),
            mib(rate)
        ),
        None => format!("{name}: {} MiB, {} MiB/s", mib(bytes), mib(rate)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_share_and_rate() {
        let mib = 1024 * 1024;
        assert_eq!(
            line("a", 50 * mib, Some(200 * mib), Duration::from_secs(2)),
            "a: 25 % of 200 MiB, 25 MiB/s"
        );
        assert_eq!(line("-", 50 * mib, None, Duration::from_secs(2)), "-: 50 MiB, 25 MiB/s");
        assert_eq!(line("a", 1, Some(0), Duration::ZERO), "a: 0 MiB, 0 MiB/s");
    }
}
