//! The probes in TLS libraries, on this host's kernel: what they hand over, and what they leave alone. Each case has a copy
//! of the library of its own, so that only the programs it starts are counted. `cargo xtask test` runs them, as root.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test says what went wrong by panicking"
)]

mod host;
mod library;
mod pki;
mod watch;

mod gnutls;
mod golang;
mod openssl;
