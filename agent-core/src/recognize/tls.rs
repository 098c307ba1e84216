//! TLS from the first bytes of one direction.

use super::Detection;
use crate::tls::{Prefix, looks_like_tls, looks_like_tls_record_midstream};

/// What a TLS stream begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum First {
    /// A ClientHello, in TLS or SSL 2.0 format.
    ClientHello,
    /// A ServerHello.
    ServerHello,
    /// An alert in the clear.
    Alert,
    /// Any record: the stream was joined in the middle.
    Record,
}

/// Looks at the first bytes of one direction. `middle`: the start of the stream was missed.
pub(super) fn look(prefix: &[u8], middle: bool) -> (Detection, Option<First>) {
    let start = looks_like_tls(prefix);
    if start == Prefix::Yes {
        let first = match (prefix.first(), prefix.get(5)) {
            (Some(22), Some(1)) => First::ClientHello,
            (Some(22), _) => First::ServerHello,
            (Some(21), _) => First::Alert,
            _ => First::ClientHello,
        };
        return (Detection::Is, Some(first));
    }
    let record = if middle { looks_like_tls_record_midstream(prefix) } else { Prefix::No };
    match (start, record) {
        // A hello tells more than a record: it is waited for.
        (Prefix::NeedMore, _) | (_, Prefix::NeedMore) => (Detection::NeedMore, None),
        (_, Prefix::Yes) => (Detection::Is, Some(First::Record)),
        _ => (Detection::NotThis, None),
    }
}
