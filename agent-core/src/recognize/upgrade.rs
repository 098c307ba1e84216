//! Following a plaintext protocol up to the point where TLS takes over.

use crate::net::Side;

/// Follows one connection of a protocol that can upgrade to TLS. Fed from the protocol's first byte, in delivery order,
/// until it returns anything but [`UpgradeStatus::Continue`]. Its memory is bounded.
pub trait Upgrade: Send {
    /// The next bytes of one side.
    fn data(&mut self, side: Side, bytes: &[u8]) -> UpgradeStatus;

    /// The offset from which on this side's bytes may be TLS, while the other side has not yet agreed. Bytes behind it
    /// are held so that none is missing when TLS begins.
    fn hold_from(&self, side: Side) -> Option<u64> {
        let _ = side;
        None
    }

    /// Lines of which only the beginning was kept.
    fn lines_cut(&self) -> u64 {
        0
    }

    /// Bytes were lost, of which the request for TLS, the answer or the first TLS byte may have been: what to conclude.
    fn gap(&self) -> UpgradeStatus {
        UpgradeStatus::Unknown("gap")
    }

    /// No more bytes will come: what to conclude. [`UpgradeStatus::Continue`] when it is not settled.
    fn end(&self) -> UpgradeStatus {
        UpgradeStatus::Continue
    }
}

/// How far an upgrade is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UpgradeStatus {
    /// Not settled: the client may still ask, or the server has not answered.
    Continue,
    /// This variant of the protocol knows no upgrade.
    NotApplicable,
    /// The client went on in plaintext without asking.
    NotUsed,
    /// Asked for and refused.
    Refused,
    /// TLS begins at these offsets, counted from the protocol's first byte in each direction.
    Upgraded {
        /// Of the client's bytes.
        client: u64,
        /// Of the server's bytes.
        server: u64,
    },
    /// Both agreed on an encryption that is not TLS.
    EncryptedNotTls,
    /// The bytes do not follow the protocol, or a limit was reached: nothing can be concluded.
    Unknown(&'static str),
}
