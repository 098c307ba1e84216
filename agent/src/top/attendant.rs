//! Between the running capture and the view: says when it watches and what it lost, and ends it.

use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::sleep;

use super::keeper::Asker;
use crate::exit::{Exit, Failure};
use crate::source::live::{Remote, Stage};

/// How often it looks how far the capture has come, while it starts.
const LOOK: Duration = Duration::from_millis(50);
/// How often it asks for counters, and how long the answer may take.
const EVERY: Duration = Duration::from_secs(1);
const PATIENCE: Duration = Duration::from_secs(5);

/// Of a capture in this process. Dropping it ends the capture.
#[derive(Debug)]
pub struct Attendant {
    watching: Receiver<()>,
    _stop: oneshot::Sender<()>,
}

impl Attendant {
    /// Begins to attend.
    ///
    /// # Errors
    /// [`Failure`] when the thread cannot be started.
    pub fn start(remote: Remote, asker: Asker) -> Result<Self, Failure> {
        let cannot =
            |e: std::io::Error| Failure::new(Exit::Failure, "start the thread that attends the capture", e);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(cannot)?;
        let (stop, stopped) = oneshot::channel();
        let (to, watching) = channel();
        let attend = move || {
            runtime.block_on(async {
                let told = async {
                    if is_watching(&remote).await && to.send(()).is_ok() {
                        follow(&remote, &asker).await;
                    }
                };
                tokio::select! {
                    // Nobody shows anything any more.
                    _ = stopped => remote.stop().await,
                    () = told => {}
                }
            });
        };
        thread::Builder::new().name("attendant".to_owned()).spawn(attend).map_err(cannot)?;
        Ok(Self { watching, _stop: stop })
    }

    /// Waits until the capture watches; false when it cannot.
    pub fn wait(&self) -> bool {
        self.watching.recv().is_ok()
    }
}

/// Tells a view what a running capture loses, from a thread of its own, until the capture is over.
///
/// # Errors
/// [`Failure`] when the thread cannot be started.
pub fn tell_losses(remote: Remote, asker: Asker) -> Result<(), Failure> {
    let cannot = |e: std::io::Error| Failure::new(Exit::Failure, "start the thread that tells of losses", e);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(cannot)?;
    let tell = move || runtime.block_on(follow(&remote, &asker));
    thread::Builder::new().name("losses".to_owned()).spawn(tell).map(drop).map_err(cannot)
}

async fn is_watching(remote: &Remote) -> bool {
    while remote.stage() == Stage::Starting {
        sleep(LOOK).await;
    }
    remote.stage() == Stage::Watching
}

/// Tells what is lost, once a second, until the capture is over.
async fn follow(remote: &Remote, asker: &Asker) {
    while remote.stage() != Stage::Stopping {
        // A capture that has no time now has some later.
        if let Ok(health) = remote.health(PATIENCE).await {
            let losses = health.counters.into_iter().filter(|(name, n)| *n > 0 && is_loss(name));
            asker.tell_losses(losses.collect());
        }
        sleep(EVERY).await;
    }
}

/// Whether a counter says that something is not in the picture. Cuts that verdicts do not need, and caches that forget, are
/// none.
fn is_loss(name: &str) -> bool {
    ["_lost", "_dropped", "_table_full", "_not_understood", "_over_bound", ".refused"]
        .iter()
        .any(|end| name.ends_with(end))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::live::remote;
    use crate::top::keeper;

    #[test]
    fn losses_are_told_from_what_merely_happens() {
        let losses = [
            "kernel.data_lost",
            "kernel.connection_table_full",
            "probe.files_over_bound",
            "findings.refused",
        ];
        for name in losses {
            assert!(is_loss(name), "{name}");
        }
        for name in ["kernel.raw_cut", "trust.chains_evicted", "engine.connections", "findings.raised"] {
            assert!(!is_loss(name), "{name}");
        }
    }

    #[test]
    fn a_capture_that_never_watches_is_not_waited_for() {
        let (_feed, asker) = keeper::start(Default::default()).expect("a thread");
        let (remote, attendance) = remote();
        let attendant = Attendant::start(remote, asker).expect("a thread");
        drop(attendance);
        assert!(!attendant.wait());
    }
}
