//! One connection on its way to a verdict.

use super::prefix::is_text;
use super::proxy::{self, Header};
use super::stream::Stream;
use super::text::{self, Behind};
use super::tracking::Tracking;
use super::{Detection, Kind, PROTOCOLS, Protocol, ProtocolRef, UpgradeStatus, Verdict, tls};
use crate::net::{Direction, Side};
use crate::observation::StartTls;

/// Bytes of text that are enough for [`Kind::Text`] once the connection is over.
pub const TEXT_AT_END: usize = 4;

/// Runs of bytes whose order between the two directions is remembered until the verdict.
const MAX_RUNS: usize = 64;

/// How much a [`Recognizer`] keeps and follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecognizeLimits {
    /// Bytes kept of each direction until a protocol is named.
    pub prefix: usize,
    /// Bytes of the server that prove text while the connection goes on, if it says anything. 16 readable bytes come
    /// out of a random stream once in 2^21.
    pub text: usize,
    /// Bytes of the client that prove text while the connection goes on: more than the commands that come before an
    /// upgrade to TLS in a protocol not known here.
    pub client_text: usize,
    /// Bytes of both directions that are followed to an upgrade before it counts as [`Kind::MissingBytes`].
    pub upgrade: u64,
    /// Bytes held that a client sent behind its request for TLS, before the server agreed.
    pub held: usize,
}

impl Default for RecognizeLimits {
    fn default() -> Self {
        Self { prefix: 1024, text: 16, client_text: 64, upgrade: 65_536, held: 4096 }
    }
}

/// How often a bound cut something.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RecognizeCounters {
    /// Bytes past [`RecognizeLimits::prefix`] that came before a verdict.
    pub prefix_cut_bytes: u64,
    /// Upgrades given up after [`RecognizeLimits::upgrade`] bytes.
    pub upgrade_given_up: u64,
    /// Bytes past [`RecognizeLimits::held`].
    pub held_cut_bytes: u64,
    /// Turns between the directions that were too many to remember.
    pub runs_cut: u64,
    /// Lines of which an upgrade tracker kept only the beginning.
    pub lines_cut: u64,
}

/// Names what one connection carries. Feed it the bytes of both directions in the order in which they were delivered
/// until [`Kind::is_final`]; then, for [`Kind::Tls`], move on with what [`Recognizer::take_tls`] gives.
pub struct Recognizer {
    limits: RecognizeLimits,
    counters: RecognizeCounters,
    local_side: Option<Side>,
    streams: [Stream; 2],
    /// Order in which the kept bytes came.
    runs: Vec<(Direction, usize)>,
    tracking: Option<Tracking>,
    pending_tls: Vec<(Direction, Vec<u8>)>,
    verdict: Verdict,
}

impl Recognizer {
    /// For one connection, seen from its start. `local_side` is the part of the end that sends [`Direction::Egress`].
    pub fn new(limits: RecognizeLimits, local_side: Option<Side>) -> Self {
        Self {
            limits,
            counters: RecognizeCounters::default(),
            local_side,
            streams: [Stream::default(), Stream::default()],
            runs: Vec::new(),
            tracking: None,
            pending_tls: Vec::new(),
            verdict: Verdict {
                kind: Kind::NeedMore,
                proxy_protocol: None,
                client: local_side.map(client_of),
            },
        }
    }

    /// For a connection whose first bytes were missed. The first bytes given of each direction should be the start of a
    /// segment: that is where messages and records mostly begin.
    pub fn joined_in_the_middle(limits: RecognizeLimits, local_side: Option<Side>) -> Self {
        let mut new = Self::new(limits, local_side);
        for s in &mut new.streams {
            s.middle = true;
        }
        new
    }

    /// The part the local end plays became known from elsewhere.
    pub fn set_local_side(&mut self, side: Side) {
        self.local_side = Some(side);
        if self.verdict.client.is_none() {
            self.verdict.client = Some(client_of(side));
        }
    }

    /// What is known so far.
    pub const fn verdict(&self) -> &Verdict {
        &self.verdict
    }

    /// How often a bound cut something.
    pub const fn counters(&self) -> RecognizeCounters {
        self.counters
    }

    /// Bytes of memory held until it is known what they are.
    pub fn held_bytes(&self) -> usize {
        let kept: usize = self.streams.iter().map(|stream| stream.kept.capacity()).sum();
        let runs = self.runs.capacity().saturating_mul(size_of::<(Direction, usize)>());
        let held = self.tracking.as_ref().map_or(0, Tracking::held_bytes);
        kept.saturating_add(runs).saturating_add(held)
    }

