//! Names for the ends of a connection and for what moves between them.

use std::fmt;
use std::net::IpAddr;

/// Address and port of one end. IPv4-mapped IPv6 addresses (RFC 4291 section 2.5.5.2) are held as IPv4.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Endpoint {
    /// Address, never IPv4-mapped.
    pub addr: IpAddr,
    /// TCP port, host byte order.
    pub port: u16,
}

impl Endpoint {
    /// An end of a connection; an IPv4-mapped address becomes the IPv4 address it stands for.
    pub fn new(addr: IpAddr, port: u16) -> Self {
        Self { addr: addr.to_canonical(), port }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.addr {
            IpAddr::V4(a) => write!(f, "{a}:{}", self.port),
            IpAddr::V6(a) => write!(f, "[{a}]:{}", self.port),
        }
    }
}

/// Both ends as seen from the observed (local) one; the transport is TCP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FiveTuple {
    /// The end that was observed. In a capture file: the client.
    pub local: Endpoint,
    /// The other end.
    pub peer: Endpoint,
}

/// One end of one connection. Live: the kernel's socket cookie, unique until reboot. In a capture file: a counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnId(pub u64);

/// A table of connection ends. Its hash is a fast one: nobody outside chooses the numbers that the kernel gives.
pub type ConnMap<V> = std::collections::HashMap<ConnId, V, hashlink::DefaultHashBuilder>;

/// Which part an end plays: who called `connect`, or sent the ClientHello, is the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Side {
    /// Called `connect`, or sent the ClientHello.
    Client,
    /// Accepted the connection, or received the ClientHello.
    Server,
}

impl Side {
    /// The other side.
    pub const fn peer(self) -> Side {
        match self {
            Side::Client => Side::Server,
            Side::Server => Side::Client,
        }
    }

    /// `client` or `server`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Side::Client => "client",
            Side::Server => "server",
        }
    }
}

/// The way a segment went, as seen from the observed (local) end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Direction {
    /// Sent by the local end.
    Egress,
    /// Received by the local end.
    Ingress,
}

impl Direction {
    /// The other way.
    pub const fn reverse(self) -> Direction {
        match self {
            Direction::Egress => Direction::Ingress,
            Direction::Ingress => Direction::Egress,
        }
    }

    /// 0 for egress, 1 for ingress: the place of a direction in a pair of per-direction states.
    pub const fn index(self) -> usize {
        match self {
            Direction::Egress => 0,
            Direction::Ingress => 1,
        }
    }
}

/// A TCP sequence number: arithmetic modulo 2^32 (RFC 9293 section 3.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SeqNumber(pub u32);

impl SeqNumber {
    /// The number `n` bytes later.
    #[must_use]
    pub const fn add(self, n: u32) -> SeqNumber {
        SeqNumber(self.0.wrapping_add(n))
    }

    /// Signed distance from `other` to `self` in bytes: positive when `self` is later, right as long as the two are
    /// less than 2^31 bytes apart.
    pub const fn distance(self, other: SeqNumber) -> i32 {
        self.0.wrapping_sub(other.0).cast_signed()
    }
}
