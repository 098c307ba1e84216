//! How much a report keeps, and what it counted where that was not enough.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Bounds of the model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Services.
    pub services: usize,
    /// Callers of one service.
    pub callers: usize,
    /// Callers of all services.
    pub all_callers: usize,
    /// Certificates.
    pub certificates: usize,
    /// Names that are kept with one service or certificate: endpoints, names asked for, where it was shown.
    pub names: usize,
    /// Combinations of version and cipher suite, and key exchange groups.
    pub algorithms: usize,
    /// Rules that findings are of.
    pub rules: usize,
    /// Findings that stand.
    pub findings: usize,
    /// Connections that are open, as far as the lines told.
    pub open: usize,
    /// Connections that are over and whose other end may still be told of.
    pub over: usize,
    /// How long such a connection is kept; absent: as long as there is room, for files are read one after the other.
    pub over_for: Option<Duration>,
}

impl Limits {
    /// For what one agent tells while it happens: both ends of a connection come within seconds.
    #[must_use]
    pub fn of_one_agent() -> Self {
        Self { over: 4096, over_for: Some(Duration::from_secs(10)), ..Self::default() }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            services: 4096,
            callers: 256,
            all_callers: 16_384,
            certificates: 8192,
            names: 8,
            algorithms: 512,
            rules: 256,
            findings: 4096,
            open: 65_536,
            over: 16_384,
            over_for: None,
        }
    }
}

/// What was not kept because a bound was reached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Cut {
    /// Connections to services beyond the bound: counted in `other_services` only.
    pub connections_of_other_services: u64,
    /// Connections of callers beyond the bound: counted in `other_callers` of their service only.
    pub connections_of_other_callers: u64,
    /// Certificates shown beyond the bound, once a connection.
    pub certificates: u64,
    /// Names beyond the bound, once a connection.
    pub names: u64,
    /// Algorithms beyond the bound, once a connection.
    pub algorithms: u64,
    /// Findings of rules beyond the bound, once a connection, and findings that stand beyond it.
    pub findings: u64,
    /// Connections that were forgotten while more was to come: what came of them later, or their other end, counts again.
    pub connections_forgotten: u64,
    /// Lines that the running agent dropped because the report did not keep up.
    pub lines_dropped: u64,
}

impl Cut {
    /// Every counter and what it says for people.
    pub fn words(&self) -> [(u64, &'static str); 8] {
        [
            (self.connections_of_other_services, "connections to services beyond the bound are not listed"),
            (
                self.connections_of_other_callers,
                "connections of callers beyond the bound are not listed one by one",
            ),
            (self.certificates, "times a certificate beyond the bound was shown"),
            (self.names, "names (endpoints, places ...) beyond the bound were left out"),
            (self.algorithms, "times an algorithm beyond the bound was used"),
            (self.findings, "findings beyond the bound are not listed"),
            (self.connections_forgotten, "connections were forgotten too early and may count twice"),
            (self.lines_dropped, "lines were dropped because the report did not keep up"),
        ]
    }
}
