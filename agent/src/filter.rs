//! Which connections are shown.

use agent_core::observation::{Observation, Security};

/// All conditions must hold; an empty list is no condition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// One of these ports is at either end.
    pub ports: Vec<u16>,
    /// One of these processes owns the local end.
    pub processes: Vec<ProcessMatch>,
    /// The verdict is one of these.
    pub security: Vec<Security>,
    /// Leave out connections that the source did not see begin.
    pub no_existing: bool,
}

/// Names a process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProcessMatch {
    /// By process id.
    Pid(u32),
    /// By the name of its executable.
    Name(String),
}

impl ProcessMatch {
    /// A number is a process id, everything else a name.
    pub fn parse(text: &str) -> Self {
        match text.parse() {
            Ok(pid) => ProcessMatch::Pid(pid),
            Err(_) => ProcessMatch::Name(text.to_owned()),
        }
    }
}

impl Filter {
    /// Whether an observation is to be shown.
    pub fn accepts(&self, observation: &Observation) -> bool {
        let tuple = &observation.tuple;
        let port = |p: &u16| *p == tuple.local.port || *p == tuple.peer.port;
        let process = |m: &ProcessMatch| {
            observation.process.as_ref().is_some_and(|process| match m {
                ProcessMatch::Pid(pid) => process.pid == *pid,
                ProcessMatch::Name(name) => process.executable_name == *name,
            })
        };
        (self.ports.is_empty() || self.ports.iter().any(port))
            && (self.processes.is_empty() || self.processes.iter().any(process))
            && (self.security.is_empty() || self.security.contains(&observation.security))
    }
}
