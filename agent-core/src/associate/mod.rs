//! Which connection do certificates belong to that a probe saw a process parse?
//!
//! In order of certainty: the connections whose `ClientHello.random` is the probe's; the connection that the parsing thread
//! read from last, unless what crossed it cannot hold those certificates; the one connection of the process whose records
//! have exactly the length of that Certificate message. No single one: the certificates are told of the process.
//!
//! Nothing here knows how connections are kept: [`Evidence`] is what one has to say, [`decide`] looks at it.

mod counters;
mod decide;
mod evidence;
mod index;
mod pending;

pub use counters::AssociationCounters;
pub(crate) use decide::{Candidate, Choice, NameFit, choose};
pub(crate) use evidence::{Evidence, Fit, Flight, MessageLength, ServerEvidence, Sighting, Standing};
pub(crate) use index::{AssociationLimits, Index};
pub(crate) use pending::{Pending, PendingQueue};

/// What tied a chain to a connection, from weak to strong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Tie {
    /// Record lengths, and names.
    Length,
    /// The thread read from it last.
    LastRead,
    /// `ClientHello.random`.
    ClientRandom,
}

/// Where a connection stands between its ClientHello and the time after which no certificates are expected any more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Window {
    /// No hello was seen.
    #[default]
    Before,
    /// In the index.
    Open,
    /// In the index, and its verdict is known.
    Ending,
    /// Not in the index any more, or never: certificates that come now are of something else.
    Over,
}
