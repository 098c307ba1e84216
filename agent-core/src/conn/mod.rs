//! One connection end, from its first sight to its end.

mod sessions;

use std::collections::VecDeque;
use std::sync::Arc;

use crate::engine::{Counters, EngineConfig, Output};
use crate::event::{CloseKind, Closed, Established, Opened, Origin, Process, Segment};
use crate::net::{ConnId, FiveTuple, SeqNumber, Side};
use crate::observation::{Observation, Phase, Reason, Security, Source, StartTls, TlsFacts};
use crate::time::Timestamp;
use crate::x509::CertificateCache;
pub(crate) use sessions::SessionCache;

/// What a connection needs of the engine while it handles an event.
pub(crate) struct Context<'a> {
    pub(crate) config: &'a EngineConfig,
    pub(crate) counters: &'a mut Counters,
    pub(crate) certificates: &'a mut CertificateCache,
    pub(crate) sessions: &'a mut SessionCache,
    pub(crate) outputs: &'a mut VecDeque<Output>,
    /// All connections together hold more than they may.
    pub(crate) crowded: bool,
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
}

/// One connection end.
#[derive(Debug)]
pub(crate) struct Connection {
    id: ConnId,
    opened: Timestamp,
    tuple: FiveTuple,
    local_side: Option<Side>,
    origin: Origin,
    process: Option<Arc<Process>>,
    /// Sequence numbers of the first bytes, egress first.
    starts: Option<[SeqNumber; 2]>,
    verdict: Verdict,
    tls: Option<Box<TlsFacts>>,
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
            verdict: Verdict::unknown(match opened.origin {
                Origin::Fresh => Reason::NoData,
                Origin::BeforeStart => Reason::StartedBeforeAgent,
            }),
            tls: None,
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
    pub(crate) fn refuse(&mut self, now: Timestamp, outputs: &mut VecDeque<Output>) {
        self.verdict = Verdict::unknown(Reason::LimitReached);
        outputs.push_back(Output::Observation(Box::new(self.observation(Phase::Final, now))));
        outputs.push_back(Output::CaptureDone(self.id));
    }

    /// Tracking begins.
    pub(crate) fn begin(&mut self, now: Timestamp, context: &mut Context<'_>) {
        if self.origin == Origin::BeforeStart {
            self.observe(Phase::Verdict, now, context);
        }
    }

    pub(crate) fn established(&mut self, event: &Established) {
        self.starts = Some([event.egress_start, event.ingress_start]);
    }

    pub(crate) fn set_owner(&mut self, process: Arc<Process>) {
        self.process = Some(process);
    }

    pub(crate) fn segment(&mut self, segment: &Segment<'_>, now: Timestamp, context: &mut Context<'_>) {
        let _ = (segment, now, context);
    }

    pub(crate) fn timeout(&mut self, now: Timestamp, context: &mut Context<'_>) {
        let _ = (now, context);
    }

    pub(crate) fn close(&mut self, closed: &Closed, now: Timestamp, context: &mut Context<'_>) {
        if closed.how == CloseKind::NeverEstablished {
            context.counters.never_established += 1;
            return;
        }
        let mut last = self.observation(Phase::Final, now);
        last.bytes = closed.bytes;
        last.closed = Some(closed.how);
        last.duration = Some(now.since(self.opened));
        context.outputs.push_back(Output::Observation(Box::new(last)));
    }

    pub(crate) fn next_deadline(&self, config: &EngineConfig) -> Option<Timestamp> {
        let _ = config;
        None
    }

    pub(crate) fn buffered_bytes(&self) -> usize {
        0
    }

    fn observe(&mut self, phase: Phase, now: Timestamp, context: &mut Context<'_>) {
        let observation = self.observation(phase, now);
        context.outputs.push_back(Output::Observation(Box::new(observation)));
    }

    fn observation(&self, phase: Phase, _now: Timestamp) -> Observation {
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
