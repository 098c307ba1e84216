//! The sans-I/O core of tlsight.
//!
//! Data flows one way: [`event::Event`] in, reassembly, recognition, TLS, certificates, connection state,
//! [`observation::Observation`] out. Nothing here opens a file, reads a clock or holds a lock: `now` is always an
//! argument, so the same code runs on live kernel events, on capture files and under a fuzzer.
#![forbid(unsafe_code)]

mod associate;
mod conn;
pub mod engine;
pub mod event;
pub mod identity;
pub mod net;
pub mod observation;
pub mod policy;
pub mod reassembly;
pub mod recognize;
pub mod time;
pub mod tls;
pub mod x509;
