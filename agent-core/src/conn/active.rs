//! A connection on its way to a verdict: its two streams and what reads them.

use std::sync::Arc;

use super::midstream::{RecordScan, Seen};
use super::peers::ProbedChain;
use super::tls::{Preface, TlsStage};
use super::wait::Wait;
use super::{Conclusion, Context, Verdict};
use crate::associate::Evidence;
use crate::engine::{EngineConfig, Output};
use crate::event::{CloseKind, Origin, Segment};
use crate::net::{ConnId, Direction, SeqNumber, Side};
use crate::observation::{Reason, Security, Source, StartTls, TlsFacts};
use crate::reassembly::{GapCause, ReassemblyLimits, Stream, StreamItem};
use crate::recognize::{Kind, Recognizer};
use crate::time::Timestamp;

/// What reads the streams.
enum Stage {
    Recognizing(Box<Recognizer>),
    Tls(Box<TlsStage>),
    /// Joined in the middle, and the bytes so far prove nothing: only record headers may still tell.
    Blind,
}

/// A connection whose bytes are being looked at.
pub(super) struct Active {
    id: ConnId,
    streams: [Stream; 2],
    stage: Stage,
    /// Older than the source: until the bytes prove something.
    midstream: Option<RecordScan>,
    /// The next segment of this direction is its start.
    starts_next: [bool; 2],
    segments: u32,
    /// Directions of which bytes were seen.
    seen: [bool; 2],
    last_data: Timestamp,
    /// While bytes are held that nothing could be made of.
    wait: Option<Wait>,
    more_asked: bool,
}

/// Bytes that may be held of a connection until it is recognized without being counted: no more than it takes anyway.
const USUAL_HELD: usize = 512;

const BOTH: [Direction; 2] = [Direction::Egress, Direction::Ingress];

impl Active {
    pub(super) fn new(
        id: ConnId,
        origin: Origin,
        local_side: Option<Side>,
        starts: Option<[SeqNumber; 2]>,
        now: Timestamp,
        config: &EngineConfig,
    ) -> Self {
        let midstream = (origin == Origin::BeforeStart).then(RecordScan::default);
        let recognizer = if midstream.is_some() {
            Recognizer::joined_in_the_middle(config.recognize, local_side)
        } else {
            Recognizer::new(config.recognize, local_side)
        };
        let mut new = Self {
            id,
            streams: [Stream::new(), Stream::new()],
            stage: Stage::Recognizing(Box::new(recognizer)),
            midstream,
            starts_next: [false; 2],
            segments: 0,
            seen: [false; 2],
            last_data: now,
            wait: None,
            more_asked: false,
        };
        if let Some([egress, ingress]) = starts {
            new.stream(Direction::Egress).start_at(egress);
            new.stream(Direction::Ingress).start_at(ingress);
        }
        new
    }

    /// The first sequence numbers became known only now.
    pub(super) fn started(
        &mut self,
        starts: [SeqNumber; 2],
        now: Timestamp,
        context: &mut Context<'_>,
    ) -> Option<Conclusion> {
        for (stream, start) in self.streams.iter_mut().zip(starts) {
            stream.start_at(start);
        }
        self.drain(now, context)
    }

    pub(super) fn segment(
        &mut self,
        segment: &Segment<'_>,
        now: Timestamp,
        context: &mut Context<'_>,
    ) -> Option<Conclusion> {
        let direction = segment.direction;
        if let Some(seen) = self.seen.get_mut(direction.index()) {
            *seen |= segment.wire_len > 0;
        }
        self.last_data = now;
        self.segments = self.segments.saturating_add(1);
        if let Some(conclusion) = self.scan(segment, context) {
            return Some(conclusion);
        }
        if let Some(next) = self.starts_next.get_mut(direction.index())
            && std::mem::take(next)
        {
            self.stream(direction).start_at(segment.seq);
        }
        let [egress, ingress] = &mut self.streams;
        let stream = if direction == Direction::Egress { egress } else { ingress };
        let in_order = stream.push(
            segment.seq,
            segment.wire_len,
            segment.payload,
            now,
            &context.config.reassembly,
            &mut context.counters.reassembly,
        );
        if !in_order.data.is_empty() {
            let item = StreamItem::Data(in_order.data.into());
            if let Some(conclusion) = self.item(direction, &item, now, context) {
                return Some(conclusion);
            }
        }
        if in_order.elided > 0 {
            let item = StreamItem::Gap { len: u64::from(in_order.elided), cause: GapCause::Elided };
            if let Some(conclusion) = self.item(direction, &item, now, context) {
                return Some(conclusion);
            }
        }
        self.drain(now, context)
    }

