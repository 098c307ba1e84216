//! The pipeline: [`Event`]s in, [`Observation`]s out. No I/O, no clock: the caller says what time it is, hands in events
//! in the order in which the source saw them, and drains [`Engine::poll_output`] after every call.

mod certificates;
mod counters;
#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

pub use counters::{AssociationCounters, Counters};

use crate::associate::{AssociationLimits, Index, PendingQueue, Standing, Window};
use crate::conn::{Connection, Context, SessionCache};
use crate::event::{CloseKind, Closed, Event, Opened};
use crate::net::{ConnId, ConnMap, Side};
use crate::observation::{Observation, ProcessCertificates};
use crate::reassembly::ReassemblyLimits;
use crate::recognize::RecognizeLimits;
use crate::time::Timestamp;
use crate::tls::TlsLimits;
use crate::x509::CertificateCache;

/// Bounds and timeouts, all with defaults that suit a node.
#[derive(Clone, Debug)]
pub struct EngineConfig {
    /// Connection ends tracked at once; more are reported with reason `limit_reached` and not tracked.
    pub max_connections: usize,
    /// Bytes held of all connections because bytes in front of them are missing, because it is not known yet what they are, or
    /// of handshake messages that are not whole yet. Where that many are held, none of these is waited for; where half as
    /// many are, no long messages; where a quarter, nothing that has waited for [`message_wait`](Self::message_wait).
    pub max_buffered_bytes: usize,
    /// Distinct certificates remembered, fewer where they are long: 3 KiB of memory each on average.
    pub max_certificates: usize,
    /// Bytes of memory that all certificates take, whoever holds them: those remembered (at most 3 KiB times
    /// `max_certificates`), those of sessions (1 KiB times `max_sessions`) and those of open connections. Above it chains
    /// with a certificate that is not known are not kept, and long ones already above half of it.
    pub max_certificate_bytes: usize,
    /// TLS <= 1.2 sessions remembered, to know who is who when one is resumed; fewer where their certificates are long: 1 KiB
    /// of memory each on average.
    pub max_sessions: usize,
    /// Encrypted records of a TLS connection looked at in each direction, or four times as many in one, before a verdict
    /// is given with what is known. Below what the source shows of a direction, or it is never reached.
    pub max_encrypted_records: u32,
    /// Segments of a connection that is older than the source looked at before it stays `started_before_agent`.
    pub max_midstream_segments: u32,
    /// Bounds of stream reassembly.
    pub reassembly: ReassemblyLimits,
    /// Bounds of protocol recognition.
    pub recognize: RecognizeLimits,
    /// Bounds of the TLS layer.
    pub tls: TlsLimits,
    /// After this silence the bytes there are must do for naming the protocol.
    pub silence_timeout: Duration,
    /// TLS 1.3: how long a server may take to reject the client's certificate (or its absence) before that counts as
    /// accepted.
    pub acceptance_timeout: Duration,
    /// TLS 1.3: how long after the client's flight such a verdict may still be corrected by a server that says nothing but
    /// an alert.
    pub late_rejection_timeout: Duration,
    /// How long a handshake message may take until it is whole, and a connection's bytes may say nothing, while a quarter of
    /// [`max_buffered_bytes`](Self::max_buffered_bytes) is held.
    pub message_wait: Duration,
    /// How long a chain that a probe showed waits for its connection.
    pub certificate_wait: Duration,
    /// How long after its verdict a connection may still get certificates.
    pub certificate_window: Duration,
    /// Chains that wait for their connections at once.
    pub max_pending_certificates: usize,
    /// Connections that fit a chain which are told apart; more are too many.
    pub max_certificate_candidates: usize,
    /// Handshakes that can be found by random or by length.
    pub max_indexed_handshakes: usize,
    /// The source sees segments where the local end sees them, so that what the local end sends after it received
    /// something is seen after it. True of live capture, not of capture files in general.
    pub seen_at_local_end: bool,
}

