//! A connection that carries TLS, until its verdict.

use std::sync::Arc;

use super::handshake::{Handshake, Outcome};
use super::peers::ProbedChain;
use super::wait::Wait;
use super::{Conclusion, Context, Verdict};
use crate::associate::Evidence;
use crate::event::CloseKind;
use crate::net::{Direction, Side};
use crate::observation::{Reason, Security, Source, StartTls, TlsFacts};
use crate::reassembly::StreamItem;
use crate::recognize::{Kind, RecognizeLimits, Recognizer};
use crate::time::Timestamp;
use crate::tls::{TlsDirection, TlsEvent, TlsLimits};

/// How TLS began, as far as the verdict repeats it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Preface {
    /// The plaintext protocol it was upgraded from.
    pub(super) upgraded_from: Option<&'static str>,
    pub(super) proxy_protocol: Option<u8>,
}

/// What the server's first byte showed.
enum Answer {
    Nothing,
    Tls,
    /// It is not TLS: a plaintext server was spoken to in TLS. What it speaks is worth knowing.
    Plaintext(Box<Recognizer>),
}

/// Bytes held of an answer in plaintext until it is named. The client's part, which it spoke in TLS, will never tell.
const MAX_ANSWER: usize = 512;

/// Both directions of a TLS connection.
pub(super) struct TlsStage {
    directions: [TlsDirection; 2],
    client: Direction,
    handshake: Handshake,
    answer: Answer,
    preface: Preface,
    /// While a message is under way in a direction, and what was held of it last.
    waits: [Option<(Wait, usize)>; 2],
}

impl TlsStage {
    /// `order_exact`: what the local end sends after it received something is seen after it.
    pub(super) fn new(client: Direction, preface: Preface, limits: TlsLimits, order_exact: bool) -> Self {
        Self {
            directions: [TlsDirection::new(limits), TlsDirection::new(limits)],
            client,
            handshake: Handshake::new(order_exact && client == Direction::Egress),
            answer: Answer::Nothing,
            preface,
            waits: [None; 2],
        }
    }

    /// The next part of one direction's stream.
    pub(super) fn item(
        &mut self,
        direction: Direction,
        item: &StreamItem<'_>,
        now: Timestamp,
        context: &mut Context<'_>,
    ) -> Option<Conclusion> {
        if direction != self.client && !self.is_tls_answer(item) {
            return self.plaintext_answer(direction, item);
        }
        let side = if direction == self.client { Side::Client } else { Side::Server };
        let mut events = Vec::new();
        let half = self.half(direction);
        match item {
            StreamItem::Data(bytes) => half.data(bytes, &mut events),
            StreamItem::Gap { len, .. } => half.gap(*len, &mut events),
        }
        let held = half.held_bytes();
        if held > 0 && context.is_too_crowded_for(held) {
            half.give_up_message(&mut events);
            context.counters.messages_forced_by_total_buffer += 1;
        }
        self.wait_on(direction, now, context);
        for event in events {
            if matches!(event, TlsEvent::HelloRetryRequest(_)) && side == Side::Server {
                let [egress, ingress] = &mut self.directions;
                if self.client == Direction::Egress { egress } else { ingress }.hello_retry();
            }
            self.handshake.event(side, event, now, context);
        }
        let outcome = self.handshake.outcome()?;
        Some(self.conclude(outcome))
    }

    /// Bytes held of messages that are not whole yet.
    pub(super) fn held_bytes(&self) -> usize {
        self.directions.iter().map(TlsDirection::held_bytes).sum()
    }

    pub(super) fn deadline(&self, config: &crate::engine::EngineConfig) -> Option<Timestamp> {
        let waits = self.waits.iter().flatten().map(|(wait, _)| wait.deadline());
        self.handshake.deadline(config).into_iter().chain(waits).min()
    }

    pub(super) fn timeout(&mut self, now: Timestamp, context: &mut Context<'_>) -> Option<Conclusion> {
        for direction in [Direction::Egress, Direction::Ingress] {
            self.stop_waiting(direction, now, context);
        }
        self.handshake.timeout(now, context);
        if let Some(outcome) = self.handshake.outcome() {
            return Some(self.conclude(outcome));
        }
        let outcome = self.handshake.take_presumption()?;
        let facts = self.handshake.facts.clone();
        Some(Conclusion { is_final: false, ..self.conclusion(outcome, facts) })
    }

    fn half(&mut self, direction: Direction) -> &mut TlsDirection {
        let [egress, ingress] = &mut self.directions;
        if direction == Direction::Egress { egress } else { ingress }
    }

    /// Something came in a direction. A message has its time from when it began, however slowly it goes on; another one from
    /// when less is held.
    fn wait_on(&mut self, direction: Direction, now: Timestamp, context: &Context<'_>) {
        let held = self.half(direction).held_bytes();
        if let Some(wait) = self.waits.get_mut(direction.index()) {
            let same = wait.filter(|(_, before)| *before <= held).map(|(wait, _)| wait);
            *wait = (held > 0).then(|| (same.unwrap_or_else(|| Wait::new(now, context.config)), held));
        }
    }

