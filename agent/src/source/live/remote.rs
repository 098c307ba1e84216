//! What other threads may ask of the running loop: how it is doing, to change something, to stop.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use crate::loader::ProgramCost;
use crate::pipeline::Pipeline;

/// Requests that wait for the loop.
const QUEUE: usize = 16;

/// How far the loop has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Stage {
    /// Programs and probes are being attached.
    Starting,
    /// Every new connection of the host is seen.
    Watching,
    /// It was told to stop, or has failed.
    Stopping,
}

impl Stage {
    /// `starting`, `watching` or `stopping`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Stage::Starting => "starting",
            Stage::Watching => "watching",
            Stage::Stopping => "stopping",
        }
    }
}

/// How the capture is doing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Health {
    /// Every counter by its name: `kernel.data_events_lost`, `engine.connections` ...
    pub counters: Vec<(String, u64)>,
    /// Connection ends that are open as far as the engine knows. Absent where the loop did not answer.
    pub connections_open: Option<u64>,
    /// What the programs cost the kernel; none while it does not count that.
    pub programs: Vec<ProgramCost>,
}

/// What the loop is asked.
pub(super) enum Request {
    Health(oneshot::Sender<Health>),
    Change(Box<dyn FnOnce(&mut Pipeline) + Send>),
    Stop,
}

/// The loop has no time, or is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the capture does not answer")]
pub struct NoAnswer;

/// Asks.
#[derive(Clone, Debug)]
pub struct Remote {
    requests: mpsc::Sender<Request>,
    stage: Arc<AtomicU8>,
}

/// What the loop holds of it.
#[derive(Debug)]
pub struct Attendance {
    pub(super) requests: mpsc::Receiver<Request>,
    stage: Arc<AtomicU8>,
}

/// Both ends.
pub fn remote() -> (Remote, Attendance) {
    let (to, requests) = mpsc::channel(QUEUE);
    let stage = Arc::new(AtomicU8::new(Stage::Starting as u8));
    (Remote { requests: to, stage: Arc::clone(&stage) }, Attendance { requests, stage })
}

impl Remote {
    /// How far the loop has come.
    pub fn stage(&self) -> Stage {
        match self.stage.load(Ordering::Acquire) {
            0 => Stage::Starting,
            1 => Stage::Watching,
            _ => Stage::Stopping,
        }
    }

    /// How the capture is doing.
    ///
    /// # Errors
    /// When there is no answer for that long.
    pub async fn health(&self, patience: Duration) -> Result<Health, NoAnswer> {
        let (to, from) = oneshot::channel();
        let asked = async {
            self.requests.send(Request::Health(to)).await.map_err(|_| NoAnswer)?;
            from.await.map_err(|_| NoAnswer)
        };
        timeout(patience, asked).await.unwrap_or(Err(NoAnswer))
    }

    /// Changes something, when the loop comes to it.
    ///
    /// # Errors
    /// When the loop is gone.
    pub async fn change(&self, change: impl FnOnce(&mut Pipeline) + Send + 'static) -> Result<(), NoAnswer> {
        self.requests.send(Request::Change(Box::new(change))).await.map_err(|_| NoAnswer)
    }

    /// Tells the loop to stop; it was gone already if it cannot be told.
    pub async fn stop(&self) {
        let _ = self.requests.send(Request::Stop).await;
    }
}

impl Attendance {
    pub(super) fn reach(&self, stage: Stage) {
        self.stage.store(stage as u8, Ordering::Release);
    }
}

impl Drop for Attendance {
    fn drop(&mut self) {
        self.reach(Stage::Stopping);
    }
}

impl std::fmt::Debug for Request {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Request::Health(_) => "Health",
            Request::Change(_) => "Change",
            Request::Stop => "Stop",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_loop_that_is_gone_has_stopped_and_does_not_answer() {
        let (remote, attendance) = remote();
        assert_eq!(remote.stage(), Stage::Starting);
        attendance.reach(Stage::Watching);
        assert_eq!(remote.stage(), Stage::Watching);
        assert_eq!(remote.health(Duration::from_millis(1)).await, Err(NoAnswer));
        drop(attendance);
        assert_eq!(remote.stage(), Stage::Stopping);
        assert_eq!(remote.health(Duration::from_secs(60)).await, Err(NoAnswer));
        assert_eq!(remote.change(|_| {}).await, Err(NoAnswer));
        remote.stop().await;
    }
}
