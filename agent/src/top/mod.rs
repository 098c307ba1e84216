//! `tlsight top`: a live view of how connections are protected, for the person at a terminal.
//!
//! A [`record`] is what one sighting tells, reduced to what the view needs; the [`feed`] takes it off the capture thread, the
//! [`keeper`] counts it into the [`model`], and whoever draws asks for a [`snapshot`]: in the same process, or through the
//! socket of a running agent ([`source`]). [`state`] is what the person chose to see; [`draw`] makes lines of both;
//! [`terminal`] and [`run`] are the only parts that know a terminal.

pub mod app;
pub mod attendant;
pub mod draw;
pub mod feed;
pub mod keeper;
pub mod model;
mod name;
pub mod record;
pub mod run;
pub mod snapshot;
pub mod source;
pub mod state;
pub mod terminal;
#[cfg(test)]
mod tests;