    /// Once the verdict is [`Kind::Tls`]: the bytes given so far that belong to TLS, in delivery order. Each direction's
    /// begin at the verdict's `start`. Later bytes go to the TLS layer directly.
    pub fn take_tls(&mut self) -> Vec<(Direction, Vec<u8>)> {
        std::mem::take(&mut self.pending_tls)
    }

    /// The next bytes of one direction. After a final verdict they are ignored.
    pub fn data(&mut self, from: Direction, bytes: &[u8]) {
        if self.verdict.kind.is_final() || bytes.is_empty() {
            return;
        }
        if self.tracking.is_some() {
            self.track(from, bytes);
            return;
        }
        let limit = self.limits.prefix;
        let stream = stream_mut(&mut self.streams, from);
        stream.end = stream.end.saturating_add(bytes.len() as u64);
        let mut rest = bytes;
        loop {
            let stream = stream_mut(&mut self.streams, from);
            let skipped = rest.len().min(usize::try_from(stream.skip).unwrap_or(usize::MAX));
            stream.skip = stream.skip.saturating_sub(skipped as u64);
            rest = rest.get(skipped..).unwrap_or_default();
            let kept = if stream.skip > 0 { 0 } else { stream.keep(rest, limit) };
            rest = rest.get(kept..).unwrap_or_default();
            self.remember_run(from, kept);
            // A PROXY header that was stepped over makes room again.
            if !self.evaluate() || rest.is_empty() {
                break;
            }
        }
        if rest.is_empty() {
            return;
        }
        if self.tracking.is_some() {
            self.track(from, rest);
        } else if matches!(self.verdict.kind, Kind::Tls { .. }) {
            self.pending_tls.push((from, rest.to_vec()));
        } else if !self.verdict.kind.is_final() {
            stream_mut(&mut self.streams, from).closed = true;
            self.counters.prefix_cut_bytes = self.counters.prefix_cut_bytes.saturating_add(rest.len() as u64);
            if self.streams.iter().all(|s| s.closed) {
                self.end();
            }
        }
    }

    /// `len` bytes of one direction will never come.
    pub fn gap(&mut self, from: Direction, len: u64) {
        if self.verdict.kind.is_final() || len == 0 {
            return;
        }
        if let Some(t) = self.tracking.take() {
            self.verdict.kind = match t.upgrade.gap() {
                UpgradeStatus::NotApplicable => Kind::Plaintext { protocol: t.protocol, starttls: None },
                _ => Kind::MissingBytes { protocol: Some(t.protocol) },
            };
        } else {
            stream_mut(&mut self.streams, from).gap(len);
        }
    }

    /// No more bytes will come: decides with what there is. Always final.
    pub fn end(&mut self) -> Verdict {
        if self.verdict.kind.is_final() {
            return self.verdict;
        }
        self.verdict.kind = if let Some(t) = self.tracking.take() {
            let status = t.upgrade.end();
            let plain = |starttls| Kind::Plaintext { protocol: t.protocol, starttls };
            match status {
                UpgradeStatus::NotUsed => plain(Some(StartTls::NotUsed)),
                UpgradeStatus::Refused => plain(Some(StartTls::Refused)),
                UpgradeStatus::EncryptedNotTls => Kind::EncryptedNotTls(t.protocol),
                UpgradeStatus::Unknown(_) => Kind::MissingBytes { protocol: Some(t.protocol) },
                // Something followed a request for TLS whose answer was not seen or not understood.
                UpgradeStatus::Continue if t.in_doubt() => Kind::MissingBytes { protocol: Some(t.protocol) },
                UpgradeStatus::Continue | UpgradeStatus::NotApplicable | UpgradeStatus::Upgraded { .. } => {
                    plain(None)
                }
            }
        } else {
            let longest = self.streams.iter().map(|s| s.kept.len()).max().unwrap_or(0);
            let missing = self.missing();
            // Of one side everything was lost: whatever the other one said, it may have become TLS.
            let one_lost = self.streams.iter().any(|s| s.kept.is_empty() && s.middle && s.base > 0);
            // An upgrade takes two.
            let both = self.streams.iter().all(|s| !s.kept.is_empty());
            let upgrade_lost = one_lost || missing && both && self.speaks_of_tls();
            if longest == 0 {
                if missing { Kind::MissingBytes { protocol: None } } else { Kind::NoData }
            } else if longest >= TEXT_AT_END && self.all_text() && !upgrade_lost {
                Kind::Text
            } else if missing {
                Kind::MissingBytes { protocol: None }
            } else {
                Kind::TooFewBytes
            }
        };
        self.streams = [Stream::default(), Stream::default()];
        self.verdict
    }

