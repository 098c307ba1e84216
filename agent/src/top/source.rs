//! Where snapshots come from, asked once a second by a thread of its own: the screen answers keys meanwhile.

use std::path::PathBuf;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel, sync_channel};
use std::thread;
use std::time::Duration;

use super::keeper::Asker;
use super::snapshot::Snapshot;
use crate::exit::{Exit, Failure};
use crate::report::socket::client;

/// How often it asks.
const INTERVAL: Duration = Duration::from_secs(1);

/// Who makes snapshots.
#[derive(Clone, Debug)]
pub enum Source {
    /// This process captures.
    Own(Asker),
    /// A running agent, at this socket.
    Agent(PathBuf),
}

impl Source {
    /// Asks now.
    ///
    /// # Errors
    /// [`Failure`] when there is no answer.
    pub fn snapshot(&self) -> Result<Snapshot, Failure> {
        match self {
            Source::Own(asker) => {
                let gone = || Failure::new(Exit::Failure, "ask for what was seen", "the capture is over");
                asker.snapshot().ok_or_else(gone)
            }
            Source::Agent(path) => client::top(path),
        }
    }

    /// For people.
    pub fn words(&self) -> String {
        match self {
            Source::Own(_) => "own capture".to_owned(),
            Source::Agent(path) => format!("agent at {}", path.display()),
        }
    }
}

/// Asks until it is dropped.
#[derive(Debug)]
pub struct Poller {
    answers: Receiver<Result<Snapshot, Failure>>,
    _stop: Sender<()>,
}

impl Poller {
    /// Starts to ask.
    ///
    /// # Errors
    /// [`Failure`] when the thread cannot be started.
    pub fn start(source: Source) -> Result<Self, Failure> {
        let (to, answers) = sync_channel(1);
        let (stop, stopped) = channel();
        let ask = move || {
            // Waits for whoever draws; ends with him.
            while to.send(source.snapshot()).is_ok()
                && stopped.recv_timeout(INTERVAL) == Err(RecvTimeoutError::Timeout)
            {}
        };
        thread::Builder::new()
            .name("poll".to_owned())
            .spawn(ask)
            .map_err(|error| Failure::new(Exit::Failure, "start the thread that asks for news", error))?;
        Ok(Self { answers, _stop: stop })
    }

    /// An answer that has come since the last time.
    pub fn poll(&self) -> Option<Result<Snapshot, Failure>> {
        self.answers.try_recv().ok()
    }
}
