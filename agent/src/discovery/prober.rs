//! The thread that follows processes and owns the probes.

use std::collections::HashSet;
use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::mpsc as std_mpsc;
use std::time::{Duration, Instant};
use std::{mem, thread};

use tokio::sync::mpsc::{self, Receiver, Sender};

use super::counters::{Counter, Counters};
use super::events::Events;
use super::files::{Attach, FileStatus, Files, Sighting};
use super::maps;
use super::names::{Named, Names, Sought};
use super::record::{Mapping, ProcessEvent};
use super::resolve;
use super::retire::Retiring;
use super::{FileKey, Options};
use crate::libraries;
use crate::loader::Uprobes;

/// How often processes with a TLS library are compared with what procfs says: no event tells that a file was unmapped
/// (dlclose), or written to.
const RECONCILE: Duration = Duration::from_secs(30);
/// How often processes are listed where there are no events.
const POLL: Duration = Duration::from_secs(1);
/// How often all of them are looked at anew there.
const POLL_ALL: Duration = Duration::from_secs(10);
/// Least time between two looks into the event buffers, so that many short-lived processes do not wake this thread for every
/// file they map. Short against the time from loading a library to the first handshake.
const PAUSE: Duration = Duration::from_millis(2);
/// How long the first scan is waited for: a file on a file system that hangs must not keep the
/// rest of the agent from working.
const PATIENCE: Duration = Duration::from_secs(10);
/// Requests waiting.
const MAX_COMMANDS: usize = 1024;

/// How processes are followed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mode {
    /// By events of the kernel.
    Events,
    /// By listing them every second, because events are refused for this reason.
    Polling(String),
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Mode::Events => write!(f, "processes are followed by events"),
            Mode::Polling(cause) => write!(
                f,
                "perf events are not available ({cause}); lost without them: TLS 1.3 certificates of the first second of \
                 a program that nobody ran before, and of programs that run for less"
            ),
        }
    }
}

/// What the prober is asked to do.
pub(super) enum Command {
    /// Say how things are.
    Status(std_mpsc::SyncSender<Status>),
    /// A process speaks TLS 1.3 and no certificate came.
    Unseen(u32),
    /// A search for a name is over.
    Named(FileKey, Option<Named>),
    /// End, and take the probes out.
    Stop,
    /// End, and leave the probes to the end of the process; say so when nothing is being put in or taken out any more.
    Leave(std_mpsc::SyncSender<()>),
}

/// How things are.
#[derive(Clone, Debug)]
pub struct Status {
    /// Files with a TLS library that are in use, probed or not.
    pub files: Vec<FileStatus>,
    /// Executables whose processes speak TLS by a library that cannot be probed.
    pub named: Vec<Named>,
    /// Processes that map a file with probes.
    pub processes: usize,
}

/// Keeps probes in the files of TLS libraries that processes map, for as long as it lives.
pub struct Prober {
    commands: Sender<Command>,
    counters: Arc<Counters>,
    mode: Mode,
    first_scan: std_mpsc::Receiver<()>,
}

