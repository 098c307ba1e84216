//! Ending on a signal even where the event loop cannot: it is stuck for as long as whoever reads the output does not read.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use std::{io, process, thread};

use tokio::signal::unix::{SignalKind, signal};
use tokio::time::sleep;

use crate::exit::{Exit, Failure};
use crate::export::outlet::Backlog;

/// What the event loop may take to finish after a signal, and whoever reads the output to read more of it.
const GRACE: Duration = Duration::from_secs(3);

/// What taking out one probe takes the kernel at most, as far as was measured.
const A_PROBE: Duration = Duration::from_millis(100);

/// What to say before the process ends when that will take long enough for people to wonder.
pub(super) fn farewell(probes: u64) -> Option<String> {
    let seconds = A_PROBE.saturating_mul(u32::try_from(probes).unwrap_or(u32::MAX)).as_secs();
    (seconds > 1).then(|| {
        format!("taking out {probes} probes, which may take the kernel {seconds} s; everything else is done")
    })
}

/// The event loop's word that it got through.
pub(super) struct Watchdog(Arc<AtomicBool>);

impl Watchdog {
    /// The output is finished. What is left is the kernel's to do, which takes probes out one by one when their descriptors
    /// are closed: 20 to 100 ms each, under one lock, so that threads do not help.
    pub(super) fn output_is_finished(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Starts the watchdog: after a signal that means "stop", the process ends with or without the event loop's help. BPF
/// programs go with their descriptors, so that ending at once leaves nothing behind. It waits for as long as somebody takes
/// more of `output`.
///
/// # Errors
/// When the thread cannot be started, or signals cannot be listened for.
pub(super) fn watchdog(output: Option<Backlog>) -> io::Result<Watchdog> {
    let finished = Arc::new(AtomicBool::new(false));
    let watched = Arc::clone(&finished);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (mut interrupt, mut terminate) = {
        let _inside = runtime.enter();
        (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?)
    };
    thread::Builder::new().name("stop".to_owned()).spawn(move || {
        runtime.block_on(async {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            let mut taken = output.as_ref().map(Backlog::taken);
            loop {
                // Whoever asks again does not want to wait.
                tokio::select! {
                    () = sleep(GRACE) => {}
                    _ = interrupt.recv() => break,
                    _ = terminate.recv() => break,
                }
                let before = std::mem::replace(&mut taken, output.as_ref().map(Backlog::taken));
                if watched.load(Ordering::Relaxed) || before == taken {
                    break;
                }
            }
        });
        if watched.load(Ordering::Relaxed) {
            return;
        }
        let stuck = Failure::new(Exit::OutputFailed, "finish the output", "nobody reads it");
        process::exit(i32::from(crate::cli::report(&stuck).code()));
    })?;
    Ok(Watchdog(finished))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_end_is_said_to_be_one() {
        assert_eq!(farewell(0), None);
        assert_eq!(farewell(19), None);
        let expected = "taking out 220 probes, which may take the kernel 22 s; everything else is done";
        assert_eq!(farewell(220).as_deref(), Some(expected));
    }
}
