//! The agent gives up what it does not need: capabilities before its first thread starts, so that no thread ever has them,
//! and system calls in two steps, the second for all threads once everything is attached.
//!
//! None of this can be undone by the process, whoever runs in it.

mod capabilities;
mod syscalls;

use std::path::Path;

use self::capabilities::Keep;
use crate::config::{Config, Sandbox};

/// What this run needs beyond what every run needs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// Starts programs: those that a kubeconfig names to get credentials from.
    pub programs: bool,
    /// Serves at a port below 1024.
    pub low_port: bool,
    /// Writes files where root has no right to but by being root.
    pub files_of_others: bool,
}

impl Needs {
    /// Of the settings that `tlsight watch` and `tlsight agent` share. `audit_log` and `socket` are written, where there are
    /// any.
    pub fn of(kubernetes: Option<&crate::enrich::Kubernetes>, written: &[Option<&Path>]) -> Self {
        use crate::enrich::kubernetes::Source;
        let is_file = |source: &Source| matches!(source, Source::File(_));
        Self {
            programs: kubernetes.is_some_and(|kubernetes| is_file(&kubernetes.source)),
            low_port: false,
            files_of_others: written.iter().flatten().any(|path| capabilities::belongs_to_others(path)),
        }
    }
}

/// A process that gave up what it did not need to begin with.
#[derive(Debug)]
pub struct Hardened {
    /// What could not be given up, and why.
    pub problems: Vec<String>,
    sandbox: Sandbox,
}

/// Gives up all capabilities but those that later attaching and looking around need, the way back to them, and system calls
/// that no part of the agent makes. To be called before the first thread is started: threads inherit it.
pub fn begin(config: &Config, needs: Needs) -> Hardened {
    let sandbox = config.agent.sandbox.unwrap_or_default();
    let mut hardened = Hardened { problems: Vec::new(), sandbox };
    if sandbox == Sandbox::Off {
        return hardened;
    }
    let keep = Keep { needs, system_admin: sandbox != Sandbox::Strict };
    if let Err(e) = capabilities::give_up(keep) {
        hardened.problems.push(format!("capabilities could not be given up: {e}"));
    }
    if let Err(e) = syscalls::at_start(needs.programs) {
        hardened.problems.push(format!("system calls could not be given up: {e}"));
    }
    hardened
}

impl Hardened {
    /// Gives up, for all threads, what only starting needs: loading programs, making maps, mounting. `probes`: libraries are
    /// probed from now on, too.
    ///
    /// # Errors
    /// Why not; everything else works all the same.
    pub fn everything_is_attached(&self, probes: bool) -> Result<(), String> {
        match self.sandbox {
            Sandbox::Off => Ok(()),
            Sandbox::On | Sandbox::Strict => syscalls::when_attached(probes)
                .map_err(|e| format!("system calls could not be given up once attached: {e}")),
        }
    }
}
