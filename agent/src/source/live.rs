//! Live events from the kernel.

mod clock;
mod decode;
pub(crate) mod existing;
mod process;
mod remote;
mod rhythm;
mod stop;
mod summary;

/// Ways in for fuzz targets.
#[cfg(fuzzing)]
pub mod fuzzing {
    /// Bytes as an answer of sock_diag.
    pub fn sockets(bytes: &[u8]) {
        super::existing::fuzz(bytes);
    }
}

use std::collections::HashSet;
use std::io::{self, Write};
use std::time::Duration;

use agent_common::Counter;
use agent_core::event::{CloseKind, Closed, Event, Opened, Origin};
use agent_core::net::ConnId;
use agent_core::time::Timestamp;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{Instant, interval, sleep_until};

use self::clock::Clock;
use self::decode::Decoder;
use self::remote::Request;
pub use self::remote::{Attendance, Health, NoAnswer, Remote, Stage, remote};
use self::rhythm::{Change, Rhythm};
use crate::config::Capture;
use crate::discovery::{self, Mode, Prober};
use crate::exit::{Exit, Failure};
use crate::export::outlet::Backlog;
use crate::export::text::visible;
use crate::harden::Hardened;
use crate::loader::{AsyncEvents, CgroupRoot, Events, Kernel, KernelConfig};
use crate::pipeline::{Control, Pipeline};

/// How often connections that were there before the agent are looked for again: the kernel tells of the end of those that
/// still send, not of the idle ones.
const RESCAN: Duration = Duration::from_secs(10);
/// Events handled before anything else gets a turn.
const BATCH: usize = 4096;

/// How the host is watched.
#[derive(Debug, Default)]
pub struct Options {
    /// How much is captured.
    pub capture: Capture,
    /// How TLS libraries are probed; without it none is.
    pub probes: Option<discovery::Options>,
    /// Ends after this long.
    pub duration: Option<Duration>,
    /// At the end, prints every counter to standard error.
    pub stats: bool,
    /// Who else may ask for something. SIGHUP does not end what somebody attends to.
    pub attendance: Option<Attendance>,
    /// What the process gave up to begin with; the rest goes when everything is attached.
    pub hardened: Option<Hardened>,
}

/// Watches this host's connections until stopped, until `pipeline` [is done](Pipeline::is_done), or `options.duration` is
/// over.
///
/// # Errors
/// [`Failure`] when rights or kernel features are missing, or the output cannot be written.
pub fn run(options: Options, pipeline: Pipeline) -> Result<Exit, Failure> {
    let Options { capture, probes, duration, stats, attendance, hardened } = options;
    for problem in hardened.iter().flat_map(|hardened| &hardened.problems) {
        note(problem);
    }
    let root = CgroupRoot::open(capture.cgroup.as_deref())?;
    let config = KernelConfig { certificates: probes.is_some(), ..capture.kernel() };
    let (kernel, events, uprobes) = Kernel::attach(&config, &root)?;
    for (spec, cause) in &kernel.degraded {
        note(&format!("{} is not available ({cause}); lost without it: {}", spec.name, spec.lost_without));
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|e| Failure::new(Exit::Failure, "start the event loop", e))?;
    let watchdog = stop::watchdog(pipeline.outlet().cloned())
        .map_err(|e| Failure::new(Exit::Failure, "listen for signals", e))?;
    let prober = match (uprobes, probes) {
        (Some(uprobes), Some(options)) => Some(
            Prober::start(uprobes, options)
                .map_err(|e| Failure::new(Exit::Failure, "start the thread that probes TLS libraries", e))?,
        ),
        // Not wanted, or this kernel has no such probes, which was said above.
        _ => None,
    };
    let mut live = Live {
        kernel,
        prober,
        pipeline,
        decoder: Decoder::new(),
        clock: Clock::read(),
        seen_until: 0,
        closed: HashSet::new(),
        unreadable: 0,
        lost: 0,
    };
    let result = runtime.block_on(live.watch(events, duration, attendance, hardened));
    live.summarize();
    if stats {
        crate::cli::print_stats(live.health().counters);
    }
    if let Some(line) = live.prober.as_ref().map(Prober::points).and_then(stop::farewell) {
        note(&line);
    }
    watchdog.output_is_finished();
    if let Some(prober) = live.prober.take() {
        prober.leave();
    }
    match result {
        Err(e) if e.is_quiet() => Ok(Exit::Ok),
        other => other.map(|()| Exit::Ok),
    }
}

/// A line on standard error, for the person at the terminal.
fn note(text: &str) {
    // Nobody is left to tell when standard error is gone too.
    let _ = writeln!(io::stderr(), "tlsight: {text}");
}

/// What became of the events that there were.
#[derive(Clone, Copy, Debug)]
struct Drained {
    handled: usize,
    /// Nothing is left for now.
    empty: bool,
    /// Everything that happened before was handled: what is due by then is due, and nothing else.
    until: Timestamp,
}

