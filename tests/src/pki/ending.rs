//! Servers' certificates that are valid for 100 days in all, and for some of them still.

use std::sync::LazyLock;

use super::{Identity, Leaf, authorities, leaf, server};

/// One of each.
pub struct Ending {
    /// Two months and more.
    pub in_80_days: Identity,
    /// Less than a month.
    pub in_20_days: Identity,
    /// Less than a week.
    pub in_5_days: Identity,
}

/// Those of this run.
pub fn ending() -> &'static Ending {
    static MADE: LazyLock<Ending> = LazyLock::new(|| {
        let root = &authorities().root;
        let made = |file, serial, left| {
            leaf(root, Leaf { days: 100, days_left: Some(left), ..server(file, serial) })
        };
        Ending {
            in_80_days: made("server-in-80-days", 0x5EC0_4001, 80),
            in_20_days: made("server-in-20-days", 0x5EC0_4002, 20),
            in_5_days: made("server-in-5-days", 0x5EC0_4003, 5),
        }
    });
    &MADE
}
