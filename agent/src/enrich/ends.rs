//! Connection ends of this host that are open, and which of them belong together.
//!
//! Both ends of a connection that stays on this host are observed, each as a connection of its own. They mirror each
//! other, unless an address was translated on the way: a Service's or a published port's by DNAT, or a sidecar's by
//! REDIRECT. The client's own address and port are the same at both ends even then (as long as they are not translated
//! too), which is how they are matched. Where it is translated too, the kernel's table says what it was
//! ([`conntrack`](super::conntrack)).

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use agent_core::event::Process;
use agent_core::identity::{Container, Party};
use agent_core::net::{ConnId, ConnMap, Endpoint, FiveTuple, Side};
use agent_core::time::Timestamp;
use smallvec::SmallVec;

use super::conntrack::Translation;
use super::kubernetes::{Named, Remote};
use super::process::{NetworkNamespace, Owner};
use super::{Counters, PodUid};

/// Ends that share a client's address and port and are looked at for one that has no other end yet.
const MAX_CANDIDATES: usize = 16;
/// The two ends of a connection whose address was translated come into view within this time: a SYN, its first
/// retransmissions, and the delay of events.
const TRANSLATED_WITHIN: Duration = Duration::from_secs(5);

/// How the other end on this host was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Match {
    /// Addresses and ports mirror each other.
    Mirror,
    /// What the client dialled is not where the server answered.
    Translated,
}

/// One open connection end.
#[derive(Debug)]
pub(super) struct End {
    pub(super) tuple: FiveTuple,
    /// Changed by [`Ends::learn_side`] only: the table's order rests on it.
    pub(super) side: Option<Side>,
    pub(super) opened: Timestamp,
    /// As the source named it.
    pub(super) process: Option<Arc<Process>>,
    /// As procfs has it.
    pub(super) owner: Option<Arc<Owner>>,
    /// The other end on this host.
    pub(super) pair: Option<(ConnId, Match)>,
    /// The workload at the local end, and its container with what the Kubernetes API knows of it.
    pub(super) named: Option<(Named, Option<Arc<Container>>)>,
    /// What the peer's address says, once nothing more can be learnt.
    pub(super) remote: Option<Remote>,
    /// What the other end saw, kept when it was forgotten first.
    pub(super) parted: Option<Parted>,
    /// What the kernel's table of connections says.
    pub(super) translated: Translated,
}

/// What is known of the translation of an end's addresses.
#[derive(Debug, Default)]
pub(super) enum Translated {
    /// Nobody was asked.
    #[default]
    NotAsked,
    /// There is no answer yet.
    Asked,
    /// It is not translated, or nobody knows.
    No,
    /// Changed by [`Ends::learn_translation`] only: the table's order rests on it.
    Yes(Box<Translation>),
}

/// The other end of a connection, after it is gone from the table.
#[derive(Clone, Debug)]
pub(super) struct Parted {
    pub(super) tuple: FiveTuple,
    pub(super) party: Party,
    pub(super) pod: Option<PodUid>,
    pub(super) network: Option<NetworkNamespace>,
}

impl End {
    pub(super) fn new(tuple: FiveTuple, side: Option<Side>, opened: Timestamp) -> Self {
        Self {
            tuple,
            side,
            opened,
            process: None,
            owner: None,
            pair: None,
            named: None,
            remote: None,
            parted: None,
            translated: Translated::NotAsked,
        }
    }

    /// The network namespace of its owner.
    pub(super) fn network(&self) -> Option<NetworkNamespace> {
        self.owner.as_ref()?.network
    }

    /// The pod it is in.
    pub(super) fn pod(&self) -> Option<PodUid> {
        let by_group = || self.owner.as_ref()?.pod;
        self.named.as_ref().and_then(|(named, _)| named.pod).or_else(by_group)
    }

    /// How its addresses were translated, if they were and that is known.
    pub(super) fn translation(&self) -> Option<&Translation> {
        match &self.translated {
            Translated::Yes(translation) => Some(translation),
            _ => None,
        }
    }

    /// The other end as that end knows itself, as far as this one knows.
    pub(super) fn other_address(&self) -> Endpoint {
        match (self.translation(), self.side) {
            (Some(translation), Some(Side::Server)) => translation.client,
            (Some(translation), Some(Side::Client)) => translation.answered,
            _ => self.tuple.peer,
        }
    }

    /// The tuple that the other end has.
    pub(super) fn other_tuple(&self) -> FiveTuple {
        match (self.translation(), self.side) {
            (Some(t), Some(Side::Server)) => FiveTuple { local: t.client, peer: t.dialled },
            (Some(t), Some(Side::Client)) => FiveTuple { local: t.answered, peer: t.seen },
            _ => FiveTuple { local: self.tuple.peer, peer: self.tuple.local },
        }
    }

