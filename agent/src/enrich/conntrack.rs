//! What became of a connection whose addresses were translated, by the kernel's own table (conntrack).
//!
//! A server's end shows the address that its client has after masquerading, and a client's end what it dialled and not who
//! answered. The node that translates knows both. Its table is read on a thread of its own, because whoever changes the
//! table holds the lock that reading takes. The thread mostly answers in some ten microseconds; the one who asks waits for
//! it at most [`PATIENCE`], and after it waited in vain not again for [`BREAK`].
//!
//! What stays unknown: translation by another node, by programs that do not use this table (eBPF, IPVS in its own way), and
//! in a network namespace that is neither the node's nor the server's own.

mod message;
mod tables;
#[cfg(test)]
mod tests;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::time::{Duration, Instant};

use agent_core::net::{ConnId, Endpoint, Side};

use self::message::Entry;
pub(super) use self::message::Flow;
use self::tables::Tables;
use super::process::NetworkNamespace;

/// Connections that are asked about at a time.
const QUEUE: usize = 1024;
/// How long an answer is waited for. On a busy machine it takes the thread some milliseconds to get a processor.
const PATIENCE: Duration = Duration::from_millis(10);
/// After an answer was waited for in vain, none is waited for so long: a fiftieth of the time is lost at most.
const BREAK: Duration = Duration::from_millis(500);
/// A table that was empty is asked again after this.
const EMPTY_FOR: Duration = Duration::from_secs(1);
/// A table that cannot be read is tried again after this.
const UNAVAILABLE_FOR: Duration = Duration::from_secs(60);

/// Whether there is anything to be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
enum State {
    InUse,
    Empty,
    Unavailable,
}

impl State {
    /// How long nothing is asked after an answer in this state.
    fn pause(self) -> Duration {
        match self {
            State::InUse => Duration::ZERO,
            State::Empty => EMPTY_FOR,
            State::Unavailable => UNAVAILABLE_FOR,
        }
    }

    fn of(number: u8) -> Self {
        match number {
            0 => State::InUse,
            1 => State::Empty,
            _ => State::Unavailable,
        }
    }
}

/// Where a connection is looked up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Node,
    /// The network namespace of this process.
    Owner {
        pid: u32,
        network: NetworkNamespace,
    },
}

/// A connection end that is asked about.
#[derive(Clone, Copy, Debug)]
pub(super) struct Question {
    pub(super) conn: ConnId,
    /// What the end sends.
    pub(super) flow: Flow,
    pub(super) side: Side,
    /// Its process, and the network namespace that it is in.
    pub(super) owner: Option<(u32, NetworkNamespace)>,
}

/// A connection whose addresses were translated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Translation {
    /// The client as it knows itself.
    pub(super) client: Endpoint,
    /// What it dialled.
    pub(super) dialled: Endpoint,
    /// Who answered.
    pub(super) answered: Endpoint,
    /// The client as the server sees it.
    pub(super) seen: Endpoint,
    /// A redirect within the server's own network namespace leads to it: into a sidecar.
    pub(super) is_redirected: bool,
    /// The namespace whose table has it.
    pub(super) network: NetworkNamespace,
}

/// What came of a question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Translated(Translation),
    /// It is in the table, and nothing is translated.
    Plain,
    /// It is in no table.
    NotFound,
    /// The table gave no answer.
    Failed,
}

/// The thread, and the way to it and back.
pub(super) struct Conntrack {
    questions: SyncSender<Question>,
    answers: Receiver<(ConnId, Outcome)>,
    state: Arc<AtomicU8>,
    /// Questions without an answer so far.
    pending: usize,
    /// When a question was asked last.
    asked: Option<Instant>,
    /// No answer is waited for before this.
    break_until: Option<Instant>,
}

/// Whether a question could be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    Yes,
    /// There is nothing in the table, or no table.
    Idle,
    /// Too many are asked already.
    Full,
}

impl Conntrack {
    /// Starts the thread; it ends when this is dropped.
    pub(super) fn start() -> io::Result<Self> {
        let mut tables = Tables::new();
        Self::with(move |question| {
            if tables.open().is_err() {
                return (Outcome::Failed, tables.state());
            }
            let outcome = walk(question, |place, flow| tables.get(place, flow)).unwrap_or_else(|_| {
                tables.close();
                Outcome::Failed
            });
            (outcome, tables.state())
        })
    }

    /// One that is told what to answer.
    #[cfg(test)]
    pub(super) fn answering(mut answer: impl FnMut(&Question) -> Outcome + Send + 'static) -> Self {
        Self::with(move |question| (answer(question), State::InUse)).expect("a thread")
    }

