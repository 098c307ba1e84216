//! The exporter's own connections. The agent sees them as it sees all others, so that each of them would be something to
//! export, for which a collector that closes connections needs the next: the exporter would feed itself for ever. Nothing
//! of them becomes a span or an event, at either end. Everything else (metrics, JSON, findings) has them.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use agent_core::net::{Endpoint, Side};
use agent_core::observation::Observation;

/// Connections that are remembered.
const MAX: usize = 256;
/// How long: verdicts come within seconds of the first bytes. A port may belong to somebody else later.
const LONG: Duration = Duration::from_secs(60);

/// The address of an end that has none yet.
const ANY: IpAddr = IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED);

/// The local ends of connections that the exporter made of late.
#[derive(Debug, Default)]
pub(super) struct OwnConnections(Mutex<VecDeque<(Endpoint, Instant)>>);

impl OwnConnections {
    /// Remembers one before it is made, since a server may be the first to send (RFC 9113 section 3.4): its port is known by
    /// then, its address is not, and any will do until it is told.
    #[must_use]
    pub(super) fn remember(&self, port: u16, now: Instant) -> Remembered<'_> {
        let mut known = self.known();
        while known.len() >= MAX || known.front().is_some_and(|(_, at)| now.duration_since(*at) > LONG) {
            known.pop_front();
        }
        known.push_back((Endpoint::new(ANY, port), now));
        Remembered { of: self, port }
    }

    fn known(&self) -> MutexGuard<'_, VecDeque<(Endpoint, Instant)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether this is an end of one of them.
    pub(super) fn has(&self, o: &Observation, now: Instant) -> bool {
        let client = match o.local_side {
            Some(Side::Client) => o.tuple.local,
            Some(Side::Server) => o.tuple.peer,
            None => return false,
        };
        let client = Endpoint::new(client.addr.to_canonical(), client.port);
        let known = self.known();
        let is = |end: &Endpoint| end.port == client.port && (end.addr == client.addr || end.addr == ANY);
        known.iter().any(|(end, at)| is(end) && now.duration_since(*at) <= LONG)
    }
}

/// A connection on its way; it is forgotten if it does not come about.
#[derive(Debug)]
pub(super) struct Remembered<'a> {
    of: &'a OwnConnections,
    port: u16,
}

impl Remembered<'_> {
    /// It is there, and this is its local end.
    pub(super) fn made(self, local: SocketAddr) {
        let waits = self.end();
        if let Some((end, _)) = self.of.known().iter_mut().rfind(|(end, _)| *end == waits) {
            *end = Endpoint::new(local.ip().to_canonical(), self.port);
        }
    }

    fn end(&self) -> Endpoint {
        Endpoint::new(ANY, self.port)
    }
}

impl Drop for Remembered<'_> {
    fn drop(&mut self) {
        let waits = self.end();
        self.of.known().retain(|(end, _)| *end != waits);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::export::sample;

    #[test]
    fn knows_both_ends_of_its_connections_for_a_while() {
        let (own, now) = (OwnConnections::default(), Instant::now());
        let mut o = sample::plaintext();
        assert!(!own.has(&o, now));
        own.remember(40000, now).made("[::ffff:10.0.0.1]:40000".parse().unwrap());
        assert!(own.has(&o, now) && own.has(&o, now + LONG));
        assert!(!own.has(&o, now + LONG + Duration::from_secs(1)));
        std::mem::swap(&mut o.tuple.local, &mut o.tuple.peer);
        assert!(!own.has(&o, now), "the other end's port is somebody else's");
        o.local_side = Some(Side::Server);
        assert!(own.has(&o, now));
        o.tuple.peer.port += 1;
        assert!(!own.has(&o, now));
    }

    #[test]
    fn knows_them_before_they_have_an_address_and_not_if_they_got_none() {
        let (own, now) = (OwnConnections::default(), Instant::now());
        let o = sample::plaintext();
        let remembered = own.remember(40000, now);
        assert!(own.has(&o, now));
        remembered.made("10.0.0.9:40000".parse().unwrap());
        assert!(!own.has(&o, now), "somebody else's with the same port");
        let remembered = own.remember(40000, now);
        assert!(own.has(&o, now));
        drop(remembered);
        assert!(!own.has(&o, now));
    }

    #[test]
    fn forgets_the_oldest_first() {
        let (own, now) = (OwnConnections::default(), Instant::now());
        for port in 0..=MAX as u16 {
            let local = SocketAddr::from(([10, 0, 0, 1], 40000 + port));
            own.remember(local.port(), now).made(local);
        }
        let mut o = sample::plaintext();
        assert!(!own.has(&o, now));
        o.tuple.local.port += 1;
        assert!(own.has(&o, now));
    }
}
