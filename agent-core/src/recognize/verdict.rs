//! What a recognizer concludes.

use super::ProtocolRef;
use crate::net::Direction;
use crate::observation::StartTls;

/// What the bytes seen so far prove.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// What they are.
    pub kind: Kind,
    /// Version of the PROXY protocol header that came first.
    pub proxy_protocol: Option<u8>,
    /// The direction in which the client sends: known beforehand, or proven by the bytes (who sent the ClientHello, who
    /// sent the request). In TLS the sender of the ClientHello, even when it is not who called `connect`.
    pub client: Option<Direction>,
}

/// What a connection carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Not known yet; more bytes will tell.
    NeedMore,
    /// A plaintext protocol that may still upgrade to TLS: keep feeding.
    Upgradable(ProtocolRef),
    /// TLS. Fetch the bytes that belong to it with [`super::Recognizer::take_tls`], then feed the TLS layer directly.
    Tls {
        /// Stream offset at which TLS begins, by [`Direction::index`].
        start: [u64; 2],
        /// The plaintext protocol it was upgraded from (STARTTLS and the like).
        upgraded_from: Option<ProtocolRef>,
        /// The first record holds a hello. `false`: the start of the stream was missed, or an alert came first.
        hello: bool,
    },
    /// A plaintext protocol, for good.
    Plaintext {
        /// Which one.
        protocol: ProtocolRef,
        /// What became of its upgrade to TLS; `None` where it knows none, or where it was not settled when the connection
        /// ended.
        starttls: Option<StartTls>,
    },
    /// Encrypted, but not by TLS: SSH, PostgreSQL with GSSAPI encryption.
    EncryptedNotTls(ProtocolRef),
    /// Readable text of no protocol known here: plaintext without a name.
    Text,
    /// Binary bytes of no protocol known here.
    Unrecognized,
    /// Bytes that the verdict needed were lost or cut.
    MissingBytes {
        /// The plaintext protocol it was before, where that was known: it may have been upgraded in the missing part.
        protocol: Option<ProtocolRef>,
    },
    /// The connection ended without a byte (or with nothing but a PROXY header).
    NoData,
    /// The connection ended while several things were still possible.
    TooFewBytes,
}

impl Kind {
    /// No more bytes are wanted.
    pub const fn is_final(&self) -> bool {
        !matches!(self, Kind::NeedMore | Kind::Upgradable(_))
    }

    /// The plaintext (or upgraded) protocol, where known.
    pub const fn protocol(&self) -> Option<ProtocolRef> {
        match *self {
            Kind::Upgradable(p) | Kind::Plaintext { protocol: p, .. } | Kind::EncryptedNotTls(p) => Some(p),
            Kind::Tls { upgraded_from: p, .. } | Kind::MissingBytes { protocol: p } => p,
            Kind::NeedMore | Kind::Text | Kind::Unrecognized | Kind::NoData | Kind::TooFewBytes => None,
        }
    }
}
