//! TLS as it crosses the wire: records, handshake messages, alerts, of every version from SSL 3.0 on (and the ClientHello
//! in SSL 2.0 format), without keys and without I/O.

pub mod client_hello;
pub mod codec;
pub mod codepoints;
mod direction;
pub mod error;
pub mod event;
mod extensions;
pub mod server_hello;

pub use client_hello::ClientHello;
pub use direction::{Ending, TlsCounters, TlsDirection, TlsLimits};
pub use error::TlsError;
pub use event::TlsEvent;
pub use server_hello::{Downgrade, ServerHello};
