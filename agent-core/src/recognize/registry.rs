//! Every protocol known here, one line each.

use super::Protocol;

/// Every protocol known here. The order carries no meaning: a verdict needs exactly one that says `Is`.
pub static PROTOCOLS: &[&dyn Protocol] = &[];
