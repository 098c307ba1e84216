//! A running agent answers questions on a Unix socket of this host: one line of JSON asks, one answers. docs/report.md
//! describes both.

pub mod client;
mod feed;
mod listener;
mod server;
#[cfg(test)]
mod tests;

use agent_core::time::Timestamp;
use serde::{Deserialize, Serialize};

use super::document::Report;
use super::summary::Options;
use crate::top::snapshot::Snapshot;

pub use feed::FeedSink;
pub use server::Server;

/// Where a running agent answers unless it is told otherwise.
pub const DEFAULT_PATH: &str = "/run/tlsight/tlsight.sock";

/// Version of the questions and answers.
pub const PROTOCOL: u32 = 1;

/// Longest question, in bytes.
const MAX_REQUEST: u64 = 4096;

/// A question.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// [`PROTOCOL`].
    #[serde(rename = "tlsight.protocol")]
    pub protocol: u32,
    /// What is asked for: `report`, `top`.
    pub command: String,
    /// Nanoseconds of Unix time that days left are counted from; the agent's clock without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub now: Option<u64>,
    /// Connections with mutual TLS that a service must have had to be called ready.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_connections: Option<u64>,
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Response {
    /// [`PROTOCOL`].
    #[serde(rename = "tlsight.protocol")]
    pub protocol: u32,
    /// What was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub report: Option<Report>,
    /// What was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub top: Option<Snapshot>,
    /// Why there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<Error>,
}

/// Why a question was not answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Error {
    /// `bad_request`, `unsupported_version`, `unknown_command`, `busy`.
    pub code: String,
    /// What is wrong, for people.
    pub message: String,
}

impl Response {
    fn report(report: Report) -> Self {
        Self { protocol: PROTOCOL, report: Some(report), top: None, error: None }
    }

    fn top(top: Snapshot) -> Self {
        Self { protocol: PROTOCOL, report: None, top: Some(top), error: None }
    }

    fn failed(error: Error) -> Self {
        Self { protocol: PROTOCOL, report: None, top: None, error: Some(error) }
    }

    fn error(code: &str, message: impl Into<String>) -> Self {
        Self::failed(Error::new(code, message))
    }
}

impl Error {
    fn new(code: &str, message: impl Into<String>) -> Self {
        Self { code: code.to_owned(), message: message.into() }
    }
}

impl Request {
    /// Reads a question.
    fn parse(line: &[u8]) -> Result<Self, Error> {
        let request: Request = serde_json::from_slice(line)
            .map_err(|error| Error::new("bad_request", format!("not a question: {error}")))?;
        if request.protocol != PROTOCOL {
            let message = format!("this agent speaks version {PROTOCOL}, not {}", request.protocol);
            return Err(Error::new("unsupported_version", message));
        }
        match request.command.as_str() {
            "report" | "top" => Ok(request),
            other => Err(Error::new("unknown_command", format!("{other:?} is not known here"))),
        }
    }

    fn options(&self, now: Timestamp) -> Options {
        Options {
            now: self.now.map_or(now, Timestamp),
            min_connections: self.min_connections.unwrap_or(super::summary::MIN_CONNECTIONS),
        }
    }
}
