//! Connections out of segments: who is the client, where the streams start, when a connection is over.
//!
//! The end that sent the SYN is the client, and the local end. Of a connection whose beginning was not captured, the end
//! that was heard first is taken as the local one and `local_side` stays unknown: who is the client then only a
//! ClientHello can tell.

use std::collections::VecDeque;
use std::time::Duration;

use agent_core::event::{Bytes, CloseKind, Closed, Established, Event, Opened, Origin, Segment};
use agent_core::net::{ConnId, Direction, Endpoint, FiveTuple, SeqNumber, Side};
use agent_core::time::Timestamp;
use hashlink::LinkedHashMap;

use super::counters::Counters;
use super::packet::TcpSegment;
use super::tunnel::Encapsulation;

/// Bounds of the table.
#[derive(Clone, Copy, Debug)]
pub struct FlowLimits {
    /// Connections open at once; the one that was silent longest makes room.
    pub open: usize,
    /// Closed connections remembered, to know their late segments.
    pub closed: usize,
    /// Silence after which an open connection is given up. Longer than the two hours after which keep-alive speaks.
    pub idle: Duration,
}

impl Default for FlowLimits {
    fn default() -> Self {
        Self { open: 131_072, closed: 16_384, idle: Duration::from_secs(3 * 3600) }
    }
}

/// Farther than this from what was seen, a sequence number belongs to another connection (the largest window is 1 GiB,
/// RFC 7323 section 2.3).
const MAX_STEP: i32 = 1 << 30;
/// How long the segments of a connection that is over are waited for: captures of several queues are a little out of order.
const LINGER: Duration = Duration::from_millis(100);
/// How far from what was seen a segment that comes out of order may be.
const MAX_REORDER: i32 = 4 << 20;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Key {
    encapsulation: Encapsulation,
    low: Endpoint,
    high: Endpoint,
}

impl Key {
    fn of(segment: &TcpSegment<'_>) -> Self {
        let (low, high) = if segment.source <= segment.destination {
            (segment.source, segment.destination)
        } else {
            (segment.destination, segment.source)
        };
        Self { encapsulation: segment.encapsulation, low, high }
    }
}

#[derive(Debug)]
struct Flow {
    conn: ConnId,
    local: Endpoint,
    origin: Origin,
    established: bool,
    /// Something other than a SYN or RST was seen.
    answered: bool,
    last: Timestamp,
    /// How and when it ended; it lingers.
    ended: Option<(CloseKind, Timestamp)>,
    egress: Stream,
    ingress: Stream,
}

/// What was seen of one direction.
#[derive(Debug, Default)]
struct Stream {
    /// Sequence number of the first byte, known from a SYN or its acknowledgment.
    start: Option<SeqNumber>,
    /// Sequence number after the last byte seen.
    end: Option<SeqNumber>,
    /// Payload bytes up to `end`.
    bytes: u64,
    /// Sequence number after the FIN.
    fin: Option<SeqNumber>,
    /// Highest number that the other end acknowledged.
    acked: Option<SeqNumber>,
}

impl Stream {
    fn payload(&mut self, seq: SeqNumber, len: u32) {
        let end = seq.add(len);
        let from = *self.end.get_or_insert(self.start.unwrap_or(seq));
        let step = end.distance(from);
        if (1..MAX_STEP).contains(&step) {
            self.bytes += u64::from(step.unsigned_abs());
            self.end = Some(end);
        }
    }

    fn acknowledge(&mut self, ack: SeqNumber) {
        if self.acked.is_none_or(|a| ack.distance(a) > 0) {
            self.acked = Some(ack);
        }
    }

    fn is_finished(&self) -> bool {
        matches!((self.fin, self.acked), (Some(fin), Some(acked)) if acked.distance(fin) >= 0)
    }

    /// Whether `seq` may belong to this stream.
    fn is_near(&self, seq: SeqNumber) -> bool {
        let near = |a: SeqNumber| seq.distance(a).unsigned_abs() < MAX_REORDER.unsigned_abs();
        match (self.end, self.start) {
            (None, None) => true,
            (end, start) => end.is_some_and(near) || start.is_some_and(near),
        }
    }
}

impl Flow {
    fn stream(&mut self, direction: Direction) -> &mut Stream {
        match direction {
            Direction::Egress => &mut self.egress,
            Direction::Ingress => &mut self.ingress,
        }
    }

    /// Only SYNs were seen.
    fn is_opening(&self) -> bool {
        self.origin == Origin::Fresh && !self.answered
    }

    /// The end of the connection, by `how` at `now` unless it ended on its own before.
    fn closed(&self, how: CloseKind, now: Timestamp) -> (Event<'static>, Timestamp) {
        let (how, at) = self.ended.unwrap_or((how, now));
        let both_closed = self.egress.fin.is_some() && self.ingress.fin.is_some();
        let how = match how {
            CloseKind::SourceEnded | CloseKind::Unknown if both_closed => CloseKind::Finished,
            CloseKind::Reset | CloseKind::Unknown if self.is_opening() => CloseKind::NeverEstablished,
            how => how,
        };
        let bytes = Bytes { egress: self.egress.bytes, ingress: self.ingress.bytes };
        (Event::Closed(Closed { conn: self.conn, how, bytes: Some(bytes) }), at)
    }
}