    /// A message that has waited for long gives way where room is short.
    fn stop_waiting(&mut self, direction: Direction, now: Timestamp, context: &mut Context<'_>) {
        let all = self.held_bytes();
        let Some(place) = self.waits.get_mut(direction.index()) else { return };
        let Some((wait, held)) = place.filter(|(wait, _)| wait.is_over(now)) else { return };
        *place = wait.again(all, now, context).map(|wait| (wait, held));
        if place.is_some() {
            return;
        }
        let mut events = Vec::new();
        self.half(direction).give_up_message(&mut events);
        context.counters.messages_forced_by_total_buffer += 1;
        let side = if direction == self.client { Side::Client } else { Side::Server };
        for event in events {
            self.handshake.event(side, event, now, context);
        }
    }

    pub(super) fn close(&mut self, how: CloseKind, config: &crate::engine::EngineConfig) -> Conclusion {
        if let Answer::Plaintext(recognizer) = &mut self.answer {
            let kind = recognizer.end().kind;
            return self.refused_in_plaintext(kind);
        }
        let outcome = self.handshake.close(how, config);
        self.conclude(outcome)
    }

    /// What it has to say on certificates; `complete`: nothing is held back in reassembly.
    pub(super) fn evidence(&self, complete: bool) -> Option<Evidence> {
        let local = if self.client == Direction::Egress { Side::Client } else { Side::Server };
        self.handshake.evidence(local, complete)
    }

    /// `ClientHello.random`, once seen; `Some(None)` when only the server's hello was.
    pub(super) fn hello(&self) -> Option<Option<[u8; 32]>> {
        self.handshake.hello()
    }

    pub(super) fn facts(&self) -> &TlsFacts {
        &self.handshake.facts
    }

    /// A probe showed the certificates of one side.
    pub(super) fn peer_chain(
        &mut self,
        probed: &ProbedChain<'_>,
        now: Timestamp,
        context: &mut Context<'_>,
    ) -> Option<Conclusion> {
        self.handshake.peer_chain(probed, now, context);
        let outcome = self.handshake.outcome()?;
        Some(self.conclude(outcome))
    }

    /// Adds what this connection's TLS layer counted.
    pub(super) fn count(&self, context: &mut Context<'_>) {
        for half in &self.directions {
            let counted = half.counters();
            let total = &mut context.counters.tls;
            total.records += counted.records;
            total.handshake_messages += counted.handshake_messages;
            total.oversized_messages += counted.oversized_messages;
            total.lost_messages += counted.lost_messages;
            total.gaps += counted.gaps;
        }
    }

    fn is_tls_answer(&mut self, item: &StreamItem<'_>) -> bool {
        if let Answer::Nothing = self.answer {
            // A record of any type, or a hello in SSL 2.0 format. After a gap nothing can be said.
            let tls = match item {
                StreamItem::Data(bytes) => matches!(bytes.first(), None | Some(20..=24 | 0x80..)),
                StreamItem::Gap { .. } => true,
            };
            self.answer = if tls {
                Answer::Tls
            } else {
                let local = if self.client == Direction::Egress { Side::Client } else { Side::Server };
                Answer::Plaintext(Box::new(Recognizer::new(RecognizeLimits::default(), Some(local))))
            };
        }
        matches!(self.answer, Answer::Tls)
    }

    fn plaintext_answer(&mut self, direction: Direction, item: &StreamItem<'_>) -> Option<Conclusion> {
        let Answer::Plaintext(recognizer) = &mut self.answer else { return None };
        match item {
            StreamItem::Data(bytes) => recognizer.data(direction, bytes),
            StreamItem::Gap { len, .. } => recognizer.gap(direction, *len),
        }
        let mut kind = recognizer.verdict().kind;
        if kind == Kind::NeedMore && recognizer.held_bytes() > MAX_ANSWER {
            kind = recognizer.end().kind;
        }
        (kind != Kind::NeedMore).then(|| self.refused_in_plaintext(kind))
    }

    fn refused_in_plaintext(&mut self, kind: Kind) -> Conclusion {
        self.handshake.fail(Source::Wire, None);
        let outcome = Outcome {
            security: Security::Unknown,
            source: Some(Source::Wire),
            reason: Some(Reason::HandshakeFailed),
        };
        let mut conclusion = self.conclude(outcome);
        conclusion.verdict.protocol = conclusion.verdict.protocol.or(kind.protocol().map(|p| p.name()));
        conclusion
    }

    fn conclude(&mut self, outcome: Outcome) -> Conclusion {
        let facts = std::mem::take(&mut self.handshake.facts);
        self.conclusion(outcome, facts)
    }

    fn conclusion(&self, outcome: Outcome, mut facts: Box<TlsFacts>) -> Conclusion {
        super::facts::shrink(&mut facts);
        let client_is_proven = facts.handshake_started.is_some();
        Conclusion {
            verdict: Verdict {
                security: outcome.security,
                source: outcome.source,
                reason: outcome.reason,
                protocol: self.preface.upgraded_from,
                starttls: self.preface.upgraded_from.map(|_| StartTls::Upgraded),
                proxy_protocol: self.preface.proxy_protocol,
            },
            tls: Some(Arc::from(facts)),
            client: Some(self.client),
            client_is_proven,
            is_final: true,
        }
    }
}
