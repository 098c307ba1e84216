//! From the pipeline to the thread that keeps the model. The pipeline never waits: what does not fit is dropped and counted.

use std::io;
use std::sync::mpsc::{SyncSender, TrySendError};

use agent_core::identity::Sighting;
use agent_core::observation::{Observation, ProcessCertificates};
use agent_core::policy::judge;
use agent_core::time::Timestamp;

use super::server::Message;
use crate::export::fields;
use crate::judging::{Judged, JudgedProcess};
use crate::pipeline::Sink;
use crate::report::line::{Line, Told};
use crate::top::feed::TopFeed;

/// Lines that are handed over at once, and the most that are held while the other side does not take them. A line takes some
/// three kilobytes.
const BATCH: usize = 32;
const MAX_HELD: usize = 512;

/// A sink that hands lines over in batches.
#[derive(Debug)]
pub struct FeedSink {
    to: SyncSender<Message>,
    lines: Vec<Line>,
    dropped: u64,
    /// The same for `tlsight top`.
    top: TopFeed,
}

impl FeedSink {
    pub(super) fn new(to: SyncSender<Message>, top: TopFeed) -> Self {
        Self { to, lines: Vec::new(), dropped: 0, top }
    }

    fn line(&mut self, tell: impl FnOnce(&mut Told) -> io::Result<()>) -> io::Result<()> {
        let line = if self.lines.len() < MAX_HELD { Line::told(tell).ok() } else { None };
        match line {
            Some(line) => self.lines.push(line),
            None => self.dropped += 1,
        }
        if self.lines.len() >= BATCH { self.hand_over() } else { Ok(()) }
    }

    fn hand_over(&mut self) -> io::Result<()> {
        if self.lines.is_empty() && self.dropped == 0 {
            return Ok(());
        }
        let message = Message::Lines { lines: std::mem::take(&mut self.lines), dropped: self.dropped };
        match self.to.try_send(message) {
            Ok(()) => self.dropped = 0,
            // Kept for the next time.
            Err(TrySendError::Full(Message::Lines { lines, .. })) => self.lines = lines,
            // The thread is gone with the server: nobody will ask any more.
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {}
        }
        Ok(())
    }
}

impl Sink for FeedSink {
    fn name(&self) -> &str {
        "the report"
    }

    fn observation(&mut self, observation: &Observation) -> io::Result<()> {
        self.top.observation(observation)?;
        self.line(|line| fields::observation(line, observation, None))
    }

    fn sighting(&mut self, sighting: &Sighting) -> io::Result<()> {
        self.top.sighting(sighting)?;
        self.line(|line| fields::sighting(line, sighting))
    }

    fn judged(&mut self, judged: &Judged<'_>) -> io::Result<()> {
        self.top.judged(judged)?;
        self.line(|line| fields::judged(line, judged))
    }

    fn process_certificates(&mut self, certificates: &ProcessCertificates) -> io::Result<()> {
        self.top.process_certificates(certificates)?;
        self.line(|line| fields::process_certificates(line, certificates))
    }

    fn judged_process(&mut self, judged: &JudgedProcess<'_>) -> io::Result<()> {
        self.top.judged_process(judged)?;
        self.line(|line| fields::judged_process(line, judged))
    }

    fn finding(&mut self, news: &judge::Output, now: Timestamp) -> io::Result<()> {
        self.top.finding(news, now)?;
        self.line(|line| fields::news(line, news, now))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.top.flush()?;
        self.hand_over()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_cannot_be_told_counts_as_dropped() {
        let (to, from) = std::sync::mpsc::sync_channel(1);
        let (top, _asker) = crate::top::keeper::start(Default::default()).expect("a thread");
        let mut feed = FeedSink::new(to, top);
        feed.line(|line| fields::Fields::text(line, "tls.resumed", "perhaps")).expect("the pipeline goes on");
        feed.flush().expect("flushed");
        let message = from.try_recv();
        assert!(
            matches!(&message, Ok(Message::Lines { lines, dropped: 1 }) if lines.is_empty()),
            "{message:?}"
        );
    }
}