/// A connection that is over: what it takes to know its late segments from those of the next one with the same ports.
#[derive(Debug)]
struct Ghost {
    local: Endpoint,
    egress: Stream,
    ingress: Stream,
}

/// Makes connections out of segments. Events go to the `emit` argument of each call, which may end everything by an
/// error of its own.
#[derive(Debug)]
pub struct FlowTracker {
    open: LinkedHashMap<Key, Flow>,
    closed: LinkedHashMap<Key, Ghost>,
    /// Connections that ended, in that order.
    lingering: VecDeque<(Timestamp, Key, ConnId)>,
    limits: FlowLimits,
    next: u64,
}

impl FlowTracker {
    /// An empty table.
    pub fn new(limits: FlowLimits) -> Self {
        Self {
            open: LinkedHashMap::new(),
            closed: LinkedHashMap::new(),
            lingering: VecDeque::new(),
            limits,
            next: 1,
        }
    }

    /// Connections open now.
    pub fn len(&self) -> usize {
        self.open.len()
    }

    /// No connection is open.
    pub fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    /// Takes one segment.
    pub fn segment<E>(
        &mut self,
        segment: &TcpSegment<'_>,
        now: Timestamp,
        counters: &mut Counters,
        emit: &mut impl FnMut(Event<'_>, Timestamp) -> Result<(), E>,
    ) -> Result<(), E> {
        self.expire(now, counters, emit)?;
        let key = Key::of(segment);
        if let Some(flow) = self.open.get(&key)
            && flow.is_another(segment)
            && let Some(old) = self.open.remove(&key)
        {
            let (event, at) = old.closed(CloseKind::Unknown, old.last);
            emit(event, at)?;
            self.bury(key, old, counters);
        }
        if !self.open.contains_key(&key) && !self.begin(key, segment, now, counters, emit)? {
            return Ok(());
        }
        let Some(flow) = self.open.to_back(&key) else { return Ok(()) };
        flow.last = now;
        let how = flow.advance(segment, now, emit)?;
        if let Some(how) = how.filter(|_| flow.ended.is_none()) {
            flow.ended = Some((how, now));
            let conn = flow.conn;
            self.lingering.push_back((now + LINGER, key, conn));
        }
        Ok(())
    }

    /// The source ended.
    pub fn finish<E>(
        &mut self,
        now: Timestamp,
        emit: &mut impl FnMut(Event<'_>, Timestamp) -> Result<(), E>,
    ) -> Result<(), E> {
        self.closed.clear();
        self.lingering.clear();
        while let Some((_, flow)) = self.open.pop_front() {
            let (event, at) = flow.closed(CloseKind::SourceEnded, now);
            emit(event, at)?;
        }
        Ok(())
    }

    /// Opens a connection for a segment that belongs to none; `false` when the segment opens none.
    fn begin<E>(
        &mut self,
        key: Key,
        segment: &TcpSegment<'_>,
        now: Timestamp,
        counters: &mut Counters,
        emit: &mut impl FnMut(Event<'_>, Timestamp) -> Result<(), E>,
    ) -> Result<bool, E> {
        if let Some(ghost) = self.closed.get(&key) {
            if ghost.knows(segment) {
                counters.late_segments += 1;
                return Ok(false);
            }
            self.closed.remove(&key);
        }
        if segment.rst {
            counters.stray_resets += 1;
            return Ok(false);
        }
        let (local, peer, local_side, origin) = match (segment.syn, segment.ack) {
            (true, None) => (segment.source, segment.destination, Some(Side::Client), Origin::Fresh),
            (true, Some(_)) => (segment.destination, segment.source, Some(Side::Client), Origin::Fresh),
            (false, _) => (segment.source, segment.destination, None, Origin::BeforeStart),
        };
        if self.open.len() >= self.limits.open
            && let Some((old_key, old)) = self.open.pop_front()
        {
            counters.evicted_open += 1;
            let (event, at) = old.closed(CloseKind::Unknown, old.last);
            emit(event, at)?;
            self.bury(old_key, old, counters);
        }
        let conn = ConnId(self.next);
        self.next += 1;
        let tuple = FiveTuple { local, peer };
        emit(Event::Opened(Opened { conn, tuple, local_side, origin, process: None }), now)?;
        let flow = Flow {
            conn,
            local,
            origin,
            established: false,
            answered: false,
            last: now,
            ended: None,
            egress: Stream::default(),
            ingress: Stream::default(),
        };
        self.open.insert(key, flow);
        Ok(true)
    }

    fn bury(&mut self, key: Key, flow: Flow, counters: &mut Counters) {
        if self.closed.len() >= self.limits.closed {
            self.closed.pop_front();
            counters.evicted_closed += 1;
        }
        self.closed.insert(key, Ghost { local: flow.local, egress: flow.egress, ingress: flow.ingress });
    }

    fn expire<E>(
        &mut self,
        now: Timestamp,
        counters: &mut Counters,
        emit: &mut impl FnMut(Event<'_>, Timestamp) -> Result<(), E>,
    ) -> Result<(), E> {
        while let Some(&(due, key, conn)) = self.lingering.front()
            && (due <= now || self.lingering.len() > self.limits.closed)
        {
            self.lingering.pop_front();
            if self.open.get(&key).is_some_and(|flow| flow.conn == conn)
                && let Some(old) = self.open.remove(&key)
            {
                let (event, at) = old.closed(CloseKind::Unknown, old.last);
                emit(event, at)?;
                self.bury(key, old, counters);
            }
        }
        while let Some((_, oldest)) = self.open.front()
            && now.since(oldest.last) > self.limits.idle
            && let Some((_, flow)) = self.open.pop_front()
        {
            counters.evicted_idle += 1;
            let (event, at) = flow.closed(CloseKind::Unknown, flow.last);
            emit(event, at)?;
        }
        Ok(())
    }
}

fn direction(local: Endpoint, segment: &TcpSegment<'_>) -> Direction {
    if segment.source == local { Direction::Egress } else { Direction::Ingress }
}

impl Ghost {
    /// Whether a segment belongs to this connection that is over.
    fn knows(&self, segment: &TcpSegment<'_>) -> bool {
        let stream = match direction(self.local, segment) {
            Direction::Egress => &self.egress,
            Direction::Ingress => &self.ingress,
        };
        if segment.syn {
            return stream.start.is_some() && stream.start == Some(segment.seq.add(1));
        }
        stream.is_near(segment.seq)
    }
}

impl Flow {
    /// Whether a segment shows that the ports are used for another connection now.
    fn is_another(&self, segment: &TcpSegment<'_>) -> bool {
        if !segment.syn {
            return false;
        }
        let start = segment.seq.add(1);
        let stream = match direction(self.local, segment) {
            Direction::Egress => &self.egress,
            Direction::Ingress => &self.ingress,
        };
        match (stream.start, stream.end) {
            (Some(known), _) if segment.ack.is_none() => known != start,
            // A SYN-ACK with another number: SYN cookies change it from one to the next until the client answers.
            (Some(known), _) => known != start && self.established && !stream.is_near(start),
            // The SYN comes after data of its own connection: the capture is out of order.
            (None, Some(end)) => !(0..MAX_REORDER).contains(&end.distance(start)),
            (None, None) => false,
        }
    }

    /// Takes a segment of this connection; tells how the connection ended, if it did.
    fn advance<E>(
        &mut self,
        segment: &TcpSegment<'_>,
        now: Timestamp,
        emit: &mut impl FnMut(Event<'_>, Timestamp) -> Result<(), E>,
    ) -> Result<Option<CloseKind>, E> {
        let direction = direction(self.local, segment);
        // SYN takes a sequence number (RFC 9293 section 3.4), so does the payload that TCP Fast Open puts behind it.
        let seq = if segment.syn { segment.seq.add(1) } else { segment.seq };
        if segment.syn && !self.established {
            self.stream(direction).start = Some(seq);
            if let Some(ack) = segment.ack {
                self.stream(direction.reverse()).start.get_or_insert(ack);
            }
        }
        if !segment.syn && !segment.rst {
            self.answered = true;
            self.establish(direction, segment, now, emit)?;
        }
        if segment.wire_len > 0 && !segment.rst {
            self.stream(direction).payload(seq, segment.wire_len);
            let (conn, wire_len, payload) = (self.conn, segment.wire_len, segment.payload);
            emit(Event::Segment(Segment { conn, direction, seq, wire_len, payload }), now)?;
        }
        if let Some(ack) = segment.ack {
            self.stream(direction.reverse()).acknowledge(ack);
        }
        if segment.rst {
            return Ok(Some(CloseKind::Reset));
        }
        if segment.fin {
            self.stream(direction).fin = Some(seq.add(segment.wire_len).add(1));
        }
        let finished = self.egress.is_finished() && self.ingress.is_finished();
        Ok(finished.then_some(CloseKind::Finished))
    }

    /// The handshake is complete when something other than a SYN is sent and both starts are known.
    fn establish<E>(
        &mut self,
        direction: Direction,
        segment: &TcpSegment<'_>,
        now: Timestamp,
        emit: &mut impl FnMut(Event<'_>, Timestamp) -> Result<(), E>,
    ) -> Result<(), E> {
        if self.established {
            return Ok(());
        }
        // The SYN-ACK was not captured: the client's first segment acknowledges it, and nothing else as long as nothing
        // of the server was seen.
        if direction == Direction::Egress
            && self.egress.start.is_some()
            && self.ingress.end.is_none()
            && segment.wire_len > 0
            && let Some(ack) = segment.ack
        {
            self.ingress.start.get_or_insert(ack);
        }
        let (Some(egress_start), Some(ingress_start)) = (self.egress.start, self.ingress.start) else {
            return Ok(());
        };
        self.established = true;
        emit(Event::Established(Established { conn: self.conn, egress_start, ingress_start }), now)
    }
}

#[cfg(test)]
mod tests;
