//! tlsight's shell around the core: where bytes come from, what becomes of observations, and the command line.
//!
//! Data flows one way: a source ([`source`]) hands events to the [`pipeline`], which runs the engine of `agent-core`
//! and hands observations to a sink ([`export`]). Sources and exporters do not know each other; commands ([`cli`])
//! put them together.

pub mod agent;
pub mod audit;
pub mod cli;
pub mod config;
pub mod discovery;
pub mod enrich;
pub mod exit;
pub mod export;
pub mod filter;
pub mod harden;
pub mod judging;
pub mod libraries;
pub mod loader;
mod monotonic;
pub mod pipeline;
pub mod preflight;
pub mod rego;
pub mod report;
pub mod source;
pub mod top;
pub mod trust;
