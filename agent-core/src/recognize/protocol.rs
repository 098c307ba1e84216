//! What a protocol must tell about itself.

use std::fmt;
use std::ops::Deref;

use super::Upgrade;

/// Is it this protocol? For growing prefixes of one stream the answer goes from `NeedMore` to one of the others and stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detection {
    /// It fits so far.
    NeedMore,
    /// It cannot be.
    NotThis,
    /// It is, for sure.
    Is,
}

impl Detection {
    /// Two independent looks at the same connection: one that denies denies both, one that is sure is enough.
    #[must_use]
    pub const fn and(self, other: Detection) -> Detection {
        match (self, other) {
            (Detection::NotThis, _) | (_, Detection::NotThis) => Detection::NotThis,
            (Detection::Is, _) | (_, Detection::Is) => Detection::Is,
            (Detection::NeedMore, Detection::NeedMore) => Detection::NeedMore,
        }
    }

    /// The better of two alternatives.
    #[must_use]
    pub const fn or(self, other: Detection) -> Detection {
        match (self, other) {
            (Detection::Is, _) | (_, Detection::Is) => Detection::Is,
            (Detection::NeedMore, _) | (_, Detection::NeedMore) => Detection::NeedMore,
            (Detection::NotThis, Detection::NotThis) => Detection::NotThis,
        }
    }

    /// Sure only if `confirmed` by something else: `Is` becomes `NeedMore`.
    #[must_use]
    pub const fn unsure(self) -> Detection {
        match self {
            Detection::Is => Detection::NeedMore,
            other => other,
        }
    }
}

/// A protocol that can be told from its first bytes. One file each, registered in [`super::PROTOCOLS`].
pub trait Protocol: Sync {
    /// OpenTelemetry's `network.protocol.name`; HTTP/2 has one of its own, because its clients need telling apart.
    fn name(&self) -> &'static str;

    /// Could the client of this protocol have begun with these bytes? Never `NotThis` for an empty prefix.
    fn client(&self, prefix: &[u8]) -> Detection;

    /// Could the server of this protocol have begun with these bytes? Never `NotThis` for an empty prefix.
    fn server(&self, prefix: &[u8]) -> Detection;

    /// Both directions together. Protocols whose requests alone do not convince look here for a matching response.
    fn both(&self, client: &[u8], server: &[u8]) -> Detection {
        self.client(client).and(self.server(server))
    }

    /// What follows the recognized bytes is encrypted by something other than TLS.
    fn encrypted_not_tls(&self) -> bool {
        false
    }

    /// Makes a tracker of the upgrade to TLS, where the protocol has one.
    fn upgrade(&self) -> Option<fn() -> Box<dyn Upgrade>> {
        None
    }
}

/// A registered protocol, comparable by name.
#[derive(Clone, Copy)]
pub struct ProtocolRef(pub &'static dyn Protocol);

impl Deref for ProtocolRef {
    type Target = dyn Protocol;

    fn deref(&self) -> &Self::Target {
        self.0
    }
}

impl PartialEq for ProtocolRef {
    fn eq(&self, other: &Self) -> bool {
        self.0.name() == other.0.name()
    }
}

impl Eq for ProtocolRef {}

impl fmt::Debug for ProtocolRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.name())
    }
}