impl Prober {
    /// Starts it. The files that processes map now are probed once [`wait_until_ready`](Self::wait_until_ready) returns.
    ///
    /// # Errors
    /// When the thread or its event loop cannot be started.
    pub fn start(uprobes: Uprobes, options: Options) -> io::Result<Self> {
        let counters = Arc::new(Counters::new());
        let uprobes = Retiring::new(uprobes)?;
        let halt = uprobes.halt();
        let (commands, receiver) = mpsc::channel(MAX_COMMANDS);
        let (ready_tx, ready) = std_mpsc::sync_channel(1);
        let (first_tx, first_scan) = std_mpsc::sync_channel(1);
        let (counted, sender) = (Arc::clone(&counters), commands.clone());
        thread::Builder::new().name("prober".to_owned()).spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let runtime = match runtime {
                Ok(runtime) => runtime,
                Err(e) => {
                    let _ = ready_tx.send(Err(e));
                    return;
                }
            };
            runtime.block_on(async {
                let (events, mode) = match Events::open() {
                    Ok(events) => (Some(events), Mode::Events),
                    Err(e) => (None, Mode::Polling(e.to_string())),
                };
                let _ = ready_tx.send(Ok(mode));
                let files = Files::new(uprobes, libraries::inspect, options, Arc::clone(&counted));
                let names = Names::new(libraries::name_unprobed);
                let mut worker = Worker { files, names, counters: counted, listed: HashSet::new() };
                worker.rescan(Instant::now());
                worker.files.publish();
                let _ = first_tx.send(());
                if let Some(left) = worker.run(events, receiver, &sender).await {
                    halt.wait();
                    mem::forget(worker);
                    // Whoever asked may have given up waiting.
                    let _ = left.try_send(());
                }
            });
        })?;
        let mode = match ready.recv() {
            Ok(mode) => mode?,
            Err(_) => return Err(io::Error::other("the prober ended at once")),
        };
        Ok(Self { commands, counters, mode, first_scan })
    }

    /// How processes are followed.
    pub fn mode(&self) -> &Mode {
        &self.mode
    }

    /// Waits until the files that processes map now are probed; false when that takes too long, in which case it goes on.
    pub fn wait_until_ready(&mut self) -> bool {
        self.first_scan.recv_timeout(PATIENCE).is_ok()
    }

    /// A process made a full TLS 1.3 handshake and no certificate of its peer came from a probe: names the library of its
    /// executable, where that can be told.
    pub fn report_unseen(&self, pid: u32) {
        if self.commands.try_send(Command::Unseen(pid)).is_err() {
            self.counters.add(Counter::NamesOverBound, 1);
        }
    }

    /// How things are; `None` when the prober is too busy to say.
    pub fn status(&self) -> Option<Status> {
        let (tx, rx) = std_mpsc::sync_channel(1);
        self.commands.try_send(Command::Status(tx)).ok()?;
        rx.recv_timeout(PATIENCE).ok()
    }

    /// Ends the thread where the process is about to end, and leaves the probes to that: their descriptors are closed by then.
    /// A thread that takes one out while the process ends is killed, and the kernel (6.18 `uprobe_unregister_nosync`) cannot
    /// finish for a task that is: it logs that it leaks the probe. Waits for the one that is being put in or taken out.
    pub fn leave(self) {
        let (tx, rx) = std_mpsc::sync_channel(1);
        if self.commands.try_send(Command::Leave(tx)).is_ok() {
            let _ = rx.recv_timeout(PATIENCE);
        }
    }

    /// Places with probes now.
    pub fn points(&self) -> u64 {
        self.counters.get(Counter::PointsAttached)
    }

    /// What was lost, for the person at the terminal.
    pub fn losses(&self) -> Vec<String> {
        const LOSSES: [(Counter, &str); 6] = [
            (Counter::AttachRefused, "TLS libraries not probed: the kernel refused"),
            (Counter::ProbedOverBound, "TLS libraries not probed: as many are probed as may be"),
            (Counter::FilesOverBound, "TLS libraries not probed: as many are in use as may be known"),
            (
                Counter::ProcessesOverBound,
                "processes not followed: as many use TLS libraries as may be known",
            ),
            (
                Counter::FullProcesses,
                "processes with TLS libraries not probed: as many of one process are probed as may be",
            ),
            (Counter::TooLarge, "files not searched for TLS libraries: too large to look through"),
        ];
        let told = LOSSES.iter().map(|(counter, text)| (self.counters.get(*counter), text));
        told.filter(|(n, _)| *n > 0).map(|(n, text)| format!("{n} {text}")).collect()
    }

    /// Every counter by name.
    pub fn counters(&self) -> impl Iterator<Item = (String, u64)> + use<> {
        self.counters.named().into_iter()
    }
}

impl Drop for Prober {
    /// Ends the thread, and with it its probes. Nobody waits for that: the kernel takes its time over each probe. Where the
    /// process ends too, see [`leave`](Self::leave).
    fn drop(&mut self) {
        // Where too many requests wait, the thread ends once all senders are gone.
        let _ = self.commands.try_send(Command::Stop);
    }
}

struct Worker<A: Attach> {
    files: Files<A>,
    names: Names,
    counters: Arc<Counters>,
    /// Processes seen by the last listing, where there are no events.
    listed: HashSet<u32>,
}

/// When something is to be done next, whatever happens.
struct Due {
    reconcile: Instant,
    poll_all: Instant,
    /// Events are not looked at before.
    events: Instant,
}

impl<A: Attach> Worker<A> {
    /// Until it is to end; who wants the probes to be left, if so.
    async fn run(
        &mut self,
        mut events: Option<Events>,
        mut commands: Receiver<Command>,
        sender: &Sender<Command>,
    ) -> Option<std_mpsc::SyncSender<()>> {
        let start = Instant::now();
        let mut due = Due { reconcile: start + RECONCILE, poll_all: start + POLL_ALL, events: start };
        // Some were told of that are not read yet.
        let mut more = false;
        loop {
            let wake = self.next_turn(&due, events.is_some(), more, Instant::now());
            tokio::select! {
                biased;
                command = commands.recv() => match command {
                    None | Some(Command::Stop) => return None,
                    Some(Command::Leave(left)) => return Some(left),
                    Some(command) => self.obey(command),
                },
                ready = ready(events.as_ref()), if !more => {
                    if ready.is_err() {
                        // Cannot happen to a descriptor that is open; if it does, polling still works.
                        events = None;
                    }
                    more = true;
                }
                () = tokio::time::sleep_until(wake.into()) => {}
            }
            let now = Instant::now();
            if let Some(events) = &mut events
                && more
                && now >= due.events
            {
                self.read(events, now);
                more = events.holds_some();
                due.events = now + PAUSE;
            }
            self.regular(&mut due, &mut events, now);
            self.names.begin(now, sender).then(|| self.counters.add(Counter::NamesSought, 1));
            self.files.release_idle(now);
            self.files.publish();
        }
    }