    pub(super) fn timeout(&mut self, now: Timestamp, context: &mut Context<'_>) -> Option<Conclusion> {
        if let Some(conclusion) = self.drain(now, context) {
            return Some(conclusion);
        }
        if self.silence_deadline(context.config).is_some_and(|due| due <= now) {
            if let Stage::Recognizing(recognizer) = &mut self.stage {
                recognizer.end();
            }
            return self.recognized(now, context);
        }
        match &mut self.stage {
            Stage::Tls(tls) => tls.timeout(now, context),
            Stage::Recognizing(_) => {
                let wait = self.wait.filter(|wait| wait.is_over(now))?;
                let held = self.held_to_recognize();
                self.wait = if held > 0 { wait.again(held, now, context) } else { None };
                if held == 0 || self.wait.is_some() { None } else { self.give_up_recognizing(context) }
            }
            Stage::Blind => None,
        }
    }

    /// The connection is over: always a verdict.
    pub(super) fn close(&mut self, how: CloseKind, now: Timestamp, context: &mut Context<'_>) -> Conclusion {
        for stream in &mut self.streams {
            stream.finish();
        }
        if let Some(conclusion) = self.drain(now, context) {
            return conclusion;
        }
        if let Stage::Recognizing(recognizer) = &mut self.stage {
            recognizer.end();
            if let Some(conclusion) = self.recognized(now, context) {
                return conclusion;
            }
        }
        match &mut self.stage {
            Stage::Tls(tls) => tls.close(how, context.config),
            Stage::Recognizing(_) | Stage::Blind => {
                Conclusion::of(Verdict::unknown(Reason::StartedBeforeAgent))
            }
        }
    }

    pub(super) fn next_deadline(&self, config: &EngineConfig) -> Option<Timestamp> {
        let streams = self.streams.iter().filter_map(|stream| stream.deadline(&config.reassembly));
        let stage = match &self.stage {
            Stage::Tls(tls) => tls.deadline(config),
            Stage::Recognizing(_) => {
                self.silence_deadline(config).into_iter().chain(self.wait.map(Wait::deadline)).min()
            }
            Stage::Blind => None,
        };
        streams.chain(stage).min()
    }

    pub(super) fn buffered_bytes(&self) -> usize {
        self.bytes_behind_gaps() + self.tls().map_or(0, TlsStage::held_bytes) + self.held_to_recognize()
    }

    /// Bytes held because nothing could be made of them yet.
    fn held_to_recognize(&self) -> usize {
        let Stage::Recognizing(recognizer) = &self.stage else { return 0 };
        if recognizer.verdict().kind.is_final() {
            return 0;
        }
        Some(recognizer.held_bytes()).filter(|held| *held > USUAL_HELD).unwrap_or_default()
    }

    /// There is no room to wait for more. What there is may be the beginning of anything.
    fn give_up_recognizing(&mut self, context: &mut Context<'_>) -> Option<Conclusion> {
        let Stage::Recognizing(recognizer) = &mut self.stage else { return None };
        context.counters.recognitions_given_up_by_total_buffer += 1;
        count_recognizer(recognizer, context);
        let seen = *recognizer.verdict();
        let protocol = seen.kind.protocol().map(|protocol| protocol.name());
        let proxy_protocol = seen.proxy_protocol;
        let verdict = Verdict { protocol, proxy_protocol, ..Verdict::unknown(Reason::LimitReached) };
        Some(Conclusion { client: seen.client, ..Conclusion::of(verdict) })
    }

    fn bytes_behind_gaps(&self) -> usize {
        self.streams.iter().map(Stream::buffered_bytes).sum()
    }

    /// What it has to say on certificates, once there was a hello.
    pub(super) fn evidence(&self) -> Option<Evidence> {
        self.tls()?.evidence(self.bytes_behind_gaps() == 0)
    }

