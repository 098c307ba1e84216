//! The exporter's own connections. The agent sees them as it sees all others, so that each of them would be something to
//! export, for which a collector that closes connections needs the next: the exporter would feed itself for ever. Nothing
//! of them becomes a span or an event, at either end. Everything else (metrics, JSON, findings) has them.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use agent_core::net::{Endpoint, Side};
use agent_core::observation::Observation;

/// Connections that are remembered.
const MAX: usize = 256;
/// How long: verdicts come within seconds of the first bytes. A port may belong to somebody else later.
const LONG: Duration = Duration::from_secs(60);

/// The local ends of connections that the exporter made of late.
#[derive(Debug, Default)]
pub(super) struct OwnConnections(Mutex<VecDeque<(Endpoint, Instant)>>);

impl OwnConnections {
    /// Remembers one, before the first byte is sent on it.
    pub(super) fn remember(&self, local: SocketAddr, now: Instant) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        while known.len() >= MAX || known.front().is_some_and(|(_, at)| now.duration_since(*at) > LONG) {
            known.pop_front();
        }
        known.push_back((Endpoint::new(local.ip().to_canonical(), local.port()), now));
    }

    /// Whether this is an end of one of them.
    pub(super) fn has(&self, o: &Observation, now: Instant) -> bool {
        let client = match o.local_side {
            Some(Side::Client) => o.tuple.local,
            Some(Side::Server) => o.tuple.peer,
            None => return false,
        };
        let client = Endpoint::new(client.addr.to_canonical(), client.port);
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.iter().any(|(end, at)| *end == client && now.duration_since(*at) <= LONG)
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
        own.remember("[::ffff:10.0.0.1]:40000".parse().unwrap(), now);
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
    fn forgets_the_oldest_first() {
        let (own, now) = (OwnConnections::default(), Instant::now());
        for port in 0..=MAX as u16 {
            own.remember(SocketAddr::from(([10, 0, 0, 1], 40000 + port)), now);
        }
        let mut o = sample::plaintext();
        assert!(!own.has(&o, now));
        o.tuple.local.port += 1;
        assert!(own.has(&o, now));
    }
}