struct Live {
    prober: Option<Prober>,
    kernel: Kernel,
    pipeline: Pipeline,
    decoder: Decoder,
    clock: Clock,
    /// Kernel time of the last event handled.
    seen_until: u64,
    /// Connections that ended among the events handled last.
    closed: HashSet<ConnId>,
    /// Events that were not what this agent understands.
    unreadable: u64,
    /// Opens and closes that the kernel side had lost when tracked connections were last compared with its own.
    lost: u64,
}

impl Live {
    async fn watch(
        &mut self,
        events: Events,
        duration: Option<Duration>,
        mut attendance: Option<Attendance>,
        hardened: Option<Hardened>,
    ) -> Result<(), Failure> {
        let fail = |doing: &str, e: io::Error| Failure::new(Exit::Failure, doing, e);
        let mut events = events.into_async().map_err(|e| fail("wait for kernel events", e))?;
        let mut more = true;
        let mut interrupt = signal(SignalKind::interrupt()).map_err(|e| fail("listen for signals", e))?;
        let mut terminate = signal(SignalKind::terminate()).map_err(|e| fail("listen for signals", e))?;
        let mut hangup = signal(SignalKind::hangup()).map_err(|e| fail("listen for signals", e))?;
        let end = duration.map(|d| Instant::now() + d);
        self.list_existing()?;
        self.wait_for_probes();
        if let Some(Err(problem)) = hardened.map(|h| h.everything_is_attached(self.prober.is_some())) {
            note(&problem);
        }
        match &attendance {
            Some(attendance) => attendance.reach(Stage::Watching),
            None => note("watching; stop with Ctrl-C"),
        }
        let mut rescan = interval(RESCAN);
        rescan.tick().await;
        let mut rhythm = Rhythm::default();
        while !self.pipeline.is_done() {
            let due = self.pipeline.poll_deadline().map(|at| Instant::now() + at.since(self.clock.now()));
            tokio::select! {
                biased;
                _ = interrupt.recv() => break,
                _ = terminate.recv() => break,
                // Whoever rotates logs says so with it.
                _ = hangup.recv() => if !self.pipeline.reopen_audit() && attendance.is_none() { break },
                request = request(&mut attendance) => if !self.serve(request) { break },
                () = at(end) => break,
                ready = events.ready(), if !more => ready.map_err(|e| fail("wait for kernel events", e))?,
                () = std::future::ready(()), if more => {}
                () = at(due) => {}
                () = at(rhythm.next()), if !more => {}
                _ = rescan.tick() => self.rescan()?,
            }
            let Drained { handled, empty, until } = self.drain(&mut events)?;
            more = !empty;
            if empty && let Some(change) = rhythm.looked(handled, Instant::now()) {
                self.kernel.reader_polls(change == Change::Poll);
                more = change == Change::Wait;
            }
            self.pipeline.tick(until)?;
            self.control();
            while let Some(message) = self.pipeline.poll_message() {
                note(&visible(&message));
            }
            self.pipeline.flush()?;
        }
        if let Some(attendance) = &attendance {
            attendance.reach(Stage::Stopping);
        }
        // What the kernel had seen when we were told to stop belongs to the picture.
        while !self.pipeline.is_done() && !self.drain(&mut events)?.empty {}
        self.pipeline.finish(self.clock.now())?;
        self.pipeline.finish_audit()
    }

    /// Does what another thread asks for; false when it is to stop.
    fn serve(&mut self, request: Request) -> bool {
        match request {
            Request::Stop => return false,
            // Whoever went away meanwhile wants no answer.
            Request::Health(answer) => drop(answer.send(self.health())),
            Request::Change(change) => change(&mut self.pipeline),
        }
        true
    }