    fn remember_run(&mut self, from: Direction, len: usize) {
        if len == 0 {
            return;
        }
        let room = self.runs.len() < MAX_RUNS;
        match self.runs.last_mut() {
            Some((d, n)) if *d == from => *n = n.saturating_add(len),
            _ if room => self.runs.push((from, len)),
            _ => {
                // The order between the directions is lost from here on: only the prefixes count.
                self.counters.runs_cut = self.counters.runs_cut.saturating_add(1);
                self.streams[0].closed = true;
                self.streams[1].closed = true;
            }
        }
    }

    /// Applies the rules of the module. `true` when a PROXY header was stepped over and there may be room for more.
    fn evaluate(&mut self) -> bool {
        let mut stepped = false;
        let mut open = false;
        if self.verdict.proxy_protocol.is_none() {
            for d in self.possible_clients() {
                let stream = stream_mut(&mut self.streams, d);
                match proxy::look(&stream.kept) {
                    Header::None => {}
                    Header::NeedMore => open |= !stream.kept.is_empty(),
                    Header::Found { version, len } => {
                        let kept = stream.step_over(u64::from(len));
                        forget_runs(&mut self.runs, d, kept);
                        self.verdict.proxy_protocol = Some(version);
                        self.verdict.client = Some(d);
                        stepped = true;
                    }
                }
            }
        }
        // Both directions of a TLS connection are TLS, unless one was joined inside a record.
        let mut tls_possible = true;
        let joined = self.streams.iter().any(|s| s.middle);
        for d in [Direction::Egress, Direction::Ingress] {
            let stream = stream_of(&self.streams, d);
            match tls::look(&stream.kept, stream.middle) {
                (_, Some(first)) => {
                    let other = &stream_of(&self.streams, d.reverse()).kept;
                    if joined || tls::look(other, false).0 != Detection::NotThis {
                        self.conclude_tls(d, first);
                    } else if first == tls::First::ClientHello && is_text(other) {
                        // The other side had greeted in plaintext.
                        self.conclude_tls_behind_text(d, 0);
                    } else {
                        tls_possible = false;
                        continue;
                    }
                    return stepped;
                }
                (Detection::NotThis, _) => tls_possible &= joined,
                (_, None) => open |= joined && !stream.closed,
            }
        }
        open |= tls_possible && !joined;
        let mut hello = None;
        for d in [Direction::Egress, Direction::Ingress] {
            match self.behind_text(d) {
                Behind::Nothing => {}
                Behind::NeedMore => open = true,
                Behind::ClientHello(at) => hello = Some((d, at)),
            }
        }
        let mut found: Option<(ProtocolRef, Option<Direction>)> = None;
        let mut ambiguous = false;
        for protocol in PROTOCOLS {
            for client in self.possible_clients() {
                match self.ask(*protocol, client, hello) {
                    Detection::NotThis => {}
                    Detection::NeedMore => open = true,
                    Detection::Is => match &mut found {
                        None => found = Some((ProtocolRef(*protocol), Some(client))),
                        Some((p, c)) if *p == ProtocolRef(*protocol) => *c = None,
                        Some(_) => ambiguous = true,
                    },
                }
            }
        }
        match found {
            Some((protocol, client)) if !ambiguous => self.conclude(protocol, client),
            _ if let Some((d, at)) = hello => self.conclude_tls_behind_text(d, at),
            Some(_) => {}
            None if open => {}
            None => {
                if !self.all_text() {
                    self.verdict.kind = if self.missing() {
                        Kind::MissingBytes { protocol: None }
                    } else {
                        Kind::Unrecognized
                    };
                } else if self.enough_text() && !self.speaks_of_tls() {
                    self.verdict.kind = Kind::Text;
                }
            }
        }
        stepped
    }

