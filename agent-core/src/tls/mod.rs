//! TLS as it crosses the wire: records, handshake messages, alerts, of every version from SSL 3.0 on (and the ClientHello
//! in SSL 2.0 format), without keys and without I/O.

mod certificate;
pub(crate) mod certificate_list;
mod certificate_status;
pub mod client_flight;
pub mod client_hello;
pub mod codec;
pub mod codepoints;
mod direction;
pub mod error;
pub mod event;
mod extensions;
pub mod fingerprint;
mod handshake;
mod message;
mod new_session_ticket;
mod prefix;
mod record;
pub mod server_hello;
mod server_key_exchange;
#[cfg(test)]
mod tests;

pub use client_hello::ClientHello;
pub use direction::{Ending, TlsCounters, TlsDirection, TlsLimits};
pub use error::TlsError;
pub use event::TlsEvent;
pub use prefix::{Prefix, looks_like_tls, looks_like_tls_record_midstream};
pub use server_hello::{Downgrade, ServerHello};