    /// Whether what one of them sees on a loopback address is the other: they are in one network namespace, or the client is
    /// in the one that translates. `None` where that is not known.
    fn shares_network(&self, other: &End) -> Option<bool> {
        let (a, b) = match self.translation().or(other.translation()) {
            Some(translation) => {
                let client = if self.side == Some(Side::Client) { self } else { other };
                (Some(translation.network), client.network())
            }
            None => (self.network(), other.network()),
        };
        Some(a? == b?)
    }

    /// Whether each of the two is what the other one sees.
    fn mirrors(&self, other: &End) -> bool {
        let sides_fit = self.side.is_none() || other.side.is_none() || self.side != other.side;
        let is_seen = other.tuple == self.other_tuple()
            || (other.translation().is_some() && self.tuple == other.other_tuple());
        sides_fit && is_seen
    }

    /// Address and port of the client, both ends' where it is not known which is it; what they were translated to or from.
    fn keys(&self) -> SmallVec<[Endpoint; 3]> {
        let mut keys = match self.side {
            Some(Side::Client) => SmallVec::from_slice(&[self.tuple.local]),
            Some(Side::Server) => SmallVec::from_slice(&[self.tuple.peer]),
            None => SmallVec::from_slice(&[self.tuple.local, self.tuple.peer]),
        };
        if let Some(translation) = self.translation() {
            let other = if self.side == Some(Side::Client) { translation.seen } else { translation.client };
            if !keys.contains(&other) {
                keys.push(other);
            }
        }
        keys
    }
}

/// The table.
#[derive(Debug)]
pub(super) struct Ends {
    by_conn: ConnMap<End>,
    by_client: HashMap<Endpoint, SmallVec<[ConnId; 2]>>,
    capacity: usize,
}

impl Ends {
    pub(super) fn new(capacity: usize) -> Self {
        Self { by_conn: ConnMap::default(), by_client: HashMap::new(), capacity }
    }

    pub(super) fn get(&self, conn: ConnId) -> Option<&End> {
        self.by_conn.get(&conn)
    }

    pub(super) fn get_mut(&mut self, conn: ConnId) -> Option<&mut End> {
        self.by_conn.get_mut(&conn)
    }

    /// Adds an end that came into view; nothing when it is there already or the table is full.
    pub(super) fn insert(&mut self, conn: ConnId, end: End, counters: &mut Counters) {
        if self.by_conn.contains_key(&conn) {
            return;
        }
        if self.by_conn.len() >= self.capacity {
            counters.ends_refused += 1;
            return;
        }
        counters.ends += 1;
        self.add(conn, end, counters);
    }

    /// As [`insert`](Self::insert), for an end that is removed at once.
    pub(super) fn insert_for_a_moment(&mut self, conn: ConnId, end: End) {
        self.add(conn, end, &mut Counters::default());
    }

    fn add(&mut self, conn: ConnId, end: End, counters: &mut Counters) {
        for key in end.keys() {
            let conns = self.by_client.entry(key).or_default();
            if conns.len() >= MAX_CANDIDATES {
                counters.pair_candidates_dropped += 1;
            } else {
                conns.push(conn);
            }
        }
        self.by_conn.insert(conn, end);
    }

    /// The part that an end plays was learnt.
    pub(super) fn learn_side(&mut self, conn: ConnId, side: Side) {
        if self.by_conn.get(&conn).is_none_or(|end| end.side.is_some()) {
            return;
        }
        if let Some(mut end) = self.remove(conn) {
            end.side = Some(side);
            self.add(conn, end, &mut Counters::default());
        }
    }

    /// The kernel told how the addresses of an end are translated.
    pub(super) fn learn_translation(&mut self, conn: ConnId, translation: Translation) {
        if let Some(mut end) = self.remove(conn) {
            end.translated = Translated::Yes(Box::new(translation));
            // What the address seen says is about somebody in between.
            end.remote = None;
            self.add(conn, end, &mut Counters::default());
        }
    }

    /// Takes an end out.
    pub(super) fn remove(&mut self, conn: ConnId) -> Option<End> {
        let end = self.by_conn.remove(&conn)?;
        for key in end.keys() {
            if let Some(conns) = self.by_client.get_mut(&key) {
                conns.retain(|c| *c != conn);
                if conns.is_empty() {
                    self.by_client.remove(&key);
                }
            }
        }
        Some(end)
    }

