//! What was expected of a connection, and what is wrong with one.
//!
//! [`expectation`] holds the words; documents of several dialects become one set of expectations, of which the narrowest
//! applies. Findings are judgements on a [`Sighting`](crate::identity::Sighting).

pub mod about;
mod bounds;
pub mod documents;
mod evidence;
pub mod expectation;
pub mod explain;
pub mod finding;
pub mod history;
pub mod judge;
pub mod ledger;
pub mod mix;
pub mod ocsp;
pub mod permission;
#[cfg(test)]
mod reference;
pub mod rule;
pub mod rules;
pub mod selector;
pub mod set;
pub mod settings;
pub mod target;
#[cfg(test)]
mod testing;
pub mod trust;
