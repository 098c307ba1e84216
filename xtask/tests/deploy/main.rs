//! What deploy/ holds is what those who read it take it for: Helm, Kubernetes' own schemas, systemd, and programs that read
//! container images.
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test says what went wrong by panicking"
)]

mod chart;
mod image;
mod tools;
mod unit;
