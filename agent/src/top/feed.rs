//! From the pipeline to the thread that keeps the model. The pipeline never waits: what does not fit is dropped and counted.

use std::io;
use std::sync::mpsc::{SyncSender, TrySendError};

use agent_core::identity::{Party, Sighting};
use agent_core::observation::{Observation, ProcessCertificates};
use agent_core::policy::judge;
use agent_core::time::Timestamp;

use super::keeper::Message;
use super::record::{ConnectionRecord, Record};
use crate::judging::{Judged, JudgedProcess};
use crate::pipeline::Sink;

/// Records that are handed over at once, and the most that are held while the other side does not take them.
const BATCH: usize = 256;
const MAX_HELD: usize = 4096;

/// A sink that hands records over in batches.
#[derive(Debug)]
pub struct TopFeed {
    to: SyncSender<Message>,
    records: Vec<Record>,
    dropped: u64,
}

impl TopFeed {
    pub(super) fn new(to: SyncSender<Message>) -> Self {
        Self { to, records: Vec::new(), dropped: 0 }
    }

    fn record(&mut self, record: impl FnOnce() -> Option<Record>) -> io::Result<()> {
        if self.records.len() >= MAX_HELD {
            self.dropped += 1;
        } else {
            self.records.extend(record());
        }
        if self.records.len() >= BATCH { self.hand_over() } else { Ok(()) }
    }

    fn hand_over(&mut self) -> io::Result<()> {
        if self.records.is_empty() && self.dropped == 0 {
            return Ok(());
        }
        let message = Message::Records { records: std::mem::take(&mut self.records), dropped: self.dropped };
        match self.to.try_send(message) {
            Ok(()) => self.dropped = 0,
            // Kept for the next time.
            Err(TrySendError::Full(Message::Records { records, .. })) => self.records = records,
            // The thread is gone with whoever drew: nobody will ask any more.
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {}
        }
        Ok(())
    }
}

impl Sink for TopFeed {
    fn name(&self) -> &str {
        "the view"
    }

    fn observation(&mut self, observation: &Observation) -> io::Result<()> {
        let (local, peer) = (Party::default(), Party::default());
        self.sighting(&Sighting { observation: observation.clone(), local, peer, scope: None })
    }

    fn sighting(&mut self, sighting: &Sighting) -> io::Result<()> {
        self.record(|| Some(Record::Connection(Box::new(ConnectionRecord::sighting(sighting)))))
    }

    fn judged(&mut self, judged: &Judged<'_>) -> io::Result<()> {
        self.record(|| Some(Record::Connection(Box::new(ConnectionRecord::judged(judged)))))
    }

    fn process_certificates(&mut self, certificates: &ProcessCertificates) -> io::Result<()> {
        self.record(|| Record::process(certificates))
    }

    fn judged_process(&mut self, judged: &JudgedProcess<'_>) -> io::Result<()> {
        self.record(|| Record::judged_process(judged))
    }

    fn finding(&mut self, news: &judge::Output, _now: Timestamp) -> io::Result<()> {
        self.record(|| Some(Record::news(news)))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.hand_over()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::sync_channel;

    use super::*;
    use crate::export::sample;

    #[test]
    fn what_the_view_cannot_keep_up_with_is_dropped_and_counted() {
        let (to, from) = sync_channel(1);
        let mut feed = TopFeed::new(to);
        // Nobody takes anything: one batch fits the queue, a bounded amount is held.
        for _ in 0..20_000 {
            feed.observation(&sample::everything()).expect("fed");
        }
        let (mut taken, mut lost) = (0, 0);
        loop {
            feed.flush().expect("flushed");
            match from.try_recv() {
                Ok(Message::Records { records, dropped }) => {
                    taken += records.len();
                    lost += dropped;
                }
                _ => break,
            }
        }
        assert_eq!((taken, lost), (BATCH + MAX_HELD, 20_000 - (BATCH + MAX_HELD) as u64));
    }

    #[test]
    fn the_pipeline_goes_on_when_nobody_draws_any_more() {
        let (to, from) = sync_channel(1);
        drop(from);
        let mut feed = TopFeed::new(to);
        feed.observation(&sample::plaintext()).expect("fed");
        feed.flush().expect("flushed");
    }
}
