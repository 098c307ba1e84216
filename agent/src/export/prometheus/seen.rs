//! A connection end as metrics see it, and what of it was counted before.

use std::time::Instant;

use agent_core::event::CloseKind;
use agent_core::identity::Sighting;
use agent_core::net::{ConnMap, Side};
use agent_core::observation::{Observation, Phase, Reason, Security, TlsFacts};
use agent_core::policy::expectation::Mode;

use super::names::{Named, scope};

/// What is counted of a connection end for the first time now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct News {
    /// Its verdict.
    pub(super) verdict: bool,
    /// A handshake that was seen and completed.
    pub(super) handshake: bool,
    /// A handshake that failed.
    pub(super) failure: bool,
}

impl News {
    fn of(observation: &Observation) -> Self {
        let is_over = observation.phase == Phase::Final;
        let tls = observation.tls.as_deref();
        let established = tls.and_then(|tls| tls.established);
        let unfinished =
            matches!(observation.reason, Some(Reason::HandshakeIncomplete | Reason::MalformedTls));
        // What the agent did not see to its end, because it ended itself, has not failed.
        let was_cut = observation.closed == Some(CloseKind::SourceEnded);
        Self {
            verdict: is_over || observation.security != Security::Unknown,
            // Records of a connection that is older than the agent prove a handshake, and show nothing of it.
            handshake: established == Some(true) && tls.is_some_and(|tls| tls.negotiated_version.is_some()),
            failure: established == Some(false)
                || is_over && tls.is_some() && established.is_none() && unfinished && !was_cut,
        }
    }

    const fn bits(self) -> u8 {
        self.verdict as u8 | (self.handshake as u8) << 1 | (self.failure as u8) << 2
    }

    const fn from_bits(bits: u8) -> Self {
        Self { verdict: bits & 1 != 0, handshake: bits & 2 != 0, failure: bits & 4 != 0 }
    }
}

/// What was counted of connection ends that are not over, so that each counts once. One that there is no room for is counted
/// when it is over.
#[derive(Debug)]
pub(super) struct Counted {
    of: ConnMap<u8>,
    max: usize,
}

impl Counted {
    pub(super) fn new(max: usize) -> Self {
        Self { of: ConnMap::default(), max }
    }

    /// What is to be counted now.
    pub(super) fn news(&mut self, observation: &Observation) -> News {
        let all = News::of(observation).bits();
        let conn = observation.conn;
        let has_room = self.of.len() < self.max;
        let before = match observation.phase {
            Phase::Final => self.of.remove(&conn).unwrap_or_default(),
            Phase::Verdict if all == 0 => return News::default(),
            Phase::Verdict => match self.of.get_mut(&conn) {
                Some(counted) => {
                    let before = *counted;
                    *counted |= all;
                    before
                }
                None if has_room => {
                    self.of.insert(conn, all);
                    0
                }
                None => return News::default(),
            },
        };
        News::from_bits(all & !before)
    }
}

/// A connection end, and everything that several metrics ask of it.
#[derive(Debug)]
pub(super) struct Seen<'a> {
    pub(super) observation: &'a Observation,
    pub(super) news: News,
    pub(super) expectation: Option<Mode>,
    pub(super) client: Named<'a>,
    pub(super) server: Named<'a>,
    /// As the server knows it itself, or as it was dialled.
    pub(super) server_port: Option<u16>,
    pub(super) scope: &'static str,
    pub(super) now: Instant,
}

impl<'a> Seen<'a> {
    pub(super) fn new(sighting: &'a Sighting, expectation: Option<Mode>, news: News, now: Instant) -> Self {
        let o = &sighting.observation;
        let local = || Named::local(&sighting.local, o);
        let peer = || Named::party(&sighting.peer);
        let (client, server, at) = match o.local_side {
            Some(Side::Client) => (local(), peer(), Some((&sighting.peer, o.tuple.peer.port))),
            Some(Side::Server) => (peer(), local(), Some((&sighting.local, o.tuple.local.port))),
            None => (Named::default(), Named::default(), None),
        };
        let server_port = at.map(|(party, port)| match (&party.workload, &party.service) {
            (None, Some(_)) => party.dialled.map_or(port, |dialled| dialled.port),
            _ => party.listen_port.unwrap_or(port),
        });
        let scope = scope(sighting.scope, o);
        Self { observation: o, news, expectation, client, server, server_port, scope, now }
    }

    pub(super) fn role(&self) -> &'static str {
        self.observation.local_side.map_or("", Side::as_str)
    }

    pub(super) fn security(&self) -> &'static str {
        self.observation.security.as_str()
    }

    pub(super) fn tls(&self) -> Option<&'a TlsFacts> {
        self.observation.tls.as_deref()
    }

    /// Whoever is on this side.
    pub(super) fn party(&self, side: Side) -> &Named<'a> {
        match side {
            Side::Client => &self.client,
            Side::Server => &self.server,
        }
    }
}