    /// What reads TLS, once it was recognized.
    pub(super) fn tls(&self) -> Option<&TlsStage> {
        match &self.stage {
            Stage::Tls(tls) => Some(tls),
            Stage::Recognizing(_) | Stage::Blind => None,
        }
    }

    /// A probe showed the certificates of one side.
    pub(super) fn peer_chain(
        &mut self,
        probed: &ProbedChain<'_>,
        now: Timestamp,
        context: &mut Context<'_>,
    ) -> Option<Conclusion> {
        match &mut self.stage {
            Stage::Tls(tls) => tls.peer_chain(probed, now, context),
            Stage::Recognizing(_) | Stage::Blind => None,
        }
    }

    /// Adds what this connection's layers counted; once, when it is over for them.
    pub(super) fn count(&self, context: &mut Context<'_>) {
        match &self.stage {
            Stage::Recognizing(recognizer) => count_recognizer(recognizer, context),
            Stage::Tls(tls) => tls.count(context),
            Stage::Blind => {}
        }
    }

    /// Silence decides what the client's bytes are. A server's greeting alone waits for the client.
    fn silence_deadline(&self, config: &EngineConfig) -> Option<Timestamp> {
        let Stage::Recognizing(recognizer) = &self.stage else { return None };
        let verdict = recognizer.verdict();
        let waits_for_client = match verdict.client {
            Some(client) => !self.seen.get(client.index()).copied().unwrap_or(false),
            None => false,
        };
        let waiting = verdict.kind == Kind::NeedMore && self.seen.contains(&true) && !waits_for_client;
        waiting.then(|| self.last_data + config.silence_timeout)
    }

    fn scan(&mut self, segment: &Segment<'_>, context: &mut Context<'_>) -> Option<Conclusion> {
        let scan = self.midstream.as_mut()?;
        match scan.segment(segment.direction, segment.seq, segment.wire_len, segment.payload) {
            Seen::TlsRecords => Some(Conclusion {
                verdict: Verdict {
                    security: Security::Tls,
                    source: Some(Source::Wire),
                    ..Verdict::unknown(Reason::ClientIdentityUnknown)
                },
                tls: Some(Arc::new(TlsFacts { established: Some(true), ..TlsFacts::default() })),
                client: None,
                client_is_proven: false,
                is_final: true,
            }),
            Seen::ClientHello if !self.more_asked => {
                self.start_over(segment.direction, segment.seq, context);
                None
            }
            Seen::Nothing | Seen::ClientHello if self.segments > context.config.max_midstream_segments => {
                context.counters.midstream_given_up += 1;
                Some(Conclusion::of(Verdict::unknown(Reason::StartedBeforeAgent)))
            }
            Seen::Nothing | Seen::ClientHello => None,
        }
    }

    /// An old connection begins its handshake only now: from here on everything is seen.
    fn start_over(&mut self, client: Direction, seq: SeqNumber, context: &mut Context<'_>) {
        self.count(context);
        self.midstream = None;
        self.wait = None;
        self.streams = [Stream::new(), Stream::new()];
        self.stream(client).start_at(seq);
        if let Some(next) = self.starts_next.get_mut(client.reverse().index()) {
            *next = true;
        }
        let local = if client == Direction::Egress { Side::Client } else { Side::Server };
        self.stage = Stage::Recognizing(Box::new(Recognizer::new(context.config.recognize, Some(local))));
    }

    fn stream(&mut self, direction: Direction) -> &mut Stream {
        let [egress, ingress] = &mut self.streams;
        if direction == Direction::Egress { egress } else { ingress }
    }

    fn drain(&mut self, now: Timestamp, context: &mut Context<'_>) -> Option<Conclusion> {
        let mut limits: ReassemblyLimits = context.config.reassembly;
        if context.is_crowded() && self.bytes_behind_gaps() > 0 {
            context.counters.gaps_forced_by_total_buffer += 1;
            limits.max_buffered_bytes = 0;
        }
        for direction in BOTH {
            while let Some(item) = self.stream(direction).pop(now, &limits, &mut context.counters.reassembly)
            {
                if let Some(conclusion) = self.item(direction, &item, now, context) {
                    return Some(conclusion);
                }
            }
        }
        None
    }