    /// How the capture is doing.
    fn health(&self) -> Health {
        let named = |(name, n): (&'static str, u64)| (name.to_owned(), n);
        let kernel = self.kernel.counters().into_iter();
        let counters = kernel
            .map(|(counter, n)| (format!("kernel.{}", counter.name()), n))
            .chain([("kernel.events_not_understood".to_owned(), self.unreadable)])
            .chain(self.pipeline.counters().named().into_iter().map(named))
            .chain(self.prober.iter().flat_map(Prober::counters))
            .chain(self.pipeline.enrich_counters().into_iter().map(named))
            .chain(self.pipeline.settling_counters().map(named))
            .chain(self.pipeline.judging_counters())
            .chain(self.pipeline.audit_counters().into_iter().map(named))
            .chain(self.pipeline.outlet_counters().map(named))
            .collect();
        Health { counters, connections_open: Some(self.pipeline.open()), programs: self.kernel.costs() }
    }

    /// Handles what is in the ring buffer, until it is empty or others should get a turn.
    fn drain(&mut self, events: &mut AsyncEvents) -> Result<Drained, Failure> {
        self.clock = Clock::read();
        let mut until = None;
        let mut empty = false;
        let mut handled = 0;
        while handled < BATCH && !empty {
            let Some(item) = events.take() else {
                // Empty, and again after a look at the clock: so nothing from before that look is left.
                empty = until.is_some();
                until = until.or_else(|| Some(self.clock.now()));
                continue;
            };
            until = None;
            handled += 1;
            let (clock, pipeline) = (self.clock, &mut self.pipeline);
            match agent_common::read::read(&item) {
                Ok(event) => {
                    self.seen_until = event.header().time;
                    let now = clock.of_kernel(self.seen_until);
                    let closed = &mut self.closed;
                    self.decoder.decode(event, |event| {
                        if let Event::Closed(end) = &event {
                            closed.insert(end.conn);
                        }
                        pipeline.handle(event, now)
                    })?;
                }
                Err(_) => self.unreadable += 1,
            }
            // Handed back to the kernel at once.
            drop(item);
            empty = self.pipeline.is_done();
        }
        self.control();
        self.closed.clear();
        let until = match (empty, until) {
            (true, Some(until)) => until,
            // As many connections as were asked for: what is left in the ring buffer does not matter.
            (true, None) => self.clock.now(),
            // What happened next is still to be read, however long ago that was.
            (false, _) => self.clock.of_kernel(self.seen_until),
        };
        Ok(Drained { handled, empty, until })
    }

    /// The libraries that are in use now have their probes when we say that we watch.
    fn wait_for_probes(&mut self) {
        let Some(prober) = &mut self.prober else { return };
        if *prober.mode() != Mode::Events {
            note(&prober.mode().to_string());
        }
        if !prober.wait_until_ready() {
            note(
                "looking for TLS libraries takes long; certificates of TLS 1.3 are missing until they are found",
            );
        }
    }

    /// Tells the kernel side which connections need no more capturing, and the prober whose certificates are missing.
    fn control(&mut self) {
        while let Some(control) = self.pipeline.poll_control() {
            match control {
                // A connection that is over needs no telling.
                Control::CaptureDone(conn) if self.closed.contains(&conn) => {}
                Control::CaptureDone(conn) => self.kernel.finish(conn, self.seen_until),
                // The kernel side goes on until it is told to stop or a bound is reached; that bound is large enough for
                // the longest conversation before STARTTLS.
                Control::CaptureMore(_) => {}
                Control::CertificatesMissing(pid) => {
                    if let Some(prober) = &self.prober {
                        prober.report_unseen(pid);
                    }
                }
            }
        }
    }

    fn list_existing(&mut self) -> Result<(), Failure> {
        let existing = existing::scan();
        for problem in &existing.problems {
            note(problem);
        }
        for (cookie, process) in existing.listeners {
            self.decoder.listener(cookie, process);
        }
        let now = self.clock.now();
        for c in existing.connections {
            // The ring buffer tells of it.
            if self.kernel.observes(c.id) {
                self.decoder.announce(c.id, c.local_side, c.process);
                continue;
            }
            self.decoder.listed(c.id);
            let opened = Opened {
                conn: c.id,
                tuple: c.tuple,
                local_side: c.local_side,
                origin: Origin::BeforeStart,
                process: c.process,
            };
            self.pipeline.handle(Event::Opened(opened), now)?;
            self.control();
        }
        self.pipeline.flush()
    }

    /// Ends the connections that are gone without having been told so: listed ones that never sent anything, and, where
    /// the ring buffer was full, others.
    fn rescan(&mut self) -> Result<(), Failure> {
        self.kernel.print_messages();
        self.decoder.forget_announced();
        let mut gone: Vec<ConnId> = Vec::new();
        let listed: HashSet<_> = self.decoder.still_listed().collect();
        if !listed.is_empty()
            && let Some(open) = existing::open_cookies()
        {
            gone.extend(listed.iter().filter(|conn| !open.contains(&conn.0)));
        }
        let lost = self.kernel.counter(Counter::LifecycleLost);
        if lost != self.lost {
            self.lost = lost;
            let tracked = self.pipeline.tracked();
            gone.extend(tracked.filter(|conn| !listed.contains(conn) && !self.kernel.observes(*conn)));
        }
        let now = self.clock.now();
        for conn in gone {
            self.decoder.forget(conn);
            self.pipeline
                .handle(Event::Closed(Closed { conn, how: CloseKind::Unknown, bytes: None }), now)?;
        }
        Ok(())
    }

    /// Says what was lost, if anything was.
    fn summarize(&mut self) {
        self.kernel.print_messages();
        for line in summary::losses(&self.kernel.counters(), self.unreadable) {
            note(&line);
        }
        for line in self.prober.iter().flat_map(Prober::losses) {
            note(&line);
        }
        if let Some(line) = self.pipeline.outlet().and_then(Backlog::losses) {
            note(&line);
        }
    }
}

/// At a point in time, or never.
async fn at(when: Option<Instant>) {
    match when {
        Some(when) => sleep_until(when).await,
        None => std::future::pending().await,
    }
}

/// The next request of another thread; none ever where nobody attends.
async fn request(attendance: &mut Option<Attendance>) -> Request {
    match attendance {
        // All who could ask are gone with the process.
        Some(attendance) => match attendance.requests.recv().await {
            Some(request) => request,
            None => std::future::pending().await,
        },
        None => std::future::pending().await,
    }
}
