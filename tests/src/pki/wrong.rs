//! Servers' certificates that should not be shown.

use std::sync::LazyLock;

use super::{Identity, Leaf, authorities, leaf, self_signed, server};

/// One of each.
pub struct Wrong {
    /// No longer valid.
    pub expired: Identity,
    /// Valid for two more days of 31.
    pub expiring: Identity,
    /// Vouches for itself.
    pub self_signed: Identity,
}

/// Those of this run.
pub fn wrong() -> &'static Wrong {
    static MADE: LazyLock<Wrong> = LazyLock::new(|| {
        let root = &authorities().root;
        Wrong {
            expired: leaf(root, Leaf { expired: true, ..server("server-expired", 0x5EC0_2001) }),
            expiring: leaf(root, Leaf { days_left: Some(2), ..server("server-expiring", 0x5EC0_2002) }),
            self_signed: self_signed(server("server-self-signed", 0x5EC0_2003)),
        }
    });
    &MADE
}