    fn item(
        &mut self,
        direction: Direction,
        item: &StreamItem<'_>,
        now: Timestamp,
        context: &mut Context<'_>,
    ) -> Option<Conclusion> {
        match &mut self.stage {
            Stage::Recognizing(recognizer) => {
                match item {
                    StreamItem::Data(bytes) => recognizer.data(direction, bytes),
                    StreamItem::Gap { len, .. } => recognizer.gap(direction, *len),
                }
                if self.held_to_recognize() > 0 {
                    if context.is_crowded() {
                        return self.give_up_recognizing(context);
                    }
                    self.wait.get_or_insert_with(|| Wait::new(now, context.config));
                }
                self.recognized(now, context)
            }
            Stage::Tls(tls) => tls.item(direction, item, now, context),
            Stage::Blind => None,
        }
    }

    /// Acts on what the recognizer says.
    fn recognized(&mut self, now: Timestamp, context: &mut Context<'_>) -> Option<Conclusion> {
        let Stage::Recognizing(recognizer) = &mut self.stage else { return None };
        let verdict = *recognizer.verdict();
        let proxy_protocol = verdict.proxy_protocol;
        match verdict.kind {
            Kind::NeedMore => None,
            Kind::Upgradable(_) => {
                if !self.more_asked {
                    self.more_asked = true;
                    context.outputs.push_back(Output::CaptureMore(self.id));
                }
                None
            }
            // Met in the middle, one record header is not enough: the scan counts them.
            Kind::Tls { hello: false, .. } if self.midstream.is_some() => {
                self.blind(context);
                None
            }
            Kind::Tls { upgraded_from, .. } => {
                count_recognizer(recognizer, context);
                let client = verdict.client.unwrap_or(Direction::Egress);
                let preface =
                    Preface { upgraded_from: upgraded_from.map(|protocol| protocol.name()), proxy_protocol };
                let bytes = recognizer.take_tls();
                let config = context.config;
                let tls = TlsStage::new(client, preface, config.tls, config.seen_at_local_end);
                self.stage = Stage::Tls(Box::new(tls));
                self.midstream = None;
                bytes.into_iter().find_map(|(direction, bytes)| {
                    self.item(direction, &StreamItem::Data(bytes.into()), now, context)
                })
            }
            kind => {
                let verdict = Verdict { proxy_protocol, ..plain_verdict(kind) };
                if self.midstream.is_some() && verdict.proves_nothing() {
                    self.blind(context);
                    return None;
                }
                let client = recognizer.verdict().client;
                Some(Conclusion { verdict, tls: None, client, client_is_proven: false, is_final: true })
            }
        }
    }

    fn blind(&mut self, context: &mut Context<'_>) {
        self.count(context);
        self.stage = Stage::Blind;
    }
}

fn plain_verdict(kind: Kind) -> Verdict {
    let unknown =
        |reason| Verdict { protocol: kind.protocol().map(|p| p.name()), ..Verdict::unknown(reason) };
    let plaintext = |starttls: Option<StartTls>| Verdict {
        security: Security::Plaintext,
        source: Some(Source::Wire),
        reason: None,
        starttls,
        ..unknown(Reason::NoData)
    };
    match kind {
        Kind::Plaintext { starttls, .. } => plaintext(starttls),
        Kind::Text => plaintext(None),
        Kind::EncryptedNotTls(_) => {
            Verdict { source: Some(Source::Wire), ..unknown(Reason::EncryptedNotTls) }
        }
        Kind::Unrecognized => unknown(Reason::UnrecognizedProtocol),
        Kind::MissingBytes { .. } => unknown(Reason::MissingBytes),
        Kind::NoData => unknown(Reason::NoData),
        Kind::TooFewBytes | Kind::NeedMore | Kind::Upgradable(_) | Kind::Tls { .. } => {
            unknown(Reason::TooFewBytes)
        }
    }
}

fn count_recognizer(recognizer: &Recognizer, context: &mut Context<'_>) {
    let counted = recognizer.counters();
    let total = &mut context.counters.recognize;
    total.prefix_cut_bytes += counted.prefix_cut_bytes;
    total.upgrade_given_up += counted.upgrade_given_up;
    total.held_cut_bytes += counted.held_cut_bytes;
    total.runs_cut += counted.runs_cut;
}
