//! Naming a protocol from the first bytes of both directions, and following upgrades to TLS.
//!
//! A [`Recognizer`] is fed the reassembled bytes of one connection in the order in which they were delivered, and says
//! what they are as soon as they prove it. It asks every [`Protocol`] of the registry [`PROTOCOLS`]; each answers
//! [`Detection::NeedMore`], [`Detection::NotThis`] or [`Detection::Is`], and an answer never changes with more bytes.
//!
//! The rules, in the order in which they are applied:
//!
//! 1. A PROXY protocol header (v1, v2) at the start of the client's bytes is stepped over and remembered.
//! 2. A TLS handshake record holding a hello, an alert record, or an SSL 2.0 hello at the start of either direction is
//!    TLS. Where the start of the stream was not seen, an encrypted record at the start of what was seen is TLS too.
//! 3. One protocol says `Is`, whatever part each end plays, and no other does: that is the protocol. SSH and the like are
//!    [`Kind::EncryptedNotTls`]. A protocol that knows an upgrade to TLS is followed until the client upgrades, is
//!    refused, or goes on in plaintext ([`Kind::Upgradable`] until then).
//! 4. Both directions begin with readable text (UTF-8 without control characters other than tab, CR, LF), and then one
//!    takes its turn with a ClientHello: TLS, upgraded from a protocol not known here. While the connection goes on,
//!    [`Kind::Text`], which is plaintext without a name, takes [`RecognizeLimits::client_text`] bytes of the client, and
//!    [`RecognizeLimits::text`] of the server if it says anything: a greeting alone may be followed by an upgrade. Text
//!    that speaks of TLS or SSL waits for the end. A connection that ended needs only [`TEXT_AT_END`] bytes of any side,
//!    and an undecided protocol does not stand in the way.
//! 5. No protocol is possible any more and the bytes are not text: [`Kind::Unrecognized`]. Nothing is concluded from
//!    port numbers, entropy or lengths.
//! 6. The connection ended: without a byte [`Kind::NoData`]; with bytes missing [`Kind::MissingBytes`]; while a protocol was
//!    still possible [`Kind::TooFewBytes`].
//!
//! Which end is the client may be unknown (joined in the middle): then both roles are tried. A protocol that fits both ways
//! is named, its client is not.

mod prefix;
mod protocol;
mod protocols;
mod proxy;
mod recognizer;
mod registry;
mod stream;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod text;
mod tls;
mod tracking;
mod upgrade;
mod verdict;

pub use protocol::{Detection, Protocol, ProtocolRef};
pub use recognizer::{RecognizeCounters, RecognizeLimits, Recognizer, TEXT_AT_END};
pub use registry::PROTOCOLS;
pub use upgrade::{Upgrade, UpgradeStatus};
pub use verdict::{Kind, Verdict};