    /// Finds the other end of `conn`, if it is here. Where several fit although an address was translated,
    /// `leads_to(dialled, answered)` says whether the one can become the other.
    pub(super) fn pair(
        &mut self,
        conn: ConnId,
        leads_to: impl Fn(Endpoint, Endpoint) -> bool,
        counters: &mut Counters,
    ) -> Option<(ConnId, Match)> {
        let end = self.by_conn.get(&conn)?;
        if let Some(pair) = end.pair {
            return Some(pair);
        }
        if end.parted.is_some() {
            return None;
        }
        let found = match self.mirror(conn, end) {
            Found::One(other) => {
                let is_plain = self.by_conn.get(&other).is_some_and(|other| {
                    other.tuple == FiveTuple { local: end.tuple.peer, peer: end.tuple.local }
                });
                (other, if is_plain { Match::Mirror } else { Match::Translated })
            }
            Found::Several => {
                counters.pairs_ambiguous += 1;
                return None;
            }
            Found::None => match self.translated(conn, end, leads_to) {
                Found::One(other) => (other, Match::Translated),
                Found::Several => {
                    counters.pairs_ambiguous += 1;
                    return None;
                }
                Found::None => return None,
            },
        };
        counters.pairs_found += 1;
        counters.pairs_translated += u64::from(found.1 == Match::Translated);
        if let Some(other) = self.by_conn.get_mut(&found.0) {
            other.pair = Some((conn, found.1));
        }
        if let Some(end) = self.by_conn.get_mut(&conn) {
            end.pair = Some(found);
        }
        Some(found)
    }

    /// Ends that share the client's address and port with `end` and have no other end yet.
    fn candidates<'a>(&'a self, conn: ConnId, end: &'a End) -> impl Iterator<Item = (ConnId, &'a End)> {
        end.keys().into_iter().flat_map(move |key| {
            let conns = self.by_client.get(&key).map(SmallVec::as_slice).unwrap_or_default();
            conns.iter().filter(move |c| **c != conn).filter_map(|c| {
                let other = self.by_conn.get(c)?;
                (other.pair.is_none() && other.parted.is_none()).then_some((*c, other))
            })
        })
    }

    fn mirror(&self, conn: ConnId, end: &End) -> Found {
        let fits = |other: &End| end.mirrors(other);
        let found = Found::of(self.candidates(conn, end).filter(|(_, other)| fits(other)));
        let has_loopback = |tuple: FiveTuple| tuple.local.addr.is_loopback() || tuple.peer.addr.is_loopback();
        if !has_loopback(end.other_tuple()) && !has_loopback(end.tuple) {
            return found;
        }
        // Every network namespace has loopback addresses of its own.
        let of = |same: fn(&End, &End) -> bool| {
            Found::of(self.candidates(conn, end).filter(|(_, other)| fits(other) && same(end, other)))
        };
        match of(|end, other| end.shares_network(other) == Some(true)) {
            Found::None => of(|end, other| end.shares_network(other).is_none()),
            found => found,
        }
    }

    fn translated(&self, conn: ConnId, end: &End, leads_to: impl Fn(Endpoint, Endpoint) -> bool) -> Found {
        let Some(side) = end.side else { return Found::None };
        let client_of = |e: &End, side: Side| match side {
            Side::Client => e.tuple.local,
            Side::Server => e.tuple.peer,
        };
        let is_loopback = client_of(end, side).addr.is_loopback();
        let fits = |other: &End| {
            let apart = other.opened.since(end.opened).max(end.opened.since(other.opened));
            let same_network = match (end.network(), other.network()) {
                (Some(a), Some(b)) => Some(a == b),
                _ => None,
            };
            other.side == Some(side.peer())
                && client_of(other, side.peer()) == client_of(end, side)
                && apart <= TRANSLATED_WITHIN
                && (!is_loopback || same_network == Some(true))
        };
        let leads = |other: &End| {
            let (client, server) = if side == Side::Client { (end, other) } else { (other, end) };
            leads_to(client.tuple.peer, server.tuple.local)
        };
        // A client's port may be used for several connections at once, to different servers: what has a mirror image
        // elsewhere is not this one's other end.
        let alone = |(c, other): &(ConnId, &End)| matches!(self.mirror(*c, other), Found::None);
        match Found::of(self.candidates(conn, end).filter(|(_, other)| fits(other)).filter(alone)) {
            Found::Several => {
                let led = self.candidates(conn, end).filter(|(_, other)| fits(other) && leads(other));
                match Found::of(led.filter(alone)) {
                    Found::One(other) => Found::One(other),
                    Found::None | Found::Several => Found::Several,
                }
            }
            found => found,
        }
    }

    /// Number of ends.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.by_conn.len()
    }
}

enum Found {
    None,
    One(ConnId),
    Several,
}

impl Found {
    /// The same end may come more than once.
    fn of<'a>(mut found: impl Iterator<Item = (ConnId, &'a End)>) -> Self {
        let Some((first, _)) = found.next() else { return Found::None };
        if found.any(|(conn, _)| conn != first) { Found::Several } else { Found::One(first) }
    }
}
