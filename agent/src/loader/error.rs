//! What can go wrong while loading, and what to try.

use std::io;
use std::path::PathBuf;

use aya::EbpfError;
use aya::maps::MapError;
use aya::programs::ProgramError;

use crate::exit::{Exit, Failure};

/// Why the kernel side is not there.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The build has no BPF programs.
    #[error("this build has no BPF programs")]
    NotBuilt,
    /// The object and this agent do not fit.
    #[error("the BPF object has no `{0}`")]
    Missing(&'static str),
    /// No rights to load or attach.
    #[error("{what}: {cause}")]
    Rights {
        /// What was being done.
        what: String,
        /// What the kernel said.
        cause: String,
    },
    /// The kernel refuses.
    #[error("{what}: {cause}")]
    Kernel {
        /// What was being done.
        what: String,
        /// What the kernel said.
        cause: String,
    },
    /// The directory that was named is no cgroup v2 root.
    #[error("{0} is no cgroup v2 root: {1}")]
    CgroupPath(PathBuf, String),
    /// No cgroup v2 root.
    #[error("no cgroup v2 root: {0}")]
    Cgroup(String),
}

fn io_error<'a>(e: &'a (dyn std::error::Error + 'static)) -> Option<&'a io::Error> {
    let mut next = Some(e);
    while let Some(e) = next {
        if let Some(io) = e.downcast_ref::<io::Error>() {
            return Some(io);
        }
        next = e.source();
    }
    None
}

pub(super) fn chain(e: &(dyn std::error::Error + 'static)) -> String {
    let mut text = e.to_string();
    let mut next = e.source();
    while let Some(e) = next {
        let part = e.to_string();
        if !text.contains(&part) {
            text = format!("{text}: {part}");
        }
        next = e.source();
    }
    // A refused program comes with the verifier's whole log; its end says why.
    match text.char_indices().nth_back(1500) {
        Some((at, _)) => format!("... {}", text.get(at..).unwrap_or_default()),
        None => text,
    }
}

impl LoadError {
    fn new(what: String, e: &(dyn std::error::Error + 'static)) -> Self {
        let cause = chain(e);
        // EPERM is a matter of rights. EACCES is how the verifier refuses a program.
        match io_error(e).and_then(io::Error::raw_os_error).map(rustix::io::Errno::from_raw_os_error) {
            Some(rustix::io::Errno::PERM) => Self::Rights { what, cause },
            _ => Self::Kernel { what, cause },
        }
    }

    pub(super) fn object(e: EbpfError) -> Self {
        Self::new("creating the BPF maps".to_owned(), &e)
    }

    pub(super) fn program(doing: &str, name: &'static str, e: ProgramError) -> Self {
        Self::new(format!("{doing} BPF program {name}"), &e)
    }

    pub(super) fn map(e: MapError) -> Self {
        Self::new("opening a BPF map".to_owned(), &e)
    }
}

impl From<LoadError> for Failure {
    fn from(e: LoadError) -> Failure {
        let (exit, hint) = match &e {
            LoadError::NotBuilt | LoadError::Missing(_) => {
                (Exit::Failure, "build with `cargo xtask build`, which compiles the BPF programs first")
            }
            LoadError::Rights { .. } => (
                Exit::MissingRights,
                "run as root, or with CAP_BPF, CAP_PERFMON, CAP_NET_ADMIN and CAP_SYS_PTRACE; `tlsight check` tells which are missing",
            ),
            LoadError::Kernel { .. } => (
                Exit::MissingKernelFeature,
                "`tlsight check` tells what this kernel lacks; Linux 5.8 or later is needed",
            ),
            LoadError::CgroupPath(..) => {
                (Exit::Usage, "leave --cgroup out, and the host's own is found; `tlsight check` shows it")
            }
            LoadError::Cgroup(_) => (
                Exit::MissingKernelFeature,
                "mount it with `mount -t cgroup2 none /sys/fs/cgroup/unified`, or name it with --cgroup",
            ),
        };
        Failure::new(exit, "watch this host", e).hint(hint)
    }
}
