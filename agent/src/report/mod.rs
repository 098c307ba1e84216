//! `tlsight report`: what would break if services insisted on mutual TLS, certificates by days left, algorithms in use.
//!
//! The input is tlsight's own JSON ([`line`]), wherever it comes from: a file, a capture file through the pipeline
//! ([`sink`]), a running agent ([`socket`]). The [`model`] counts, the [`document`] is what all formats are made of.

mod algorithms;
pub mod cbom;
mod certificates;
mod connections;
pub mod document;
mod end;
mod findings;
pub mod limits;
pub mod line;
pub mod markdown;
pub mod model;
pub mod name;
mod outline;
pub mod protection;
mod services;
pub mod sink;
pub mod socket;
pub mod summary;
mod tally;
#[cfg(test)]
mod tests;
pub mod text;