impl Default for EngineConfig {
    fn default() -> Self {
        Self {
            max_connections: 131_072,
            max_buffered_bytes: 64 * 1024 * 1024,
            max_certificates: 4096,
            max_certificate_bytes: 64 * 1024 * 1024,
            max_sessions: 8192,
            max_encrypted_records: 20,
            max_midstream_segments: 64,
            reassembly: ReassemblyLimits::default(),
            recognize: RecognizeLimits::default(),
            tls: TlsLimits::default(),
            silence_timeout: Duration::from_secs(5),
            acceptance_timeout: Duration::from_secs(2),
            late_rejection_timeout: Duration::from_secs(60),
            message_wait: Duration::from_secs(10),
            certificate_wait: Duration::from_millis(250),
            certificate_window: Duration::from_secs(2),
            max_pending_certificates: 4096,
            max_certificate_candidates: 64,
            max_indexed_handshakes: 32_768,
            seen_at_local_end: true,
        }
    }
}

/// What the engine has to say.
#[derive(Clone, Debug)]
pub enum Output {
    /// A verdict, or the end of a connection.
    Observation(Box<Observation>),
    /// Certificates from a probe that belong to a process, not to a connection.
    ProcessCertificates(Box<ProcessCertificates>),
    /// No more payload of this connection is needed.
    CaptureDone(ConnId),
    /// A plaintext protocol that may still upgrade to TLS: payload is needed beyond the first bytes.
    CaptureMore(ConnId),
}

/// All connections of one source.
pub struct Engine {
    config: EngineConfig,
    connections: ConnMap<Connection>,
    deadlines: BTreeSet<(Timestamp, ConnId)>,
    certificates: CertificateCache,
    sessions: SessionCache,
    /// Handshakes that certificates may still come for.
    index: Index,
    /// Certificates that are not tied yet.
    pending: PendingQueue,
    outputs: VecDeque<Output>,
    counters: Counters,
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine")
            .field("connections", &self.connections.len())
            .field("deadlines", &self.deadlines.len())
            .field("outputs", &self.outputs.len())
            .finish_non_exhaustive()
    }
}

impl Engine {
    /// An engine without connections.
    pub fn new(config: EngineConfig) -> Self {
        Self {
            connections: ConnMap::default(),
            deadlines: BTreeSet::new(),
            certificates: CertificateCache::new(config.max_certificates, config.max_certificate_bytes),
            sessions: SessionCache::new(config.max_sessions),
            index: Index::new(AssociationLimits {
                handshakes: config.max_indexed_handshakes,
                keep: config.certificate_window,
            }),
            pending: PendingQueue::default(),
            outputs: VecDeque::new(),
            counters: Counters::default(),
            config,
        }
    }

    /// Takes one event.
    pub fn handle(&mut self, event: Event<'_>, now: Timestamp) {
        self.end_windows(now);
        match event {
            Event::Opened(opened) => self.open(opened, now),
            Event::Established(event) => {
                self.with(event.conn, now, |conn, context| conn.established(&event, now, context));
            }
            Event::Segment(segment) => {
                self.counters.segments += 1;
                self.with(segment.conn, now, |conn, context| conn.segment(&segment, now, context));
            }
            Event::Owner { conn, process } => {
                self.index.set_process(conn, Some(process.pid));
                self.with(conn, now, |conn, _| conn.set_owner(process));
            }
            Event::PeerCertificates(certificates) => self.peer_certificates(&certificates, now),
            Event::Closed(closed) => self.close(&closed, now),
        }
    }

    /// Does what is due at `now`; to be called at or after [`poll_deadline`](Self::poll_deadline).
    pub fn handle_timeout(&mut self, now: Timestamp) {
        while let Some((due, id)) = self.deadlines.first().copied() {
            if due > now {
                break;
            }
            self.deadlines.remove(&(due, id));
            self.with(id, now, |conn, context| {
                conn.deadline = None;
                conn.timeout(now, context);
            });
            // A deadline that comes back unchanged must not hold the loop.
            let again = self.connections.get(&id).and_then(|conn| conn.deadline);
            if again.is_some_and(|again| again <= now) {
                self.counters.deadlines_postponed += 1;
                // None is after the last there is.
                self.reschedule(id, now.0.checked_add(1).map(Timestamp));
            }
        }
        self.look_again(now);
    }

    /// When [`handle_timeout`](Self::handle_timeout) has something to do.
    pub fn poll_deadline(&self) -> Option<Timestamp> {
        self.deadlines.first().map(|(due, _)| *due).into_iter().chain(self.pending.deadline()).min()
    }

