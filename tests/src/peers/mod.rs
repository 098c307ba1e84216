//! Servers and clients that nobody here wrote: one way to start each, and what each itself says of a connection.

mod client;
mod said;
mod server;

use std::net::{IpAddr, SocketAddr};

pub use client::{ClientConfig, ClientStack, Ran};
pub use said::{Said, iana_cipher};
pub use server::{Server, ServerConfig, ServerStack};

/// TLS versions the cases run on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Version {
    /// TLS 1.2.
    Tls12,
    /// TLS 1.3.
    Tls13,
}

impl Version {
    /// `1.2` or `1.3`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Version::Tls12 => "1.2",
            Version::Tls13 => "1.3",
        }
    }
}

/// Whether a server asks its clients for a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ask {
    /// No.
    Never,
    /// Yes, and it goes on without one.
    Optional,
    /// Yes, and it refuses clients that have none, or one it does not trust.
    Required,
}

/// Where a server listens: every IPv4 address, unless a case wants another.
pub(crate) fn listen_address(address: Option<IpAddr>) -> String {
    address.map_or_else(|| "0.0.0.0".to_owned(), |a| a.to_string())
}

pub(crate) fn loopback(address: Option<IpAddr>, port: u16) -> SocketAddr {
    match address {
        Some(a) if !a.is_unspecified() => SocketAddr::new(a, port),
        _ => SocketAddr::from(([127, 0, 0, 1], port)),
    }
}
