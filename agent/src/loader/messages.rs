//! What the BPF programs have to say in words: rare conditions, for the person at the terminal.

use std::io::{self, Write};
use std::sync::atomic::{AtomicU32, Ordering};

use aya::Ebpf;
use aya_log::EbpfLogger;
use log::{LevelFilter, Log, Metadata, Record};

/// Lines printed; the rest is in the counters anyway.
const MAX_LINES: u32 = 10;

/// Prints messages to standard error, up to a bound.
#[derive(Debug, Default)]
struct Printer {
    lines: AtomicU32,
}

impl Log for Printer {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= LevelFilter::Warn
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let line = self.lines.fetch_add(1, Ordering::Relaxed);
        let more =
            if line + 1 == MAX_LINES { " (further messages of the kernel side are left out)" } else { "" };
        if line < MAX_LINES {
            // Nobody is left to tell when standard error is gone too.
            let _ = writeln!(io::stderr(), "tlsight: {}{more}", record.args());
        }
    }

    fn flush(&self) {}
}

/// Reads the programs' messages.
pub(super) struct Messages(Option<EbpfLogger<Printer>>);

impl Messages {
    /// From a loaded object; without messages where it has none.
    pub(super) fn new(ebpf: &mut Ebpf) -> Self {
        Self(EbpfLogger::init_with_logger(ebpf, Printer::default()).ok())
    }

    /// Prints what has come since the last time.
    pub(super) fn print(&mut self) {
        if let Some(logger) = &mut self.0 {
            logger.flush();
        }
    }
}