    fn next_turn(&self, due: &Due, has_events: bool, more: bool, now: Instant) -> Instant {
        let mut next = due.reconcile;
        if !has_events {
            next = next.min(now + POLL);
        } else if more {
            next = next.min(due.events);
        }
        let others = [self.names.next(), self.files.next_idle()];
        others.into_iter().flatten().fold(next, Instant::min)
    }

    /// What is done again and again.
    fn regular(&mut self, due: &mut Due, events: &mut Option<Events>, now: Instant) {
        if now >= due.reconcile {
            due.reconcile = now + RECONCILE;
            match events.as_mut().map(Events::follow_cpus) {
                // Nor is it known when processes end that could not be written down.
                Some(Ok(false)) | None if !self.files.tracker.has_uncounted() => self.reconcile(now),
                // Of a CPU that was not listened to, or cannot be, anything may have been missed.
                _ => self.rescan(now),
            }
            self.files.look_after(now);
        }
        if events.is_none() {
            if now >= due.poll_all {
                due.poll_all = now + POLL_ALL;
                self.rescan(now);
            } else {
                self.poll(now);
            }
        }
    }

    fn obey(&mut self, command: Command) {
        match command {
            Command::Status(to) => {
                let status = Status {
                    files: self.files.status(),
                    named: self.names.status(),
                    processes: self.files.covered(),
                };
                // Whoever asked may have given up waiting.
                let _ = to.try_send(status);
            }
            Command::Unseen(pid) => self.unseen(pid),
            Command::Named(key, result) => {
                if let Some(reason) = self.names.ended(key, result, Instant::now()) {
                    self.counters.unprobed(reason);
                }
            }
            Command::Stop | Command::Leave(_) => {}
        }
    }

    fn unseen(&mut self, pid: u32) {
        let Some((file, path)) = resolve::executable(pid) else { return };
        let Ok(key) = resolve::key_of(&file) else { return };
        // Its library is known, and counted already if it cannot be probed.
        if self.files.holds_tls(key) {
            return;
        }
        if self.names.ask(key, pid, path, file) == Sought::NoRoom {
            self.counters.add(Counter::NamesOverBound, 1);
        }
    }

    fn read(&mut self, events: &mut Events, now: Instant) {
        let mut lost = 0;
        for timed in events.take() {
            self.counters.add(Counter::Events, 1);
            match timed.event {
                ProcessEvent::Mapped(pid, mapping) => {
                    self.mapped(pid, &mapping, now);
                }
                ProcessEvent::Exec(pid) | ProcessEvent::Exit(pid) => self.files.tracker.cleared(pid, now),
                ProcessEvent::Fork { parent, child } => self.files.tracker.forked(parent, child, now),
                ProcessEvent::Lost(n) => lost += n,
            }
        }
        if lost > 0 {
            self.counters.add(Counter::EventsLost, lost);
            self.rescan(now);
        }
    }

    fn mapped(&mut self, pid: u32, mapping: &Mapping, now: Instant) -> Option<FileKey> {
        if !resolve::is_file(mapping) {
            return None;
        }
        let sighting = Sighting {
            pid,
            key: mapping.key,
            generation: mapping.generation,
            path: &mapping.path,
            stamp: &mut || resolve::stamp(pid, mapping),
            open: &mut || resolve::open(pid, mapping),
        };
        self.files.seen(sighting, now)
    }

    /// Every process, from the beginning.
    fn rescan(&mut self, now: Instant) {
        self.counters.add(Counter::Rescans, 1);
        let Ok(pids) = maps::pids() else { return };
        self.files.tracker.recount(now);
        self.forget_gone(&pids, now);
        for pid in &pids {
            self.look_at(*pid, now);
        }
        self.listed = pids;
    }

    /// Processes that were not there at the last listing.
    fn poll(&mut self, now: Instant) {
        let Ok(pids) = maps::pids() else { return };
        self.forget_gone(&pids, now);
        let new: Vec<u32> = pids.difference(&self.listed).copied().collect();
        for pid in new {
            self.look_at(pid, now);
        }
        self.listed = pids;
    }

    /// Processes with a TLS library, as procfs has them.
    fn reconcile(&mut self, now: Instant) {
        let known: Vec<u32> = self.files.tracker.pids().collect();
        for pid in known {
            self.look_at(pid, now);
        }
    }

    fn forget_gone(&mut self, pids: &HashSet<u32>, now: Instant) {
        let gone: Vec<u32> = self.files.tracker.pids().filter(|pid| !pids.contains(pid)).collect();
        for pid in gone {
            self.files.tracker.cleared(pid, now);
        }
    }

    fn look_at(&mut self, pid: u32, now: Instant) {
        match maps::of_process(pid) {
            Ok(mappings) => {
                let files: Vec<FileKey> =
                    mappings.iter().filter_map(|mapping| self.mapped(pid, mapping, now)).collect();
                self.files.tracker.set(pid, &files, now);
            }
            // Gone (ENOENT, ESRCH); one that is hidden from us was never known.
            Err(_) => self.files.tracker.cleared(pid, now),
        }
    }
}

async fn ready(events: Option<&Events>) -> io::Result<()> {
    match events {
        Some(events) => events.ready().await,
        None => std::future::pending().await,
    }
}