    /// The next output, `None` when there is none.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// The source ended: gives a final observation of every open connection, in the order of their ids.
    pub fn finish(&mut self, now: Timestamp) {
        self.give_up_pending(now);
        let mut open: Vec<ConnId> = self.connections.keys().copied().collect();
        open.sort_unstable();
        for conn in open {
            self.close(&Closed { conn, how: CloseKind::SourceEnded, bytes: None }, now);
        }
    }

    /// What happened so far.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Connection ends tracked now.
    pub fn open_connections(&self) -> usize {
        self.connections.len()
    }

    /// The connection ends tracked now, for a source that can ask whether they are still there: an event that says they
    /// are over may have been lost.
    pub fn tracked(&self) -> impl Iterator<Item = ConnId> {
        self.connections.keys().copied()
    }

    /// How many these are.
    pub fn tracked_len(&self) -> usize {
        self.connections.len()
    }

    fn open(&mut self, opened: Opened, now: Timestamp) {
        self.counters.opened += 1;
        let id = opened.conn;
        if let Some(known) = self.connections.get_mut(&id) {
            self.counters.opened_twice += 1;
            known.opened_again(opened);
            let process = known.pid();
            self.index.set_process(id, process);
            return;
        }
        let mut conn = Connection::new(opened, now);
        if self.connections.len() >= self.config.max_connections {
            self.counters.connections_refused += 1;
            conn.refuse(&mut self.outputs);
            return;
        }
        self.connections.insert(id, conn);
        self.with(id, now, |conn, context| conn.begin(context));
    }

    fn close(&mut self, closed: &Closed, now: Timestamp) {
        self.look_before_close(closed.conn, now);
        self.with(closed.conn, now, |conn, context| conn.close(closed, now, context));
        self.index.remove(closed.conn);
        if let Some(conn) = self.connections.remove(&closed.conn) {
            self.counters.closed += 1;
            self.counters.buffered_bytes = self.counters.buffered_bytes.saturating_sub(conn.buffered_bytes());
            if let Some(due) = conn.deadline {
                self.deadlines.remove(&(due, closed.conn));
            }
        }
    }

    /// Runs `f` on a connection, then brings everything derived from its state up to date.
    fn with(&mut self, id: ConnId, now: Timestamp, f: impl FnOnce(&mut Connection, &mut Context<'_>)) {
        let Some(conn) = self.connections.get_mut(&id) else {
            self.counters.events_of_unknown_connections += 1;
            return;
        };
        let before = conn.buffered_bytes();
        let others = self.counters.buffered_bytes.saturating_sub(before);
        let mut context = Context {
            config: &self.config,
            counters: &mut self.counters,
            certificates: &mut self.certificates,
            sessions: &mut self.sessions,
            outputs: &mut self.outputs,
            others_hold: others,
        };
        f(conn, &mut context);
        self.counters.buffered_bytes = others + conn.buffered_bytes();
        self.counters.certificates = self.certificates.counters();
        if matches!(conn.window, Window::Before | Window::Open) {
            follow(&mut self.index, &mut self.counters, id, conn, now);
        }
        let due = conn.next_deadline(&self.config);
        self.reschedule(id, due);
    }

    fn reschedule(&mut self, id: ConnId, due: Option<Timestamp>) {
        let Some(conn) = self.connections.get_mut(&id) else { return };
        if conn.deadline == due {
            return;
        }
        if let Some(old) = conn.deadline.take() {
            self.deadlines.remove(&(old, id));
        }
        if let Some(due) = due {
            self.deadlines.insert((due, id));
        }
        conn.deadline = due;
    }
}

/// Keeps the index of handshakes up to date with a connection that had no verdict before.
fn follow(index: &mut Index, counters: &mut Counters, id: ConnId, conn: &mut Connection, now: Timestamp) {
    if conn.window == Window::Before {
        let Some(random) = conn.hello() else { return };
        conn.window = Window::Open;
        index.insert(id, random, conn.pid(), &mut counters.association);
    }
    if !conn.has_verdict() {
        return;
    }
    let Some(evidence) = conn.evidence() else { return };
    match evidence.standing() {
        Standing::Older | Standing::Resumed => {
            index.remove(id);
            conn.forget_evidence();
        }
        Standing::Unknown | Standing::Full => {
            conn.window = Window::Ending;
            index.ending(id, now);
            if evidence.local == Side::Server && evidence.no_client_certificate {
                index.satisfy(id);
            }
        }
    }
}
