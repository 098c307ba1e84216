//! One connection end, from its first sight to its end.

mod active;
mod facts;
mod handshake;
mod legacy;
mod midstream;
mod peers;
mod records;
mod sessions;
mod tls;
mod tls13;
mod wait;

use std::collections::VecDeque;
use std::sync::Arc;

use crate::associate::{Evidence, Tie, Window};
use crate::engine::{Counters, EngineConfig, Output};
use crate::event::{CloseKind, Closed, Established, Opened, Origin, Process, Segment};
use crate::net::{ConnId, Direction, FiveTuple, SeqNumber, Side};
use crate::observation::{Observation, Phase, Reason, Security, Source, StartTls, TlsFacts};
use crate::time::Timestamp;
use crate::x509::CertificateCache;
use active::Active;
pub(crate) use peers::ProbedChain;
pub(crate) use sessions::SessionCache;

/// What a connection needs of the engine while it handles an event.
pub(crate) struct Context<'a> {
    pub(crate) config: &'a EngineConfig,
    pub(crate) counters: &'a mut Counters,
    pub(crate) certificates: &'a mut CertificateCache,
    pub(crate) sessions: &'a mut SessionCache,
    pub(crate) outputs: &'a mut VecDeque<Output>,
    /// Bytes that all other connections hold of what is not whole.
    pub(crate) others_hold: usize,
}

impl Context<'_> {
    /// All connections together hold more than they may.
    pub(crate) fn is_crowded(&self) -> bool {
        self.others_hold > self.config.max_buffered_bytes
    }

    /// A handshake message of which so much is held must not be waited for. Long ones go first: few could hold it all.
    pub(crate) fn is_too_crowded_for(&self, held: usize) -> bool {
        const USUAL: usize = 16 * 1024;
        let max = self.config.max_buffered_bytes;
        self.others_hold > if held > USUAL { max / 2 } else { max }
    }
}

/// What is known of how a connection is protected.
#[derive(Clone, Debug)]
pub(crate) struct Verdict {
    pub(crate) security: Security,
    pub(crate) source: Option<Source>,
    pub(crate) reason: Option<Reason>,
    pub(crate) protocol: Option<&'static str>,
    pub(crate) starttls: Option<StartTls>,
    pub(crate) proxy_protocol: Option<u8>,
}

impl Verdict {
    pub(crate) const fn unknown(reason: Reason) -> Self {
        Self {
            security: Security::Unknown,
            source: None,
            reason: Some(reason),
            protocol: None,
            starttls: None,
            proxy_protocol: None,
        }
    }

    /// Nothing that the first sight of an old connection did not say already.
    pub(crate) fn proves_nothing(&self) -> bool {
        self.security == Security::Unknown && self.reason != Some(Reason::EncryptedNotTls)
    }
}

/// A verdict and what was learnt on the way to it.
#[derive(Debug)]
pub(crate) struct Conclusion {
    pub(crate) verdict: Verdict,
    pub(crate) tls: Option<Arc<TlsFacts>>,
    /// The direction in which the client sends.
    pub(crate) client: Option<Direction>,
    /// A ClientHello says so, which counts for more than who called `connect`.
    pub(crate) client_is_proven: bool,
    /// Bytes no longer matter; otherwise the verdict may still be corrected.
    pub(crate) is_final: bool,
}

impl Conclusion {
    const fn of(verdict: Verdict) -> Self {
        Self { verdict, tls: None, client: None, client_is_proven: false, is_final: true }
    }
}

/// Where a connection stands.
enum State {
    /// No byte was seen.
    Silent,
    Active(Box<Active>),
    /// The verdict is known; bytes no longer matter.
    Done,
}

/// One connection end.
pub(crate) struct Connection {
    id: ConnId,
    opened: Timestamp,
    tuple: FiveTuple,
    local_side: Option<Side>,
    origin: Origin,
    process: Option<Arc<Process>>,
    /// Sequence numbers of the first bytes, egress first.
    starts: Option<[SeqNumber; 2]>,
    state: State,
    verdict: Verdict,
    tls: Option<Arc<TlsFacts>>,
    /// The verdict was given before it was certain.
    is_presumed: bool,
    /// Whether certificates may still come; kept by the engine.
    pub(crate) window: Window,
    /// What ties the chains of the client and the server that probes showed.
    ties: [Option<Tie>; 2],
    /// What is left of a handshake behind its verdict, as long as certificates may still come.
    evidence: Option<Box<Evidence>>,
    /// When the engine will call [`timeout`](Self::timeout); kept by the engine.
    pub(crate) deadline: Option<Timestamp>,
}

impl Connection {
    pub(crate) fn new(opened: Opened, now: Timestamp) -> Self {
        Self {
            id: opened.conn,
            opened: now,
            tuple: opened.tuple,
            local_side: opened.local_side,
            origin: opened.origin,
            process: opened.process,
            starts: None,
            state: State::Silent,
            verdict: Verdict::unknown(match opened.origin {
                Origin::Fresh => Reason::NoData,
                Origin::BeforeStart => Reason::StartedBeforeAgent,
            }),
            tls: None,
            is_presumed: false,
            window: Window::Before,
            ties: [None; 2],
            evidence: None,
            deadline: None,
        }
    }

    /// The source mentioned the connection again: it may know more now.
    pub(crate) fn opened_again(&mut self, opened: Opened) {
        self.local_side = self.local_side.or(opened.local_side);
        if opened.process.is_some() {
            self.process = opened.process;
        }
    }