    /// `hello`: TLS begins there, and is not shown to the protocol.
    fn ask(
        &self,
        protocol: &dyn Protocol,
        client: Direction,
        hello: Option<(Direction, usize)>,
    ) -> Detection {
        let shown = |d| {
            let kept = stream_of(&self.streams, d).kept.as_slice();
            match hello {
                Some((from, at)) if from == d => kept.get(..at).unwrap_or(kept),
                _ => kept,
            }
        };
        let (c, s) = (shown(client), shown(client.reverse()));
        if c.is_empty() && s.is_empty() {
            return Detection::NeedMore;
        }
        protocol.both(c, s)
    }

    /// Looks for a ClientHello behind the text of one direction, answered in nothing but text.
    fn behind_text(&self, d: Direction) -> Behind {
        let mut at = 0usize;
        let turns = self.runs.iter().filter(|(run, _)| *run == d).map(|(_, len)| {
            let start = at;
            at = at.saturating_add(*len);
            start
        });
        match text::behind(&stream_of(&self.streams, d).kept, turns) {
            Behind::Nothing => Behind::Nothing,
            _ if !is_text(&stream_of(&self.streams, d.reverse()).kept) => Behind::Nothing,
            found => found,
        }
    }

    /// Whether both directions begin with text. No more is judged than proves text, so that the answer does not depend on
    /// how much came at once; but all of what speaks of TLS.
    fn all_text(&self) -> bool {
        let judged = if self.speaks_of_tls() { usize::MAX } else { self.limits.client_text };
        self.streams.iter().all(|s| is_text(s.kept.get(..judged).unwrap_or(&s.kept)))
    }

    /// Enough to call it text for good. A server's greeting is not: the client may ask for TLS next.
    fn enough_text(&self) -> bool {
        self.possible_clients().all(|client| {
            let server = stream_of(&self.streams, client.reverse()).kept.len();
            let client = stream_of(&self.streams, client).kept.len();
            client >= self.limits.client_text && (server == 0 || server >= self.limits.text)
        })
    }

    /// Bytes were lost or not kept.
    fn missing(&self) -> bool {
        self.streams.iter().any(|s| s.closed || s.middle && s.base > 0)
    }

    /// Text that offers TLS or asks for it may not stay text.
    fn speaks_of_tls(&self) -> bool {
        self.streams.iter().any(|s| text::speaks_of_tls(&s.kept))
    }

    fn possible_clients(&self) -> impl Iterator<Item = Direction> + use<> {
        let known = self.verdict.client;
        [Direction::Egress, Direction::Ingress].into_iter().filter(move |d| known.is_none_or(|k| k == *d))
    }

    fn conclude_tls(&mut self, from: Direction, first: tls::First) {
        match first {
            tls::First::ClientHello => self.verdict.client = Some(from),
            tls::First::ServerHello => self.verdict.client = Some(from.reverse()),
            tls::First::Alert | tls::First::Record => {}
        }
        let hello = matches!(first, tls::First::ClientHello | tls::First::ServerHello);
        let start = [self.streams[0].base, self.streams[1].base];
        self.verdict.kind = Kind::Tls { start, upgraded_from: None, hello };
        self.pending_tls = self.replay();
    }

    /// A protocol not known here was upgraded: `client` went on with a ClientHello at offset `at` of what is kept.
    fn conclude_tls_behind_text(&mut self, client: Direction, at: usize) {
        let mut start = [0, 0];
        for d in [client, client.reverse()] {
            let stream = stream_of(&self.streams, d);
            let text = if d == client { at } else { stream.kept.len() };
            if let Some(start) = start.get_mut(d.index()) {
                *start = stream.base.saturating_add(text as u64);
            }
        }
        let hello = stream_of(&self.streams, client).kept.get(at..).unwrap_or_default().to_vec();
        self.verdict.client = Some(client);
        self.verdict.kind = Kind::Tls { start, upgraded_from: None, hello: true };
        self.replay();
        self.pending_tls = vec![(client, hello)];
    }

