//! The thread that keeps the model: takes records, answers with snapshots.

use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use agent_core::time::Timestamp;

use super::feed::TopFeed;
use super::model::Model;
use super::model::limits::Limits;
use super::record::Record;
use super::snapshot::Snapshot;
use crate::exit::{Exit, Failure};

/// Batches of records that wait for the model.
const QUEUE: usize = 64;
/// How long a snapshot may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// What the thread is told.
#[derive(Debug)]
pub enum Message {
    /// Records, and how many were dropped before them.
    Records {
        /// The records.
        records: Vec<Record>,
        /// Dropped.
        dropped: u64,
    },
    /// Counters of what is lost elsewhere, as they are now.
    Losses(Vec<(String, u64)>),
    /// Somebody wants to draw; the snapshot goes there.
    Ask(SyncSender<Snapshot>),
}

/// Asks the thread; it ends when the feed and everybody who asks are gone.
#[derive(Clone, Debug)]
pub struct Asker {
    to: SyncSender<Message>,
}

/// Starts the thread: what the feed is given is what snapshots are made of.
///
/// # Errors
/// [`Failure`] when the thread cannot be started.
pub fn start(limits: Limits) -> Result<(TopFeed, Asker), Failure> {
    let (to, from) = sync_channel(QUEUE);
    let model = Model::new(limits, now());
    thread::Builder::new()
        .name("top".to_owned())
        .spawn(move || keep(model, &from))
        .map_err(|error| Failure::new(Exit::Failure, "start the thread that counts for the view", error))?;
    Ok((TopFeed::new(to.clone()), Asker { to }))
}

/// The time of day.
pub(super) fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
}

impl Asker {
    /// Everything that is shown, as of now; `None` when the thread is gone, or takes too long.
    pub fn snapshot(&self) -> Option<Snapshot> {
        let (to, from) = sync_channel(1);
        self.to.send(Message::Ask(to)).ok()?;
        from.recv_timeout(PATIENCE).ok()
    }

    /// Tells what is lost elsewhere: counters by name, in place of those told before. Never waits; what does not fit is
    /// told the next time.
    pub fn tell_losses(&self, losses: Vec<(String, u64)>) -> bool {
        match self.to.try_send(Message::Losses(losses)) {
            Ok(()) => true,
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => false,
        }
    }
}

fn keep(mut model: Model, from: &Receiver<Message>) {
    let mut losses = Vec::new();
    while let Ok(message) = from.recv() {
        match message {
            Message::Records { records, dropped } => {
                model.dropped(dropped);
                let now = now();
                for record in records {
                    model.take(record, now);
                }
            }
            Message::Losses(told) => losses = told,
            // Who went away wants no answer.
            Message::Ask(to) => drop(to.try_send(model.snapshot(now(), &losses))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::export::sample;
    use crate::pipeline::Sink;

    #[test]
    fn answers_with_what_it_was_fed() {
        let (mut feed, asker) = start(Limits::default()).expect("a thread");
        feed.observation(&sample::plaintext()).expect("fed");
        feed.flush().expect("flushed");
        assert!(asker.tell_losses(vec![
            ("kernel.data_events_lost".to_owned(), 3),
            ("kernel.raw_bytes_cut".to_owned(), 0)
        ]));
        let snapshot = asker.snapshot().expect("an answer");
        assert_eq!((snapshot.totals.counts.plaintext, snapshot.services.len()), (1, 1));
        let losses: Vec<_> = snapshot.losses.iter().map(|loss| (loss.name.as_str(), loss.count)).collect();
        assert_eq!(losses, [("kernel.data_events_lost", 3)]);
    }
}