    fn with(mut answer: impl FnMut(&Question) -> (Outcome, State) + Send + 'static) -> io::Result<Self> {
        let (questions, asked) = sync_channel::<Question>(QUEUE);
        // As many as can be waiting, so that the thread never waits for the one who asks.
        let (say, answers) = sync_channel(2 * QUEUE);
        let state = Arc::new(AtomicU8::new(State::InUse as u8));
        let shared = Arc::clone(&state);
        std::thread::Builder::new().name("tlsight-nat".to_owned()).spawn(move || {
            while let Ok(question) = asked.recv() {
                let (outcome, now) = answer(&question);
                shared.store(now as u8, Ordering::Relaxed);
                if say.send((question.conn, outcome)).is_err() {
                    return;
                }
            }
        })?;
        Ok(Self { questions, answers, state, pending: 0, asked: None, break_until: None })
    }

    /// Asks about a connection end. Does not wait.
    pub(super) fn ask(&mut self, question: Question) -> Asked {
        let pause = State::of(self.state.load(Ordering::Relaxed)).pause();
        if !pause.is_zero() && self.asked.is_some_and(|at| at.elapsed() < pause) {
            return Asked::Idle;
        }
        if self.pending >= QUEUE {
            return Asked::Full;
        }
        match self.questions.try_send(question) {
            Ok(()) => {
                self.pending += 1;
                if !pause.is_zero() {
                    self.asked = Some(Instant::now());
                }
                Asked::Yes
            }
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => Asked::Full,
        }
    }

    /// Questions that have no answer yet.
    pub(super) fn pending(&self) -> usize {
        self.pending
    }

    /// An answer, if there is one.
    pub(super) fn poll(&mut self) -> Option<(ConnId, Outcome)> {
        if self.pending == 0 {
            return None;
        }
        let answer = self.answers.try_recv().ok()?;
        self.pending -= 1;
        Some(answer)
    }

    /// Until when answers are waited for; `None` where they are not.
    pub(super) fn patience(&self) -> Option<Instant> {
        let now = Instant::now();
        let is_on = self.break_until.is_none_or(|until| until <= now);
        (self.pending > 0 && is_on).then(|| now + PATIENCE)
    }

    /// The next answer; `None` when there is none by then.
    pub(super) fn wait(&mut self, until: Instant) -> Option<(ConnId, Outcome)> {
        match self.answers.recv_timeout(until.saturating_duration_since(Instant::now())) {
            Ok(answer) => {
                self.pending = self.pending.saturating_sub(1);
                Some(answer)
            }
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                self.break_until = Some(Instant::now() + BREAK);
                None
            }
        }
    }
}

/// Follows a connection from one of its ends through the tables: a server's in a pod may be behind a redirect of the pod's
/// own, and that behind what the node translates.
fn walk(
    question: &Question,
    mut get: impl FnMut(Place, Flow) -> io::Result<Option<(Entry, NetworkNamespace)>>,
) -> io::Result<Outcome> {
    let flow = question.flow;
    let found = get(Place::Node, flow)?;
    let translation = match (question.side, found) {
        (Side::Client, Some((entry, network))) if entry.original == flow => Translation {
            client: flow.from,
            dialled: flow.to,
            answered: entry.reply.from,
            seen: entry.reply.to,
            is_redirected: false,
            network,
        },
        (Side::Server, Some((entry, network))) if entry.reply == flow => Translation {
            client: entry.original.from,
            dialled: entry.original.to,
            answered: flow.from,
            seen: flow.to,
            is_redirected: false,
            network,
        },
        (Side::Server, None) => {
            let Some((pid, network)) = question.owner else { return Ok(Outcome::NotFound) };
            // Another namespace may be gone, or out of reach: that is no reason to give up on the node's.
            let within = get(Place::Owner { pid, network }, flow).ok().flatten();
            let Some((within, network)) = within.filter(|(entry, _)| entry.reply == flow) else {
                return Ok(Outcome::NotFound);
            };
            let outside = within.original.reverse();
            let found = get(Place::Node, outside)?.filter(|(entry, _)| entry.reply == outside);
            let (original, network) =
                found.map_or((within.original, network), |(entry, network)| (entry.original, network));
            Translation {
                client: original.from,
                dialled: original.to,
                answered: flow.from,
                seen: flow.to,
                is_redirected: true,
                network,
            }
        }
        (_, Some(_)) | (Side::Client, None) => return Ok(Outcome::NotFound),
    };
    let is_plain = translation.client == translation.seen && translation.dialled == translation.answered;
    Ok(if is_plain { Outcome::Plain } else { Outcome::Translated(translation) })
}

/// How many connections the table of this network namespace has; for `tlsight check`.
///
/// # Errors
/// `NotFound` where the kernel does not follow connections, so that it translates no addresses either; else why the table
/// cannot be read.
pub(crate) fn check() -> io::Result<u32> {
    let mut tables = Tables::new();
    tables.open()?;
    tables.count()
}

/// The parser of the kernel's answers, for the fuzz target `netlink`.
#[cfg(fuzzing)]
pub(super) fn fuzz(bytes: &[u8]) {
    let _ = message::answer(bytes, 7);
}
