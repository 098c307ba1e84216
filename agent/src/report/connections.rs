//! Which lines are of one connection: those with its number, and those of its other end. Each line replaces what was told
//! of its end before, so that a connection counts once, as it was in the end.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Duration;

use hashlink::{LinkedHashMap, LinkedHashSet};

use super::end::{ConnectionEnd, View};
use super::limits::Limits;

/// What all lines of one end have in common: where they come from, `tlsight.connection`, and `timestamp`.
type EndKey = (u32, u64, i64);

/// A connection of which more may be told.
#[derive(Debug, Default)]
pub(super) struct Connection<P> {
    ends: Vec<(EndKey, ConnectionEnd)>,
    /// It was counted before, be it as one of which it is not known who the client is.
    pub(super) is_known: bool,
    /// As it was counted, and where.
    pub(super) counted: Option<(View, P)>,
}

impl<P> Connection<P> {
    /// What its ends tell together.
    pub(super) fn view(&self) -> Option<View> {
        let ends: Vec<&ConnectionEnd> = self.ends.iter().map(|(_, end)| end).collect();
        View::of(&ends)
    }

    fn is_over(&self) -> bool {
        self.ends.iter().all(|(_, end)| end.is_final)
    }

    fn awaits_peer(&self) -> bool {
        self.ends.iter().any(|(_, end)| end.awaits_peer())
    }
}

/// The connections of which more may be told.
#[derive(Debug)]
pub(super) struct Connections<P> {
    next: u64,
    table: HashMap<u64, Connection<P>>,
    ends: HashMap<EndKey, u64>,
    /// By the client's address, which both ends know.
    clients: HashMap<SocketAddr, Vec<u64>>,
    /// Oldest first.
    open: LinkedHashSet<u64>,
    /// Oldest first, with the moment at which they were over, by `latest`.
    over: LinkedHashMap<u64, i64>,
    /// What time it is, as far as lines told.
    latest: Option<i64>,
}

/// A line was taken in.
pub(super) struct Taken<P> {
    /// The connection that it is of.
    pub(super) id: u64,
    /// It was the other end of this one, which is counted no more.
    pub(super) merged: Option<Connection<P>>,
}

impl<P: Default> Connections<P> {
    pub(super) fn new() -> Self {
        Self {
            next: 0,
            table: HashMap::new(),
            ends: HashMap::new(),
            clients: HashMap::new(),
            open: LinkedHashSet::new(),
            over: LinkedHashMap::new(),
            latest: None,
        }
    }

    /// Takes what a line tells of the end with this number.
    pub(super) fn take(&mut self, number: u64, end: ConnectionEnd) -> Taken<P> {
        // Only a connection that ends tells what time it is; with no duration it may have begun before the clock was set back.
        if end.is_final && (end.last > end.time || self.latest.is_none()) {
            self.latest = Some(end.last);
        }
        let key = (end.source, number, end.time);
        let known = self.ends.get(&key).copied();
        let id = known.unwrap_or_else(|| {
            self.next += 1;
            self.ends.insert(key, self.next);
            self.next
        });
        let client = end.client();
        let connection = self.table.entry(id).or_default();
        match connection.ends.iter_mut().find(|(known, _)| *known == key) {
            Some((_, known)) => {
                let before = known.client().filter(|before| Some(*before) != client);
                *known = end;
                if let Some(before) = before {
                    unlist(&mut self.clients, before, id);
                }
            }
            None => connection.ends.push((key, end)),
        }
        if let Some(client) = client {
            let ids = self.clients.entry(client).or_default();
            if !ids.contains(&id) {
                ids.push(id);
            }
        }
        let merged = self.other_end(id).and_then(|other| self.merge(id, other));
        self.file(id);
        Taken { id, merged }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.table.len()
    }

    pub(super) fn get_mut(&mut self, id: u64) -> Option<&mut Connection<P>> {
        self.table.get_mut(&id)
    }

    /// Forgets what is over at both ends, and the oldest where there are too many; returns how many of these may count twice.
    pub(super) fn tidy(&mut self, id: u64, limits: &Limits) -> u64 {
        if self.table.get(&id).is_some_and(|c| c.ends.len() > 1 && c.is_over()) {
            self.forget(id);
        }
        let mut early = 0;
        while self.open.len() > limits.open {
            let Some(oldest) = self.open.pop_front() else { break };
            self.forget(oldest);
            early += 1;
        }
        while self.over.len() > limits.over {
            let Some((oldest, _)) = self.over.pop_front() else { break };
            early += u64::from(self.forget(oldest).is_some_and(|c| c.awaits_peer()));
        }
        early + limits.over_for.map_or(0, |kept_for| self.forget_since(kept_for))
    }

    /// Forgets what was over so long ago: if its other end was to be told of, it would have been. So with what was over that
    /// far ahead, before the clock was set back. Returns how many other ends were awaited all the same.
    fn forget_since(&mut self, kept_for: Duration) -> u64 {
        let Some(now) = self.latest else { return 0 };
        let mut early = 0;
        let is_past = |since: &i64| u128::from(now.abs_diff(*since)) > kept_for.as_nanos();
        while self.over.front().is_some_and(|(_, since)| is_past(since)) {
            let Some((oldest, _)) = self.over.pop_front() else { break };
            early += u64::from(self.forget(oldest).is_some_and(|c| c.awaits_peer()));
        }
        early
    }

    /// The connection whose only end is the other end of this one's only end; the nearest in time of several.
    fn other_end(&self, id: u64) -> Option<u64> {
        let only = |id: &u64| match self.table.get(id)?.ends.as_slice() {
            [(_, end)] => Some(end),
            _ => None,
        };
        let mine = only(&id)?;
        let candidates = self.clients.get(&mine.client()?)?.iter().filter(|other| **other != id);
        let fits = candidates.filter_map(|other| {
            let end = only(other)?;
            mine.is_other_end(end).then_some((end.time.abs_diff(mine.time), *other))
        });
        fits.min().map(|(_, other)| other)
    }

    fn merge(&mut self, id: u64, other: u64) -> Option<Connection<P>> {
        let mut merged = self.forget(other)?;
        let connection = self.table.get_mut(&id)?;
        for (key, end) in merged.ends.drain(..) {
            self.ends.insert(key, id);
            connection.ends.push((key, end));
        }
        Some(merged)
    }

    fn file(&mut self, id: u64) {
        let Some(connection) = self.table.get(&id) else { return };
        if connection.is_over() {
            self.open.remove(&id);
            if !self.over.contains_key(&id) {
                self.over.insert(id, self.latest.unwrap_or_default());
            }
        } else {
            self.over.remove(&id);
            if !self.open.contains(&id) {
                self.open.insert(id);
            }
        }
    }

    fn forget(&mut self, id: u64) -> Option<Connection<P>> {
        let connection = self.table.remove(&id)?;
        self.open.remove(&id);
        self.over.remove(&id);
        for (key, end) in &connection.ends {
            self.ends.remove(key);
            if let Some(client) = end.client() {
                unlist(&mut self.clients, client, id);
            }
        }
        Some(connection)
    }
}

fn unlist(clients: &mut HashMap<SocketAddr, Vec<u64>>, client: SocketAddr, id: u64) {
    if let Some(ids) = clients.get_mut(&client) {
        ids.retain(|known| *known != id);
        if ids.is_empty() {
            clients.remove(&client);
        }
    }
}
