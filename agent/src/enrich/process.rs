//! Processes of this host, from procfs.
//!
//! What is read here takes no lock that another process can hold for long. The command line does (it lies in the
//! process's own memory): [`arguments`] reads it on a thread of its own.

pub(super) mod arguments;
mod procfs;
mod table;
mod usual;

use std::os::fd::OwnedFd;
use std::sync::Arc;

use agent_core::identity::{Container, ProcessDetails};

use super::PodUid;

pub(super) use table::Processes;

/// A network namespace, by the inode number that the kernel gives it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct NetworkNamespace(pub(super) u64);

/// What procfs says of a process that owns a connection end.
#[derive(Clone, Debug)]
pub(super) struct Owner {
    pub(super) details: Arc<ProcessDetails>,
    pub(super) container: Option<Arc<Container>>,
    pub(super) pod: Option<PodUid>,
    /// The container that Kubernetes knows, where `container` is nested in it.
    pub(super) pod_container: Option<String>,
    /// The namespace the process is in now. Sockets stay in the one they were made in, which for nearly every program
    /// is the same.
    pub(super) network: Option<NetworkNamespace>,
}

/// A process as it was found, and the directory that speaks of it and of no later one with the same id.
pub(super) struct Found {
    pub(super) owner: Owner,
    pub(super) directory: OwnedFd,
}

/// The network namespace of the host: that of its first process.
pub(super) fn host_network() -> Option<NetworkNamespace> {
    procfs::read(1)?.owner.network
}

/// Parsers of files that other processes can write to, for the fuzz target `procfs`.
#[cfg(fuzzing)]
pub(super) fn fuzz(bytes: &[u8]) {
    procfs::fuzz(&String::from_utf8_lossy(bytes));
    arguments::fuzz(bytes);
}