    fn conclude(&mut self, protocol: ProtocolRef, client: Option<Direction>) {
        if client.is_some() {
            self.verdict.client = client;
        }
        // Where both ends begin alike, the first to speak is followed as the client.
        let first = self.runs.first().map(|(d, _)| *d);
        if protocol.encrypted_not_tls() {
            self.verdict.kind = Kind::EncryptedNotTls(protocol);
        } else if let (Some(make), Some(client)) = (protocol.upgrade(), client.or(first)) {
            self.verdict.kind = Kind::Upgradable(protocol);
            let base = [self.streams[0].base, self.streams[1].base];
            let cut = self.streams.iter().any(|s| s.closed);
            let partial = self.streams.iter().any(|s| s.middle);
            self.tracking = Some(Tracking::new(protocol, client, make(), base, partial));
            for (d, bytes) in self.replay() {
                self.track(d, &bytes);
            }
            if cut && self.tracking.take().is_some() {
                self.verdict.kind = Kind::MissingBytes { protocol: Some(protocol) };
            }
        } else {
            self.verdict.kind = Kind::Plaintext { protocol, starttls: None };
        }
        self.streams[0].kept = Vec::new();
        self.streams[1].kept = Vec::new();
    }

    /// The kept bytes in the order in which they came. They are no longer kept.
    fn replay(&mut self) -> Vec<(Direction, Vec<u8>)> {
        let mut at = [0usize; 2];
        let mut out = Vec::with_capacity(self.runs.len());
        for (d, n) in std::mem::take(&mut self.runs) {
            let Some(at) = at.get_mut(d.index()) else { continue };
            let end = at.saturating_add(n);
            if let Some(run) = stream_of(&self.streams, d).kept.get(*at..end) {
                out.push((d, run.to_vec()));
            }
            *at = end;
        }
        for s in &mut self.streams {
            s.kept = Vec::new();
        }
        out
    }

    fn track(&mut self, from: Direction, bytes: &[u8]) {
        let Some(t) = &mut self.tracking else {
            // Settled by an earlier run of the replay.
            if matches!(self.verdict.kind, Kind::Tls { .. }) {
                self.pending_tls.push((from, bytes.to_vec()));
            }
            return;
        };
        let side = if from == t.client { Side::Client } else { Side::Server };
        let status = t.feed(from, side, bytes);
        let protocol = t.protocol;
        let plain = |starttls| Kind::Plaintext { protocol, starttls };
        let kind = match status {
            UpgradeStatus::Continue if t.fed > self.limits.upgrade => {
                self.counters.upgrade_given_up = self.counters.upgrade_given_up.saturating_add(1);
                Kind::MissingBytes { protocol: Some(protocol) }
            }
            UpgradeStatus::Continue => {
                let cut = t.hold(from, side, bytes, self.limits.held);
                self.counters.held_cut_bytes = self.counters.held_cut_bytes.saturating_add(cut);
                return;
            }
            UpgradeStatus::NotApplicable => plain(None),
            UpgradeStatus::NotUsed => plain(Some(StartTls::NotUsed)),
            UpgradeStatus::Refused => plain(Some(StartTls::Refused)),
            UpgradeStatus::EncryptedNotTls => Kind::EncryptedNotTls(protocol),
            UpgradeStatus::Unknown(_) => Kind::MissingBytes { protocol: Some(protocol) },
            UpgradeStatus::Upgraded { client, server } => {
                let start = t.start(client, server);
                if t.held_cut {
                    Kind::MissingBytes { protocol: Some(protocol) }
                } else {
                    self.pending_tls = t.tls_bytes(start, from, bytes);
                    Kind::Tls { start, upgraded_from: Some(protocol), hello: true }
                }
            }
        };
        self.counters.lines_cut = self.counters.lines_cut.saturating_add(t.upgrade.lines_cut());
        self.verdict.kind = kind;
        self.tracking = None;
    }
}

const fn client_of(local_side: Side) -> Direction {
    match local_side {
        Side::Client => Direction::Egress,
        Side::Server => Direction::Ingress,
    }
}

fn stream_of(streams: &[Stream; 2], d: Direction) -> &Stream {
    let [egress, ingress] = streams;
    match d {
        Direction::Egress => egress,
        Direction::Ingress => ingress,
    }
}

fn stream_mut(streams: &mut [Stream; 2], d: Direction) -> &mut Stream {
    let [egress, ingress] = streams;
    match d {
        Direction::Egress => egress,
        Direction::Ingress => ingress,
    }
}

/// `n` bytes at the start of one direction are no longer kept.
fn forget_runs(runs: &mut Vec<(Direction, usize)>, d: Direction, mut n: usize) {
    for (_, len) in runs.iter_mut().filter(|(run, _)| *run == d) {
        let gone = n.min(*len);
        *len = len.saturating_sub(gone);
        n = n.saturating_sub(gone);
    }
    runs.retain(|(_, len)| *len > 0);
}
