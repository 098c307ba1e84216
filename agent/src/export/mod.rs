//! What becomes of observations. One exporter per file; they do not know each other.

pub(crate) mod fields;
pub mod json;
pub mod otlp;
pub mod outlet;
pub mod prometheus;
#[cfg(test)]
pub(crate) mod sample;
pub mod silent;
pub mod table;
pub mod text;