    /// There is no room for this connection.
    pub(crate) fn refuse(&mut self, outputs: &mut VecDeque<Output>) {
        self.verdict = Verdict::unknown(Reason::LimitReached);
        outputs.push_back(Output::Observation(Box::new(self.observation(Phase::Final))));
        outputs.push_back(Output::CaptureDone(self.id));
    }

    /// Tracking begins.
    pub(crate) fn begin(&self, context: &mut Context<'_>) {
        if self.origin == Origin::BeforeStart {
            context.outputs.push_back(Output::Observation(Box::new(self.observation(Phase::Verdict))));
        }
    }

    pub(crate) fn established(&mut self, event: &Established, now: Timestamp, context: &mut Context<'_>) {
        let starts = [event.egress_start, event.ingress_start];
        self.starts = Some(starts);
        if let State::Active(active) = &mut self.state
            && let Some(conclusion) = active.started(starts, now, context)
        {
            self.conclude(conclusion, context);
        }
    }

    pub(crate) fn set_owner(&mut self, process: Arc<Process>) {
        self.process = Some(process);
    }

    pub(crate) fn segment(&mut self, segment: &Segment<'_>, now: Timestamp, context: &mut Context<'_>) {
        if segment.wire_len == 0 && segment.payload.is_empty() {
            return;
        }
        if let State::Silent = self.state {
            let active = Active::new(self.id, self.origin, self.local_side, self.starts, now, context.config);
            self.state = State::Active(Box::new(active));
        }
        let State::Active(active) = &mut self.state else {
            context.counters.segments_after_verdict += 1;
            return;
        };
        if let Some(conclusion) = active.segment(segment, now, context) {
            self.conclude(conclusion, context);
        }
    }

    pub(crate) fn timeout(&mut self, now: Timestamp, context: &mut Context<'_>) {
        if let State::Active(active) = &mut self.state
            && let Some(conclusion) = active.timeout(now, context)
        {
            self.conclude(conclusion, context);
        }
    }

    pub(crate) fn close(&mut self, closed: &Closed, now: Timestamp, context: &mut Context<'_>) {
        if closed.how == CloseKind::NeverEstablished {
            context.counters.never_established += 1;
            return;
        }
        if let State::Active(active) = &mut self.state {
            let conclusion = active.close(closed.how, now, context);
            active.count(context);
            self.accept(conclusion);
        }
        // Bytes crossed, and none was shown: their events were lost.
        let counted = closed.bytes.is_some_and(|bytes| bytes.egress > 0 || bytes.ingress > 0);
        if counted && self.verdict.reason == Some(Reason::NoData) {
            self.verdict.reason = Some(Reason::MissingBytes);
        }
        let mut last = self.observation(Phase::Final);
        last.bytes = closed.bytes;
        last.closed = Some(closed.how);
        last.duration = Some(now.since(self.opened));
        context.outputs.push_back(Output::Observation(Box::new(last)));
    }

    pub(crate) fn next_deadline(&self, config: &EngineConfig) -> Option<Timestamp> {
        match &self.state {
            State::Active(active) => active.next_deadline(config),
            State::Silent | State::Done => None,
        }
    }

    pub(crate) fn buffered_bytes(&self) -> usize {
        match &self.state {
            State::Active(active) => active.buffered_bytes(),
            State::Silent | State::Done => 0,
        }
    }

    fn conclude(&mut self, conclusion: Conclusion, context: &mut Context<'_>) {
        let is_final = conclusion.is_final;
        if is_final && let State::Active(active) = &self.state {
            active.count(context);
            self.evidence = active.evidence().map(Box::new);
        }
        // An old connection that stays unknown was reported so when it came into view; a verdict that was given before it
        // was certain is given again only if it was wrong.
        let (verdict, facts) = (&conclusion.verdict, &conclusion.tls);
        let news = verdict.reason != Some(Reason::StartedBeforeAgent)
            && !(self.is_presumed
                && self.verdict.security == verdict.security
                && self.verdict.reason == verdict.reason
                && self.tls.as_ref().map(|tls| tls.client_certificate)
                    == facts.as_ref().map(|tls| tls.client_certificate));
        self.is_presumed = !is_final;
        self.accept(conclusion);
        if news {
            context.outputs.push_back(Output::Observation(Box::new(self.observation(Phase::Verdict))));
        }
        if is_final {
            context.outputs.push_back(Output::CaptureDone(self.id));
        }
    }

    fn accept(&mut self, conclusion: Conclusion) {
        if conclusion.is_final {
            self.state = State::Done;
        }
        self.verdict = conclusion.verdict;
        self.tls = conclusion.tls;
        let side = conclusion.client.map(|client| match client {
            Direction::Egress => Side::Client,
            Direction::Ingress => Side::Server,
        });
        self.local_side = if conclusion.client_is_proven { side } else { self.local_side.or(side) };
        self.note_source();
    }

    fn observation(&self, phase: Phase) -> Observation {
        Observation {
            conn: self.id,
            time: self.opened,
            phase,
            tuple: self.tuple,
            local_side: self.local_side,
            process: self.process.clone(),
            security: self.verdict.security,
            source: self.verdict.source,
            reason: self.verdict.reason,
            protocol: self.verdict.protocol,
            starttls: self.verdict.starttls,
            proxy_protocol: self.verdict.proxy_protocol,
            tls: self.tls.clone(),
            bytes: None,
            closed: None,
            duration: None,
        }
    }
}
