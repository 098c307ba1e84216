//! How much the view keeps, and what it counted where that was not enough.

use serde::{Deserialize, Serialize};

/// Bounds of the model. Where one is reached, what was seen least recently makes room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Services.
    pub services: usize,
    /// Callers of one service.
    pub callers: usize,
    /// Callers of all services; a service keeps one however many there are.
    pub all_callers: usize,
    /// Certificates.
    pub certificates: usize,
    /// Findings that stand.
    pub findings: usize,
    /// Connections of which more may come.
    pub connections: usize,
    /// Connections that are shown.
    pub shown: usize,
    /// Names of each kind with one service or certificate.
    pub names: usize,
}

/// The bounds, and where it is counted that one was reached.
#[derive(Debug)]
pub(super) struct Room<'a> {
    pub(super) limits: &'a Limits,
    pub(super) cut: &'a mut Cut,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            services: 512,
            callers: 64,
            all_callers: 4096,
            certificates: 1024,
            findings: 1024,
            connections: 16_384,
            shown: 512,
            names: 6,
        }
    }
}

/// What was not kept because a bound was reached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Cut {
    /// Services that were forgotten.
    pub services_forgotten: u64,
    /// Callers that were forgotten.
    pub callers_forgotten: u64,
    /// Certificates that were forgotten.
    pub certificates_forgotten: u64,
    /// Findings that were forgotten while they stood.
    pub findings_forgotten: u64,
    /// Connections that were forgotten while they were open: they no longer count as such.
    pub connections_forgotten: u64,
    /// Names (endpoints, versions ...) that were left out.
    pub names_left_out: u64,
    /// Sightings and news that were dropped because the view did not keep up.
    pub records_dropped: u64,
}

impl Cut {
    /// Every counter with its name and what it says for people.
    pub const fn words(&self) -> [(&'static str, u64, &'static str); 7] {
        [
            ("services_forgotten", self.services_forgotten, "services forgotten to make room"),
            ("callers_forgotten", self.callers_forgotten, "callers forgotten to make room"),
            ("certificates_forgotten", self.certificates_forgotten, "certificates forgotten to make room"),
            ("findings_forgotten", self.findings_forgotten, "findings forgotten to make room"),
            (
                "connections_forgotten",
                self.connections_forgotten,
                "open connections forgotten to make room (they may count twice)",
            ),
            ("names_left_out", self.names_left_out, "names left out of details"),
            ("records_dropped", self.records_dropped, "sightings dropped: this view did not keep up"),
        ]
    }
}
