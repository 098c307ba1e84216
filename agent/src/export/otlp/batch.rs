//! From a queue to the collector, batch by batch. One request of a signal is under way at a time: while the collector takes
//! its time, records wait in the queue, and when that is full they are dropped where they come from.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout_at};

use super::counters::{SignalCounters, add, count};
use super::options::Queue;
use super::queue::Receiver;
use super::trouble::Trouble;

/// Bytes of attributes at which a batch goes, however few records it has: collectors take 4 MiB over gRPC, unless they are
/// told otherwise.
const MAX_BYTES: usize = 1 << 20;
/// How much longer than the exporter's own patience a request may take before it is given up from outside.
const GRACE: Duration = Duration::from_millis(500);

/// What a signal does with records.
pub(super) trait Signal {
    /// What comes out of the queue.
    type Record;
    /// What is sent.
    type Item;

    /// Takes a record.
    fn take(&mut self, record: Self::Record, now: Instant, batch: &mut Batch<Self::Item>);
    /// When something that waits here is due.
    fn due(&self) -> Option<Instant>;
    /// Lets go what is due; all of it with no time given.
    fn release(&mut self, now: Option<Instant>, batch: &mut Batch<Self::Item>);
    /// Sends.
    async fn export(&self, items: Vec<Self::Item>) -> Result<(), String>;
    /// What is counted.
    fn counters(&self) -> &SignalCounters;
}

/// What is sent together.
#[derive(Debug)]
pub(super) struct Batch<T> {
    items: Vec<T>,
    bytes: usize,
    /// When the first of them came.
    since: Option<Instant>,
}

impl<T> Batch<T> {
    const fn new() -> Self {
        Self { items: Vec::new(), bytes: 0, since: None }
    }

    /// Adds one of so many bytes.
    pub(super) fn push(&mut self, item: T, bytes: usize, now: Instant) {
        self.items.push(item);
        self.bytes += bytes;
        self.since.get_or_insert(now);
    }

    const fn is_full(&self, max: usize) -> bool {
        self.items.len() >= max || self.bytes >= MAX_BYTES
    }
}

/// Everything that a signal's task knows.
pub(super) struct Task<S: Signal> {
    pub(super) signal: S,
    pub(super) queue: Receiver<S::Record>,
    pub(super) settings: Queue,
    /// Time that the exporter itself gives a request.
    pub(super) timeout: Duration,
    /// When everything has to be over, once that is known.
    pub(super) stop: watch::Receiver<Option<Instant>>,
    pub(super) trouble: Trouble,
}

impl<S: Signal> Task<S> {
    /// Sends until it is told to stop, and then what is left, until the deadline.
    pub(super) async fn run(mut self) {
        let mut batch = Batch::new();
        let deadline = loop {
            let stop = *self.stop.borrow();
            if let Some(deadline) = stop {
                break deadline;
            }
            let full = batch.since.map(|since| since + self.settings.delay);
            let wake = [full, self.signal.due()].into_iter().flatten().min();
            let asleep = async {
                match wake {
                    Some(at) => sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                changed = self.stop.changed() => if changed.is_err() {
                    // Nobody is left to say when: now.
                    break Instant::now();
                },
                taken = self.queue.next(), if !batch.is_full(self.settings.max_batch) => match taken {
                    Some((record, _)) => self.signal.take(record, Instant::now(), &mut batch),
                    // The sink is gone; the handle will say when to stop.
                    None => {
                        if self.stop.changed().await.is_err() {
                            break Instant::now();
                        }
                    }
                },
                () = asleep => {}
            }
            let now = Instant::now();
            self.signal.release(Some(now), &mut batch);
            let is_due = batch.since.is_some_and(|since| since + self.settings.delay <= now);
            if is_due || batch.is_full(self.settings.max_batch) {
                self.export(&mut batch).await;
            }
        };
        self.finish(batch, deadline).await;
    }

    async fn export(&mut self, batch: &mut Batch<S::Item>) {
        let patience = Instant::now() + self.timeout.min(self.settings.export_timeout) + GRACE;
        let mut stop = self.stop.clone();
        // The end of the agent may come in the middle of a request.
        let cut = async {
            match stop.wait_for(Option::is_some).await {
                Ok(deadline) => deadline.unwrap_or_else(Instant::now),
                Err(_) => Instant::now(),
            }
        };
        let cut = async {
            let deadline = cut.await;
            sleep_until(deadline).await;
        };
        let items = std::mem::take(&mut batch.items);
        (batch.bytes, batch.since) = (0, None);
        let n = items.len();
        let counters = self.signal.counters();
        let rejected = rejected_now(counters);
        count(&counters.requests);
        let result = tokio::select! {
            result = timeout_at(patience, self.signal.export(items)) => {
                result.unwrap_or_else(|_| Err("no answer in time".to_owned()))
            }
            () = cut => Err("the agent ends".to_owned()),
        };
        match result {
            Ok(()) => {
                let rejected = rejected_now(counters).saturating_sub(rejected);
                add(&counters.exported, n.saturating_sub(usize::try_from(rejected).unwrap_or(n)));
            }
            Err(_) => add(&counters.failed, n),
        }
        self.trouble.note(result.err().as_deref(), n);
    }

    /// What waits, as far as there is time.
    async fn finish(mut self, mut batch: Batch<S::Item>, deadline: Instant) {
        self.queue.close();
        loop {
            while !batch.is_full(self.settings.max_batch)
                && let Some((record, _)) = self.queue.next_waiting()
            {
                self.signal.take(record, Instant::now(), &mut batch);
            }
            if !batch.is_full(self.settings.max_batch) {
                self.signal.release(None, &mut batch);
            }
            if batch.items.is_empty() {
                return;
            }
            if Instant::now() >= deadline {
                break;
            }
            self.export(&mut batch).await;
        }
        let mut left = batch.items.len();
        while self.queue.next_waiting().is_some() {
            left += 1;
        }
        add(&self.signal.counters().dropped_shutdown, left);
    }
}

fn rejected_now(counters: &SignalCounters) -> u64 {
    counters.rejected.load(std::sync::atomic::Ordering::Relaxed)
}
