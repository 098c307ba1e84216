//! What becomes of observations. One exporter per file; they do not know each other.

pub mod json;
pub mod prometheus;
#[cfg(test)]
pub(crate) mod sample;
pub mod silent;
pub mod table;
pub mod text;
